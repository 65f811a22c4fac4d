internal import HeadraceCore

/// What a cache that is full does with the next block.
package enum Eviction: String, Sendable, CaseIterable {
    /// Keeps what it has. With one shuffle per epoch this hits in proportion to what fits.
    case noEvict = "no-evict"
    /// Gives up the block that was used longest ago: nearly useless for shuffled epochs, there to compare.
    case lru
    /// Gives up the block that is needed last, by the plan of this epoch and the next.
    case clairvoyant
}

/// Where a cache is, and how much it may take.
package struct CacheSettings: Sendable, Equatable {
    /// A local directory of the cache's own; made where it is not there.
    package var folder: String
    /// Bytes that block files may take, all jobs together.
    package var limit: Int
    /// Bytes that stay free on the file system whatever the limit says.
    package var freeSpaceFloor = CacheLimits.freeSpaceFloor
    package var eviction = Eviction.noEvict
    /// Bytes a second that may be written to the cache; beyond it, reads pass it by. nil: no limit.
    package var writeRate: Int?
    /// Bytes of a block, for a directory that is not a cache yet.
    package var blockBytes = CacheLimits.blockBytes
    /// Memory for blocks that are on their way from the origin; for one of them at the least.
    package var stagingBytes = CacheLimits.stagedBlocks * CacheLimits.stagedBlockBytes

    package init(_ folder: String, limit: Int) {
        self.folder = folder
        self.limit = limit
    }
}

/// Caps of the cache, each with its default.
package enum CacheLimits {
    /// Bytes of a block. Large enough that a request to an object store (20 to 30 ms to the first byte, 93 MB/s per
    /// connection) spends most of its time on bytes, and that 400 GB are 100,000 files; small enough that one sample out
    /// of a shard of gigabytes costs 4 MiB.
    package static let blockBytes = 4 << 20
    /// Smallest and largest block that a directory may say it has.
    static let blockByteRange = 4096...(256 << 20)
    /// Bytes of the file system that a fill leaves free.
    package static let freeSpaceFloor = 1 << 30
    /// Blocks in memory on their way into the cache.
    package static let stagedBlocks = 8
    /// Memory of one of these: room for the trailer, and for the last block of a direct read.
    package static let stagedBlockBytes = blockBytes + stagingSurplus
    static let stagingSurplus = 8192
    /// How long one waits for another process: for the ledger, and for a block that it is filling. Then the read passes
    /// the cache by: a stopped process must not stop others.
    static let ledgerPatienceNanoseconds = 10_000_000_000
    static let blockPatienceNanoseconds = 60_000_000_000
    /// A cache that had no room is asked again after so long.
    static let refusalNanoseconds = 500_000_000
    /// Bad blocks that are kept to be looked at.
    static let quarantinedBlocks = 16
    /// Block files that are kept open by one process at most. Where blocks are evicted, few: what is open is not freed.
    static let openBlocks = 1024
    static let openBlocksWhereEvicted = 64
    /// Attempts to get a good block before the read passes the cache by.
    static let attempts = 3
    /// Blocks given up for the free-space floor in one fill: if that does not help, something else fills the disk.
    static let evictionsForFreeSpace = 8
    /// Objects with more blocks than this are refused: they claim what no object has.
    static let blocksOfObject = 1 << 26
}

/// Why a read was served by the origin and nothing was kept.
package enum PassThrough: String, Sendable, CaseIterable {
    case noVersion = "no_version"
    case limit
    case freeSpace = "free_space"
    case diskFull = "disk_full"
    case readOnly = "read_only"
    case gone
    case writeFailed = "write_failed"
    case writeRate = "write_rate"
    case busy
    case originChanged = "origin_changed"
    case notWorthwhile = "needed_later"
    case badBlock = "bad_block"

    /// The rest of the sentence "... passed the cache by: ".
    package func sentence(_ settings: CacheSettings) -> String {
        switch self {
        case .noVersion: "the origin does not tell one version of an object from another"
        case .limit:
            settings.limit == 0
                ? "its limit is 0" : "its limit of \(ByteCount(settings.limit)) is reached"
        case .freeSpace:
            "less than \(ByteCount(settings.freeSpaceFloor)) would stay free on its file system"
        case .diskFull: "its file system is full"
        case .readOnly: "its directory cannot be written to"
        case .gone: "its directory was removed"
        case .writeFailed: "a block could not be written"
        case .writeRate: "more was not to be written per second"
        case .busy: "another process held a lock of it for too long"
        case .originChanged: "the origin was changed while it was read"
        case .notWorthwhile: "what it holds is needed sooner"
        case .badBlock: "its blocks came back damaged again and again"
        }
    }
}

/// What a cache did, so far.
package struct CacheTotals: Sendable, Equatable {
    /// Reads, or parts of reads, that a block of the cache served, and their bytes.
    package var hits = 0
    package var hitBytes = 0
    /// Blocks brought from the origin and kept, and their bytes.
    package var fills = 0
    package var filledBytes = 0
    /// Bytes asked for by reads that were no hits.
    package var missedBytes = 0
    /// Of each reason, the reads that passed by and their bytes.
    package var passed: [PassThrough: Passed] = [:]
    /// Bytes that this process brought from the origin for a block that it had brought before.
    package var refetchedBytes = 0
    /// Blocks that did not have their checksum.
    package var badBlocks = 0
    package var evictedBlocks = 0

    package init() {}

    /// Share of the bytes asked for that the cache served.
    package var hitRate: Double {
        let asked = hitBytes + missedBytes
        return asked == 0 ? 0 : Double(hitBytes) / Double(asked)
    }

    /// Reads that passed by, and their bytes.
    package struct Passed: Sendable, Equatable {
        package var reads = 0
        package var bytes = 0

        package init() {}
    }
}
