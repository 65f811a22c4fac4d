internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats

/// The uncompressed bytes of one source file, read by ranges a second time, when they are packed.
///
/// A plain file has ranges. A compressed one is decompressed from front to back, which is enough because
/// frames are rendered in order: what the current sample can still ask for is held, the rest let go. A range
/// that lies behind is served too, by beginning again. Where the order is another one, ``spool(to:)`` gives a
/// compressed file ranges.
// Sendable: `lock` guards all that changes.
final class SourceBytes: @unchecked Sendable {
    let file: SourceFile
    let codec: CodecKind
    private let part: SourcePart?
    private let opened: OpenedFiles
    private let lock = Lock()
    private var descriptor: OpenedFile?

    private var reader: SourceReader?
    /// Uncompressed bytes from `heldStart` on.
    private var held: OutputBuffer?
    private var heldStart = 0
    private var holdFrom = 0
    private var spooled: Spooled?

    /// Where the bytes are in the spool, and what stood behind them if not the end.
    private struct Spooled {
        let spool: Spool
        let range: Range<Int>
        let damage: HeadraceError?
    }

    private static let pieceBytes = 256 << 10

    init(_ file: SourceFile, codec: CodecKind, part: SourcePart? = nil, opened: OpenedFiles) {
        self.file = file
        self.part = part
        self.codec = codec
        self.opened = opened
    }

    /// Reading it out of order costs a decompression from the start.
    var isSequential: Bool { codec != .none && lock.withLock { spooled == nil } }

    /// Fills `room` with the bytes from `start` on; all of them, or it throws.
    func read(_ start: Int, into room: UnsafeMutableRawBufferPointer) throws(HeadraceError) {
        if codec == .none {
            let opened = try self.opened.descriptor(of: self)
            try unsafe fill(
                room, from: opened.number, offset: (part?.range.lowerBound ?? 0) + start, path: file.path)
            return try file.check(opened.number)
        }
        lock.lock()
        defer { lock.unlock() }
        if let spooled {
            let position = spooled.range.lowerBound + start
            if position + room.count > spooled.range.upperBound, let damage = spooled.damage { throw damage }
            return try unsafe spooled.spool.read(position, into: room)
        }
        try unsafe readForward(start, into: room)
    }

    /// Bytes before `start` will not be asked for again.
    func hold(from start: Int) { lock.withLock { holdFrom = start } }

    /// Lets go of the memory; reading on begins from the front.
    func release() {
        lock.withLock {
            reader = nil
            held = nil
            heldStart = 0
            holdFrom = 0
        }
    }

    /// Writes all of the uncompressed bytes behind what is in `spool`, and reads them from there from now on. Damage is
    /// no error here: the listing has judged it, and no sample behind it will be asked for.
    func spool(to spool: Spool, isCancelled: () -> Bool) throws(HeadraceError) {
        let reader = try SourceReader(file, codec: codec, part: part)
        let buffer = OutputBuffer(capacity: Self.pieceBytes)
        let start = spool.byteCount
        var damage: HeadraceError?
        while damage == nil {
            do throws(HeadraceError) {
                guard try reader.read(into: buffer, room: Self.pieceBytes) > 0 else { break }
            } catch  where error.code.category == .data {
                damage = error
            }
            if isCancelled() { throw HeadraceError.packCancelled }
            try unsafe spool.append(buffer.bytes)
            buffer.removeAll()
        }
        lock.withLock {
            spooled = Spooled(spool: spool, range: start..<spool.byteCount, damage: damage)
        }
    }

    private func readForward(
        _ start: Int, into room: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        if start < heldStart || held == nil || reader == nil {
            reader = try SourceReader(file, codec: codec, part: part)
            held = OutputBuffer(capacity: Self.pieceBytes)
            heldStart = 0
        }
        guard let reader, let held else { return }
        let end = start + room.count
        let keep = min(start, holdFrom)
        while heldStart + held.count < end {
            let gone = min(held.count, max(0, keep - heldStart))
            // Moving the rest to the front pays once as much is gone.
            if gone == held.count || gone >= held.count / 2, gone >= Self.pieceBytes {
                held.removeFirst(gone)
                heldStart += gone
            }
            guard try reader.read(into: held, room: Self.pieceBytes) > 0 else {
                throw HeadraceError(
                    .fileChanged, "the file holds fewer bytes than when it was listed",
                    at: .init(shard: file.path, offset: heldStart + held.count))
            }
        }
        unsafe room.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: held.bytes[start - heldStart..<end - heldStart]))
    }

    // MARK: - For OpenedFiles

    fileprivate func openedFile() -> OpenedFile? { lock.withLock { descriptor } }

    fileprivate func setOpened(_ file: OpenedFile?) { lock.withLock { descriptor = file } }
}

/// A file descriptor that closes itself.
// Sendable: immutable.
final class OpenedFile: Sendable {
    let number: Int32
    init(_ number: Int32) { self.number = number }
    deinit { close(number) }
}

/// Keeps the files open that are being read, but not ten thousand of them.
// Sendable: `lock` guards the list.
final class OpenedFiles: @unchecked Sendable {
    /// Far below the 1,024 descriptors a process has by default.
    private static let limit = 128
    private let lock = Lock()
    private var recent: [SourceBytes] = []

    /// An open descriptor of the file, good as long as the caller holds it.
    func descriptor(of bytes: SourceBytes) throws(HeadraceError) -> OpenedFile {
        if let open = bytes.openedFile() { return open }
        let file = OpenedFile(try bytes.file.reopen())
        bytes.setOpened(file)
        lock.lock()
        recent.append(bytes)
        let oldest = recent.count > Self.limit ? recent.removeFirst() : nil
        lock.unlock()
        oldest?.setOpened(nil)
        return file
    }
}

/// A nameless temporary file that takes the uncompressed bytes of compressed sources, and the rows of arrays
/// that lie in columns, so that they have ranges.
// Sendable: appended to by one thread before anyone reads; reads are preads.
final class Spool: @unchecked Sendable {
    private let descriptor: Int32
    private let directory: String
    private(set) var byteCount = 0

    /// In the output's folder: that is where the caller has room for as much.
    init(in directory: String) throws(HeadraceError) {
        self.directory = directory
        let name = "\(directory)/.headrace-\(getpid())-\(UInt64.random(in: 0 ... .max)).partial"
        descriptor = unsafe open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw HeadraceError(
                .io, "a temporary file cannot be made", at: .init(shard: directory),
                cause: errorDescription(errno))
        }
        unsafe unlink(name)
    }

    deinit { close(descriptor) }

    func append(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) {
        var done = 0
        while done < bytes.count {
            let count = unsafe pwrite(
                descriptor, bytes.baseAddress! + done, bytes.count - done, byteCount + done)
            if count > 0 {
                done += count
            } else if count == 0 || errno != EINTR {
                throw HeadraceError(
                    .io,
                    "the temporary file for the sources cannot be written after \(ByteCount(byteCount)); sorting and "
                        + "shuffling compressed sources and arrays in Fortran order needs room for all of their "
                        + "bytes: decompress them first, save the arrays in C order, or free some space",
                    at: .init(shard: directory), cause: errorDescription(count == 0 ? EIO : errno))
            }
        }
        byteCount += bytes.count
    }

    func read(_ start: Int, into room: UnsafeMutableRawBufferPointer) throws(HeadraceError) {
        try unsafe fill(room, from: descriptor, offset: start, path: directory)
    }
}
