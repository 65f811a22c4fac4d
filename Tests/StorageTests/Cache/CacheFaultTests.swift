import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

/// What happens to a cache's files, and to a cache that has no room: every read brings the origin's bytes.
@Suite struct CacheFaultTests {
    @Test func flippedBitsAreFoundAndBroughtAgain() throws {
        let rig = try CacheRig()
        let content = randomBytes(10_000)
        let path = rig.scratch.file("origin/a", content)
        try rig.expectRead(try rig.cache(), path, is: content)
        var read = content.count
        let length = 4096 + BlockFile.trailerBytes
        for offset in [0, 1, 2000, 4095] + Array(4096..<length) {
            let block = try rig.blockFiles()[0]
            try flip(block, at: offset)
            let cache = try rig.cache()
            try rig.expectRead(cache, path, is: content)
            #expect(cache.totals.badBlocks == 1)
            #expect(cache.totals.hitBytes == content.count - 4096)
            read += 4096
            #expect(rig.origin.bytes == read)
            try rig.expectLedgerIsRight(cache)
            // Once for all.
            let next = try rig.cache()
            try rig.expectRead(next, path, is: content)
            #expect(next.totals.badBlocks == 0 && rig.origin.bytes == read)
        }
        #expect(try rig.cache().folder.quarantined().count == CacheLimits.quarantinedBlocks)
    }

    @Test func cutAndSwappedBlocksAreFound() throws {
        let rig = try CacheRig()
        let contents = (0..<2).map { randomBytes(20_480, seed: UInt64($0)) }
        let paths = contents.enumerated().map { rig.scratch.file("origin/\($0.offset)", $0.element) }
        func readBoth() throws -> CacheTotals {
            let cache = try rig.cache()
            for (path, content) in zip(paths, contents) { try rig.expectRead(cache, path, is: content) }
            try rig.expectLedgerIsRight(cache)
            return cache.totals
        }
        _ = try readBoth()
        let blocks = try rig.blockFiles()
        #expect(truncate(blocks[0], 4096) == 0)
        #expect(truncate(blocks[1], 0) == 0)
        #expect(truncate(blocks[2], 10_000) == 0)
        // The ledger was right before somebody cut files by hand; a recount puts it right again.
        try rig.cache().folder.recount()
        #expect(try readBoth().badBlocks == 3)
        // Of the same object, and of another: sound files, in the wrong place.
        for pair in [(0, 1), (0, 5)] {
            let (first, second) = (blocks[pair.0], blocks[pair.1])
            #expect(rename(first, first + "x") == 0)
            #expect(rename(second, first) == 0)
            #expect(rename(first + "x", second) == 0)
            #expect(try readBoth().badBlocks == 2)
        }
        #expect(try readBoth().hitRate == 1)
    }

