import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

@Suite struct CacheReadTests {
    @Test func theSecondReadIsTheCaches() throws {
        let rig = try CacheRig()
        let content = randomBytes(50_001)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        try rig.expectRead(cache, path, is: content)
        #expect(rig.origin.bytes == content.count)
        #expect(cache.totals.hitBytes == 0)
        #expect(cache.totals.missedBytes == content.count)
        #expect(cache.totals.fills == 13)
        #expect(cache.totals.filledBytes == content.count)
        try rig.expectRead(cache, path, is: content)
        #expect(rig.origin.bytes == content.count)
        #expect(cache.totals.hitBytes == content.count)
        #expect(cache.totals.hitRate == 0.5)
        #expect(cache.totals.refetchedBytes == 0)
        #expect(cache.notes.isEmpty)
        try rig.expectLedgerIsRight(cache)
        // Another process, which knows nothing of this one's memory.
        let other = try rig.cache()
        try rig.expectRead(other, path, is: content)
        #expect(rig.origin.bytes == content.count)
        #expect(other.totals.hitRate == 1)
    }

    @Test func aSmallReadBringsItsBlockAlone() throws {
        let rig = try CacheRig()
        let content = randomBytes(100_000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        try rig.expectRead(cache, path, is: content, 50_000..<50_010)
        #expect(rig.origin.bytes == 4096)
        try rig.expectRead(cache, path, is: content, 49_153..<53_000)
        #expect(rig.origin.bytes == 4096)
        // Across a boundary: one more.
        try rig.expectRead(cache, path, is: content, 53_200..<53_300)
        #expect(rig.origin.bytes == 8192)
        // Past the end.
        try rig.expectRead(cache, path, is: content, 99_999..<100_000)
        #expect(rig.origin.bytes == 8192 + 100_000 % 4096)
    }

    /// Sixteen threads of two caches on one directory, and each byte of the origin is read once.
    @Test func noByteIsReadTwice() throws {
        let rig = try CacheRig()
        let contents = (0..<6).map { randomBytes(40_000 + 777 * $0, seed: UInt64($0)) }
        let paths = contents.enumerated().map { rig.scratch.file("origin/\($0.offset)/x.tar", $0.element) }
        let caches = [try rig.cache(), try rig.cache()]
        let threads = try (0..<16).map { number in
            try HeadraceCore.Thread(name: "t\(number)") {
                var generator = Generator(state: UInt64(number))
                for round in 0..<24 {
                    let which = (round + number) % contents.count
                    let content = contents[which]
                    let start = Int.random(in: 0..<content.count, using: &generator)
                    let end = Int.random(in: start...content.count, using: &generator)
                    guard start < end else { continue }
                    do {
                        try rig.expectRead(caches[number % 2], paths[which], is: content, start..<end)
                    } catch { Issue.record(error) }
                }
                for (content, path) in zip(contents, paths) {
                    do { try rig.expectRead(caches[number % 2], path, is: content) } catch {
                        Issue.record(error)
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(rig.origin.bytes == contents.reduce(0) { $0 + $1.count })
        for (content, path) in zip(contents, paths) { #expect(rig.origin.bytes(of: path) == content.count) }
        #expect(caches.allSatisfy { $0.totals.refetchedBytes == 0 && $0.totals.passed.isEmpty })
        try rig.expectLedgerIsRight(caches[0])
        #expect(try rig.files().filter { $0.hasSuffix(".partial") }.isEmpty)
    }

    @Test func poolsReadThroughTheCacheToo() throws {
        let rig = try CacheRig()
        let content = randomBytes(300_000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        let storage = CachedStorage(rig.origin, cache: cache, isPooled: true)
        let reader = try storage.makeReader(queueDepth: 8)
        let file = try storage.open(path)
        let memory = Memory(content.count)
        for round in 0..<2 {
            memory.fill(0)
            let requests = (0..<30).map {
                ReadRequest(
                    ticket: UInt64($0), file: file, offset: $0 * 10_000, length: 10_000,
                    destination: memory.base + $0 * 10_000)
            }
            let results = reader.readAll(requests)
            #expect(results.values.allSatisfy { $0.count == 10_000 })
            expect(memory.base, is: content, 0..<content.count)
            let sources = try #require(reader.takeSources())
            #expect(sources.local + (round == 0 ? 0 : content.count) == content.count)
            if round == 1 { #expect(sources.cache == content.count) }
        }
        #expect(rig.origin.bytes == content.count)
        #expect(reader.takeSources() == ByteSources())
        reader.close()
    }

    /// Open blocks are bounded; those that were closed are opened again.
    @Test func manyBlocksNeedFewOpenFiles() throws {
        let rig = try CacheRig()
        let content = randomBytes(4096 * 1500)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        for _ in 0..<2 { try rig.expectRead(cache, path, is: content) }
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter {
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
            return target?.contains(rig.folder) ?? false
        }
        #expect(open.count <= CacheLimits.openBlocks + 2)
        #expect(rig.origin.bytes == content.count)
    }

    @Test func anOriginWithoutVersionsIsNotKept() throws {
        let rig = try CacheRig()
        let content = randomBytes(10_000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        let file = CachedFile(VersionlessFile(try LocalFile(path, direct: .off)), cache)
        let reader = CachedReader(origin: UnwrappingReader())
        let memory = Memory(content.count)
        let result = reader.read(
            ReadRequest(ticket: 1, file: file, offset: 0, length: content.count, destination: memory.base))
        #expect(result?.count == content.count)
        expect(memory.base, is: content, 0..<content.count)
        #expect(cache.totals.passed[.noVersion]?.bytes == content.count)
        #expect(try rig.blockFiles().isEmpty)
    }

    @Test func equalNamesAreDifferentObjects() throws {
        let rig = try CacheRig()
        let contents = (0..<4).map { randomBytes(9000, seed: UInt64($0)) }
        let paths = contents.enumerated().map {
            rig.scratch.file("origin/\($0.offset)/train-000.tar", $0.element)
        }
        let cache = try rig.cache()
        for _ in 0..<2 {
            for (path, content) in zip(paths, contents) { try rig.expectRead(cache, path, is: content) }
        }
        #expect(rig.origin.bytes == 4 * 9000)
    }

    @Test func anOriginThatChangedIsReadAnew() throws {
        let rig = try CacheRig()
        let cache = try rig.cache()
        var path = ""
        for round in 0..<3 {
            // The same name and size.
            let content = randomBytes(9000, seed: UInt64(round))
            path = rig.scratch.file("origin/a", content)
            try rig.expectRead(cache, path, is: content)
            try rig.expectRead(try rig.cache(), path, is: content)
            #expect(rig.origin.bytes == 9000 * (round + 1))
        }
    }

    /// Written to while a block is on its way: the bytes are of nobody knows which state, and are not kept.
    @Test func aBlockOfAFileThatIsBeingWrittenIsNotKept() throws {
        let rig = try CacheRig()
        let content = randomBytes(9000)
        let path = rig.scratch.file("origin/a", content)
        let cache = try rig.cache()
        let storage = CachedStorage(rig.origin, cache: cache, isPooled: false)
        let file = try storage.open(path)
        rig.origin.beforeReads { _ in try! flip(path, at: 8999) }
        let reader = try storage.makeReader(queueDepth: 1)
        let memory = Memory(9000)
        _ = reader.read(ReadRequest(ticket: 1, file: file, offset: 0, length: 9000, destination: memory.base))
        #expect(throws: HeadraceError.self) { try file.checkUnchanged() }
        #expect(cache.totals.passed[.originChanged]?.reads == 3)
        #expect(try rig.blockFiles().isEmpty)
        #expect(try cache.folder.usedBytes() == 0)
    }

    @Test func clocksMayGoBack() throws {
        let rig = try CacheRig()
        let content = randomBytes(20_000)
        let path = rig.scratch.file("origin/a", content)
        try rig.expectRead(try rig.cache(), path, is: content)
        // Files of the cache that were made in what now is the future, or at the beginning of time.
        for seconds in [4_000_000_000, 0] {
            for block in try rig.blockFiles() {
                var times = [timeval(tv_sec: seconds, tv_usec: 0), timeval(tv_sec: seconds, tv_usec: 0)]
                #expect(utimes(block, &times) == 0)
            }
            for eviction in Eviction.allCases {
                let cache = try rig.cache { $0.eviction = eviction }
                try rig.expectRead(cache, path, is: content)
                #expect(cache.totals.badBlocks == 0)
            }
        }
        #expect(rig.origin.bytes == content.count)
        // An origin whose time was set back is another version, and then the first one again.
        var times = [timeval(tv_sec: 1000, tv_usec: 0), timeval(tv_sec: 1000, tv_usec: 0)]
        #expect(utimes(path, &times) == 0)
        try rig.expectRead(try rig.cache(), path, is: content)
        #expect(rig.origin.bytes == 2 * content.count)
    }
}

/// Reads what lies behind a versionless file.
final class UnwrappingReader: Reader {
    private let reader = BlockingReader()
    var queueDepth: Int { 1 }
    var inFlight: Int { reader.inFlight }

    func submit(_ requests: [ReadRequest]) {
        reader.submit(
            requests.map {
                var request = $0
                if let file = request.file as? VersionlessFile { request.file = file.file }
                return request
            })
    }

    func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        reader.wait(minimum: minimum, into: &completions)
    }

    func wake() {}
    func close() { reader.close() }
}
