import HeadraceCore
import Testing

// The pinned numbers come from an implementation in Python of the definitions, not from this code. They
// decide saved orders: a change here breaks every saved state.
@Suite struct RandomnessTests {
    @Test func splitMixGolden() {
        var random = SplitMix64(0)
        #expect(random.next() == 0xe220_a839_7b1d_cdaf)
        #expect(random.next() == 0x6e78_9e6a_a1b9_65f4)
        #expect(random.next() == 0x06c4_5d18_8009_454f)
    }

    @Test func mixedGolden() {
        #expect(mixed(1, 2) == 0x230d_9b29_b88b_54d4)
        #expect(mixed(1, 2, 3) == 0xbd07_6d1f_d89f_8ac3)
        #expect(mixed(42, 0, 7, 1000) == 0x11a0_33ce_bee6_eee7)
    }

    @Test func belowGolden() {
        var random = SplitMix64(99)
        #expect((0..<10).map { _ in random.below(10) } == [2, 0, 8, 1, 1, 2, 6, 7, 5, 5])
        // Half of all draws are rejected at this bound.
        #expect(
            (0..<3).map { _ in random.below(1 << 63 + 1) }
                == [0x5fb5_0803_322b_0eff, 0x209e_edf9_65c7_9744, 0x1551_0463_1128_afb1])
    }

    @Test func shuffleGolden() {
        var order: [UInt32] = []
        shuffle(10, key: 42, into: &order)
        #expect(order == [8, 3, 6, 5, 4, 0, 9, 2, 1, 7])
        shuffle(10, key: 43, into: &order)
        #expect(order == [4, 9, 2, 1, 6, 0, 8, 3, 5, 7])
        shuffle(1000, key: 7, into: &order)
        #expect([0, 1, 500, 999].map { order[$0] } == [919, 277, 525, 389])
    }

    @Test(arguments: [0, 1, 2, 3, 1000, 65537]) func shuffleIsAPermutation(count: Int) {
        var order: [UInt32] = [9, 9, 9]
        shuffle(count, key: 11, into: &order)
        #expect(order.sorted() == (0..<UInt32(count)).map { $0 })
    }

    /// Each of 24 orders of four numbers equally often: chi-squared with 23 degrees of freedom stays below
    /// its 99.9th percentile for this fixed set of keys.
    @Test func shuffleIsUniform() {
        var seen: [[UInt32]: Int] = [:]
        var order: [UInt32] = []
        let rounds = 24_000
        for round in 0..<rounds {
            shuffle(4, key: mixed(5, UInt64(round)), into: &order)
            seen[order, default: 0] += 1
        }
        #expect(seen.count == 24)
        let expected = Double(rounds) / 24
        let statistic = seen.values.reduce(0.0) {
            $0 + (Double($1) - expected) * (Double($1) - expected) / expected
        }
        #expect(statistic < 49.7)
        #expect(statistic > 7.5, "suspiciously even")
    }

    @Test func everyPlaceGetsEveryNumber() {
        let count = 16
        var seen = [Int](repeating: 0, count: count * count)
        var order: [UInt32] = []
        let rounds = 16_000
        for round in 0..<rounds {
            shuffle(count, key: mixed(8, UInt64(round)), into: &order)
            for (place, number) in order.enumerated() { seen[place * count + Int(number)] += 1 }
        }
        let expected = Double(rounds) / Double(count)
        let statistic = seen.reduce(0.0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        // 225 degrees of freedom, 99.9th percentile.
        #expect(statistic < 296)
    }

    @Test func unitStaysInside() {
        var random = SplitMix64(3)
        var sum = 0.0
        for _ in 0..<10_000 {
            let value = random.unit()
            #expect(value >= 0 && value < 1)
            sum += value
        }
        #expect(abs(sum / 10_000 - 0.5) < 0.01)
    }

    @Test func keysOfNeighboursDiffer() {
        var keys: Set<UInt64> = []
        for seed in 0..<10 as Range<UInt64> {
            for epoch in 0..<10 as Range<UInt64> {
                for ordinal in 0..<100 as Range<UInt64> { keys.insert(mixed(seed, epoch, 3, ordinal)) }
            }
        }
        #expect(keys.count == 10_000)
        #expect(mixed(1, 2) != mixed(2, 1))
    }

    @Test func noNumberBelowZero() async {
        await #expect(processExitsWith: .failure) {
            var random = SplitMix64(0)
            _ = random.below(0)
        }
    }
}
