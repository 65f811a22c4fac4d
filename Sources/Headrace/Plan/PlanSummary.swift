internal import HeadraceCompute
package import HeadraceCore

/// What a run will do, known before anything is read: batches, what the tail costs, requests, cache hits.
///
/// The walk, the windows and the reads are the loader's own: the same functions are asked, for a loader that decodes
/// nothing.
package struct PlanSummary: Sendable, Equatable {
    package var walk: Walk
    /// Why it is walked this way.
    package var walkReason: String
    /// Whether neither the walk nor the order was asked for: it is the one that the shards allow.
    package var isAutomatic: Bool
    /// As `--shuffle` writes it.
    package var shuffle: String
    /// Steps within which samples of like length are brought together.
    package var bucketWindow: Int?
    package var shardCount: Int
    package var byteCount: Int
    /// Samples of the data set; nil where some shard has no count.
    package var sampleCount: Int?
    /// Of a mixture: what it has of each data set.
    package var dataSets: [DataSet] = []
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
    /// Of these, what makes ranks equal; a mixture leaves out and repeats for its own reasons, too.
    var tailCount = 0
    /// Samples of the shards of the rank with the least and of that with the most, where whole shards are dealt; in an
    /// indexed walk they are dealt to nodes.
    package var leastSamples: Int?
    package var mostSamples: Int?
    package var requests: Requests
    package var cache: NodeCache?
    /// Bytes of the shards that a cache has already; nil where there is none.
    package var cacheHeldBytes: Int?
    package var warnings: [String] = []

    /// One data set of a mixture.
    package struct DataSet: Sendable, Equatable {
        /// As it was named.
        package var words: String
        package var weight: Int
        package var sampleCount: Int
        /// Rows of an epoch, over all ranks.
        package var deliveredCount: Int
        /// Of these, rows whose sample the epoch delivers elsewhere, too.
        package var repeatedCount: Int
        package var leftOutCount: Int
    }

    /// Reads of an epoch, over all ranks.
    package struct Requests: Sendable, Equatable {
        package var count = 0
        package var readByteCount = 0
        /// Of the samples, decompressed; nil where nothing tells.
        package var deliveredByteCount: Int?
        /// Batches whose reads are merged together, at most; 0 in a streamed walk.
        package var windowSteps = 0
        /// Batches whose reads were planned, and those there are; equal: nothing is extrapolated. 0 in a streamed walk.
        package var plannedBatches = 0
        package var batches = 0

        package var meanByteCount: Int { count > 0 ? readByteCount / count : 0 }
    }

    /// The plan of `request`. Throws what a loader of it would throw for its options and indexes.
    package init(_ request: PlanRequest) throws(HeadraceError) {
        try request.check()
        let options = request.options
        let catalog = try Catalog(
            request.dataset.shards, isMixture: options.mixing != nil, names: FieldNames())
        for shard in catalog.shards {
            if let defect = shard.disagreement(found: shard.listed?.sampleCount ?? 0) { throw defect }
        }
        let workers = options.workers ?? Machine.current.defaultWorkers
        let builder = LoaderBuilder(request.dataset, .host)
        let choice = try builder.chooseWalk(catalog, workers: workers, budget: request.budget)
        walk = choice.walk
        walkReason = choice.reason
        isAutomatic = request.isAutomatic
        shuffle = options.shuffle.words
        bucketWindow = options.bucketWindow
        shardCount = catalog.shards.count
        byteCount = catalog.byteCount
        worldSize = choice.ranks.worldSize
        affinity = options.affinity
        batchSize = options.batchSize
        epochs = options.epochs ?? 1
        requests = Requests()
        let nodes =
            if let known = choice.nodes { known } else {
                try Nodes(count: options.nodes ?? choice.ranks.nodeCount ?? 1, worldSize: worldSize)
            }
        nodeCount = nodes.count
        var counts = choice.counts
        if walk == .streamed, worldSize == 1, counts.contains(nil), catalog.directories.isEmpty {
            // One rank that streams needs none, but who asks wants to know.
            let set = try ShardIndexSet.open(
                catalog.shards.map(\.path), folder: options.indexFolder, workers: workers)
            counts = zip(counts, set.sampleCounts).map { $0 ?? $1 }
        }
        let known = counts.compactMap { $0 }
        sampleCount = known.count == counts.count ? try SampleNumbers(counts: known).count : nil
        if let rows = choice.rows {
            try planIndexed(catalog, rows, choice, builder, request)
        } else {
            try planStreamed(catalog, counts, choice, request)
        }
        if let limit = request.cacheLimit {
            cache = NodeCache(
                limit: limit, self, NodeCache.Shares(catalog, choice, nodes, dataSets, request),
                nodes: nodes)
            if request.cachePolicy == .lru, walk == .streamed {
                cache?.evictLeastRecentlyUsed(isShuffled: options.shuffle != .none)
            }
        }
        cacheHeldBytes = try request.cacheDirectory.flatMap { (directory) throws(HeadraceError) in
            try heldBytes(catalog, in: directory)
        }
        warnings += choice.notes
        addWarnings(request)
    }

    // MARK: Streamed

    private mutating func planStreamed(
        _ catalog: Catalog, _ counts: [Int?], _ choice: WalkChoice, _ request: PlanRequest
    ) throws(HeadraceError) {
        let options = request.options
        // A rank alone reads what there is, and has nobody to be equal to.
        let isDealt = worldSize > 1 || options.steps != nil
        guard options.uneven != .repeating || !isDealt else {
            throw HeadraceError(
                .usage,
                "repeating samples is for the indexed walk ('headrace index' makes the index); a streamed one can drop "
                    + "or pad")
        }
        let sizes = catalog.shards.map(\.size)
        var deal = ShardShare.Request(
            worldSize: worldSize, batchSize: batchSize, uneven: isDealt ? options.uneven : .drop,
            last: options.lastBatch, steps: options.steps, isShuffled: options.shuffle != .none,
            seed: options.seed, epoch: 0, nodes: choice.nodes)
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
        setTail(share.droppedCount, share.surplusCount, options.uneven)
        let reads = try StreamedReads(catalog, budget: request.budget, lanes: options.lanes)
        requests.count = reads.count
        requests.readByteCount = reads.byteCount
        requests.deliveredByteCount = reads.uncompressedByteCount
        if let sampleCount, let dropped = share.droppedCount, sampleCount > 0, dropped > 0 {
            let left = Double(sampleCount - dropped) / Double(sampleCount)
            requests.deliveredByteCount = reads.uncompressedByteCount.map {
                Int(exactly: (Double($0) * left).rounded()) ?? $0
            }
        }
    }

    /// Epochs whose deals are compared, at most.
    private static let dealtEpochs = 32

    // MARK: Indexed

    private mutating func planIndexed(
        _ catalog: Catalog, _ rows: [ShardRows], _ choice: WalkChoice, _ builder: LoaderBuilder,
        _ request: PlanRequest
    ) throws(HeadraceError) {
        let options = request.options
        let source = try IndexedSource(catalog, rows, storage: ListedFiles(catalog))
        let settings = try builder.planSettings(choice, rows, budget: request.budget)
        let start = EpochPosition(startOf: 0, worldSize: worldSize, batchSize: batchSize)
        let epoch = try IndexedEpoch(source, settings, start)
        rowsPerRank = epoch.share.rowsPerRank
        batchesPerRank = epoch.share.stepCount
        if let nodes = choice.nodes {
            let share = try NodeShare(
                counts: rows.map(\.sampleCount), blockSize: settings.blockSize, nodes: nodes,
                batchSize: batchSize, uneven: options.uneven, last: options.lastBatch, seed: options.seed)
            leastSamples = share.samples.min()
            mostSamples = share.samples.max()
            setTail(share.droppedCount, share.surplusCount, options.uneven)
        } else {
            setTail(epoch.share.droppedCount, epoch.share.surplusCount, options.uneven)
        }
        if let mixing = options.mixing { try addDataSets(mixing, source, epoch.share, request) }
        var simulation = RequestSimulation(source, settings)
        requests = try simulation.run(
            stepCount: epoch.share.stepCount, rowsPerRank: epoch.share.rowsPerRank)
    }

    private mutating func addDataSets(
        _ mixing: Mixing, _ source: IndexedSource, _ share: RankShare, _ request: PlanRequest
    ) throws(HeadraceError) {
        let counts = source.dataSets.map(\.count)
        let mixture = try Mixture(weights: mixing.weights, counts: counts, end: mixing.end)
        let shares = MixtureShares(mixture, counts: counts, share: share)
        dataSets = counts.indices.map { index in
            DataSet(
                words: request.dataset.shards[index], weight: mixing.weights[index],
                sampleCount: counts[index], deliveredCount: shares.delivered[index],
                repeatedCount: shares.repeated[index], leftOutCount: shares.leftOut[index])
        }
        droppedCount = shares.leftOut.reduce(0, +)
        repeatedCount = shares.repeated.reduce(0, +)
    }

    private mutating func setTail(_ dropped: Int?, _ surplus: Int?, _ uneven: UnevenRanks) {
        tailCount = (dropped ?? 0) + (surplus ?? 0)
        droppedCount = dropped
        paddedCount = surplus.map { uneven == .pad ? $0 : 0 }
        repeatedCount = surplus.map { uneven == .repeating ? $0 : 0 }
    }
}
