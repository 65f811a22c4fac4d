internal import HeadraceCore

/// What happens at the end of an epoch where the samples cannot be shared equally by the ranks.
///
/// It is applied once, at the tail. What is shared equally is decided by ``LastBatch``: with `keep`, the ranks get
/// equally many samples, and the last batch of each may be smaller than the others; with `drop`, they get equally many
/// whole batches. So there is one unit, W samples or W × B of them, and one equation:
///
///     rows of the epoch = samples rounded to the unit: down with drop, up with pad and repeat
public enum UnevenRanks: String, Hashable, Sendable, CaseIterable {
    /// Samples beyond the last whole unit are left out, and counted.
    case drop
    /// Missing samples are rows without one, which the batch marks.
    case pad
    /// Missing samples are those from the epoch's start, delivered a second time.
    case repeating = "repeat"

    /// Rows that each rank gets in an epoch, the same for all, so that none waits for another at the end.
    ///
    /// - Parameters:
    ///   - shares: samples of each share: one for all ranks together, one for each node, or one for each rank.
    ///   - ranksEach: ranks that split a share.
    package func rowsPerRank(
        shares: [Int], ranksEach: Int, batchSize: Int, last: LastBatch
    ) -> Int {
        let unit = last == .keep ? 1 : batchSize
        switch self {
        case .drop: return (shares.min() ?? 0) / ranksEach / unit * unit
        case .pad, .repeating:
            let most = shares.reduce(0, max)
            let unit = ranksEach * unit
            return (most + unit - 1) / unit * unit / ranksEach
        }
    }
}
