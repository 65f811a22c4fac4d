package import HeadraceCore
package import HeadraceTiers

/// What a plan is asked about: the options that decide order and shares.
package struct PlanRequest: Sendable {
    /// The order, as `--shuffle` writes it: of a streamed walk, of an indexed one, or of either.
    package enum Order: Hashable, Sendable, CustomStringConvertible {
        /// As in the catalog.
        case none
        /// Shards in random order and each N consecutive samples shuffled; streamed.
        case buffer(Int)
        /// Blocks of N neighbours in random order, each shuffled within; indexed.
        case block(Int)
        /// A random permutation of all samples; indexed.
        case global

        /// Reads what the flag says.
        package init(words: String) throws(HeadraceError) {
            func size(_ prefix: String) -> Int? {
                guard words.hasPrefix(prefix), let size = Int(words.dropFirst(prefix.count)), size >= 1,
                    size <= PlanLimits.blockSize
                else { return nil }
                return size
            }
            switch words {
            case "none": self = .none
            case "global": self = .global
            default:
                if let size = size("buffer:") {
                    self = .buffer(size)
                } else if let size = size("block:") {
                    self = .block(size)
                } else {
                    throw HeadraceError(
                        .usage,
                        "'\(words)' is no shuffle; write none, global, buffer:N or block:N with N from 1 to "
                            + "\(PlanLimits.blockSize)")
                }
            }
        }

        package var description: String {
            switch self {
            case .none: "none"
            case .buffer(let size): "buffer:\(size)"
            case .block(let size): "block:\(size)"
            case .global: "global"
            }
        }

        var sampleOrder: SampleOrder {
            switch self {
            case .none, .buffer: .catalog
            case .block(let size): .block(size)
            case .global: .global
            }
        }

        var blockSize: Int? { if case .block(let size) = self { size } else { nil } }
    }

    package var order = Order.none
    /// nil: indexed where the order demands it or every shard has a count, else streamed.
    package var walk: Walk?
    package var affinity = Affinity.none
    package var seed: UInt64 = 0
    package var epochs = 1
    package var batchSize = LoaderOptions.defaultBatchSize
    package var last = LastBatch.keep
    package var uneven = UnevenRanks.drop
    package var ranks = Ranks.alone
    package var nodeCount: Int?
    /// Batches of each rank, given; for a streamed walk without counts.
    package var steps: Int?
    /// Bytes of the cache of one node.
    package var cacheLimit: Int?
    /// Where the shards are.
    package var tier: Tier?

    package init() {}

    /// Nodes of the job; with an affinity they must be known.
    func nodes() throws(HeadraceError) -> Nodes {
        guard affinity == .none || nodeCount != nil || ranks.worldSize == 1 else {
            throw HeadraceError(
                .usage,
                "an affinity to nodes needs their number: --nodes, or a launcher that says how many processes "
                    + "are on each")
        }
        return try Nodes(count: nodeCount ?? 1, worldSize: ranks.worldSize)
    }

    /// The walk that will be done.
    func resolvedWalk(isCounted: Bool) throws(HeadraceError) -> Walk {
        let demanded: Walk? =
            switch order {
            case .none: nil
            case .buffer: .streamed
            case .block, .global: .indexed
            }
        if let walk, let demanded, walk != demanded {
            throw HeadraceError(
                .usage,
                "--shuffle \(order) is an order of the \(demanded.rawValue) walk, and --walk says "
                    + "\(walk.rawValue)")
        }
        let resolved = demanded ?? walk ?? (isCounted && ranks.worldSize > 1 ? .indexed : .streamed)
        guard resolved == .streamed || isCounted else {
            throw HeadraceError(
                .usage,
                "an indexed walk needs the sample count of every shard, and some have none: "
                    + "'headrace index SHARDS' makes their indexes, or use --walk streamed")
        }
        return resolved
    }
}

/// One shard as a plan sees it.
package struct PlannedShard: Sendable, Equatable {
    package var path: String
    package var byteCount: Int
    /// nil: neither a manifest nor an index tells.
    package var sampleCount: Int?
    /// Frames that can be read alone; 0: the file is not compressed.
    package var frameCount: Int

    package init(path: String, byteCount: Int, sampleCount: Int?, frameCount: Int = 0) {
        self.path = path
        self.byteCount = byteCount
        self.sampleCount = sampleCount
        self.frameCount = frameCount
    }

    /// Bytes of the file that are sample `ordinal` alone, all samples of a shard taken as equally long.
    func byteCount(ofSample ordinal: Int) -> Int {
        let count = max(1, sampleCount ?? 1)
        return byte(ordinal + 1, count) - byte(ordinal, count)
    }

    /// Bytes of the file that have to be read for sample `ordinal`: its own, or those of the frames that it lies in.
    func extent(ofSample ordinal: Int) -> Range<Int> {
        let count = max(1, sampleCount ?? 1)
        guard frameCount > 0 else { return byte(ordinal, count)..<byte(ordinal + 1, count) }
        let first = Self.scaled(ordinal, frameCount, count)
        let last = max(first + 1, Self.scaled(ordinal + 1, frameCount, count, up: true))
        return byte(first, frameCount)..<byte(min(last, frameCount), frameCount)
    }

    private func byte(_ part: Int, _ count: Int) -> Int { Self.scaled(part, byteCount, count) }

    /// part × whole / count, for part ≤ count, without overflow.
    private static func scaled(_ part: Int, _ whole: Int, _ count: Int, up: Bool = false) -> Int {
        let product = UInt64(part).multipliedFullWidth(by: UInt64(whole))
        let (quotient, remainder) = UInt64(count).dividingFullWidth((product.high, product.low))
        return Int(quotient) + (up && remainder > 0 ? 1 : 0)
    }
}
