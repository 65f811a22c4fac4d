internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats

/// Caps on sources that are text, each with its default.
enum TextLimits {
    /// Bytes of one line, or of one row of a table with all the lines in it.
    static let lineByteCount = 256 << 20
    /// Bytes of a quoted value of a table that goes on over more than one line: where it has more, its quote is
    /// held for one that is never closed.
    static let quotedByteCount = 64 << 20
    /// Bytes of lines of a table that may be read more than once because quotes do not pair: beyond it the file is
    /// given up, which otherwise could take for ever.
    static let rereadByteCount = 1 << 30
    /// Columns of a table: what readers accept as fields.
    static let columns = FormatLimits().fieldsPerSample
    /// Objects without the member that is to be the key, before any has it, until the name is held for wrong.
    static let keylessObjects = 1000
}

/// A file as text: what it is compressed with, and its uncompressed bytes in order.
final class LineReader {
    /// Where a line lies. Its bytes are good until the next one is read.
    struct Line {
        /// In the uncompressed file.
        let offset: Int
        /// Of its first line, counted from 1.
        let number: Int
    }

    let path: String
    private let reader: SourceReader
    private let buffer = OutputBuffer(capacity: pieceBytes + 4096)
    /// The current line in `buffer`, with its line feed.
    private var start = 0
    private var end = 0
    /// Offset, in the uncompressed file, of the first byte in `buffer`.
    private var bufferOffset = 0
    private var lineCount = 0
    private var firstNumber = 0
    /// Bytes of the first line of the current ones.
    private var firstByteCount = 0
    private var isAtEnd = false
    /// The line before ended in a carriage return and a line feed.
    private var followsCRLF = false
    /// A carriage return ends a line, too.
    private let endsAtReturns: Bool

    private static let pieceBytes = 256 << 10

    init(_ file: SourceFile, codec: CodecKind, endsAtReturns: Bool = false) throws(HeadraceError) {
        path = file.path
        self.endsAtReturns = endsAtReturns
        reader = try SourceReader(file, codec: codec)
    }

    /// The current line without its end: its line feed and the carriage return before it. Where lines end in
    /// both, the carriage return of a last line that was cut between the two is no part of it either.
    var bytes: UnsafeRawBufferPointer {
        var end = end
        if end > start, unsafe buffer.bytes[end - 1] == UInt8(ascii: "\n") {
            end -= 1
            if end > start, unsafe buffer.bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        } else if followsCRLF || endsAtReturns, end > start,
            unsafe buffer.bytes[end - 1] == UInt8(ascii: "\r")
        {
            end -= 1
        }
        return unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<end])
    }

    /// The current line as it stands in the file.
    var wholeBytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<end])
    }

    /// Bytes of the byte order mark that the file begins with, where this is its first line.
    var markByteCount: Int {
        unsafe current.offset == 0 && wholeBytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    }

    /// Bytes of the current line with its end.
    var wholeByteCount: Int { end - start }

    var current: Line { Line(offset: bufferOffset + start, number: firstNumber) }

    /// Goes on to the next line; false at the end of the file.
    func next() throws(HeadraceError) -> Bool {
        start = end
        firstNumber = lineCount + 1
        let isFound = try findEnd()
        firstByteCount = end - start
        return isFound
    }

    /// Makes the next line a part of the current one; false at the end of the file.
    func extend() throws(HeadraceError) -> Bool { try findEnd() }

    /// Lines that are the current one.
    var currentCount: Int { lineCount - firstNumber + 1 }

    /// Undoes ``extend()``: what follows the first of the current lines comes again.
    func giveBack() {
        end = start + firstByteCount
        lineCount = firstNumber
    }

    private func findEnd() throws(HeadraceError) -> Bool {
        followsCRLF =
            unsafe end > 1 && buffer.bytes[end - 1] == UInt8(ascii: "\n")
            && buffer.bytes[end - 2] == UInt8(ascii: "\r")
        var scanned = end
        while true {
            if let found = lineEnd(from: scanned) {
                end = found
                break
            }
            if isAtEnd {
                guard buffer.count > end else { return false }
                end = buffer.count
                break
            }
            guard buffer.count - start <= TextLimits.lineByteCount else { throw tooLong() }
            var known = buffer.count
            // What follows a carriage return tells where the line ends.
            if endsAtReturns, known > scanned, unsafe buffer.bytes[known - 1] == UInt8(ascii: "\r") {
                known -= 1
            }
            scanned = known - makeRoom()
            if try reader.read(into: buffer, room: Self.pieceBytes) == 0 { isAtEnd = true }
        }
        guard end - start <= TextLimits.lineByteCount else { throw tooLong() }
        lineCount += 1
        return true
    }

    /// What follows the first end of a line in the buffer from `position` on; nil where more bytes must be
    /// read.
    private func lineEnd(from position: Int) -> Int? {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[position...])
        guard endsAtReturns else {
            guard let base = rest.baseAddress, let found = unsafe memchr(base, 0x0A, rest.count) else {
                return nil
            }
            return unsafe position + (UnsafeRawPointer(found) - base) + 1
        }
        for index in rest.indices {
            let byte = unsafe rest[index]
            if byte == UInt8(ascii: "\n") { return position + index + 1 }
            guard byte == UInt8(ascii: "\r") else { continue }
            if index + 1 == rest.count { return isAtEnd ? position + index + 1 : nil }
            return unsafe position + index + (rest[index + 1] == UInt8(ascii: "\n") ? 2 : 1)
        }
        return nil
    }

    /// Drops what lies before the current line; returns how many bytes.
    private func makeRoom() -> Int {
        let gone = start
        guard gone > 0 else { return 0 }
        buffer.removeFirst(gone)
        bufferOffset += gone
        start = 0
        end -= gone
        return gone
    }

    private func tooLong() -> HeadraceError {
        error(
            .limitExceeded,
            "longer than \(TextLimits.lineByteCount) bytes (limit lineByteCount); is this the right format?")
    }

    /// An error about the current line.
    func error(_ code: HeadraceError.Code, _ message: String, at byte: Int = 0) -> HeadraceError {
        HeadraceError(
            code, "line \(firstNumber): \(message)", at: .init(shard: path, offset: current.offset + byte))
    }

    /// Throws unless the current line is UTF-8.
    func checkText() throws(HeadraceError) {
        if let wrong = unsafe invalidUTF8(wholeBytes) {
            throw error(.badValue, "byte \(wrong + 1) is no valid UTF-8; convert the file first", at: wrong)
        }
    }
}

/// Where `bytes` cease to be UTF-8; nil when they are all of it.
func invalidUTF8(_ bytes: UnsafeRawBufferPointer) -> Int? {
    do throws(UTF8.ValidationError) {
        _ = try unsafe UTF8Span(validating: bytes.assumingMemoryBound(to: UInt8.self).span)
        return nil
    } catch {
        return error.byteOffsets.lowerBound
    }
}

extension SourceFile {
    /// What the file is compressed with, by its first bytes.
    func codec() throws(HeadraceError) -> CodecKind {
        let head = try head(4)
        if head.starts(with: [0x1F, 0x8B]) { return .gzip }
        guard head.count == 4 else { return .none }
        let magic = head.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        switch magic {
        case 0xFD2F_B528, 0x184D_2A50...0x184D_2A5F: return .zstd
        case 0x184D_2204: return .lz4
        default: return .none
        }
    }
}
