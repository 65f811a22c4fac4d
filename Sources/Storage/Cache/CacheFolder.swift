internal import Glibc
package import HeadraceCore

/// The directory of a cache, which any number of processes may use at once.
///
///     headrace-cache.json              the marker: a directory without it is none of ours, and is left alone
///     ledger                           bytes in use; its lock guards the bookkeeping
///     objects/4f/KEY/00000012.block    a block; see ``BlockFile``
///     objects/4f/KEY/object.json       what the key stands for, for people
///     objects/4f/KEY/verified          which blocks were checked since the machine was started
///     partial/KEY-00000012.partial     a block on its way; who fills it holds its lock
///     quarantine/                      the last bad blocks
///
/// A block appears under its name by a rename, whole; so a process may be killed at any moment. What it leaves behind
/// is a partial file that nobody has locked, which the next one takes over or removes.
// Sendable: `mutex` guards the ledger; the rest is never changed.
package final class CacheFolder: @unchecked Sendable {
    package static let markerName = "headrace-cache.json"
    private static let ledgerName = "ledger"

    package let path: String
    /// Bytes of a block, the same for all who use the directory.
    package let blockBytes: Int
    /// Why nothing can be kept; nil where it can.
    package let refusal: PassThrough?
    private let mutex = Lock()
    private let ledger: Int32

    /// Opens the cache, or makes one of an empty or missing directory. Where that cannot be written to, the cache is one
    /// that keeps nothing.
    ///
    /// Throws `usage` for a directory with anything else in it, and for one on another machine.
    package init(_ settings: CacheSettings) throws(HeadraceError) {
        try requireOpenable(settings.folder)
        var refusal = try Self.makeDirectory(settings.folder)
        path = LocalFiles.resolved(settings.folder) ?? settings.folder
        if refusal == nil, PageCache.isNetworkFileSystem(path) {
            throw HeadraceError(
                .usage,
                "a cache must be on a disk of this machine (locks and renames of network file systems are not to be "
                    + "relied on); name another directory", at: .init(shard: path))
        }
        if let known = try Self.marker(of: path) {
            blockBytes = known
        } else {
            blockBytes = settings.blockBytes
            guard CacheLimits.blockByteRange.contains(blockBytes), blockBytes % 4096 == 0 else {
                throw HeadraceError(
                    .usage,
                    "blocks of a cache have \(CacheLimits.blockByteRange.lowerBound) to "
                        + "\(CacheLimits.blockByteRange.upperBound) bytes, in multiples of 4096")
            }
            if refusal == nil { refusal = try Self.makeMarker(path, blockBytes: blockBytes) }
        }
        var opened: Int32 = -1
        if refusal == nil { (opened, refusal) = Self.openLedger(path) }
        ledger = opened
        self.refusal = refusal
        if refusal == nil { removeAbandoned() }
    }

    /// Opens a cache that is there, for tools that look after it. Throws `notFound` where there is none.
    package init(existing folder: String) throws(HeadraceError) {
        try requireOpenable(folder)
        path = LocalFiles.resolved(folder) ?? folder
        guard try LocalFiles.kind(path) == .directory, let known = try Self.marker(of: path) else {
            throw HeadraceError(
                .notFound,
                "this is no cache: it has no \(Self.markerName); nothing in it is touched",
                at: .init(shard: folder))
        }
        blockBytes = known
        (ledger, refusal) = Self.openLedger(path)
    }

    deinit { if ledger >= 0 { close(ledger) } }

    // MARK: Places

    func objectPath(_ key: CacheKey) -> String { "\(path)/objects/\(key.name.prefix(2))/\(key.name)" }

    func path(of block: BlockFile) -> String { "\(objectPath(block.key))/\(BlockFile.name(block.number))" }

    static let partialSuffix = ".partial"

    func partialPath(_ block: BlockFile) -> String {
        "\(path)/partial/\(block.key.name)-\(BlockFile.padded(block.number))\(Self.partialSuffix)"
    }

    var quarantinePath: String { "\(path)/quarantine" }

    /// Reason for which a system call on the cache was refused.
    func reason(_ number: Int32) -> PassThrough {
        switch number {
        case ENOSPC, EDQUOT: .diskFull
        case EROFS, EACCES, EPERM: .readOnly
        case ENOENT, ENOTDIR, ESTALE: .gone
        default: .writeFailed
        }
    }

    // MARK: The ledger

    /// Bytes in use, as all processes agree on them.
    struct Ledger {
        static let byteCount = 64
        private static let magic: UInt64 = 0x3152_4447_4C52_4448
        /// Sizes of all block files and partial files.
        var used = 0
        /// Somebody was changing files when this was written: if he is gone, the figure is a guess.
        var isBusy = false

        init() {}

        /// Nil for what nobody wrote since the machine was started: files may have been lost with its memory.
        init?(_ bytes: [UInt8]) {
            guard bytes.count == Self.byteCount, Self.word(bytes, 0) == Self.magic,
                Array(bytes[24..<60]) == BootIdentity.bytes
            else { return nil }
            used = Int(truncatingIfNeeded: Self.word(bytes, 8))
            isBusy = Self.word(bytes, 16) != 0
        }

        var bytes: [UInt8] {
            var bytes: [UInt8] = []
            for word in [Self.magic, UInt64(truncatingIfNeeded: used), isBusy ? 1 : 0] {
                for shift in stride(from: 0, to: 64, by: 8) {
                    bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
                }
            }
            bytes += BootIdentity.bytes
            return bytes + [UInt8](repeating: 0, count: Self.byteCount - bytes.count)
        }

        private static func word(_ bytes: [UInt8], _ place: Int) -> UInt64 {
            bytes[place..<place + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    /// Whether the directory is the one that was opened: somebody may have removed it, or put another in its place.
    var isInPlace: Bool {
        guard let ours = FileFacts(ledger) else { return false }
        return ours.inode == FileFacts(path: "\(path)/\(Self.ledgerName)")?.inode
    }

    /// Calls `body` with the ledger while no other thread or process has it. Nil with the reason where it cannot be had.
    func withLedger<Value>(_ body: (inout Ledger) -> Value) -> Result<Value, Refused> {
        if let refusal { return .failure(Refused(refusal)) }
        mutex.lock()
        defer { mutex.unlock() }
        guard FileLocks.take(ledger, patienceNanoseconds: CacheLimits.ledgerPatienceNanoseconds) else {
            return .failure(Refused(.busy))
        }
        defer { FileLocks.release(ledger) }
        guard isInPlace else { return .failure(Refused(.gone)) }
        var book = Ledger()
        if let kept = read(), !kept.isBusy { book = kept } else { book.used = countedBytes() }
        book.isBusy = true
        guard write(book) else { return .failure(Refused(.writeFailed)) }
        let value = body(&book)
        book.isBusy = false
        _ = write(book)
        return .success(value)
    }

    /// A ``PassThrough`` as an error.
    struct Refused: Error {
        var reason: PassThrough
        init(_ reason: PassThrough) { self.reason = reason }
    }

    private func read() -> Ledger? {
        var bytes = [UInt8](repeating: 0, count: Ledger.byteCount)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(ledger, $0.baseAddress, $0.count, 0) }
        return count == bytes.count ? Ledger(bytes) : nil
    }

    private func write(_ book: Ledger) -> Bool {
        let bytes = book.bytes
        return unsafe bytes.withUnsafeBytes { unsafe pwrite(ledger, $0.baseAddress, $0.count, 0) }
            == bytes.count
    }

    /// What the block files and partial files take, by looking at each.
    private func countedBytes() -> Int {
        var sum = 0
        forEachBlock { _, _, size, _ in sum += size }
        for name in directoryNames("\(path)/partial") ?? [] where !name.hasPrefix(Self.partialNotePrefix) {
            sum += FileFacts(path: "\(path)/partial/\(name)")?.size ?? 0
        }
        return sum
    }

    /// Bytes that block files and partial files take now.
    package func usedBytes() throws(HeadraceError) -> Int {
        if refusal != nil { return countedBytes() }
        switch withLedger({ $0.used }) {
        case .success(let used): return used
        case .failure: return countedBytes()
        }
    }

    /// Counts all files anew: for when somebody has removed some by hand.
    package func recount() { _ = withLedger { $0.used = countedBytes() } }

    // MARK: Opening

    private static func makeDirectory(_ folder: String) throws(HeadraceError) -> PassThrough? {
        switch try LocalFiles.kind(folder) {
        case .directory: return nil
        case .file, .other:
            throw HeadraceError(
                .usage, "a cache is a directory, and this is none", at: .init(shard: folder))
        case nil: break
        }
        var made = folder.hasPrefix("/") ? "" : "."
        for part in folder.split(separator: "/") {
            made += "/\(part)"
            if unsafe mkdir(made, 0o777) == 0 || errno == EEXIST { continue }
            switch errno {
            case EROFS, EACCES, EPERM: return .readOnly
            case ENOSPC, EDQUOT: return .diskFull
            default: throw systemError(errno, "could not make the directory of the cache", made)
            }
        }
        return nil
    }

    /// Bytes of a block of the cache at `path`; nil where there is no marker. Throws where a directory without one holds
    /// anything.
    private static func marker(of path: String) throws(HeadraceError) -> Int? {
        let place = HeadraceError.Place(shard: path)
        let bytes: [UInt8]
        do throws(HeadraceError) {
            bytes = try SmallFile.readBytes("\(path)/\(markerName)", limit: 4096)
        } catch {
            guard error.code == .notFound else { throw error }
            let foreign = (directoryNames(path) ?? []).filter {
                // A fresh file system has the one, a cache in the making the other.
                $0 != "lost+found" && !AtomicFile.isTemporary($0) && $0 != markerName
            }
            guard let name = foreign.first else { return nil }
            throw HeadraceError(
                .usage,
                "this directory holds other things ('\(name)') and is no cache; name an empty one, or one that does not "
                    + "exist", at: place)
        }
        let marker = try? JSONValue(parsing: bytes)
        guard marker?["schema"]?.stringValue == "headrace.cache-directory/1",
            let blockBytes = marker?["block_bytes"]?.intValue,
            CacheLimits.blockByteRange.contains(blockBytes), blockBytes % 4096 == 0
        else {
            throw HeadraceError(
                .usage,
                "its \(markerName) is not what this version of Headrace writes; name another directory",
                at: place)
        }
        return blockBytes
    }

    private static func makeMarker(_ path: String, blockBytes: Int) throws(HeadraceError) -> PassThrough? {
        let text = JSONValue.object([
            JSONMember("schema", "headrace.cache-directory/1"), JSONMember("block_bytes", .int(blockBytes)),
        ]).pretty()
        do throws(HeadraceError) {
            let file = try AtomicFile("\(path)/\(markerName)")
            try file.appendText(text + "\n")
            try file.commit()
            return nil
        } catch {
            // Another process was faster: what it wrote must be the same.
            if error.code == .exists, try marker(of: path) == blockBytes { return nil }
            if error.cause?.contains("EROFS") == true || error.cause?.contains("EACCES") == true {
                return .readOnly
            }
            if error.cause?.contains("ENOSPC") == true || error.cause?.contains("EDQUOT") == true {
                return .diskFull
            }
            throw error
        }
    }

    private static func openLedger(_ path: String) -> (Int32, PassThrough?) {
        for name in ["objects", "partial", "quarantine"] {
            guard unsafe mkdir("\(path)/\(name)", 0o777) == 0 || errno == EEXIST else {
                return (-1, errno == ENOSPC || errno == EDQUOT ? .diskFull : .readOnly)
            }
        }
        let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW
        let descriptor = unsafe Glibc.open("\(path)/\(ledgerName)", flags, 0o666)
        guard descriptor >= 0 else {
            return (-1, errno == ENOSPC || errno == EDQUOT ? .diskFull : .readOnly)
        }
        return (descriptor, nil)
    }
}

/// What the kernel calls this run of the machine.
enum BootIdentity {
    /// 36 characters.
    static let bytes: [UInt8] = {
        let text = (try? SmallFile.readBytes("/proc/sys/kernel/random/boot_id", limit: 64)) ?? []
        return Array((text + [UInt8](repeating: UInt8(ascii: "-"), count: 36)).prefix(36))
    }()
}

extension AtomicFile {
    /// Appends text as UTF-8.
    func appendText(_ text: String) throws(HeadraceError) {
        let bytes = Array(text.utf8)
        let result = unsafe bytes.withUnsafeBytes { buffer -> Result<Void, HeadraceError> in
            do throws(HeadraceError) { return .success(try unsafe append(buffer)) } catch {
                return .failure(error)
            }
        }
        try result.get()
    }
}
