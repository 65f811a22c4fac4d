import HeadraceCore
import Testing

@testable import Headrace

@Suite struct MixtureTests {
    private struct Shape {
        var weights: [Int]
        var counts: [Int]
    }

    private static func shape(_ random: inout SplitMix64) -> Shape {
        let size = Int(random.below(9) + 1)
        return Shape(
            weights: (0..<size).map { _ in Int(random.below(12) + 1) },
            counts: (0..<size).map { _ in Int(random.below(60) + 1) })
    }

    /// Both closed forms are each other's inverse, and numbers of a data set come in order, none left out.
    @Test(arguments: MixtureEnd.allCases) func placesAndNumbersAreInverse(end: MixtureEnd) throws {
        var random = SplitMix64(11)
        for _ in 0..<200 {
            let shape = Self.shape(&random)
            let mixture = try Mixture(weights: shape.weights, counts: shape.counts, end: end)
            var next = [Int](repeating: 0, count: shape.counts.count)
            for place in 0..<mixture.count {
                let part = mixture.part(at: place)
                #expect(part.pass * shape.counts[part.dataSet] + part.place == next[part.dataSet])
                #expect(mixture.place(of: next[part.dataSet], in: part.dataSet) == place)
                next[part.dataSet] += 1
            }
            #expect(next == mixture.delivered)
            for (dataSet, number) in next.enumerated() {
                #expect(mixture.place(of: number, in: dataSet) == nil)
            }
        }
    }

    /// After one cycle of the weights each data set has had exactly its weight, and at every place in between it
    /// is less than the depth of the tree away from its share.
    @Test func proportionsAreExact() throws {
        var random = SplitMix64(12)
        for _ in 0..<100 {
            var shape = Self.shape(&random)
            shape.counts = shape.weights.map { $0 * 40 }
            let sum = shape.weights.reduce(0, +)
            let mixture = try Mixture(weights: shape.weights, counts: shape.counts, end: .firstExhausted)
            #expect(mixture.count == 40 * sum)
            var seen = [Int](repeating: 0, count: shape.weights.count)
            for place in 0..<mixture.count {
                seen[mixture.part(at: place).dataSet] += 1
                for (dataSet, weight) in shape.weights.enumerated() {
                    let ideal = Double((place + 1) * weight) / Double(sum)
                    #expect(abs(Double(seen[dataSet]) - ideal) < 4)
                }
                if (place + 1) % sum == 0 {
                    #expect(seen == shape.weights.map { $0 * ((place + 1) / sum) })
                }
            }
        }
    }

    @Test func theEndIsWhereTheRuleSays() throws {
        var random = SplitMix64(13)
        for _ in 0..<100 {
            let shape = Self.shape(&random)
            let first = try Mixture(weights: shape.weights, counts: shape.counts, end: .firstExhausted)
            // Nobody is asked for more than it has, and the next place would ask somebody.
            #expect(zip(first.delivered, shape.counts).allSatisfy { $0 <= $1 })
            #expect(zip(first.delivered, shape.counts).contains { $0 == $1 })
            let all = try Mixture(weights: shape.weights, counts: shape.counts, end: .all)
            #expect(zip(all.delivered, shape.counts).allSatisfy { $0 >= $1 })
            let last = all.part(at: all.count - 1)
            #expect(last.pass == 0 && last.place == shape.counts[last.dataSet] - 1)
            #expect(first.delivered.reduce(0, +) == first.count && all.delivered.reduce(0, +) == all.count)
        }
    }

    @Test func oneDataSetIsItself() throws {
        for end in MixtureEnd.allCases {
            let mixture = try Mixture(weights: [7], counts: [10], end: end)
            #expect(mixture.count == 10)
            #expect((0..<10).allSatisfy { mixture.part(at: $0) == (0, 0, $0) })
        }
    }

    @Test func commonDivisorsDoNotMatter() throws {
        let small = try Mixture(weights: [3, 1], counts: [900, 300], end: .all)
        let large = try Mixture(weights: [3 << 40, 1 << 40], counts: [900, 300], end: .all)
        #expect(small.count == large.count)
        #expect((0..<small.count).allSatisfy { small.part(at: $0) == large.part(at: $0) })
    }

    @Test func hugeSizesNeedNoMemory() throws {
        let mixture = try Mixture(
            weights: [(1 << 30) - 1, 1 << 29, 12345], counts: [1 << 40, 1 << 41, 1 << 35],
            end: .firstExhausted)
        for place in [0, 1, mixture.count / 3, mixture.count - 1] {
            let part = mixture.part(at: place)
            #expect(mixture.place(of: part.place, in: part.dataSet) == place)
        }
    }

    @Test(
        arguments: [
            ([], []), ([1], [1, 2]), ([0, 1], [5, 5]), ([1, -3], [5, 5]), ([1, 1], [5, 0]),
            ([1 << 31, (1 << 31) + 1], [5, 5]), ([Int.max, Int.max - 1], [5, 5]), ([Int.min, 1], [5, 5]),
        ] as [([Int], [Int])])
    func nonsenseIsRefused(weights: [Int], counts: [Int]) {
        for end in MixtureEnd.allCases {
            #expect(throws: HeadraceError.self) { try Mixture(weights: weights, counts: counts, end: end) }
        }
    }

    /// A trillion samples of weight one beside a weight of two billion: an epoch of `all` could not be counted.
    @Test func anEndlessEpochIsRefused() {
        #expect(throws: HeadraceError.self) {
            try Mixture(weights: [1, (1 << 31) - 1], counts: [1 << 40, 5], end: .all)
        }
    }

    /// Each pass of each data set is an order of its own, and each walks all of it.
    @Test func everyPassIsAnotherOrder() throws {
        let small = try SampleNumbers(counts: [3, 4, 5])
        let large = try SampleNumbers(counts: [40, 20])
        var walk = try EpochWalk(
            [small, large], weights: [1, 1], end: .all, order: .global, seed: 3, epoch: 0)
        // The large one ends with its 60th sample, before the small one's next.
        #expect(walk.count == 119)
        var passes: [Int: [SamplePlace]] = [:]
        var largeSeen: Set<SamplePlace> = []
        for place in 0..<walk.count {
            let sample = walk.sample(at: place)
            if sample.dataSet == 0 {
                passes[sample.pass, default: []].append(sample)
            } else {
                largeSeen.insert(sample)
            }
        }
        #expect(largeSeen.count == 60)
        #expect(passes.count == 5)
        #expect(passes[4]?.count == 11)
        let orders = (0..<4).map { passes[$0, default: []].map { [$0.shard, $0.ordinal] } }
        #expect(orders.allSatisfy { Set($0).count == 12 && $0.count == 12 })
        #expect(Set(orders).count == 4)
    }
}
