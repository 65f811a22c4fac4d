internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats

/// A source file as it was when it was listed. Whoever reads it later holds it against this.
struct SourceFile: Sendable {
    let path: String
    let byteCount: Int
    let modificationNanoseconds: Int
    /// Another file put in its place within one tick of the file system's clock, often 4 ms, has the same time.
    private let inode: UInt

    /// Looks at a regular file.
    init(_ path: String) throws(HeadraceError) {
        let descriptor = try Self.open(path)
        defer { close(descriptor) }
        try self.init(path, descriptor)
    }

    init(_ path: String, _ descriptor: Int32) throws(HeadraceError) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw HeadraceError(
                .io, "the file cannot be examined", at: .init(shard: path), cause: errorDescription(errno))
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw HeadraceError(.io, "this is no regular file", at: .init(shard: path))
        }
        self.path = path
        byteCount = Int(status.st_size)
        modificationNanoseconds = Headrace.modificationNanoseconds(status)
        inode = UInt(status.st_ino)
    }

    static func open(_ path: String) throws(HeadraceError) -> Int32 {
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let number = errno
            throw HeadraceError(
                number == ENOENT ? .notFound : .io, "the file cannot be opened", at: .init(shard: path),
                cause: errorDescription(number))
        }
        return descriptor
    }

    /// Opens it again; a file that is gone has changed.
    func reopen() throws(HeadraceError) -> Int32 {
        do throws(HeadraceError) {
            return try Self.open(path)
        } catch  where error.code == .notFound {
            throw HeadraceError(
                .fileChanged, "the file was there when it was listed and is gone", at: .init(shard: path),
                cause: error.cause)
        }
    }

    /// Throws `fileChanged` unless the open file is still what was listed.
    func check(_ descriptor: Int32) throws(HeadraceError) {
        let status = try checkUnchanged(
            descriptor, path: path, byteCount: byteCount, modified: modificationNanoseconds)
        guard UInt(status.st_ino) == inode else {
            throw HeadraceError(
                .fileChanged, "another file has taken the place of the one that was listed",
                at: .init(shard: path))
        }
    }

    /// What tells its content from another of the same size, short of reading it.
    var version: String { "\(byteCount)-\(modificationNanoseconds)-\(path)" }

    /// The first bytes, `count` of them or all.
    func head(_ count: Int) throws(HeadraceError) -> [UInt8] {
        let descriptor = try reopen()
        defer { close(descriptor) }
        let buffer = OutputBuffer(capacity: min(count, byteCount))
        try unsafe buffer.appendInPlace(room: min(count, byteCount)) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            try unsafe fill(room, from: descriptor, offset: 0, path: path)
            return room.count
        }
        return unsafe Array(buffer.bytes)
    }
}

/// What is the same for all paths of one file: links, relative and absolute ones.
struct FileIdentity: Hashable {
    private let device: UInt
    private let number: UInt
    private let changeSeconds: Int
    private let changeNanoseconds: Int

    /// The file that `path` leads to; nil where there is none.
    init?(_ path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        device = UInt(status.st_dev)
        number = UInt(status.st_ino)
        changeSeconds = status.st_ctim.tv_sec
        changeNanoseconds = status.st_ctim.tv_nsec
    }

    /// Changes whenever another file takes its place, or anything about the file changes.
    /// Devices are left out: their numbers are given anew when a file system is mounted.
    var version: String { "\(number)-\(changeSeconds).\(changeNanoseconds)" }

    static func == (a: FileIdentity, b: FileIdentity) -> Bool { a.device == b.device && a.number == b.number }

    func hash(into hasher: inout Hasher) {
        hasher.combine(device)
        hasher.combine(number)
    }
}

/// The part of a file that one stream is made of, and what must stand around it to make it one.
///
/// A deflated member of a zip archive between a gzip header and its trailer is a gzip stream, whose decompressor
/// verifies size and CRC-32.
struct SourcePart: Sendable {
    var head: [UInt8] = []
    var range: Range<Int>
    var tail: [UInt8] = []

    var byteCount: Int { head.count + range.count + tail.count }
}

/// The uncompressed bytes of a source file from front to back.
final class SourceReader {
    private let file: SourceFile
    private let part: SourcePart
    private let descriptor: Int32
    private let decompressor: (any StreamDecompressor)?
    private let input = OutputBuffer(capacity: 64)
    private var inputPosition = 0
    /// Bytes of the part that were taken.
    private var taken = 0
    /// The decompressor filled all the room it had: it may hold more.
    private var mayHoldMore = false
    private var isAtEnd = false

    private static let inputBytes = 256 << 10

    init(_ file: SourceFile, codec: CodecKind, part: SourcePart? = nil) throws(HeadraceError) {
        self.file = file
        self.part = part ?? SourcePart(range: 0..<file.byteCount)
        decompressor = codec == .none ? nil : try codec.makeStreamDecompressor()
        descriptor = try file.reopen()
    }

    deinit { close(descriptor) }

    /// Appends up to `room` bytes, at least one unless the end is reached; returns how many.
    func read(into output: OutputBuffer, room: Int) throws(HeadraceError) -> Int {
        guard let decompressor else { return try readPlain(output, room) }
        do throws(HeadraceError) {
            while !isAtEnd {
                if inputPosition < input.count || mayHoldMore {
                    let produced = try decompress(decompressor, output, room)
                    if produced > 0 { return produced }
                    if inputPosition < input.count { continue }
                }
                guard taken < part.byteCount else {
                    try decompressor.finish()
                    isAtEnd = true
                    break
                }
                input.removeAll()
                inputPosition = 0
                try readPart(input, Self.inputBytes)
            }
            return 0
        } catch {
            // Damage in a file that is being written to is no damage.
            try file.check(descriptor)
            throw error.placed(shard: file.path)
        }
    }

    private func decompress(
        _ decompressor: any StreamDecompressor, _ output: OutputBuffer, _ room: Int
    ) throws(HeadraceError) -> Int {
        let piece = unsafe UnsafeRawBufferPointer(rebasing: input.bytes[inputPosition...])
        let before = output.count
        try unsafe output.appendInPlace(room: room) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            let step = try unsafe decompressor.decompress(piece, into: room)
            inputPosition += step.consumed
            mayHoldMore = step.produced == room.count
            return step.produced
        }
        return output.count - before
    }

    private func readPlain(_ output: OutputBuffer, _ room: Int) throws(HeadraceError) -> Int {
        guard taken < part.byteCount else { return 0 }
        let before = output.count
        try readPart(output, room)
        return output.count - before
    }

    /// Appends the next bytes of the part; there are some.
    private func readPart(_ output: OutputBuffer, _ room: Int) throws(HeadraceError) {
        let position = taken - part.head.count
        if position < 0 || position >= part.range.count {
            let bytes = position < 0 ? part.head[taken...] : part.tail[(position - part.range.count)...]
            for byte in bytes.prefix(room) { output.append(byte: byte) }
            taken += min(room, bytes.count)
            return
        }
        let count = min(room, part.range.count - position)
        try unsafe output.appendInPlace(room: count) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            try unsafe fill(
                room, from: descriptor, offset: part.range.lowerBound + position, path: file.path)
            return count
        }
        taken += count
        try file.check(descriptor)
    }
}
