package import HeadraceCore
internal import HeadraceTiers

/// What a run will do, known before anything is read: batches, what the tail costs, requests, cache hits.
package struct PlanSummary: Sendable, Equatable {
    /// Steps whose reads are merged together in the estimate of requests: about what a loader reads ahead.
    package static let windowSteps = 16
    /// Windows that are simulated, at most; of longer epochs as many are taken, evenly spaced over ranks and steps.
    package static let simulatedWindows = 64

    package var walk: Walk
    /// Whether neither the walk nor the order was asked for: it is the one that the shards allow.
    package var isAutomatic: Bool
    package var order: PlanRequest.Order
    package var shardCount: Int
    package var byteCount: Int
    /// Samples of the data set; nil where some shard has no count.
    package var sampleCount: Int?
    package var worldSize: Int
    package var nodeCount: Int
    package var affinity: Affinity
    package var batchSize: Int
    package var epochs: Int
    /// Batches of each rank in an epoch; nil: as many as a rank alone finds.
    package var batchesPerRank: Int?
    package var rowsPerRank: Int?
    /// Of an epoch, over all ranks.
    package var droppedCount: Int?
    package var paddedCount: Int?
    package var repeatedCount: Int?
    /// Samples of the shards of the rank with the least and of that with the most, where whole shards are dealt; in an
    /// indexed walk they are dealt to nodes.
    package var leastSamples: Int?
    package var mostSamples: Int?
    package var requests: Requests?
    package var cache: Cache?
    package var warnings: [String] = []

    /// Reads of an epoch, over all ranks.
    package struct Requests: Sendable, Equatable {
        package var count: Int
        package var readByteCount: Int
        package var deliveredByteCount: Int
        /// Windows that were simulated, and those there are; equal: nothing is extrapolated.
        package var simulatedWindows: Int
        package var windows: Int

        package var meanByteCount: Int { count > 0 ? readByteCount / count : 0 }
    }

    /// Share of the bytes that a node's cache of whole blocks serves (no eviction).
    package struct Cache: Sendable, Equatable {
        package var limit: Int
        /// Bytes that one node reads in an epoch.
        package var nodeByteCount: Int
        package var firstEpochHits: Double
        package var secondEpochHits: Double

        /// In epoch 1 a node reads its share for the first time. In epoch 2 it finds what it kept: with an affinity of
        /// what are its own bytes, min(1, C / own); without one the share is another random one, min(C, D / n) / D.
        package init(limit: Int, byteCount: Int, nodeCount: Int, ownByteCount: Int?) {
            self.limit = limit
            let own = ownByteCount ?? byteCount / nodeCount
            nodeByteCount = own
            firstEpochHits = 0
            let kept = Double(min(limit, own))
            let whole = Double(ownByteCount ?? byteCount)
            secondEpochHits = whole > 0 ? kept / whole : 0
        }
    }

    /// The plan of `request` over `shards`; throws `usage` for what cannot be.
    package init(_ shards: [PlannedShard], _ request: PlanRequest) throws(HeadraceError) {
        try PlanLimits.check(request.batchSize, 1...PlanLimits.batchSize, "the batch size")
        try PlanLimits.check(request.epochs, 1...Int.max, "the number of epochs")
        guard !shards.isEmpty else { throw HeadraceError(.usage, "no shards were named") }
        let counts = shards.map(\.sampleCount)
        let known = counts.compactMap { $0 }
        let isCounted = known.count == shards.count
        walk = try request.resolvedWalk(isCounted: isCounted)
        isAutomatic = request.walk == nil && request.order == .none
        order = request.order
        shardCount = shards.count
        byteCount = shards.reduce(0) { $0 &+ $1.byteCount }
        sampleCount = isCounted ? try SampleNumbers(counts: known).count : nil
        worldSize = request.ranks.worldSize
        let nodes = try request.nodes()
        nodeCount = nodes.count
        affinity = request.affinity
        batchSize = request.batchSize
        epochs = request.epochs
        var ownByteCount: Int?
        switch walk {
        case .streamed: try planStreamed(shards, request, nodes)
        case .indexed: try planIndexed(shards, known, request, nodes)
        }
        if request.affinity == .node {
            let loads = isCounted ? known : shards.map(\.byteCount)
            let deal = ShardShare.nodeDeal(loads: loads, nodes: nodes, seed: request.seed)
            ownByteCount = deal.shards.map { $0.reduce(0) { $0 &+ shards[$1].byteCount } }.max()
        }
        if let limit = request.cacheLimit {
            cache = Cache(
                limit: limit, byteCount: byteCount, nodeCount: nodes.count, ownByteCount: ownByteCount)
        }
        addWarnings(request)
    }

    private mutating func planStreamed(
        _ shards: [PlannedShard], _ request: PlanRequest, _ nodes: Nodes
    ) throws(HeadraceError) {
        let counts = shards.map(\.sampleCount)
        let sizes = shards.map(\.byteCount)
        var deal = ShardShare.Request(
            worldSize: worldSize, batchSize: batchSize, uneven: request.uneven, last: request.last,
            steps: request.steps, isShuffled: order != .none, seed: request.seed, epoch: 0,
            nodes: request.affinity == .node ? nodes : nil)
        let share = try ShardShare(counts: counts, sizes: sizes, deal)
        var steps: Set<Int> = []
        for epoch in 0..<min(epochs, Self.dealtEpochs) {
            deal.epoch = epoch
            if let count = try ShardShare(counts: counts, sizes: sizes, deal).stepCount {
                steps.insert(count)
            }
        }
        if let least = steps.min(), let most = steps.max(), least < most {
            warnings.append(
                "shards are dealt anew in each epoch, so epochs differ: \(least) to \(most) batches of each rank; "
                    + "give the number of steps to make them equal")
        }
        rowsPerRank = share.rowsPerRank
        batchesPerRank = share.stepCount
        leastSamples = share.samples?.min()
        mostSamples = share.samples?.max()
        setTail(share.droppedCount, share.surplusCount, request.uneven)
        let count = shards.reduce(0) { $0 + ($1.byteCount + Self.streamedRequest - 1) / Self.streamedRequest }
        var delivered = byteCount
        if let sampleCount, let dropped = share.droppedCount, sampleCount > 0 {
            delivered -= Int(Double(byteCount) * Double(dropped) / Double(sampleCount))
        }
        requests = Requests(
            count: count, readByteCount: byteCount, deliveredByteCount: delivered, simulatedWindows: 0,
            windows: 0)
    }

    /// Epochs whose deals are compared, at most.
    private static let dealtEpochs = 32
    /// Bytes of one read of a streamed walk.
    private static let streamedRequest = 1 << 20

    private mutating func planIndexed(
        _ shards: [PlannedShard], _ counts: [Int], _ request: PlanRequest, _ nodes: Nodes
    ) throws(HeadraceError) {
        if request.steps != nil {
            throw HeadraceError(
                .usage, "the number of steps of an indexed walk is that of its samples: leave it out")
        }
        var simulation = RequestSimulation(shards)
        if request.affinity == .node {
            let share = try NodeShare(
                counts: counts, blockSize: order.blockSize, nodes: nodes, batchSize: batchSize,
                uneven: request.uneven, last: request.last, seed: request.seed)
            rowsPerRank = share.rowsPerRank
            batchesPerRank = share.stepCount
            leastSamples = share.samples.min()
            mostSamples = share.samples.max()
            setTail(share.droppedCount, share.surplusCount, request.uneven)
            requests = try simulation.run(worldSize: worldSize, stepCount: share.stepCount) {
                (rank) throws(HeadraceError) in
                let node = nodes.node(ofRank: rank)
                return RequestSimulation.Rank(
                    share: try share.share(ofNode: node), number: rank - node * nodes.ranksEach,
                    walk: try share.walk(
                        ofNode: node, counts: counts, order: order.sampleOrder, seed: request.seed, epoch: 0),
                    shards: share.shards[node])
            }
            return
        }
        let share = try RankShare(
            sampleCount: sampleCount ?? 0, blockSize: order.blockSize, worldSize: worldSize,
            batchSize: batchSize,
            uneven: request.uneven, last: request.last)
        rowsPerRank = share.rowsPerRank
        batchesPerRank = share.stepCount
        setTail(share.droppedCount, share.surplusCount, request.uneven)
        let walk = EpochWalk(
            try SampleNumbers(counts: counts), order: order.sampleOrder, seed: request.seed, epoch: 0)
        requests = try simulation.run(worldSize: worldSize, stepCount: share.stepCount) { rank in
            RequestSimulation.Rank(share: share, number: rank, walk: walk, shards: nil)
        }
    }

    private mutating func setTail(_ dropped: Int?, _ surplus: Int?, _ uneven: UnevenRanks) {
        droppedCount = dropped
        paddedCount = surplus.map { uneven == .pad ? $0 : 0 }
        repeatedCount = surplus.map { uneven == .repeating ? $0 : 0 }
    }

    // MARK: Warnings

    /// Share of the samples that may be lost or doubled to make ranks equal before that is worth a word.
    private static let unevenShare = 0.01
    /// Share of a tier's bandwidth below which requests are called too small for it.
    private static let smallRequestShare = 0.25
    /// Requests that a process has under way.
    private static let depth = LoaderOptions().queueDepth

    private mutating func addWarnings(_ request: PlanRequest) {
        let lost = (droppedCount ?? 0) + (paddedCount ?? 0) + (repeatedCount ?? 0)
        if let sampleCount, Double(lost) > Self.unevenShare * Double(sampleCount), worldSize > 1 {
            let verb = (droppedCount ?? 0) > 0 ? "leave out" : "add"
            let cure =
                switch (walk, affinity) {
                case (.streamed, _): "an indexed walk shares by samples, not by shards"
                case (.indexed, .node): "more and smaller shards can be dealt to nodes more evenly"
                case (.indexed, .none): "longer epochs or smaller batches lose a smaller share"
                }
            warnings.append("equal ranks \(verb) \(lost) of \(sampleCount) samples in each epoch: \(cure)")
        }
        if batchesPerRank == 0, sampleCount ?? 0 > 0 {
            warnings.append(
                "an epoch yields no batch: there are too few samples for the ranks and the batch size")
        }
        if let tier = request.tier { warn(of: tier) }
        if let cache, request.affinity == .none, nodeCount > 1, cache.secondEpochHits < 0.9 {
            let own = Cache(
                limit: cache.limit, byteCount: byteCount, nodeCount: nodeCount,
                ownByteCount: byteCount / nodeCount)
            if own.secondEpochHits > cache.secondEpochHits + 0.1 {
                warnings.append(
                    "each node reads another share in every epoch, so its cache hits \(Self.percent(cache.secondEpochHits)); "
                        + "with --affinity node it would be about \(Self.percent(own.secondEpochHits))")
            }
        }
    }

    private mutating func warn(of tier: Tier) {
        guard walk == .indexed, let requests, requests.count > 0 else { return }
        func bandwidth(_ byteCount: Int) -> Double {
            tier.throughput(queueDepth: Self.depth, byteCount: byteCount) * Double(byteCount)
        }
        let mean = max(1, requests.meanByteCount)
        let share = bandwidth(mean) / bandwidth(max(mean, Self.streamedRequest))
        guard share < Self.smallRequestShare else { return }
        let megabytes = Int(bandwidth(mean) / 1e6)
        warnings.append(
            "\(tier.name) is walked by sample: requests of \(ByteCount(mean)) get \(max(1, megabytes)) MB/s out of it, "
                + "\(Self.percent(share)) of what it gives to large ones; --shuffle block:N or a streamed "
                + "walk (--shuffle buffer:N) reads in large requests")
    }

    private static func percent(_ share: Double) -> String {
        let tenths = Int((share * 1000).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10) %" : "\(tenths / 10).\(tenths % 10) %"
    }
}
