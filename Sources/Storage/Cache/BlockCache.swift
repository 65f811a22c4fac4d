internal import Glibc
package import HeadraceCore

/// A cache of blocks in a local directory, shared by all readers of a loader and, through the directory, by processes.
///
/// A read finds its block open, or in the directory, or brings it: one thread of one process for each block, while those
/// that want it too wait for it. Whatever keeps a block from being kept, the read is served by the origin, and counted.
// Sendable: `lock` guards what changes; objects, folder and order have locks of their own.
package final class BlockCache: @unchecked Sendable {
    package let settings: CacheSettings
    package let folder: CacheFolder
    let order: VictimOrder
    let staging: StagingMemory
    private let lock = Lock()
    private var objects: [CacheKey: CachedObject] = [:]
    /// Open blocks, in the order in which they were opened.
    private var opened: [(object: CachedObject, number: Int)] = []
    private var oldestOpened = 0
    private let openLimit: Int
    private var refused: (reason: PassThrough, until: Int)?
    private var counted = CacheTotals()
    private var writeAllowance: Double
    private var allowanceAt = Clock.now()
    private var lastScan: Int?

    /// Opens the cache. Throws `usage` for a directory that is none.
    package init(_ settings: CacheSettings) throws(HeadraceError) {
        guard settings.limit >= 0 else {
            throw HeadraceError(.usage, "the limit of a cache is 0 bytes or more")
        }
        self.settings = settings
        folder = try CacheFolder(settings)
        order = VictimOrder(isClairvoyant: settings.eviction == .clairvoyant)
        let staged = folder.blockBytes + CacheLimits.stagingSurplus
        staging = StagingMemory(bytes: staged, count: max(1, settings.stagingBytes / staged))
        var files = rlimit()
        _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
        let most =
            settings.eviction == .noEvict ? CacheLimits.openBlocks : CacheLimits.openBlocksWhereEvicted
        openLimit = max(16, min(most, Int(clamping: files.rlim_cur) / 4))
        writeAllowance = Double(settings.writeRate ?? 0)
        if settings.eviction != .noEvict { scan() }
    }

    /// What it did so far.
    package var totals: CacheTotals {
        let (known, base) = lock.withLock { (Array(objects.values), counted) }
        var totals = base
        for object in known {
            let hits = object.hitCounts
            totals.hits += hits.reads
            totals.hitBytes += hits.bytes
        }
        return totals
    }

    /// A line for each reason for which reads passed by.
    package var notes: [String] {
        totals.passed.sorted { $0.key.rawValue < $1.key.rawValue }.map { reason, passed in
            "\(passed.reads) \(passed.reads == 1 ? "read" : "reads") (\(ByteCount(passed.bytes))) passed the cache "
                + "\(folder.path) by: \(reason.sentence(settings))"
        }
    }

    /// Says what will be opened from now on, in order: what the clairvoyant knows of the future.
    package func plan(_ paths: [String]) {
        guard settings.eviction == .clairvoyant else { return }
        order.plan(paths.map(CacheURL.canonical))
    }

    /// The object that an open file of the origin is; nil where nothing tells its versions apart.
    func object(of origin: any StorageFile) -> CachedObject? {
        guard let version = origin.cacheVersion,
            origin.size / folder.blockBytes < CacheLimits.blocksOfObject
        else { return nil }
        let url = CacheURL.canonical(origin.path)
        let key = CacheKey(url: url, size: origin.size, version: version)
        let object = lock.withLock { () -> CachedObject in
            if let known = objects[key] { return known }
            let made = CachedObject(
                key, .init(url: url, size: origin.size, version: version), blockBytes: folder.blockBytes)
            objects[key] = made
            return made
        }
        order.open(key, url: url)
        return object
    }

    // MARK: Counts

    func note(_ change: (inout CacheTotals) -> Void) { lock.withLock { change(&counted) } }

    func notePassed(_ reason: PassThrough, _ bytes: Int) {
        note { $0.passed[reason, default: .init()].add(bytes) }
    }

    // MARK: Open blocks

    /// Keeps a block open, and closes the one that was opened longest ago where there are too many.
    func keepOpen(_ handle: BlockHandle, _ object: CachedObject, _ number: Int) {
        object.keep(handle, number)
        let surplus = lock.withLock { () -> (object: CachedObject, number: Int)? in
            opened.append((object, number))
            guard opened.count - oldestOpened > openLimit else { return nil }
            defer {
                oldestOpened += 1
                if oldestOpened > openLimit {
                    opened.removeFirst(oldestOpened)
                    oldestOpened = 0
                }
            }
            return opened[oldestOpened]
        }
        if let surplus { surplus.object.drop(surplus.number) }
    }

    // MARK: Refusals

    /// Why nothing can be kept at the moment, as far as that was seen a moment ago.
    func knownRefusal() -> PassThrough? {
        if let refusal = folder.refusal { return refusal }
        if settings.limit == 0 { return .limit }
        return lock.withLock { () -> PassThrough? in
            guard let known = refused, Clock.now() < known.until else { return nil }
            return known.reason
        }
    }

    /// Notes a refusal that the next block will meet as well.
    func noteRefusal(_ reason: PassThrough) {
        switch reason {
        case .limit where settings.eviction == .noEvict: break
        case .freeSpace, .diskFull, .readOnly, .gone, .writeFailed: break
        default: return
        }
        lock.withLock { refused = (reason, Clock.now() + CacheLimits.refusalNanoseconds) }
    }

    /// Whether so many bytes may be written now.
    func mayWrite(_ bytes: Int) -> Bool {
        guard let rate = settings.writeRate else { return true }
        return lock.withLock {
            let now = Clock.now()
            let earned = Double(now - allowanceAt) / 1e9 * Double(rate)
            // What was not used for a second is lost; one block is always possible after a while.
            writeAllowance = min(writeAllowance + earned, Double(max(rate, bytes)))
            allowanceAt = now
            guard writeAllowance >= Double(bytes) else { return false }
            writeAllowance -= Double(bytes)
            return true
        }
    }

    // MARK: Eviction

    /// Gives up one block for one of `key`; false where none is to be given up.
    func makeRoom(for key: CacheKey, _ book: inout CacheFolder.Ledger) -> Bool {
        guard settings.eviction != .noEvict else { return false }
        var hasScanned = false
        while true {
            guard let victim = order.next(for: key) else {
                // Others may have filled blocks that this process does not know.
                if hasScanned || !mayScan() { return false }
                scan()
                hasScanned = true
                continue
            }
            let block = BlockFile(key: victim.key, number: victim.number, length: 0)
            let isRemoved = folder.remove(block, &book)
            lock.withLock { objects[victim.key] }?.drop(victim.number)
            if isRemoved {
                note { $0.evictedBlocks += 1 }
                return true
            }
        }
    }

    private func mayScan() -> Bool {
        lock.withLock { lastScan.map { Clock.now() - $0 > CacheLimits.refusalNanoseconds } ?? true }
    }

    private func scan() {
        lock.withLock { lastScan = Clock.now() }
        var found: [(victim: VictimOrder.Victim, made: Int)] = []
        folder.forEachBlock { key, number, _, made in
            found.append((VictimOrder.Victim(key: key, number: number), made))
        }
        found.sort { ($0.made, $0.victim.number) < ($1.made, $1.victim.number) }
        var urls: [CacheKey: String] = [:]
        if settings.eviction == .clairvoyant {
            for key in Set(found.map(\.victim.key)) { urls[key] = folder.note(key)?.url }
        }
        order.add(found.map { ($0.victim, urls[$0.victim.key]) })
    }
}

extension CacheTotals.Passed {
    fileprivate mutating func add(_ bytes: Int) {
        reads += 1
        self.bytes += bytes
    }
}

/// Memory for blocks on their way into a cache: so many at once, no more.
// Sendable: `lock` guards everything.
@safe final class StagingMemory: @unchecked Sendable {
    private let bytes: Int
    private let lock = Lock()
    private let returned: Condition
    private var free: [UnsafeMutableRawPointer] = unsafe []
    private var unmade: Int

    init(bytes: Int, count: Int) {
        self.bytes = bytes
        unmade = count
        returned = Condition(lock)
    }

    deinit { while let memory = unsafe free.popLast() { unsafe memory.deallocate() } }

    func take() -> UnsafeMutableRawPointer {
        unsafe lock.withLock {
            while true {
                if let memory = unsafe free.popLast() { return unsafe memory }
                if unmade > 0 {
                    unmade -= 1
                    // Direct reads of the origin need the alignment.
                    return UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 4096)
                }
                returned.wait()
            }
        }
    }

    func give(_ memory: UnsafeMutableRawPointer) {
        lock.withLock {
            unsafe free.append(memory)
            returned.signal()
        }
    }
}
