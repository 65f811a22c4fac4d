public import HeadraceCore
internal import HeadraceStorage

/// What a cache that is full does with the next block.
public enum CachePolicy: String, Hashable, Sendable, CaseIterable {
    /// Keeps what it has. One shuffle per epoch then hits in proportion to what fits: 35 % of the data, 35 % of the
    /// reads.
    case noEvict = "no-evict"
    /// Gives up the block that was used longest ago. 35 % of shuffled data hit 7 % of the reads; for comparison.
    case lru
    /// Gives up the block that is needed last by this loader's own plan of this epoch and the next, and keeps no block
    /// that is needed later than all it has. For streamed walks; in an indexed one, where every block is needed all the
    /// time, it keeps what it has.
    case clairvoyant

    var eviction: Eviction {
        switch self {
        case .noEvict: .noEvict
        case .lru: .lru
        case .clairvoyant: .clairvoyant
        }
    }
}

/// A cache of blocks on a local disk, before wherever the shards are.
///
/// ```swift
/// Dataset("/nfs/train-{000000..000146}.tar").cached(at: "/mnt/nvme/headrace", limit: .gigabytes(400))
/// ```
public struct CacheOptions: Hashable, Sendable {
    /// A directory of the cache's own on a disk of this machine; made where there is none. One with other things in it
    /// is refused.
    public var directory: String
    /// Bytes that it may take, all jobs that use it together.
    public var limit: ByteCount
    /// What happens when the limit is reached.
    public var policy = CachePolicy.noEvict
    /// Bytes that stay free on its file system, whatever the limit says.
    public var freeSpaceFloor = ByteCount(CacheLimits.freeSpaceFloor)
    /// Bytes that may be written to it in a second, so that it does not compete with checkpoints; reads beyond that pass
    /// it by. nil: no limit.
    public var writeRate: ByteCount?

    /// A cache in `directory` that takes `limit` at most.
    public init(at directory: String, limit: ByteCount, policy: CachePolicy = .noEvict) {
        self.directory = directory
        self.limit = limit
        self.policy = policy
    }

    /// As the storage takes them, with so much memory for blocks on their way.
    func settings(stagingBytes: Int) -> CacheSettings {
        var settings = CacheSettings(directory, limit: limit.bytes)
        settings.eviction = policy.eviction
        settings.freeSpaceFloor = freeSpaceFloor.bytes
        settings.writeRate = writeRate?.bytes
        settings.stagingBytes = stagingBytes
        return settings
    }
}

extension Dataset {
    /// Keeps blocks of the shards in `directory`, a directory of the cache's own on a local disk, and reads them from
    /// there in later epochs and runs. Any number of processes may share it. See <doc:Caching>.
    public func cached(
        at directory: String, limit: ByteCount, policy: CachePolicy = .noEvict
    ) -> Dataset {
        with { $0.cache = CacheOptions(at: directory, limit: limit, policy: policy) }
    }
}

extension LoaderOptions {
    /// Memory for blocks on their way into a cache: an eighth of the budget, one block at the least.
    func cacheStagingBytes(budget: Int) -> Int {
        guard cache != nil else { return 0 }
        let wanted = CacheLimits.stagedBlocks * CacheLimits.stagedBlockBytes
        return max(CacheLimits.stagedBlockBytes, min(wanted, budget / 8))
    }
}

extension StorageAccess {
    /// The same with the cache that the options ask for; as it is where they ask for none.
    func cached(_ options: LoaderOptions, budget: Int) throws(HeadraceError) -> StorageAccess {
        guard let request = options.cache else { return self }
        guard !options.direct else {
            throw HeadraceError(
                .usage,
                "direct reads pass by everything that keeps bytes, and a cache is such a thing: leave out one of the two"
            )
        }
        let cache = try BlockCache(request.settings(stagingBytes: options.cacheStagingBytes(budget: budget)))
        let workerReader = workerReader
        let cached: @Sendable () -> any Reader = { CachedReader(origin: workerReader()) }
        return StorageAccess(
            storage: CachedStorage(storage, cache: cache, isPooled: hasFetchThread),
            hasFetchThread: hasFetchThread,
            reason: "\(reason); blocks of \(ByteCount(cache.folder.blockBytes)) kept in \(cache.folder.path)",
            workerReader: cached, probeReader: cached, cache: cache)
    }
}
