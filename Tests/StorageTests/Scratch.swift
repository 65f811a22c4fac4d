import Foundation
import HeadraceCore
import HeadraceStorage
import Testing

/// A directory of one test, beside the build, because a temporary directory in memory has no direct I/O.
final class Scratch: Sendable {
    let path: String

    init(_ name: String = #function) {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let plain = name.prefix { $0 != "(" }
        path = root.appendingPathComponent(".build/scratch/\(plain)-\(UUID().uuidString)").path
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// In memory where the machine has a place for it: for tests that make thousands of files.
    init(inMemory name: String) {
        let shared = "/dev/shm"
        let root = access(shared, W_OK) == 0 ? shared : NSTemporaryDirectory()
        path = "\(root)/headrace-\(name.prefix { $0 != "(" })-\(UUID().uuidString)"
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String, _ bytes: [UInt8]) -> String {
        let place = "\(path)/\(name)"
        try! FileManager.default.createDirectory(
            atPath: URL(fileURLWithPath: place).deletingLastPathComponent().path,
            withIntermediateDirectories: true)
        try! Data(bytes).write(to: URL(fileURLWithPath: place))
        return place
    }
}

/// Numbers that look random and are the same in every run.
struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Bytes of which no two blocks are equal. Debug builds are slow at loops, so a random block is repeated, and the
/// start of each repetition is random anew.
func randomBytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var generator = Generator(state: seed)
    let block = (0..<512).map { _ in generator.next() }
    return [UInt8](unsafeUninitializedCapacity: count + 4096) { buffer, initialized in
        var offset = 0
        while offset < count {
            let place = buffer.baseAddress! + offset
            _ = block.withUnsafeBytes { memcpy(place, $0.baseAddress!, 4096) }
            for word in 0..<4 {
                _ = withUnsafeBytes(of: generator.next()) { memcpy(place + word * 1021, $0.baseAddress!, 8) }
            }
            offset += 4096
        }
        initialized = count
    }
}

/// Expects the memory at `start` to be `content[range]`. The macro alone would print all the bytes.
func expect(
    _ start: UnsafeRawPointer, is content: [UInt8], _ range: Range<Int>,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    precondition(range.lowerBound >= 0 && range.upperBound <= content.count)
    let isEqual = content.withUnsafeBytes {
        memcmp(start, $0.baseAddress! + range.lowerBound, range.count) == 0
    }
    #expect(isEqual, "bytes \(range) differ", sourceLocation: sourceLocation)
}

/// Memory that direct reads may go to.
final class Memory {
    let base: UnsafeMutableRawPointer
    let count: Int

    init(_ count: Int) {
        self.count = count
        base = .allocate(byteCount: max(count, 1), alignment: 4096)
        fill(0xA5)
    }

    deinit { base.deallocate() }

    func fill(_ byte: UInt8) { memset(base, Int32(byte), count) }

    /// Whether all of `range` is `byte`.
    func isFilled(_ range: Range<Int>, _ byte: UInt8) -> Bool {
        guard !range.isEmpty else { return true }
        let start = base + range.lowerBound
        return start.load(as: UInt8.self) == byte && memcmp(start, start + 1, range.count - 1) == 0
    }
}

/// One way of reading with one kind of file.
struct Setup: Sendable, CustomTestStringConvertible {
    var way: EngineChoice.Way
    var direct: DirectMode
    /// With a cache in between, made anew for each file that is opened.
    var isCached = false

    /// Of the cache: small, so that most reads touch several.
    static let blockBytes = 64 << 10

    var testDescription: String {
        "\(way) \(direct == .off ? "buffered" : "direct")\(isCached ? " cached" : "")"
    }

    static let all =
        [EngineChoice.Way.ring, .blocking, .pooled].flatMap { way in
            [DirectMode.off, .required].map { Setup(way: way, direct: $0) }
        }
        + [
            Setup(way: .blocking, direct: .off, isCached: true),
            Setup(way: .pooled, direct: .off, isCached: true),
            Setup(way: .blocking, direct: .required, isCached: true),
        ]

    /// A reader, or nil after saying why there is none.
    func reader(_ queueDepth: Int) throws -> (any Reader)? {
        switch way {
        case .blocking where isCached:
            return CachedReader(origin: BlockingReader(queueDepth: queueDepth))
        case .pooled where isCached:
            return try PooledReader(queueDepth: queueDepth) { CachedReader(origin: BlockingReader()) }
        case .blocking: return BlockingReader(queueDepth: queueDepth)
        case .pooled: return try PooledReader(queueDepth: queueDepth)
        case .ring:
            if let refusal = RingProbe.refusal() {
                print("SKIPPED: \(testDescription): \(refusal)")
                return nil
            }
            return try RingReader(queueDepth: queueDepth)
        }
    }

    /// The open file, or nil after saying that the file system has no direct I/O.
    func open(_ path: String) throws -> (any StorageFile)? {
        guard let file = try openLocal(path) else { return nil }
        return try isCached ? cached(file) : file
    }

    /// The file with a cache of its own before it.
    func cached(_ file: LocalFile) throws -> CachedFile {
        var settings = CacheSettings("\(file.path).cache-\(UUID().uuidString)", limit: 1 << 30)
        settings.blockBytes = Self.blockBytes
        settings.freeSpaceFloor = 0
        return CachedFile(file, try BlockCache(settings))
    }

    /// The same without a cache.
    func openLocal(_ path: String) throws -> LocalFile? {
        do throws(HeadraceError) {
            return try LocalFile(path, direct: direct)
        } catch {
            guard error.code == .directRefused else { throw error }
            print("SKIPPED: \(testDescription): \(error)")
            return nil
        }
    }
}

extension Reader {
    /// All completions of `requests`, by ticket.
    func readAll(_ requests: [ReadRequest]) -> [UInt64: Result<Int, HeadraceError>] {
        var completions: [ReadCompletion] = []
        submit(requests)
        while inFlight > 0 { wait(minimum: 1, into: &completions) }
        #expect(completions.count == requests.count)
        return Dictionary(completions.map { ($0.ticket, $0.result) }) { first, _ in first }
    }

    func read(_ request: ReadRequest) -> Result<Int, HeadraceError>? { readAll([request])[request.ticket] }
}

extension Result<Int, HeadraceError> {
    var count: Int? { try? get() }
    var error: HeadraceError? {
        if case .failure(let error) = self { error } else { nil }
    }
}

/// What a command prints; nil, said loudly, where it is not installed.
func output(of command: String, _ arguments: [String]) throws -> String? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [command] + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(["LC_ALL": "C"]) { $1 }
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus != 127 else {
        print("SKIPPED: \(command) is not installed")
        return nil
    }
    #expect(process.terminationStatus == 0)
    return String(decoding: data, as: UTF8.self)
}
