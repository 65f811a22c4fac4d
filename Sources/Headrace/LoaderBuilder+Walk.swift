internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Which way a loader walks, settled when it opens.
struct WalkChoice {
    var walk: Walk
    /// A line for people.
    var reason: String
    var ranks: Ranks
    /// With an affinity to them.
    var nodes: Nodes?
    /// Of every shard; nil in a streamed walk.
    var rows: [ShardRows]?
    /// Samples of each shard, where something tells.
    var counts: [Int?]
    /// What the user should know of the indexes.
    var notes: [String] = []
}

/// How much of an indexed walk is under way at once.
struct WindowSize {
    /// Steps of one window, if its samples are as large as those that were looked at.
    var steps: Int
    /// Bytes of one window's samples, whatever they are.
    var bytes: Int
    var ahead: Int
}

extension LoaderBuilder {
    /// Settles the walk; throws where the options contradict each other, or where what they demand lacks an index.
    func chooseWalk(_ catalog: Catalog, workers: Int, budget: Int) throws(HeadraceError) -> WalkChoice {
        let ranks = try Ranks.resolve(
            rank: options.rank, worldSize: options.worldSize, environment: Self.launcherVariables())
        let nodes = try nodes(of: ranks)
        let demanded = try demandedWalk()
        // A walk that was chosen once is kept: what has been indexed since does not change it.
        let asks = demanded ?? options.walk ?? state?.walk ?? (options.steps == nil ? nil : .streamed)
        let listed = catalog.shards.map { catalog.directories[$0.number]?.count ?? $0.listed?.sampleCount }
        if asks == .streamed || (asks == nil && ranks.worldSize == 1) {
            let reason = asks == nil ? "one rank, and no order that needs an index" : "as the options say"
            let counts =
                ranks.worldSize > 1 ? try counts(catalog, listed, workers: workers) : listed
            return WalkChoice(
                walk: .streamed, reason: reason, ranks: ranks, nodes: nodes, rows: nil, counts: counts)
        }
        guard catalog.directories.isEmpty else {
            guard asks == nil else {
                throw HeadraceError(
                    .usage,
                    "a directory of files has no index; 'headrace pack' makes shards of it that have one")
            }
            return WalkChoice(
                walk: .streamed, reason: "directories have no index", ranks: ranks, nodes: nodes,
                rows: nil, counts: listed)
        }
        let paths = catalog.shards.map(\.path)
        let set = try ShardIndexSet.open(
            paths, folder: options.indexFolder, workers: workers, tableByteCount: min(64 << 20, budget / 16))
        let counts = zip(set.sampleCounts, listed).map { $0 ?? $1 }
        if let missing = set.firstWithout(paths) ?? Self.firstUnseekable(set, paths) {
            guard asks == nil else { throw missing }
            return WalkChoice(
                walk: .streamed, reason: "not every shard can be read at random: \(missing.message)",
                ranks: ranks, nodes: nodes, rows: nil, counts: counts)
        }
        let rows = set.entries.compactMap { if case .found(let rows) = $0 { rows } else { nil } }
        if options.steps != nil {
            throw HeadraceError(
                .usage, "the number of steps is for the streamed walk; an indexed one knows its own")
        }
        let notes = try notes(rows, catalog, listed)
        let reason = asks == nil ? "several ranks, and every shard has an index" : "as the options say"
        return WalkChoice(
            walk: .indexed, reason: reason, ranks: ranks, nodes: nodes, rows: rows, counts: counts,
            notes: notes)
    }

    private func demandedWalk() throws(HeadraceError) -> Walk? {
        let demanded: Walk? =
            switch options.shuffle {
            case .none: nil
            case .buffer: .streamed
            case .block, .global: .indexed
            }
        if let demanded, let walk = options.walk, walk != demanded {
            throw HeadraceError(
                .usage,
                "this shuffle is one of the \(demanded.rawValue) walk, and the \(walk.rawValue) one is asked for"
            )
        }
        if options.mixing != nil || options.bucketWindow != nil {
            guard (demanded ?? options.walk) != .streamed else {
                throw HeadraceError(
                    .usage,
                    "\(options.mixing != nil ? "a mixture of data sets" : "bucketing by length") is an indexed walk, and "
                        + "a streamed one is asked for: shuffle globally or by blocks")
            }
            return .indexed
        }
        return demanded
    }

