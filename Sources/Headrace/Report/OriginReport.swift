internal import HeadraceStorage

/// From where bytes of shards came.
public struct OriginBytes: Sendable, Equatable {
    /// From files of this machine, or of file systems that look like it.
    public var localBytes = 0
    /// Of these, from a device, by the kernel's count for the whole process, which knows nothing of who asked: where a
    /// cache was read as well, this is the most that it can have been. nil where the system does not tell.
    public var deviceBytes: Int?
    /// From the block files of a cache.
    public var cache = 0
    /// From a cache in memory.
    public var ram = 0
    /// From servers.
    public var remote = 0

    /// Of the bytes of local files, those from the page cache; nil where the system does not tell.
    public var pageCache: Int? { deviceBytes.map { localBytes - $0 } }

    /// Nothing yet.
    public init() {}

    /// Of the bytes of local files, `deviceBytes` came from a device, at most.
    init(_ sources: ByteSources, deviceBytes: Int?) {
        cache = sources.cache
        ram = sources.ram
        remote = sources.remote
        localBytes = sources.local
        self.deviceBytes = deviceBytes.map { min(max(0, $0), sources.local) }
    }
}

/// From where the bytes of one epoch came.
public struct EpochOrigins: Sendable, Equatable {
    /// The epoch, from 0.
    public var epoch: Int
    /// From where they came.
    public var origins: OriginBytes
    /// Share of the bytes that a cache had; of blocks that were brought for a part of them, all bytes count.
    public var hitRate: Double {
        let hits = origins.cache + origins.ram
        let all = hits + origins.remote + origins.localBytes
        return all == 0 ? 0 : Double(hits) / Double(all)
    }
}

/// What a loader's cache did.
public struct CacheReport: Sendable, Equatable {
    /// Where it is.
    public var directory = ""
    /// What it may take.
    public var limit = 0
    /// What it does when that is reached.
    public var policy = CachePolicy.noEvict
    /// Reads, or parts of such, that it served, and their bytes.
    public var hits = 0
    /// Bytes that it served.
    public var hitBytes = 0
    /// Bytes asked for that it did not have.
    public var missedBytes = 0
    /// Blocks that were brought and kept.
    public var fills = 0
    /// Bytes of these.
    public var filledBytes = 0
    /// Bytes of blocks that this process brought from the origin although it had brought them before.
    public var refetchedBytes = 0
    /// Blocks that were damaged, and put away.
    public var badBlocks = 0
    /// Blocks that were given up for others.
    public var evictedBlocks = 0
    /// Reads that were served by the origin and of which nothing was kept.
    public var passed: [Passed] = []

    /// Reads that passed a cache by, for one reason.
    public struct Passed: Sendable, Equatable {
        /// Such as `limit`, `free_space`, `read_only`.
        public var reason: String
        /// How many.
        public var reads: Int
        /// Bytes that they asked for.
        public var bytes: Int
    }

    /// Share of the bytes asked for that it served.
    public var hitRate: Double {
        let asked = hitBytes + missedBytes
        return asked == 0 ? 0 : Double(hitBytes) / Double(asked)
    }

    init(_ cache: BlockCache) {
        let totals = cache.totals
        directory = cache.folder.path
        limit = cache.settings.limit
        policy = CachePolicy(rawValue: cache.settings.eviction.rawValue) ?? .noEvict
        hits = totals.hits
        hitBytes = totals.hitBytes
        missedBytes = totals.missedBytes
        fills = totals.fills
        filledBytes = totals.filledBytes
        refetchedBytes = totals.refetchedBytes
        badBlocks = totals.badBlocks
        evictedBlocks = totals.evictedBlocks
        passed = totals.passed.sorted { $0.key.rawValue < $1.key.rawValue }.map {
            Passed(reason: $0.key.rawValue, reads: $0.value.reads, bytes: $0.value.bytes)
        }
    }
}

/// From where the bytes of each epoch came, as a loader counts them.
struct OriginTally {
    /// Epochs of which the report tells apart from the rest: the last ones.
    static let epochLimit = 64

    private(set) var total = ByteSources()
    private var epochs: [(epoch: Int, sources: ByteSources, deviceAtStart: Int?)] = []

    /// Adds what a read brought; nil: `bytes` of local files.
    mutating func add(_ sources: ByteSources?, bytes: Int, epoch: Int) {
        var brought = ByteSources()
        brought.local = bytes
        brought = sources ?? brought
        total.add(brought)
        if let place = epochs.lastIndex(where: { $0.epoch == epoch }) {
            epochs[place].sources.add(brought)
            return
        }
        epochs.append((epoch, brought, ProcessIO.now()?.deviceBytes))
        if epochs.count > Self.epochLimit { epochs.removeFirst() }
    }

    /// Of the last epochs, in order. An epoch's device bytes are those that were counted until the next one's first read.
    func report(deviceBytes: Int?, isDirect: Bool) -> [EpochOrigins] {
        let sorted = epochs.sorted { $0.epoch < $1.epoch }
        return sorted.enumerated().map { place, entry in
            let end = place + 1 < sorted.count ? sorted[place + 1].deviceAtStart : deviceBytes
            var device: Int?
            if let end, let start = entry.deviceAtStart { device = end - start }
            if isDirect { device = entry.sources.local }
            return EpochOrigins(
                epoch: entry.epoch, origins: OriginBytes(entry.sources, deviceBytes: device))
        }
    }
}
