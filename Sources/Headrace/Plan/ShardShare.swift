package import HeadraceCore

/// How shards and ranks belong together.
public enum Affinity: String, Hashable, Sendable, CaseIterable {
    /// Any rank may get any shard, another in every epoch.
    case none
    /// Shards are dealt to nodes once for the whole run, and shuffled within: where the data of a node fit into its
    /// cache, every epoch but the first reads nothing from the origin.
    case node
}

/// Which nodes a job has: ranks 0..<L are on the first, L..<2L on the second, and so on, as launchers number them.
package struct Nodes: Sendable, Hashable {
    package let count: Int
    package let ranksEach: Int

    package init(count: Int, worldSize: Int) throws(HeadraceError) {
        guard count >= 1, worldSize % count == 0 else {
            throw HeadraceError(
                .usage,
                "\(worldSize) ranks cannot be on \(count) nodes with equally many ranks each; with an "
                    + "affinity to nodes they must be")
        }
        self.count = count
        ranksEach = worldSize / count
    }

    package func node(ofRank rank: Int) -> Int { rank / ranksEach }
}

/// The streamed walk of several ranks: whole shards for each rank, and how many steps all of them make.
package struct ShardShare: Sendable, Equatable {
    /// Catalog numbers of the shards of each rank in this epoch, in the order of reading.
    package let shards: [[Int]]
    /// Samples of each rank's shards; nil where counts are not known.
    package let samples: [Int]?
    package let batchSize: Int
    /// Rows that each rank gets, the same for all; nil: as many as it has, which is for one rank alone.
    package let rowsPerRank: Int?

    /// Batches of each rank; nil where neither counts nor steps are known, which is for one rank alone.
    package var stepCount: Int? { rowsPerRank.map { ($0 + batchSize - 1) / batchSize } }

    /// What an epoch is dealt from.
    package struct Request: Sendable {
        package var worldSize: Int
        package var batchSize: Int
        package var uneven: UnevenRanks
        package var last: LastBatch
        /// Batches of each rank, given; nil: from the counts.
        package var steps: Int?
        /// Whether shards are dealt and read in random order.
        package var isShuffled: Bool
        package var seed: UInt64
        package var epoch: Int
        /// Nodes to which the shards belong; nil without affinity.
        package var nodes: Nodes?

        package init(
            worldSize: Int, batchSize: Int, uneven: UnevenRanks, last: LastBatch, steps: Int? = nil,
            isShuffled: Bool, seed: UInt64, epoch: Int, nodes: Nodes? = nil
        ) {
            self.worldSize = worldSize
            self.batchSize = batchSize
            self.uneven = uneven
            self.last = last
            self.steps = steps
            self.isShuffled = isShuffled
            self.seed = seed
            self.epoch = epoch
            self.nodes = nodes
        }
    }

    /// - Parameters:
    ///   - counts: samples of each shard, where known.
    ///   - sizes: bytes of each shard, which decide the deal where a count is missing.
    package init(counts: [Int?], sizes: [Int], _ request: Request) throws(HeadraceError) {
        try PlanLimits.check(request.worldSize, 1...PlanLimits.worldSize, "the world size")
        try PlanLimits.check(request.batchSize, 1...PlanLimits.batchSize, "the batch size")
        if let steps = request.steps {
            try PlanLimits.check(
                steps, 1...PlanLimits.sampleCount / PlanLimits.batchSize, "the number of steps")
        }
        let known = counts.compactMap { $0 }
        let isCounted = known.count == counts.count
        if isCounted { _ = try SampleNumbers(counts: known) }
        guard isCounted || request.steps != nil || request.worldSize == 1 else {
            let missing = counts.count - known.count
            throw HeadraceError(
                .usage,
                "\(missing) of \(counts.count) shards have no sample count, so \(request.worldSize) ranks could "
                    + "not make equally many steps and would wait for each other for ever: 'headrace index SHARDS' "
                    + "counts them, or give the number of steps")
        }
        shards = Self.deal(isCounted ? known : sizes, request)
        batchSize = request.batchSize
        let samples = isCounted ? shards.map { $0.reduce(0) { $0 + known[$1] } } : nil
        self.samples = samples
        rowsPerRank = try Self.rows(samples, request)
    }

    private static func deal(_ loads: [Int], _ request: Request) -> [[Int]] {
        let epochKey = request.isShuffled ? mixed(request.seed, UInt64(request.epoch), dealKey) : nil
        guard let nodes = request.nodes else {
            return ShardDeal(loads: loads, shares: request.worldSize, key: epochKey).shards
        }
        // Never the epoch: what a node has, it keeps.
        return nodeDeal(loads: loads, nodes: nodes, seed: request.seed).shards.enumerated().flatMap {
            node, numbers in
            ShardDeal(
                loads: numbers.map { loads[$0] }, numbers: numbers, shares: nodes.ranksEach,
                key: epochKey.map { mixed($0, UInt64(node)) }
            ).shards
        }
    }

    /// The shards of each node, in catalog order: those of the whole run.
    package static func nodeDeal(loads: [Int], nodes: Nodes, seed: UInt64) -> (shards: [[Int]], loads: [Int])
    {
        let deal = ShardDeal(loads: loads, shares: nodes.count, key: mixed(seed, dealKey))
        return (deal.shards.map { $0.sorted() }, deal.loads)
    }

    private static func rows(_ samples: [Int]?, _ request: Request) throws(HeadraceError) -> Int? {
        guard let samples else { return request.steps.map { $0 * request.batchSize } }
        let most = samples.reduce(0, max)
        let least = samples.min() ?? 0
        if request.uneven != .pad, least == 0, most > 0, request.steps != nil || request.worldSize > 1 {
            throw HeadraceError(
                .usage,
                "rank \(samples.firstIndex(of: 0) ?? 0) of \(request.worldSize) has no samples, because "
                    + "there are fewer shards with samples than ranks: pack the data into more shards, use an indexed "
                    + "walk, or pad")
        }
        guard let steps = request.steps else {
            return request.uneven.rowsPerRank(
                shares: samples, ranksEach: 1, batchSize: request.batchSize, last: request.last)
        }
        let rows = steps * request.batchSize
        guard rows <= least || request.uneven != .drop else {
            throw HeadraceError(
                .usage,
                "\(steps) steps of \(request.batchSize) rows are more than the \(least) samples of rank "
                    + "\(samples.firstIndex(of: least) ?? 0): make fewer steps (at most \(least / request.batchSize)), "
                    + "or pad or repeat")
        }
        return rows
    }

    private static let dealKey: UInt64 = 0x7368_6172_6473

    /// Samples that nobody gets in this epoch; nil where counts are not known.
    package var droppedCount: Int? {
        guard let samples, let rowsPerRank else { return nil }
        return samples.reduce(0) { $0 + max(0, $1 - rowsPerRank) }
    }

    /// Rows that only make the ranks equal: padding, or repeats.
    package var surplusCount: Int? {
        guard let samples, let rowsPerRank else { return nil }
        return samples.reduce(0) { PlanLimits.sum($0, max(0, rowsPerRank - $1)) }
    }
}