    /// Holds the indexes against the manifests: samples that an index lacks would be missing without a word.
    private func notes(
        _ rows: [ShardRows], _ catalog: Catalog, _ listed: [Int?]
    ) throws(HeadraceError) -> [String] {
        var notes: [String] = []
        for (rows, shard) in zip(rows, catalog.shards) {
            let place = HeadraceError.Place(shard: shard.path)
            if rows.leavesOutDamage {
                guard options.onDefect != .fail else {
                    throw HeadraceError(
                        .indexMismatch,
                        "its index leaves out damaged samples, as whoever made it wished, and defects are to fail: "
                            + "let them be skipped, repair the shard, or index it anew ('headrace index --rebuild')",
                        at: place)
                }
                notes.append("\(shard.name): its index leaves out damaged samples, and nobody counts them")
            } else if let count = listed[shard.number], count != rows.sampleCount {
                throw HeadraceError(
                    .indexMismatch,
                    "its index has \(rows.sampleCount) samples and its manifest \(count): one of them was changed "
                        + "('headrace index --rebuild' makes both anew)", at: place)
            }
        }
        return notes
    }

    private func nodes(of ranks: Ranks) throws(HeadraceError) -> Nodes? {
        guard options.affinity == .node else { return nil }
        guard options.mixing == nil else {
            throw HeadraceError(
                .usage, "a mixture of data sets cannot have an affinity to nodes; leave one of them out")
        }
        guard let count = options.nodes ?? ranks.nodeCount ?? (ranks.worldSize == 1 ? 1 : nil) else {
            throw HeadraceError(
                .usage,
                "an affinity to nodes needs their number, or a launcher that says how many processes are on each"
            )
        }
        return try Nodes(count: count, worldSize: ranks.worldSize)
    }

    /// For a streamed walk of several ranks: what indexes say goes before what manifests say.
    private func counts(
        _ catalog: Catalog, _ listed: [Int?], workers: Int
    ) throws(HeadraceError) -> [Int?] {
        guard listed.contains(where: { $0 == nil }) else { return listed }
        let set = try ShardIndexSet.open(
            catalog.shards.map(\.path), folder: options.indexFolder, workers: workers)
        return zip(set.sampleCounts, listed).map { $0 ?? $1 }
    }

    private static func firstUnseekable(_ set: ShardIndexSet, _ paths: [String]) -> HeadraceError? {
        for (path, entry) in zip(paths, set.entries) {
            guard case .found(let rows) = entry, !rows.isSeekable else { continue }
            return HeadraceError(
                .unsupported,
                "a plain \(rows.codec.rawValue) file can only be read from its front, so its samples cannot be read in "
                    + "any order; 'headrace pack' writes the same samples into shards that can",
                at: .init(shard: path))
        }
        return nil
    }

    private static func launcherVariables() -> [String: String] {
        var found: [String: String] = [:]
        for name in Ranks.variableNames {
            if let value = unsafe getenv(name) { found[name] = unsafe String(cString: value) }
        }
        return found
    }

