import HeadraceCore
import Testing

@testable import Headrace

@Suite struct EpochOrderTests {
    private static let orders: [SampleOrder] = [
        .catalog, .global, .block(1), .block(2), .block(7), .block(64), .block(1000), .block(5000),
    ]

    @Test(arguments: orders) func everySampleComesOnce(order: SampleOrder) {
        for count in [0, 1, 2, 6, 7, 8, 63, 999, 1000, 1001, 4099] {
            for epoch in 0..<3 {
                var walk = EpochOrder(count: count, order: order, key: EpochOrder.key(seed: 5, epoch: epoch))
                var numbers: [Int] = []
                walk.append(0..<count, to: &numbers)
                #expect(numbers.sorted() == Array(0..<count), "\(order) \(count)")
            }
        }
    }

    // Here and below, pinned numbers come from an implementation in Python of the definitions. They decide saved
    // orders: a change raises `LoaderState.planVersion`.
    @Test(
        arguments: [
            (5000, .global, [0, 1, 2, 4999], [276, 3632, 781, 369]),
            (5000, .block(64), [0, 1, 64, 2500, 4999], [2563, 2581, 4932, 634, 2424]),
            (
                200_000, .block(16), [0, 1, 16, 100_000, 199_999],
                [151_652, 151_648, 96_221, 11_588, 143_337]
            ),
            (10_000, .block(2000), [0, 1, 2000, 5000, 9999], [3442, 3587, 9126, 7726, 2738]),
        ] as [(Int, SampleOrder, [Int], [Int])])
    func golden(count: Int, order: SampleOrder, places: [Int], numbers: [Int]) {
        var walk = EpochOrder(count: count, order: order, key: EpochOrder.key(seed: 42, epoch: 3))
        #expect(places.map { walk.number(at: $0) } == numbers)
    }

    /// Entering anywhere gives what walking there gives.
    @Test(arguments: orders) func anyPlaceCanBeEntered(order: SampleOrder) {
        let count = 3000
        let key = EpochOrder.key(seed: 1, epoch: 9)
        var numbers: [Int] = []
        var walk = EpochOrder(count: count, order: order, key: key)
        walk.append(0..<count, to: &numbers)
        var random = SplitMix64(3)
        var other = EpochOrder(count: count, order: order, key: key)
        for _ in 0..<500 {
            let place = Int(random.below(UInt64(count)))
            #expect(other.number(at: place) == numbers[place])
        }
    }

    @Test func epochsAndSeedsDiffer() {
        for order in Self.orders where order != .catalog {
            var seen: Set<[Int]> = []
            for seed in 0..<4 as Range<UInt64> {
                for epoch in 0..<4 {
                    var walk = EpochOrder(
                        count: 500, order: order, key: EpochOrder.key(seed: seed, epoch: epoch))
                    var numbers: [Int] = []
                    walk.append(0..<500, to: &numbers)
                    seen.insert(numbers)
                }
            }
            #expect(seen.count == 16, "\(order)")
        }
    }

    @Test func catalogOrderIsTheCatalogs() {
        var walk = EpochOrder(count: 10, order: .catalog, key: 77)
        #expect((0..<10).map { walk.number(at: $0) } == Array(0..<10))
    }

    /// Each N places of `block:N` are N neighbours, round the end of the data set; only the last block is short.
    @Test(arguments: [(1000, 64), (1000, 100), (999, 7)]) func blocksAreNeighbours(count: Int, size: Int) {
        var starts: Set<Int> = []
        var grids: Set<Int> = []
        for epoch in 0..<20 {
            var walk = EpochOrder(
                count: count, order: .block(size), key: EpochOrder.key(seed: 2, epoch: epoch))
            var numbers: [Int] = []
            walk.append(0..<count, to: &numbers)
            for start in stride(from: 0, to: count, by: size) {
                let block = Set(numbers[start..<min(count, start + size)])
                // The one whose predecessor is not in the block is its start.
                let first = block.filter { !block.contains(($0 + count - 1) % count) }
                #expect(first.count == 1)
                if start == 0, let first = first.first { starts.insert(first); grids.insert(first % size) }
            }
        }
        #expect(starts.count > 10, "the first block is always the same")
        #expect(grids.count > 3, "the blocks are always cut at the same samples")
    }

    /// Where a sample lands is uniform also for blocks: over many epochs the mean of its place is the middle.
    @Test func noSampleIsFavoured() {
        let count = 105
        var sums = [Int](repeating: 0, count: count)
        let epochs = 4000
        for epoch in 0..<epochs {
            var walk = EpochOrder(count: count, order: .block(10), key: EpochOrder.key(seed: 8, epoch: epoch))
            for place in 0..<count { sums[walk.number(at: place)] += place }
        }
        // The standard deviation of such a mean is 30.3 / sqrt(4000) = 0.48.
        let middle = Double(count - 1) / 2
        for sum in sums { #expect(abs(Double(sum) / Double(epochs) - middle) < 2.2) }
    }

    @Test func numbersHavePlaces() throws {
        var random = SplitMix64(5)
        for _ in 0..<50 {
            let counts = (0..<Int(random.below(20) + 1)).map { _ in Int(random.below(4)) }
            let numbers = try SampleNumbers(counts: counts)
            let oracle = counts.enumerated().flatMap { shard, count in (0..<count).map { [shard, $0] } }
            #expect(numbers.count == oracle.count)
            for (number, place) in oracle.enumerated() {
                let found = numbers.place(of: number)
                #expect([found.shard, found.ordinal] == place)
                #expect(numbers.start(ofShard: found.shard) + found.ordinal == number)
            }
        }
    }

    @Test(arguments: [[-1], [1 << 56, 1], [Int.max, Int.max], [3, Int.min]])
    func impossibleCountsAreRefused(counts: [Int]) {
        #expect(throws: HeadraceError.self) { try SampleNumbers(counts: counts) }
    }

    /// A billion samples in ten thousand shards, entered at the end: nothing is built up.
    @Test(arguments: [SampleOrder.global, .block(256)]) func aBillionSamples(order: SampleOrder) throws {
        let numbers = try SampleNumbers(counts: [Int](repeating: 100_000, count: 10_000))
        var walk = EpochWalk(numbers, order: order, seed: 1, epoch: 0)
        #expect(walk.count == 1_000_000_000)
        var seen: Set<SamplePlace> = []
        for place in walk.count - 5000..<walk.count { seen.insert(walk.sample(at: place)) }
        #expect(seen.count == 5000)
        #expect(seen.allSatisfy { (0..<10_000).contains($0.shard) && (0..<100_000).contains($0.ordinal) })
    }
}
