import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

/// An origin of files of known content that counts what is read of it, and caches before it.
final class CacheRig: Sendable {
    let scratch: Scratch
    let origin: CountedOrigin
    /// Small, so that little data has many blocks.
    let blockBytes: Int

    init(_ name: String = #function, blockBytes: Int = 4096, inMemory: Bool = false) throws {
        scratch = inMemory ? Scratch(inMemory: name) : Scratch(name)
        origin = CountedOrigin()
        self.blockBytes = blockBytes
    }

    var folder: String { "\(scratch.path)/cache" }

    /// A cache as another process would open it: with nothing shared but the directory.
    func cache(
        limit: Int = 1 << 30, _ change: (inout CacheSettings) -> Void = { _ in }
    ) throws -> BlockCache {
        var settings = CacheSettings(folder, limit: limit)
        settings.blockBytes = blockBytes
        settings.freeSpaceFloor = 0
        change(&settings)
        return try BlockCache(settings)
    }

    /// Reads the range through the cache and expects the origin's bytes.
    func expectRead(
        _ cache: BlockCache, _ path: String, is content: [UInt8], _ range: Range<Int>,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let storage = CachedStorage(origin, cache: cache, isPooled: false)
        let file = try storage.open(path)
        let reader = try storage.makeReader(queueDepth: 1)
        let memory = Memory(range.count)
        let result = reader.read(
            ReadRequest(
                ticket: 1, file: file, offset: range.lowerBound, length: range.count,
                destination: memory.base))
        #expect(try result?.get() == range.count, sourceLocation: sourceLocation)
        expect(memory.base, is: content, range, sourceLocation: sourceLocation)
        reader.close()
    }

    func expectRead(
        _ cache: BlockCache, _ path: String, is content: [UInt8],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try expectRead(cache, path, is: content, 0..<content.count, sourceLocation: sourceLocation)
    }

    /// All files below the cache, by their paths in it.
    func files() throws -> [String] { try LocalFiles.list(folder).files.map(\.relativePath) }

    func blockFiles() throws -> [String] {
        try files().filter { $0.hasSuffix(".block") }.map { "\(folder)/\($0)" }
    }

    /// The ledger is what the files say.
    func expectLedgerIsRight(_ cache: BlockCache, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let sizes = try LocalFiles.list(folder).files.filter {
            $0.relativePath.hasSuffix(".block") || $0.relativePath.hasSuffix(".partial")
        }
        #expect(
            try cache.folder.usedBytes() == sizes.reduce(0) { $0 + $1.size }, sourceLocation: sourceLocation)
    }
}

/// Local files, of which every byte that is read is counted.
final class CountedOrigin: Storage, @unchecked Sendable {
    // Sendable: `lock` guards the counts.
    private let lock = Lock()
    private var counts: [String: Int] = [:]
    private var hook: (@Sendable (ReadRequest) -> Void)?

    func open(_ path: String) throws(HeadraceError) -> any StorageFile { try LocalFile(path, direct: .off) }

    func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader { CountedReader(self) }

    /// Called before each read.
    func beforeReads(_ hook: (@Sendable (ReadRequest) -> Void)?) { lock.withLock { self.hook = hook } }

    /// Bytes that were read of all files, or of one.
    var bytes: Int { lock.withLock { counts.values.reduce(0, +) } }
    func bytes(of path: String) -> Int { lock.withLock { counts[path] ?? 0 } }

    func count(_ request: ReadRequest) {
        let hook = lock.withLock { self.hook }
        hook?(request)
        let bytes = max(0, min(request.length, request.file.size - request.offset))
        lock.withLock { counts[request.file.path, default: 0] += bytes }
    }
}

final class CountedReader: Reader {
    private let reader = BlockingReader()
    private let origin: CountedOrigin

    init(_ origin: CountedOrigin) { self.origin = origin }

    var queueDepth: Int { 1 }
    var inFlight: Int { reader.inFlight }

    func submit(_ requests: [ReadRequest]) {
        for request in requests { origin.count(request) }
        reader.submit(requests)
    }

    func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        reader.wait(minimum: minimum, into: &completions)
    }

    func wake() {}
    func close() { reader.close() }
}

/// A file whose origin tells no version.
final class VersionlessFile: StorageFile {
    let file: LocalFile
    init(_ file: LocalFile) { self.file = file }
    var path: String { file.path }
    var size: Int { file.size }
    var alignment: Int { 1 }
    func checkUnchanged() throws(HeadraceError) { try file.checkUnchanged() }
}

/// Adds one to a byte of a file.
func flip(_ path: String, at offset: Int) throws {
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try handle.seek(toOffset: UInt64(offset))
    let byte = try #require(try handle.read(upToCount: 1)?.first)
    try handle.seek(toOffset: UInt64(offset))
    try handle.write(contentsOf: Data([byte &+ 1]))
    try handle.close()
}