    /// What an indexed walk holds within the budget; throws with the bytes needed where the least of it is too much.
    ///
    /// A batch keeps the memory that its rows lie in, and with a shuffle that can be all of its window: so each batch that
    /// may be held counts as a window.
    ///
    /// - Parameters:
    ///   - sampleBytes: of a sample in its uncompressed shard, on average.
    ///   - overheadBytes: what a sample takes besides, at most: tables, alignment, gaps that are read along.
    func windowSize(
        budget: Int, slabBytes: Int, fixedBytes: Int, sampleBytes: Int, overheadBytes: Int, heldBatches: Int,
        blockSize: Int?
    ) throws(HeadraceError) -> WindowSize {
        let batch = options.batchSize
        let batchBytes = max(1, product(batch, max(1, sampleBytes)))
        let heldBytes = product(batch, overheadBytes)
        let fixedBytes = fixedBytes + bucketBytes
        func needed(_ steps: Int, _ ahead: Int) -> Int {
            let window = product(steps, batchBytes / 4 * 5 + heldBytes) + slabBytes
            return fixedBytes + product(ahead, window + slabBytes) + product(heldBatches, window)
        }
        var steps = max(
            1,
            min(
                (IndexedOrder.windowRows + batch - 1) / batch, max(1, IndexedOrder.windowBytes / batchBytes)))
        if let blockSize {
            steps = max(steps, min((blockSize + batch - 1) / batch, max(1, (64 << 20) / batchBytes)))
        }
        for ahead in [IndexedOrder.windowsAhead, 2, 1] {
            var tried = steps
            while tried >= 1 {
                if needed(tried, ahead) <= budget {
                    // What the estimate leaves of the budget is for samples that are larger than those looked at.
                    let share = (budget - needed(0, ahead)) / (ahead + heldBatches) / 5 * 4
                    let bytes = min(share, 2 * max(IndexedOrder.windowBytes, tried * batchBytes))
                    return WindowSize(steps: tried, bytes: max(1, bytes), ahead: ahead)
                }
                tried /= 2
            }
        }
        let needed = needed(1, 1)
        throw HeadraceError(
            .budget,
            "the memory budget is \(ByteCount(budget)), but \(ByteCount(needed)) are needed for batches of \(batch) "
                + "samples of \(ByteCount(sampleBytes)) each, of which \(heldBatches) may be held; raise the budget or "
                + "make batches smaller")
    }

    /// What an indexed walk does for these ranks, its windows not yet measured out.
    func indexedSettings(_ choice: WalkChoice, _ ranks: Ranks) -> IndexedOrder.Settings {
        let order: SampleOrder =
            switch options.shuffle {
            case .block(let size): .block(size)
            case .global: .global
            case .none, .buffer: .catalog
            }
        return IndexedOrder.Settings(
            order: order, seed: options.seed, uneven: options.uneven, last: options.lastBatch, ranks: ranks,
            batchSize: options.batchSize, windowSteps: 1, windowBytes: 0,
            alignment: options.direct ? ChunkGeometry.pageBytes : 1, mixing: options.mixing,
            nodes: choice.nodes, bucketSteps: options.bucketWindow)
    }

    /// Memory in which the planner arranges a window of bucketing.
    var bucketBytes: Int {
        guard let window = options.bucketWindow else { return 0 }
        return product(product(window, options.batchSize), 2 * MemoryLayout<PlannedRow>.stride + 24)
    }

    /// The options that decide what is delivered, as the state has them.
    func stateOptions(_ choice: WalkChoice, _ catalog: Catalog) -> [String: String] {
        var words: [String: String] = [
            "shuffle": options.shuffle.words, "seed": "\(options.seed)", "last": options.lastBatch.rawValue,
            "uneven": options.uneven.rawValue, "on_defect": options.onDefect.words,
            "example": "\(options.parsesExamples)",
            "decode": options.fields.map {
                "\($0.column)=\($0.name)\($0.isOptional ? "?" : "")=\($0.decoder)"
                    + ($0.normalization.map { "|\($0)" } ?? "")
            }
            .joined(separator: " "),
        ]
        if let mixing = options.mixing {
            words["mix"] =
                "\(mixing), \(catalog.dataSetStarts.dropFirst().map(String.init).joined(separator: ","))"
        }
        if let nodes = choice.nodes { words["affinity"] = "node, \(nodes.count) of them" }
        if let window = options.bucketWindow { words["bucket_window"] = "\(window)" }
        if choice.walk == .streamed {
            words["lanes"] = "\(options.lanes)"
            if let steps = options.steps { words["steps"] = "\(steps)" }
        }
        return words
    }
}
