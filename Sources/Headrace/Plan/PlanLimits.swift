internal import HeadraceCore

/// Caps of a plan. Within them no sum or product of the plan's equations overflows.
package enum PlanLimits {
    /// Samples of an epoch, also of a mixture that repeats small data sets.
    package static let sampleCount = 1 << 56
    /// Number of an epoch, of a state that is resumed.
    package static let epoch = 1 << 56
    /// Ranks of a job.
    package static let worldSize = 1 << 20
    /// Rows of a batch.
    package static let batchSize = 1 << 24
    /// Samples of a block of `block:N`.
    package static let blockSize = 1 << 32
    /// Changes of the world or batch size within one epoch: every sample's place is traced back through them.
    package static let segmentCount = 1024
    /// Sum of the weights of a mixture.
    package static let weightSum = 1 << 31

    /// Samples of a window of bucketing.
    package static let bucketRows = 1 << 24

    /// A sum for people: one beyond all numbers is the largest.
    static func sum(_ left: Int, _ right: Int) -> Int {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? Int.max : sum
    }

    static func check(_ value: Int, _ range: ClosedRange<Int>, _ what: String) throws(HeadraceError) {
        guard range.contains(value) else {
            throw HeadraceError(
                .usage, "\(what) is \(value) and must be from \(range.lowerBound) to \(range.upperBound)")
        }
    }
}
