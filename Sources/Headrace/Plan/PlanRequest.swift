package import HeadraceCore
package import HeadraceTiers

/// What a plan is asked about: a data set with the options that a loader of it is given, and what only a plan asks.
package struct PlanRequest: Sendable {
    package var dataset: Dataset
    /// Bytes of the cache of one node.
    package var cacheLimit: Int?
    package var cachePolicy = CachePolicy.noEvict
    /// A cache that may be there already.
    package var cacheDirectory: String?
    /// Where the shards are.
    package var tier: Tier?

    package init(_ dataset: Dataset, cacheLimit: Int? = nil, tier: Tier? = nil) {
        self.dataset = dataset
        self.cacheLimit = cacheLimit
        self.tier = tier
        // A plan is of all ranks, so the world size alone is enough.
        if self.dataset.options.worldSize != nil, self.dataset.options.rank == nil {
            self.dataset.options.rank = 0
        }
    }

    var options: LoaderOptions { dataset.options }

    /// The memory budget that a loader would have here.
    var budget: Int { options.memory?.bytes ?? Machine.current.defaultBudget }

    var blockSize: Int? { if case .block(let size) = options.shuffle { size } else { nil } }

    /// Whether nothing but the shards decides which way they are walked.
    var isAutomatic: Bool {
        options.walk == nil && options.shuffle == .none && options.mixing == nil
            && options.bucketWindow == nil && options.steps == nil
    }

    /// Throws where an option is out of its range; how they go together is judged with the walk.
    func check() throws(HeadraceError) {
        try PlanLimits.check(options.batchSize, 1...PlanLimits.batchSize, "the batch size")
        try PlanLimits.check(options.epochs ?? 1, 1...Int.max, "the number of epochs")
        try PlanLimits.check(
            options.memory?.bytes ?? 1, 1...LoaderBuilder.largestMemory, "the memory budget in bytes")
        if let window = options.bucketWindow {
            try PlanLimits.check(
                window, 1...PlanLimits.bucketRows / options.batchSize, "a window of bucketing in batches")
        }
        switch options.shuffle {
        case .none, .global: break
        case .buffer(let size): try PlanLimits.check(size, 1...Self.largestBuffer, "the shuffle buffer")
        case .block(let size): try PlanLimits.check(size, 1...PlanLimits.blockSize, "a shuffle block")
        }
        if let mixing = options.mixing, mixing.weights.count != dataset.shards.count {
            throw HeadraceError(
                .usage,
                "there are \(mixing.weights.count) weights for \(dataset.shards.count) data sets; each path, folder or "
                    + "pattern is one data set (a pattern that the shell has expanded is several)")
        }
    }

    /// Samples of a shuffle buffer, as the loader has it.
    private static let largestBuffer = 1 << 28
}

extension Shuffle {
    /// Reads what `--shuffle` says; the range of its number is judged later.
    package init(planWords words: String) throws(HeadraceError) {
        func size(_ prefix: String) -> Int? {
            guard words.hasPrefix(prefix), let size = Int(words.dropFirst(prefix.count)), size >= 1 else {
                return nil
            }
            return size
        }
        if words == "none" {
            self = .none
        } else if words == "global" {
            self = .global
        } else if let size = size("buffer:") {
            self = .buffer(size)
        } else if let size = size("block:") {
            self = .block(size)
        } else {
            throw HeadraceError(
                .usage,
                "'\(words)' is no shuffle; write none, global, buffer:N or block:N with N of at least 1")
        }
    }
}
