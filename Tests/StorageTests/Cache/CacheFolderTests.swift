import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

@Suite struct CacheFolderTests {
    private func settings(_ path: String) -> CacheSettings {
        var settings = CacheSettings(path, limit: 1 << 30)
        settings.blockBytes = 4096
        settings.freeSpaceFloor = 0
        return settings
    }

    @Test func directoriesWithOtherThingsAreRefused() throws {
        let scratch = Scratch()
        _ = scratch.file("data/train-000.tar", [1, 2, 3])
        let error = #expect(throws: HeadraceError.self) { try CacheFolder(settings("\(scratch.path)/data")) }
        #expect(error?.code == .usage)
        #expect(error?.message.contains("train-000.tar") == true)
        #expect(throws: HeadraceError.self) { try CacheFolder(existing: "\(scratch.path)/data") }
        #expect(try LocalFiles.list("\(scratch.path)/data").files.map(\.relativePath) == ["train-000.tar"])
        let file = #expect(throws: HeadraceError.self) {
            try CacheFolder(settings(scratch.file("plain", [])))
        }
        #expect(file?.code == .usage)
        #expect(throws: HeadraceError.self) { try CacheFolder(settings("")) }
    }

    @Test func emptyAndFreshDirectoriesAreTaken() throws {
        let scratch = Scratch()
        for name in ["new", "deep/er/down"] {
            #expect(try CacheFolder(settings("\(scratch.path)/\(name)")).refusal == nil)
        }
        // A file system has this from its birth.
        try FileManager.default.createDirectory(
            atPath: "\(scratch.path)/disk/lost+found", withIntermediateDirectories: true)
        #expect(try CacheFolder(settings("\(scratch.path)/disk")).refusal == nil)
        #expect(try CacheFolder(existing: "\(scratch.path)/disk").blockBytes == 4096)
    }

    @Test(arguments: [
        "", "{}", "[", #"{"schema":"headrace.cache-directory/2","block_bytes":4096}"#,
        #"{"schema":"headrace.cache-directory/1","block_bytes":4097}"#,
        #"{"schema":"headrace.cache-directory/1","block_bytes":0}"#,
        #"{"schema":"headrace.cache-directory/1","block_bytes":1099511627776}"#,
        #"{"schema":"headrace.cache-directory/1","block_bytes":-4096}"#,
    ])
    func markersOfOthersAreRefused(text: String) throws {
        let scratch = Scratch()
        _ = scratch.file("c/headrace-cache.json", Array(text.utf8))
        let error = #expect(throws: HeadraceError.self) { try CacheFolder(settings("\(scratch.path)/c")) }
        #expect(error?.code == .usage)
        #expect(throws: HeadraceError.self) { try CacheFolder(existing: "\(scratch.path)/c") }
    }

    @Test func theDirectorySaysHowLargeBlocksAre() throws {
        let scratch = Scratch()
        _ = try CacheFolder(settings("\(scratch.path)/c"))
        var other = settings("\(scratch.path)/c")
        other.blockBytes = 1 << 20
        #expect(try CacheFolder(other).blockBytes == 4096)
        other.folder = "\(scratch.path)/d"
        other.blockBytes = 5000
        #expect(throws: HeadraceError.self) { try CacheFolder(other) }
    }

    /// Everything goes that the cache has made, and nothing else.
    @Test func clearingLeavesWhatOthersMade() throws {
        let rig = try CacheRig()
        let content = randomBytes(20_000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        try rig.expectRead(cache, path, is: content)
        let block = try rig.blockFiles()[0]
        try flip(block, at: 5)
        try rig.expectRead(try rig.cache(), path, is: content)
        let object = URL(fileURLWithPath: block).deletingLastPathComponent().path
        let foreign = [
            "\(rig.folder)/mine.txt", "\(object)/mine.txt", "\(rig.folder)/objects/x/mine.txt",
            "\(rig.folder)/partial/mine.txt", "\(rig.folder)/quarantine/mine.txt",
        ]
        try FileManager.default.createDirectory(
            atPath: "\(rig.folder)/objects/x", withIntermediateDirectories: true)
        for name in foreign { try Data([9]).write(to: URL(fileURLWithPath: name)) }
        let folder = try CacheFolder(existing: rig.folder)
        let removed = folder.clear()
        #expect(removed.blocks == 5)
        #expect(try folder.usedBytes() == 0)
        let left = try rig.files().map { "\(rig.folder)/\($0)" }
        #expect(Set(left) == Set(foreign + ["\(rig.folder)/ledger", "\(rig.folder)/headrace-cache.json"]))
        // And the origin is what it was.
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(content))
        try rig.expectRead(try rig.cache(), path, is: content)
    }

    @Test func listingsSayWhatIsThere() throws {
        let rig = try CacheRig()
        let content = randomBytes(10_000)
        let paths = (0..<3).map { rig.scratch.file("origin/\($0)/a", content) }
        let cache = try rig.cache()
        for path in paths { try rig.expectRead(cache, path, is: content) }
        let folder = cache.folder
        let listing = folder.listing()
        #expect(Set(listing.compactMap(\.url)) == Set(paths.map(CacheURL.canonical)))
        #expect(listing.allSatisfy { $0.objectBytes == 10_000 && $0.blocks.map(\.number) == [0, 1, 2] })
        #expect(listing.reduce(0) { $0 + $1.fileBytes } == (try folder.usedBytes()))
        #expect(try folder.heldBytes(of: rig.origin.open(paths[0])) == 10_000)
        // One object goes, the others stay.
        #expect(folder.remove(listing[0]).blocks == 3)
        #expect(folder.listing().count == 2)
        try rig.expectLedgerIsRight(cache)
        let limit = try folder.usedBytes() - 1
        #expect(folder.removeOldest(to: limit).blocks == 1)
        try rig.expectLedgerIsRight(cache)
        for path in paths { try rig.expectRead(try rig.cache(), path, is: content) }
    }

    @Test func verifyingPutsBadBlocksAway() throws {
        let rig = try CacheRig()
        let content = randomBytes(40_000)
        let path = rig.scratch.file("origin/a", content)
        try rig.expectRead(try rig.cache(), path, is: content)
        try flip(try rig.blockFiles()[3], at: 100)
        let folder = try CacheFolder(existing: rig.folder)
        let object = folder.listing()[0]
        let memory = Memory(folder.scratchBytes)
        let verdicts = object.blocks.map { folder.verify(object, $0.number, scratch: memory.base) }
        #expect(verdicts == [true, true, true, false, true, true, true, true, true, true])
        #expect(folder.verify(object, 3, scratch: memory.base) == nil)
        #expect(folder.quarantined().count == 1)
        let cache = try rig.cache()
        try rig.expectLedgerIsRight(cache)
        try rig.expectRead(cache, path, is: content)
        #expect(cache.totals.fills == 1)
    }
}
