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
    /// Of every shard; nil in a streamed walk.
    var rows: [ShardRows]?
    /// Samples of each shard, where something tells.
    var counts: [Int?]
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
        let demanded = try demandedWalk()
        let asks = demanded ?? options.walk
        let listed = catalog.shards.map { catalog.directories[$0.number]?.count ?? $0.listed?.sampleCount }
        if asks == .streamed || (asks == nil && ranks.worldSize == 1) {
            let reason = asks == nil ? "one rank, and no order that needs an index" : "as the options say"
            let counts =
                ranks.worldSize > 1 ? try counts(catalog, listed, workers: workers) : listed
            return WalkChoice(walk: .streamed, reason: reason, ranks: ranks, rows: nil, counts: counts)
        }
        guard catalog.directories.isEmpty else {
            guard asks == nil else {
                throw HeadraceError(
                    .usage,
                    "a directory of files has no index; 'headrace pack' makes shards of it that have one")
            }
            return WalkChoice(
                walk: .streamed, reason: "directories have no index", ranks: ranks, rows: nil, counts: listed)
        }
        let paths = catalog.shards.map(\.path)
        let set = try ShardIndexSet.open(
            paths, folder: options.indexFolder, workers: workers, tableByteCount: min(64 << 20, budget / 16))
        let counts = zip(set.sampleCounts, listed).map { $0 ?? $1 }
        if let missing = set.firstWithout(paths) ?? Self.firstUnseekable(set, paths) {
            guard asks == nil else { throw missing }
            return WalkChoice(
                walk: .streamed, reason: "not every shard can be read at random: \(missing.message)",
                ranks: ranks,
                rows: nil, counts: counts)
        }
        let rows = set.entries.compactMap { if case .found(let rows) = $0 { rows } else { nil } }
        let reason = asks == nil ? "several ranks, and every shard has an index" : "as the options say"
        return WalkChoice(walk: .indexed, reason: reason, ranks: ranks, rows: rows, counts: counts)
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
        if options.steps != nil, (demanded ?? options.walk) == .indexed {
            throw HeadraceError(
                .usage, "the number of steps is for the streamed walk; an indexed one knows its own")
        }
        return demanded
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
    func windowSize(
        budget: Int, slabBytes: Int, fixedBytes: Int, sampleBytes: Int, heldBatches: Int, blockSize: Int?
    ) throws(HeadraceError) -> WindowSize {
        let batch = options.batchSize
        let batchBytes = max(1, batch * max(1, sampleBytes))
        func needed(_ steps: Int, _ ahead: Int) -> Int {
            let window = steps * batchBytes / 4 * 5 + slabBytes
            return fixedBytes + ahead * (window + slabBytes) + heldBatches * window
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

    /// The options that decide what is delivered, as the state has them.
    func stateOptions(_ choice: WalkChoice) -> [String: String] {
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
        if choice.walk == .streamed {
            words["lanes"] = "\(options.lanes)"
            if let steps = options.steps { words["steps"] = "\(steps)" }
        }
        return words
    }
}
