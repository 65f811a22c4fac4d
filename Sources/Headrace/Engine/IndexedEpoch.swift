internal import HeadraceCore

/// What one rank of an indexed walk does in an epoch: the order of all places, its share of them, and the shards that
/// the order speaks of.
struct IndexedEpoch {
    let share: RankShare
    /// This rank among those of the share.
    let rank: Int
    var walk: EpochWalk
    let shards: ShardNumbers
    let bucketSteps: Int?
    private let seed: UInt64
    private let epoch: Int
    private let nodeDropped: Int?
    private let isMixture: Bool

    init(
        _ source: IndexedSource, _ settings: IndexedOrder.Settings, _ position: EpochPosition
    ) throws(HeadraceError) {
        seed = settings.seed
        epoch = position.epoch
        bucketSteps = settings.bucketSteps
        if let nodes = settings.nodes {
            let counts = source.rows.map(\.sampleCount)
            let node = nodes.node(ofRank: settings.ranks.rank)
            let nodeShare = try NodeShare(
                counts: counts, blockSize: settings.blockSize, nodes: nodes, batchSize: settings.batchSize,
                uneven: settings.uneven, last: settings.last, seed: settings.seed)
            share = try nodeShare.share(ofNode: node)
            rank = settings.ranks.rank - node * nodes.ranksEach
            walk = try nodeShare.walk(
                ofNode: node, counts: counts, order: settings.order, seed: settings.seed, epoch: epoch)
            shards = ShardNumbers(starts: [0], numbers: nodeShare.shards[node].map { Int32($0) })
            nodeDropped = nodeShare.droppedCount
            isMixture = false
            return
        }
        walk = try Self.walk(source, settings, position.epoch)
        share = try RankShare(
            sampleCount: walk.count, blockSize: settings.blockSize, segments: position.segments,
            uneven: settings.uneven, last: settings.last)
        rank = settings.ranks.rank
        shards = ShardNumbers(starts: source.catalog.dataSetStarts, numbers: nil)
        nodeDropped = nil
        isMixture = settings.mixing != nil
    }

    /// Samples that all ranks together leave out. Of a mixture this looks at every place that the tail drops, so it is
    /// for one rank to ask.
    var leftOutCount: Int {
        if let nodeDropped { return nodeDropped }
        guard isMixture else { return share.droppedCount }
        var leftOut = walk.unreachedCount
        // A place that would have been a repetition leaves nothing out.
        share.forEachDropped { leftOut += walk.isRepeat($0) ? 0 : 1 }
        return leftOut
    }

    private static func walk(
        _ source: IndexedSource, _ settings: IndexedOrder.Settings, _ epoch: Int
    ) throws(HeadraceError) -> EpochWalk {
        guard let mixing = settings.mixing else {
            return EpochWalk(source.dataSets[0], order: settings.order, seed: settings.seed, epoch: epoch)
        }
        return try EpochWalk(
            source.dataSets, weights: mixing.weights, end: mixing.end, order: settings.order,
            seed: settings.seed, epoch: epoch)
    }

    /// The key of the order of steps within a window of bucketing; the same for all ranks, so that a step has samples
    /// of like length on each.
    func bucketKey(_ window: Int) -> UInt64 { Bucketing.key(seed: seed, epoch: epoch, window: window) }
}

/// From a shard as an order numbers it to its number in the catalog.
struct ShardNumbers {
    /// Catalog number of the first shard of each data set.
    let starts: [Int]
    /// Catalog numbers of a node's shards; nil: those of a data set follow one another.
    let numbers: [Int32]?

    @inline(__always)
    func number(of sample: SamplePlace) -> Int {
        if let numbers { return Int(numbers[sample.shard]) }
        return starts[sample.dataSet] + sample.shard
    }
}