    @Test func theNextRunOfTheMachineChecksAnew() throws {
        let rig = try CacheRig()
        let content = randomBytes(4096)
        let path = rig.scratch.file("origin/a", content)
        try rig.expectRead(try rig.cache(), path, is: content)
        let verified = "\(rig.folder)/" + (try #require(try rig.files().first { $0.hasSuffix("/verified") }))
        var notes = try Data(contentsOf: URL(fileURLWithPath: verified))
        notes[8] ^= 1
        try notes.write(to: URL(fileURLWithPath: verified))
        let ledger = "\(rig.folder)/ledger"
        var book = try Data(contentsOf: URL(fileURLWithPath: ledger))
        // Says that much is used, and that a machine said so which was started another time.
        book[12] = 1
        book[24] ^= 1
        try book.write(to: URL(fileURLWithPath: ledger))
        let cache = try rig.cache()
        try rig.expectRead(cache, path, is: content)
        try rig.expectLedgerIsRight(cache)
        #expect(cache.totals.hitRate == 1)
        let again = try Data(contentsOf: URL(fileURLWithPath: verified))
        #expect(again[8] == notes[8] ^ 1)
    }

    @Test(arguments: [0, 1, 63, 64]) func aLedgerThatIsCutIsCountedAnew(length: Int) throws {
        let rig = try CacheRig()
        let content = randomBytes(20_000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        try rig.expectRead(cache, path, is: content, 0..<5000)
        #expect(truncate("\(rig.folder)/ledger", length) == 0)
        try rig.expectRead(cache, path, is: content)
        try rig.expectLedgerIsRight(cache)
    }

    @Test func whatADeadFillLeftIsTakenOver() throws {
        let rig = try CacheRig()
        let content = randomBytes(9000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        let object = try #require(CachedFile(try LocalFile(path, direct: .off), cache).object)
        let partial = cache.folder.partialPath(object.block(1))
        try Data(repeating: 7, count: 3000).write(to: URL(fileURLWithPath: partial))
        cache.folder.recount()
        #expect(try cache.folder.usedBytes() == 3000)
        try rig.expectRead(cache, path, is: content)
        try rig.expectLedgerIsRight(cache)
        #expect(try rig.files().filter { $0.hasSuffix(".partial") }.isEmpty)
        // A note that was not finished is no block, and its object is noted by the next fill.
        let note = try #require(try rig.files().first { $0.hasSuffix("object.json") })
        #expect(rename("\(rig.folder)/\(note)", "\(rig.folder)/partial/note-1-abc.partial") == 0)
        try rig.expectLedgerIsRight(try rig.cache())
        #expect(try rig.files().filter { $0.hasSuffix(".partial") || $0.hasSuffix("object.json") }.isEmpty)
        #expect(unlink(try rig.blockFiles()[0]) == 0)
        cache.folder.recount()
        try rig.expectRead(try rig.cache(), path, is: content)
        #expect(cache.folder.listing()[0].url == CacheURL.canonical(path))
        // Of a block that nobody wants: the next one who opens the cache removes it.
        try Data(repeating: 7, count: 3000).write(to: URL(fileURLWithPath: partial))
        cache.folder.recount()
        try rig.expectLedgerIsRight(try rig.cache())
        #expect(try rig.files().filter { $0.hasSuffix(".partial") }.isEmpty)
    }

    /// What somebody is filling is left alone, and waited for.
    @Test func aFillUnderWayIsWaitedFor() throws {
        let rig = try CacheRig()
        let content = randomBytes(4096)
        let path = rig.scratch.file("origin/a", content)
        let first = try rig.cache()
        let gate = Gate()
        rig.origin.beforeReads { _ in gate.pass() }
        let filler = try HeadraceCore.Thread(name: "filler") {
            do { try rig.expectRead(first, path, is: content) } catch { Issue.record(error) }
        }
        gate.waitForVisitor()
        // Opening cleans up after the dead, and must not take this for one of them.
        let second = try rig.cache()
        #expect(try rig.files().filter { $0.hasSuffix(".partial") }.count == 1)
        let reader = try HeadraceCore.Thread(name: "reader") {
            do { try rig.expectRead(second, path, is: content) } catch { Issue.record(error) }
        }
        gate.open()
        filler.join()
        reader.join()
        #expect(rig.origin.bytes == content.count)
        #expect(second.totals.hitRate == 1)
    }

    @Test func aDirectoryRemovedUnderWay() throws {
        let rig = try CacheRig()
        let content = randomBytes(40_000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        try rig.expectRead(cache, path, is: content, 0..<20_000)
        try FileManager.default.removeItem(atPath: rig.folder)
        try rig.expectRead(cache, path, is: content)
        #expect(cache.totals.passed[.gone] != nil)
        #expect(!FileManager.default.fileExists(atPath: rig.folder))
        #expect(cache.notes.contains { $0.contains("its directory was removed") })
        // Somebody else's directory takes its place: not ours, and not touched.
        try FileManager.default.createDirectory(
            atPath: rig.folder + "/partial", withIntermediateDirectories: true)
        try Data([1]).write(to: URL(fileURLWithPath: rig.folder + "/partial/mine"))
        usleep(600_000)
        try rig.expectRead(cache, path, is: content)
        #expect(try rig.files() == ["partial/mine"])
    }

    // MARK: No room

    @Test(arguments: [0, 1, 4096, 4096 + 47]) func aLimitBelowOneBlock(limit: Int) throws {
        for eviction in Eviction.allCases {
            let rig = try CacheRig()
            let content = randomBytes(20_000)
            let path = rig.scratch.file("origin/a", content)
            let cache = try rig.cache(limit: limit) { $0.eviction = eviction }
            for _ in 0..<2 { try rig.expectRead(cache, path, is: content, 0..<16_384) }
            #expect(cache.totals.passed[.limit]?.bytes == 2 * 16_384)
            #expect(cache.totals.hits == 0)
            #expect(rig.origin.bytes == 2 * 16_384)
            #expect(cache.notes.count == 1)
            #expect(try cache.folder.usedBytes() == 0)
        }
    }

    @Test func aShardLargerThanTheLimit() throws {
        let rig = try CacheRig()
        let content = randomBytes(40_960)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache(limit: 3 * (4096 + BlockFile.trailerBytes))
        for _ in 0..<3 { try rig.expectRead(cache, path, is: content) }
        #expect(cache.totals.fills == 3)
        #expect(cache.totals.hits == 6)
        #expect(cache.totals.passed[.limit]?.bytes == 3 * 7 * 4096)
        #expect(rig.origin.bytes == 10 * 4096 + 2 * 7 * 4096)
        #expect(cache.notes.count == 1 && cache.notes[0].contains("its limit"))
        try rig.expectLedgerIsRight(cache)
    }

    @Test func freeSpaceIsLeft() throws {
        let rig = try CacheRig()
        let content = randomBytes(20_480)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache { $0.freeSpaceFloor = 1 << 60 }
        try rig.expectRead(cache, path, is: content)
        #expect(cache.totals.passed[.freeSpace]?.bytes == content.count)
        #expect(try cache.folder.usedBytes() == 0)
        #expect(try rig.blockFiles().isEmpty)
    }

    @Test func noMoreIsWrittenThanMayBe() throws {
        let rig = try CacheRig()
        let content = randomBytes(4096 * 50)
        let path = rig.scratch.file("origin/a", content)
        // Two blocks at once, and hardly any more for as long as a test may last.
        let cache = try rig.cache { $0.writeRate = 2 * (4096 + BlockFile.trailerBytes) }
        try rig.expectRead(cache, path, is: content, 0..<4096 * 3)
        #expect(cache.totals.fills >= 2)
        // Half a block a second allows one at first, and then not all of fifty.
        let slow = try rig.cache { $0.writeRate = 1 }
        try rig.expectRead(slow, path, is: content)
        #expect(slow.totals.fills <= 1)
        #expect((slow.totals.passed[.writeRate]?.reads ?? 0) >= 46)
    }

    /// On a file system of one megabyte, by mount(2): needs root.
    @Test func aFullDisk() throws {
        let rig = try CacheRig()
        guard let disk = TinyDisk(at: rig.folder, options: "size=256k") else { return }
        defer { disk.unmount() }
        let content = randomBytes(4096 * 200)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        for _ in 0..<3 { try rig.expectRead(cache, path, is: content) }
        #expect(cache.totals.fills > 10 && cache.totals.fills < 64)
        #expect(cache.totals.passed[.diskFull] != nil)
        #expect(cache.totals.hits == 2 * cache.totals.fills)
        #expect(cache.notes.contains { $0.contains("file system is full") })
        try rig.expectLedgerIsRight(cache)
        // With nothing left even the directories of an object do not fit; reads go on.
        let filler = try FileHandle(forWritingTo: URL(fileURLWithPath: rig.folder + "/ledger"))
        try filler.close()
        var evicting = try rig.cache { $0.eviction = .lru }
        try rig.expectRead(evicting, path, is: content)
        evicting = try rig.cache()
        try rig.expectRead(evicting, path, is: content)
        try rig.expectLedgerIsRight(evicting)
    }

    @Test func aReadOnlyCacheIsReadAndNotWritten() throws {
        let rig = try CacheRig()
        guard let disk = TinyDisk(at: rig.folder, options: "size=1m") else { return }
        defer { disk.unmount() }
        let content = randomBytes(4096 * 8)
        let path = rig.scratch.file("origin/a", content)
        try rig.expectRead(try rig.cache(), path, is: content, 0..<4096 * 4)
        try #require(disk.remountReadOnly())
        let cache = try rig.cache()
        #expect(cache.folder.refusal == .readOnly)
        try rig.expectRead(cache, path, is: content)
        #expect(cache.totals.hitBytes == 4096 * 4)
        #expect(cache.totals.passed[.readOnly]?.bytes == 4096 * 4)
        #expect(cache.notes.count == 1 && cache.notes[0].contains("cannot be written"))
    }

    @Test func aDirectoryThatCannotBeMade() throws {
        let rig = try CacheRig()
        guard let disk = TinyDisk(at: rig.folder, options: "size=1m,ro") else { return }
        defer { disk.unmount() }
        let content = randomBytes(5000)
        let path = rig.scratch.file("origin/a", content)
        for place in [rig.folder, rig.folder + "/deeper/down"] {
            let cache = try rig.cache { $0.folder = place }
            try rig.expectRead(cache, path, is: content)
            #expect(cache.totals.passed[.readOnly]?.bytes == content.count)
        }
    }
}

/// A file system of its own in memory; nil, said loudly, where this user may not mount one.
struct TinyDisk {
    let path: String

    init?(at path: String, options: String) {
        self.path = path
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let flags = options.contains(",ro") ? UInt(MS_RDONLY) : 0
        let data = options.replacingOccurrences(of: ",ro", with: "")
        guard data.withCString({ mount("none", path, "tmpfs", flags, $0) }) == 0 else {
            print("SKIPPED: a small file system cannot be mounted (\(errorDescription(errno))); run as root")
            return nil
        }
    }

    func remountReadOnly() -> Bool {
        mount("none", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0
    }

    func unmount() { umount2(path, Int32(MNT_DETACH)) }
}

/// Holds a thread up until it is let go.
final class Gate: @unchecked Sendable {
    // Sendable: `lock` guards the rest.
    private let lock = Lock()
    private let changed: Condition
    private var isOpen = false
    private var visitors = 0

    init() { changed = Condition(lock) }

    func pass() {
        lock.withLock {
            visitors += 1
            changed.broadcast()
            while !isOpen { changed.wait() }
        }
    }

    func waitForVisitor() { lock.withLock { while visitors == 0 { changed.wait() } } }

    func open() {
        lock.withLock {
            isOpen = true
            changed.broadcast()
        }
    }
}
