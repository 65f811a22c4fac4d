package import HeadraceCore

/// The indexed walk with an affinity to nodes: each node shuffles the samples of its own shards, and its ranks share
/// them by the global position within the node. All ranks of all nodes make the same number of steps.
package struct NodeShare: Sendable {
    /// Catalog numbers of the shards of each node.
    package let shards: [[Int]]
    /// Samples of each node.
    package let samples: [Int]
    package let nodes: Nodes
    package let rowsPerRank: Int
    package let batchSize: Int
    private let blockSize: Int?
    private let uneven: UnevenRanks
    private let last: LastBatch

    package init(
        counts: [Int], blockSize: Int?, nodes: Nodes, batchSize: Int, uneven: UnevenRanks, last: LastBatch,
        seed: UInt64
    ) throws(HeadraceError) {
        try PlanLimits.check(batchSize, 1...PlanLimits.batchSize, "the batch size")
        _ = try SampleNumbers(counts: counts)
        (shards, samples) = ShardShare.nodeDeal(loads: counts, nodes: nodes, seed: seed)
        self.nodes = nodes
        self.batchSize = batchSize
        self.blockSize = blockSize
        self.uneven = uneven
        self.last = last
        if uneven != .pad, let empty = samples.firstIndex(of: 0), samples.contains(where: { $0 > 0 }) {
            throw HeadraceError(
                .usage,
                "node \(empty) of \(nodes.count) has no samples, because there are fewer shards with samples "
                    + "than nodes: pack the data into more shards, leave the affinity out, or pad")
        }
        rowsPerRank = uneven.rowsPerRank(
            shares: samples, ranksEach: nodes.ranksEach, batchSize: batchSize, last: last)
    }

    /// The share of one node's ranks, numbered from 0 within it.
    package func share(ofNode node: Int) throws(HeadraceError) -> RankShare {
        try RankShare(
            sampleCount: samples[node], blockSize: blockSize, worldSize: nodes.ranksEach,
            batchSize: batchSize,
            uneven: uneven, last: last, rowsPerRank: rowsPerRank)
    }

    /// The order in which a node walks its own samples; shards are numbered as in ``shards``.
    package func walk(
        ofNode node: Int, counts: [Int], order: SampleOrder, seed: UInt64, epoch: Int
    ) throws(HeadraceError) -> EpochWalk {
        EpochWalk(
            try SampleNumbers(counts: shards[node].map { counts[$0] }), order: order,
            seed: mixed(seed, Self.walkKey, UInt64(node)), epoch: epoch)
    }

    /// Keeps the orders of nodes apart from each other.
    private static let walkKey: UInt64 = 0x6e6f_6465

    package var stepCount: Int { (rowsPerRank + batchSize - 1) / batchSize }

    package var droppedCount: Int {
        samples.reduce(0) { $0 + max(0, $1 - rowsPerRank * nodes.ranksEach) }
    }

    package var surplusCount: Int {
        samples.reduce(0) { PlanLimits.sum($0, max(0, rowsPerRank * nodes.ranksEach - $1)) }
    }
}
