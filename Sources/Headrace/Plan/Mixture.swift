package import HeadraceCore

/// When an epoch of several mixed data sets ends.
public enum MixtureEnd: String, Hashable, Sendable, CaseIterable {
    /// Before the first sample that a data set no longer has.
    case firstExhausted = "first-exhausted"
    /// When every sample of every data set was delivered; those that run out before begin again, in another order.
    case all
}

/// Several data sets dealt into one order by weights, exactly: after p places, data set d has had p × weight / sum
/// places, up to the rounding of a binary tree of data sets (less than its depth, at most log2 of their number).
///
/// The weights are integers. At each node of the tree the left half has weight a and both halves a + b = t: of its
/// first p places ⌊p a / t⌋ go left, and the others right. That is Bresenham's line, the most even interleaving of
/// two, and it has a closed form both ways, so any place can be entered and nothing has to be remembered:
///
///     place p goes left        if ⌊(p + 1) a / t⌋ > ⌊p a / t⌋; it is number ⌊p a / t⌋ there, else p - ⌊p a / t⌋
///     left number l  came from ⌈(l + 1) t / a⌉ - 1
///     right number r came from ⌊r t / b⌋
package struct Mixture: Sendable {
    /// Weights of the data sets before each one, and the sum at the end.
    private let sums: [Int]
    private let counts: [Int]
    package let end: MixtureEnd
    /// Places of an epoch.
    package let count: Int

    /// - Parameters:
    ///   - weights: how often each data set comes, relative to each other.
    ///   - counts: samples of each.
    package init(weights: [Int], counts: [Int], end: MixtureEnd) throws(HeadraceError) {
        guard !weights.isEmpty, weights.count == counts.count else {
            throw HeadraceError(
                .usage,
                "a mixture needs one weight for each data set: there are \(weights.count) weights and "
                    + "\(counts.count) data sets")
        }
        var sums = [0]
        let divisor = weights.reduce(0, Self.greatestCommonDivisor)
        for (index, weight) in weights.enumerated() {
            guard weight > 0, counts[index] > 0 else {
                throw HeadraceError(
                    .usage,
                    "data set \(index) of the mixture has weight \(weight) and \(counts[index]) samples; "
                        + "both must be at least 1 (leave it out)")
            }
            let (sum, overflow) = sums[index].addingReportingOverflow(weight / divisor)
            guard !overflow, sum <= PlanLimits.weightSum else {
                throw HeadraceError(
                    .usage,
                    "the weights of the mixture add up beyond the limit weightSum of \(PlanLimits.weightSum), "
                        + "also without their common divisor; round them")
            }
            sums.append(sum)
        }
        self.sums = sums
        self.counts = counts
        self.end = end
        var places: [Int] = []
        for index in counts.indices {
            let last = end == .all ? counts[index] - 1 : counts[index]
            let place = Self.place(of: last, in: index, sums)
            // One that never runs out does not end an epoch that another does end.
            guard let place = place ?? (end == .firstExhausted ? Int.max : nil) else {
                throw HeadraceError(
                    .limitExceeded,
                    "at these weights an epoch has more than the limit sampleCount of "
                        + "\(PlanLimits.sampleCount) places; end it with the first data set that is exhausted"
                )
            }
            places.append(place)
        }
        count = end == .all ? places.reduce(0, max) + 1 : places.reduce(Int.max, min)
        guard count <= PlanLimits.sampleCount else {
            throw HeadraceError(
                .limitExceeded,
                "at these weights an epoch has more than the limit sampleCount of \(PlanLimits.sampleCount) places"
            )
        }
    }

    package var dataSetCount: Int { counts.count }

    /// What is at a place: the data set, how often it was walked before, and the place in this pass.
    package func part(at place: Int) -> (dataSet: Int, pass: Int, place: Int) {
        precondition(place >= 0 && place < count, "a place is below the count of the mixture")
        var low = 0
        var high = counts.count
        var number = place
        while high - low > 1 {
            let middle = (low + high) / 2
            let left = sums[middle] - sums[low]
            let total = sums[high] - sums[low]
            let before = Self.scaled(number, left, total)
            if Self.scaled(number + 1, left, total) > before {
                number = before
                high = middle
            } else {
                number -= before
                low = middle
            }
        }
        let (pass, rest) = number.quotientAndRemainder(dividingBy: counts[low])
        return (low, pass, rest)
    }

    /// The place of a data set's sample `number`, counted over all its passes; nil when it is beyond any epoch.
    package func place(of number: Int, in dataSet: Int) -> Int? {
        guard let place = Self.place(of: number, in: dataSet, sums), place < count else { return nil }
        return place
    }

    /// Samples of each data set that an epoch delivers, those of later passes included.
    package var delivered: [Int] {
        counts.indices.map { index in
            // The first number of the data set whose place is outside, by bisection: places grow with numbers.
            var low = 0
            var high = count
            while low < high {
                let middle = low + (high - low) / 2
                if place(of: middle, in: index) == nil { high = middle } else { low = middle + 1 }
            }
            return low
        }
    }

    private static func place(of number: Int, in dataSet: Int, _ sums: [Int]) -> Int? {
        var nodes: [(isLeft: Bool, left: Int, total: Int)] = []
        var low = 0
        var high = sums.count - 1
        while high - low > 1 {
            let middle = (low + high) / 2
            nodes.append((dataSet < middle, sums[middle] - sums[low], sums[high] - sums[low]))
            if dataSet < middle { high = middle } else { low = middle }
        }
        var place = number
        for node in nodes.reversed() {
            // ⌈(l + 1) t / a⌉ - 1 = ⌊((l + 1) t - 1) / a⌋
            let weight = node.isLeft ? node.left : node.total - node.left
            let base = UInt64(node.isLeft ? place + 1 : place).multipliedFullWidth(by: UInt64(node.total))
            let (low, borrow) = base.low.subtractingReportingOverflow(node.isLeft ? 1 : 0)
            let product = (high: base.high - (borrow ? 1 : 0), low: low)
            guard product.high < UInt64(weight) else { return nil }
            let quotient = UInt64(weight).dividingFullWidth(product).quotient
            guard quotient < UInt64(PlanLimits.sampleCount) else { return nil }
            place = Int(quotient)
        }
        return place
    }

    /// ⌊number × part / whole⌋ without overflow: `part` ≤ `whole` ≤ 2^31.
    private static func scaled(_ number: Int, _ part: Int, _ whole: Int) -> Int {
        let (turns, rest) = number.quotientAndRemainder(dividingBy: whole)
        return turns * part + rest * part / whole
    }

    private static func greatestCommonDivisor(_ first: Int, _ second: Int) -> Int {
        var (a, b) = (first.magnitude, second.magnitude)
        while b > 0 { (a, b) = (b, a % b) }
        return max(1, Int(clamping: a))
    }
}
