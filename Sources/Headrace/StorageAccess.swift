internal import HeadraceCore
internal import HeadraceStorage

/// Through what a loader reads, and which of its threads do.
struct StorageAccess: Sendable {
    let storage: any Storage
    /// A thread of its own fetches; else the workers read for themselves.
    let hasFetchThread: Bool
    /// A line for people: why it is read this way.
    let reason: String
    /// What a worker reads with: what its lane needs at open, and everything where no thread fetches.
    let workerReader: @Sendable () -> any Reader
    /// What the first look at the shards reads with.
    var probeReader: @Sendable () -> any Reader = { BlockingReader() }
    /// Between the storage and its origin.
    var cache: BlockCache?

    /// The files of this machine, by the engine that the options ask for.
    static func local(_ options: LoaderOptions) throws(HeadraceError) -> StorageAccess {
        let storage = try LocalStorage(
            direct: options.direct ? .required : .off, engine: options.engine.storageEngine)
        return StorageAccess(
            storage: storage, hasFetchThread: storage.choice.way != .blocking, reason: storage.choice.reason
        ) { BlockingReader(queueDepth: 64) }
    }
}
