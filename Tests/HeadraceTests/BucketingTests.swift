import HeadraceCore
import Testing

@testable import Headrace

@Suite struct BucketingTests {
    /// Lengths as texts have them: many short ones, a few very long.
    private static func lengths(_ count: Int, _ random: inout SplitMix64) -> [Int] {
        (0..<count).map { _ in Int(20 / (random.unit() + 0.01)) }
    }

    private func waste(_ lengths: [Int], _ batch: Int) -> Double {
        var padded = 0
        for start in stride(from: 0, to: lengths.count, by: batch) {
            let rows = lengths[start..<min(lengths.count, start + batch)]
            padded += rows.count * (rows.max() ?? 0)
        }
        return 1 - Double(lengths.reduce(0, +)) / Double(padded)
    }

    @Test func aWindowIsRearranged() {
        var random = SplitMix64(1)
        var order: [Int] = []
        for _ in 0..<100 {
            let count = Int(random.below(600))
            let rows = Int(random.below(40) + 1)
            let lengths = Self.lengths(count, &random)
            Bucketing.arrange(lengths: lengths, rowsPerStep: rows, key: random.next(), into: &order)
            #expect(order.sorted() == Array(0..<count))
            // The steps cover ranges of lengths that do not overlap; the rest at the end stays.
            let whole = count / rows * rows
            #expect(order[whole...].elementsEqual(whole..<count))
            let ranges = stride(from: 0, to: whole, by: rows).map { start in
                let step = order[start..<start + rows].map { lengths[$0] }
                #expect(step == step.sorted())
                return (step[0], step[rows - 1])
            }.sorted { $0 < $1 }
            for (left, right) in zip(ranges, ranges.dropFirst()) { #expect(left.1 <= right.0) }
        }
    }

    /// From an implementation in Python of the definition.
    @Test func golden() {
        let key = Bucketing.key(seed: 3, epoch: 1, window: 2)
        #expect(key == 15_590_309_488_610_431_744)
        var order: [Int] = []
        Bucketing.arrange(lengths: (0..<14).map { $0 * $0 % 17 }, rowsPerStep: 3, key: key, into: &order)
        #expect(order == [11, 2, 5, 7, 10, 4, 0, 1, 6, 3, 8, 9, 12, 13])
    }

    @Test func paddingIsSaved() {
        var random = SplitMix64(2)
        let lengths = Self.lengths(100 * 64, &random)
        var order: [Int] = []
        Bucketing.arrange(lengths: lengths, rowsPerStep: 64, key: 1, into: &order)
        let before = waste(lengths, 64)
        let after = waste(order.map { lengths[$0] }, 64)
        #expect(before > 0.8 && after < 0.15, "\(before) \(after)")
    }

    /// Long batches do not come last, or first: their place is random.
    @Test func stepsComeInRandomOrder() {
        let lengths = Array(0..<400)
        var first: Set<Int> = []
        var order: [Int] = []
        for window in 0..<50 {
            let key = Bucketing.key(seed: 3, epoch: 1, window: window)
            Bucketing.arrange(lengths: lengths, rowsPerStep: 20, key: key, into: &order)
            first.insert(order[0])
        }
        #expect(first.count > 15)
    }

    @Test func itIsAFunctionOfLengthsAndKey() {
        let lengths = [5, 1, 5, 5, 2, 1, 9]
        var order: [Int] = []
        var again: [Int] = [1, 2, 3]
        Bucketing.arrange(lengths: lengths, rowsPerStep: 2, key: 4, into: &order)
        Bucketing.arrange(lengths: lengths, rowsPerStep: 2, key: 4, into: &again)
        #expect(order == again)
        #expect(
            Set([Array(order[0..<2]), Array(order[2..<4]), Array(order[4..<6])]) == [
                [1, 5], [4, 0], [2, 3],
            ])
        #expect(order[6] == 6)
    }

    @Test func paddedLengths() {
        #expect(Padding.longest(multipleOf: 1).length(longest: 7) == 7)
        #expect(Padding.longest(multipleOf: 8).length(longest: 17) == 24)
        #expect(Padding.longest(multipleOf: 8).length(longest: 0) == 0)
        #expect(Padding.longest(multipleOf: 8).length(longest: Int.max) == nil)
        #expect(Padding.length(512).length(longest: 512) == 512)
        #expect(Padding.length(512).length(longest: 513) == nil)
    }
}
