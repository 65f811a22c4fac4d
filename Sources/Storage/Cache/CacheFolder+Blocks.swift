internal import CHeadraceRing
internal import Glibc
internal import HeadraceCore

/// A block on its way into a cache: its partial file is locked by us and has its room.
struct Filling {
    var block: BlockFile
    var descriptor: Int32
}

/// A block that is there.
struct OpenBlock {
    var descriptor: Int32
    var facts: FileFacts
}

extension CacheFolder {
    // MARK: Blocks that are there

    /// The block's open file, whatever is in it; nil where there is none. One of another size is none of ours: it is put
    /// away.
    func open(_ block: BlockFile) -> OpenBlock? {
        let descriptor = unsafe Glibc.open(path(of: block), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        guard let facts = FileFacts(descriptor) else {
            close(descriptor)
            return nil
        }
        return OpenBlock(descriptor: descriptor, facts: facts)
    }

    /// Puts a bad block away, if it is still the one that was looked at.
    func quarantine(_ block: BlockFile, inode: UInt64) {
        let place = path(of: block)
        _ = withLedger { book in
            guard let facts = FileFacts(path: place), facts.inode == inode else { return }
            let name = "\(Clock.sinceEpoch())-\(block.key.name)-\(BlockFile.padded(block.number)).bad"
            guard unsafe (rename(place, "\(quarantinePath)/\(name)") == 0 || unlink(place) == 0) else {
                return
            }
            book.used -= facts.size
            let kept = quarantined()
            for old in kept.dropLast(CacheLimits.quarantinedBlocks) {
                unsafe unlink("\(quarantinePath)/\(old)")
            }
        }
    }

    /// Names of bad blocks that were put away, the oldest first.
    package func quarantined() -> [String] {
        (directoryNames(quarantinePath) ?? []).filter { $0.hasSuffix(".bad") }.sorted()
    }

    /// Removes a block; false where it was gone already.
    func remove(_ block: BlockFile, _ book: inout Ledger) -> Bool {
        let place = path(of: block)
        guard let facts = FileFacts(path: place), unsafe unlink(place) == 0 else { return false }
        book.used -= facts.size
        return true
    }

    // MARK: Filling

    /// What became of the attempt to be the one who fills a block.
    enum Claim {
        case mine(Filling)
        /// Somebody else has filled it meanwhile.
        case filled
        case refused(PassThrough)
    }

    /// Makes the calling thread the one that fills the block; waits while another process does.
    func claim(_ block: BlockFile) -> Claim {
        if let refusal { return .refused(refusal) }
        // In a directory that took the place of ours nothing is made.
        guard isInPlace else { return .refused(.gone) }
        let place = partialPath(block)
        for _ in 0..<1000 {
            let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW
            let descriptor = unsafe Glibc.open(place, flags, 0o666)
            guard descriptor >= 0 else { return .refused(reason(errno)) }
            guard FileLocks.take(descriptor, patienceNanoseconds: CacheLimits.blockPatienceNanoseconds) else {
                close(descriptor)
                return .refused(.busy)
            }
            let isThere = FileFacts(path: path(of: block)) != nil
            // What we have locked may have been renamed or removed while we waited.
            let isCurrent =
                FileFacts(descriptor).map { $0.inode == FileFacts(path: place)?.inode } ?? false
            if isCurrent && !isThere { return .mine(Filling(block: block, descriptor: descriptor)) }
            if isCurrent { removePartial(place, descriptor) }
            FileLocks.release(descriptor)
            close(descriptor)
            if isThere { return .filled }
        }
        return .refused(.busy)
    }

    /// Secures the room that the block needs, before anything is read for it. `makeRoom` gives up blocks: it is told
    /// how many bytes are used and returns whether it gave one up.
    func secure(
        _ filling: Filling, limit: Int, freeSpaceFloor: Int, makeRoom: (inout Ledger) -> Bool
    ) -> PassThrough? {
        let bytes = filling.block.fileBytes
        guard bytes <= limit else { return .limit }
        let outcome = withLedger { (book) -> PassThrough? in
            // What a dead process has left of it counts as used.
            let left = FileFacts(filling.descriptor)?.size ?? 0
            if left > 0, ftruncate(filling.descriptor, 0) == 0 { book.used -= left }
            while book.used + bytes > limit {
                guard makeRoom(&book) else { return .limit }
            }
            var evictions = 0
            while let free = freeBytes(), free - bytes < freeSpaceFloor {
                guard evictions < CacheLimits.evictionsForFreeSpace, makeRoom(&book) else {
                    return free < bytes ? .diskFull : .freeSpace
                }
                evictions += 1
            }
            if let refused = allocate(filling.descriptor, bytes) {
                _ = ftruncate(filling.descriptor, 0)
                return refused
            }
            book.used += bytes
            return nil
        }
        switch outcome {
        case .success(let refused): return refused
        case .failure(let refused): return refused.reason
        }
    }

    private func allocate(_ descriptor: Int32, _ bytes: Int) -> PassThrough? {
        let number = -headrace_allocate(descriptor, Int64(bytes))
        // Where the file system cannot, a full disk is found out by the write.
        return number == 0 || number == EOPNOTSUPP || number == ENOSYS ? nil : reason(number)
    }

    /// Bytes that an ordinary user may still take of the file system; nil where it does not say.
    package func freeBytes() -> Int? {
        var facts = statvfs()
        guard unsafe statvfs(path, &facts) == 0 else { return nil }
        return Int(clamping: facts.f_bavail) &* Int(clamping: facts.f_frsize)
    }

    /// Gives the sealed block its name. The descriptor then is that of the block.
    func commit(_ filling: Filling) -> PassThrough? {
        let from = partialPath(filling.block)
        let to = path(of: filling.block)
        var status = unsafe rename(from, to)
        if status != 0 && errno == ENOENT {
            if let refused = makeObject(filling.block.key) { return refused }
            status = unsafe rename(from, to)
        }
        guard status == 0 else { return reason(errno) }
        FileLocks.release(filling.descriptor)
        return nil
    }

    /// Takes back a block that was not committed, and its room.
    func abandon(_ filling: Filling) {
        removePartial(partialPath(filling.block), filling.descriptor)
        FileLocks.release(filling.descriptor)
        close(filling.descriptor)
    }

    /// Removes a partial file whose lock we hold.
    private func removePartial(_ place: String, _ descriptor: Int32) {
        func remove() -> Int? {
            guard let facts = FileFacts(descriptor), facts.inode == FileFacts(path: place)?.inode,
                unsafe unlink(place) == 0
            else { return nil }
            return facts.size
        }
        let outcome = withLedger { book in book.used -= remove() ?? 0 }
        // Without a ledger nobody counts any more; the file is ours all the same.
        if case .failure = outcome { _ = remove() }
    }

    /// Removes partial files that nobody is filling.
    func removeAbandoned() {
        for name in directoryNames("\(path)/partial") ?? [] where name.hasSuffix(Self.partialSuffix) {
            let place = "\(path)/partial/\(name)"
            let descriptor = unsafe Glibc.open(place, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            guard descriptor >= 0 else { continue }
            if FileLocks.take(descriptor, patienceNanoseconds: 0) {
                // Notes are not in the ledger.
                if name.hasPrefix(Self.partialNotePrefix) {
                    unsafe unlink(place)
                } else {
                    removePartial(place, descriptor)
                }
                FileLocks.release(descriptor)
            }
            close(descriptor)
        }
    }

    // MARK: Objects

    /// What a key stands for.
    struct ObjectNote {
        var url: String
        var size: Int
        var version: String
    }

    /// Makes the object's directory.
    private func makeObject(_ key: CacheKey) -> PassThrough? {
        let place = objectPath(key)
        for directory in [String(place.prefix(place.count - 33)), place] {
            guard unsafe mkdir(directory, 0o777) == 0 || errno == EEXIST else { return reason(errno) }
        }
        return nil
    }

    /// Notes what the key stands for, if that is not there: a process may have been killed before it came to that.
    func keepNote(_ key: CacheKey, _ note: ObjectNote) {
        let to = "\(objectPath(key))/\(Self.noteName)"
        guard FileFacts(path: to) == nil else { return }
        let text = JSONValue.object([
            JSONMember("schema", "headrace.cache-object/1"), JSONMember("url", .string(note.url)),
            JSONMember("bytes", .int(note.size)), JSONMember("version", .string(note.version)),
        ]).line()
        // Only for people and tools, so nobody waits for the disk.
        let digits = String(UInt64.random(in: 0 ... .max), radix: 36)
        let partial = "\(path)/partial/\(Self.partialNotePrefix)\(getpid())-\(digits)\(Self.partialSuffix)"
        let descriptor = unsafe Glibc.open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        // Whoever opens the cache removes what is not locked; then the next fill writes the note.
        _ = FileLocks.take(descriptor, patienceNanoseconds: 0)
        let bytes = Array((text + "\n").utf8)
        let count = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
        if unsafe count != bytes.count || rename(partial, to) != 0 { unsafe unlink(partial) }
        FileLocks.release(descriptor)
    }

    static let partialNotePrefix = "note-"
    static let noteName = "object.json"
    static let verifiedName = "verified"

    // MARK: Checked blocks

    private static let verifiedHead =
        Array("HRCHECK1".utf8) + BootIdentity.bytes + [UInt8](repeating: 0, count: 20)
    private static let verifiedEntry = 16

    /// Whether the block's file, as it is, was found good since the machine was started.
    func isVerified(_ block: BlockFile, _ facts: FileFacts) -> Bool {
        let place = "\(objectPath(block.key))/\(Self.verifiedName)"
        let descriptor = unsafe Glibc.open(place, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var head = [UInt8](repeating: 0, count: Self.verifiedHead.count)
        guard unsafe pread(descriptor, &head, head.count, 0) == head.count, head == Self.verifiedHead else {
            return false
        }
        var words: [UInt64] = [0, 0]
        let offset = head.count + block.number * Self.verifiedEntry
        guard unsafe pread(descriptor, &words, Self.verifiedEntry, offset) == Self.verifiedEntry else {
            return false
        }
        return words == Self.entry(facts)
    }

    /// Notes that the block's file, as it is, is good. Lost notes cost a check, no more.
    func noteVerified(_ block: BlockFile, _ facts: FileFacts) {
        guard refusal == nil else { return }
        let place = "\(objectPath(block.key))/\(Self.verifiedName)"
        let descriptor = unsafe Glibc.open(place, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var head = [UInt8](repeating: 0, count: Self.verifiedHead.count)
        if unsafe pread(descriptor, &head, head.count, 0) != head.count || head != Self.verifiedHead {
            // Of an earlier run of the machine: nothing in it holds any more.
            guard ftruncate(descriptor, 0) == 0 else { return }
            let fresh = Self.verifiedHead
            guard unsafe pwrite(descriptor, fresh, fresh.count, 0) == fresh.count else { return }
        }
        let words = Self.entry(facts)
        _ = unsafe pwrite(
            descriptor, words, Self.verifiedEntry, head.count + block.number * Self.verifiedEntry)
    }

    private static func entry(_ facts: FileFacts) -> [UInt64] {
        [facts.inode, UInt64(bitPattern: Int64(facts.changeNanoseconds))]
    }
}
