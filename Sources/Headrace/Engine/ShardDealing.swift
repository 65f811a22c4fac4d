internal import HeadraceCore

/// Whole shards for one rank of a streamed walk, epoch by epoch.
struct ShardDealing: Sendable {
    let counts: [Int?]
    let sizes: [Int]
    let request: ShardShare.Request
    let rank: Int

    func share(epoch: Int) throws(HeadraceError) -> ShardShare {
        var request = request
        request.epoch = epoch
        return try ShardShare(counts: counts, sizes: sizes, request)
    }

    /// Catalog numbers in the order of reading. The first epoch's deal was tried when the loader was opened.
    func shards(epoch: Int) -> [UInt32] {
        (try? share(epoch: epoch))?.shards[rank].map { UInt32($0) } ?? []
    }

    func rowsPerRank(epoch: Int) -> Int? { (try? share(epoch: epoch))?.rowsPerRank }
}
