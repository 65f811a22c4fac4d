public import HeadraceCore
internal import HeadraceFormats

/// Tables with a header row (CSV as RFC 4180 has it, TSV), plain or compressed: each row is a sample, each
/// column a field of text.
///
/// Values are packed as they are, numbers too, without the quotes around them and with doubled quotes made
/// one. A row with more or fewer values than the header is an error with its line. Column names are turned to
/// lower case. Rows end in a line feed, a carriage return or both; blank lines are passed over and counted.
///
/// A quote too many makes one row of many. Where such rows are left out, that costs the first of their lines
/// alone: reading goes on behind it, and each line that is left out counts as a damaged sample.
public struct TableSource: PackSource {
    /// What separates values.
    public enum Delimiter: String, Sendable, CaseIterable {
        /// CSV.
        case comma
        /// TSV, where a quote within an unquoted value is a quote.
        case tab

        var byte: UInt8 { self == .comma ? UInt8(ascii: ",") : UInt8(ascii: "\t") }
    }

    /// The files, in order.
    public let paths: [String]
    /// What separates their values.
    public let delimiter: Delimiter
    /// Name of the column that is the sample's key, which then is no field. Nil: keys are the file's name and
    /// a number.
    public let keyField: String?

    /// The rows of these files.
    public init(_ paths: [String], delimiter: Delimiter = .comma, keyField: String? = nil) {
        self.paths = paths
        self.delimiter = delimiter
        self.keyField = keyField
    }

    /// Reads the files once.
    public func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        for path in paths {
            let file = try SourceFile(path)
            let codec = try file.codec()
            let bytes = inventory.bytes(of: file, codec: codec)
            let values = (plain: SourceItems(bytes), quoted: DoubledQuoteItems(bytes))
            var rows = TableRows(
                try LineReader(file, codec: codec, endsAtReturns: true), delimiter: delimiter)
            guard try Self.findHeader(&rows, &inventory) else {
                throw HeadraceError(
                    .badValue, "the file is empty or all blank lines: there is no header row",
                    at: .init(shard: path))
            }
            let header = try Header(rows, keyField: keyField, &inventory)
            let mark = rows.lines.markByteCount
            inventory.count(parsed: rows.lines.wholeByteCount - mark, ignored: mark)
            if let keyField { inventory.noteKeyField(keyField, of: path) }
            let keys = GeneratedKeys(path)
            var ordinal = 0
            while try Self.next(&rows, &ordinal, &inventory) {
                let line = rows.lines.current.number
                if line & 0xFFF == 0 { try inventory.checkGoesOn() }
                if rows.isBlank {
                    inventory.ignore(.blankLine, path: "\(path):\(line)")
                    inventory.count(ignored: rows.lines.wholeByteCount)
                    continue
                }
                do throws(HeadraceError) {
                    try header.check(&rows)
                    try rows.lines.checkText()
                    let key = header.key.map { rows.text(rows.values[$0]) } ?? keys.key(ordinal)
                    inventory.add(key: key, fields: header.fields(rows, values))
                    inventory.count(parsed: rows.lines.wholeByteCount)
                } catch {
                    if rows.isGivenUp { throw error }
                    // With its quotes in order the row is one, whatever its bytes are; but nobody knows what
                    // a quote too many has drawn into it.
                    try inventory.leaveOut(error, count: rows.lines.currentCount)
                    inventory.count(lost: rows.lines.wholeByteCount)
                }
                ordinal += 1
            }
        }
    }

    /// Goes on to the first row that is not blank; false where there is none.
    private static func findHeader(
        _ rows: inout TableRows, _ inventory: inout PackInventory
    ) throws(HeadraceError) -> Bool {
        while try rows.next(skipsMark: rows.lines.current.number == 0) {
            let line = rows.lines.current.number
            if line & 0xFFF == 0 { try inventory.checkGoesOn() }
            guard rows.isBlank else { return true }
            inventory.ignore(.blankLine, path: "\(rows.lines.path):\(line)")
            inventory.count(ignored: rows.lines.wholeByteCount)
        }
        return false
    }

    /// Goes on to the next row that can be told from the others; those before it are left out.
    private static func next(
        _ rows: inout TableRows, _ ordinal: inout Int, _ inventory: inout PackInventory
    ) throws(HeadraceError) -> Bool {
        while true {
            do throws(HeadraceError) {
                return try rows.next()
            } catch {
                guard rows.isDamaged else { throw error }
                try inventory.checkGoesOn()
                try inventory.leaveOut(error)
                inventory.count(lost: rows.lines.wholeByteCount)
                ordinal += 1
            }
        }
    }

    /// The names of the columns.
    private struct Header {
        var names: [String] = []
        /// The column that is the key.
        var key: Int?

        /// Told where a name is none of them.
        private static let shownNames = 10

        init(_ rows: TableRows, keyField: String?, _ inventory: inout PackInventory) throws(HeadraceError) {
            try rows.lines.checkText()
            for value in rows.values {
                let name = rows.text(value)
                guard !name.isEmpty else {
                    throw rows.lines.error(.badName, "column \(names.count + 1) has no name")
                }
                if let keyField, keyField.utf8.elementsEqual(name.utf8) { key = names.count }
                let field = fieldName(name)
                if key != names.count, !field.utf8.elementsEqual(name.utf8) {
                    inventory.noteRenamed(name, to: field)
                }
                guard !names.contains(where: { $0.utf8.elementsEqual(field.utf8) }) else {
                    throw rows.lines.error(
                        .duplicateField, "two columns are named '\(field)': names are compared in lower case")
                }
                names.append(field)
            }
            guard keyField == nil || key != nil else {
                let shown = names.prefix(Self.shownNames).joined(separator: ", ")
                throw rows.lines.error(
                    .missingField,
                    "there is no column '\(keyField ?? "")' to be the key; the columns are, in lower case, \(shown)"
                        + (names.count > Self.shownNames ? ", ..." : ""))
            }
        }

        func check(_ rows: inout TableRows) throws(HeadraceError) {
            guard rows.values.count != names.count else { return }
            throw rows.damaged(
                .badValue, "the row has \(rows.values.count) values, the header has \(names.count)")
        }

        func fields(
            _ rows: TableRows, _ items: (plain: SourceItems, quoted: DoubledQuoteItems)
        ) -> [(name: String, payload: PackPayload)] {
            var fields: [(name: String, payload: PackPayload)] = []
            fields.reserveCapacity(names.count)
            let start = rows.lines.current.offset
            for (column, value) in rows.values.enumerated() where column != key {
                fields.append(
                    (
                        name: names[column],
                        payload: .item(
                            value.doubledCount > 0 ? items.quoted : items.plain,
                            index: start + value.range.lowerBound,
                            byteCount: value.range.count - value.doubledCount)
                    ))
            }
            return fields
        }
    }
}

/// A name as readers of tar take it for a field: in lower case, without a '/'.
func fieldName(_ name: String) -> String {
    let bytes = WebDatasetName.lowercased(Array(name.utf8))
    return String(decoding: bytes.map { $0 == UInt8(ascii: "/") ? UInt8(ascii: ".") : $0 }, as: UTF8.self)
}

/// The rows of a table: where their values lie.
struct TableRows {
    /// A value without the quotes around it.
    struct Value: Equatable {
        /// Counted from the row's first byte.
        var range: Range<Int>
        /// Quotes in it that are written twice.
        var doubledCount = 0
    }

    let lines: LineReader
    /// Set where ``next(skipsMark:)`` has thrown and may be called again.
    private(set) var isDamaged = false
    /// Too much was read again because of quotes that do not pair; the error says so.
    private(set) var isGivenUp = false
    private var rereadByteCount = 0
    private(set) var values: [Value] = []
    /// Nothing on the line at all; a pair of quotes is something.
    private(set) var isBlank = false
    private let delimiter: TableSource.Delimiter
    private let quotedByteCount: Int
    private let rereadLimit: Int

    init(
        _ lines: LineReader, delimiter: TableSource.Delimiter,
        quotedByteCount: Int = TextLimits.quotedByteCount, rereadLimit: Int = TextLimits.rereadByteCount
    ) {
        self.lines = lines
        self.delimiter = delimiter
        self.quotedByteCount = quotedByteCount
        self.rereadLimit = rereadLimit
    }

    /// The text of a value of this row.
    func text(_ value: Value) -> String {
        var bytes = unsafe Array(lines.wholeBytes[value.range])
        if value.doubledCount > 0 {
            bytes = DoubledQuoteItems.undoubled(bytes)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads the next row, which has several lines where quoted values do; false at the end of the file.
    mutating func next(skipsMark: Bool = false) throws(HeadraceError) -> Bool {
        isDamaged = false
        guard try lines.next() else { return false }
        values.removeAll(keepingCapacity: true)
        var position = 0
        if skipsMark { position = lines.markByteCount }
        isBlank = unsafe lines.bytes.count == position
        while true {
            let isQuoted = unsafe position < lines.bytes.count && lines.bytes[position] == Self.quote
            let value = isQuoted ? try quoted(position + 1) : try unquoted(position)
            guard values.count < TextLimits.columns else {
                throw damaged(
                    .limitExceeded, "the row has more than \(TextLimits.columns) values (limit columns)")
            }
            values.append(value)
            position = value.range.upperBound + (isQuoted ? 1 : 0)
            // The line may have grown.
            guard unsafe position < lines.bytes.count else { return true }
            position += 1
        }
    }

    private static let quote = UInt8(ascii: "\"")

    /// An error about the row. Of its lines only the first is given up: those behind it may be rows of their
    /// own that a quote too many has drawn into this one.
    mutating func damaged(
        _ code: HeadraceError.Code, _ message: String, at byte: Int = 0
    ) -> HeadraceError {
        let lineCount = lines.currentCount
        let last = lines.current.number + lineCount - 1
        let error = lines.error(
            code,
            message
                + (lineCount > 1
                    ? " (the row goes on to line \(last): a quote may be missing or too many before it)"
                    : ""),
            at: byte)
        giveBack()
        isGivenUp = rereadByteCount > rereadLimit
        isDamaged = !isGivenUp
        guard isGivenUp else { return error }
        return lines.error(
            .limitExceeded,
            "more than \(ByteCount(rereadLimit)) were read again because quotes do not pair (limit "
                + "rereadByteCount); mend the quotes of the table", at: byte)
    }

    private mutating func giveBack() {
        let whole = lines.wholeByteCount
        lines.giveBack()
        rereadByteCount += whole - lines.wholeByteCount
    }

    private mutating func unquoted(_ start: Int) throws(HeadraceError) -> Value {
        let bytes = unsafe lines.bytes
        var end = start
        while end < bytes.count, unsafe bytes[end] != delimiter.byte {
            if delimiter == .comma, unsafe bytes[end] == Self.quote {
                throw damaged(
                    .badValue,
                    "a quote inside a value that is not quoted; put the value in quotes and double the quote",
                    at: end)
            }
            end += 1
        }
        return Value(range: start..<end)
    }

    /// A value whose opening quote stands before `start`.
    private mutating func quoted(_ start: Int) throws(HeadraceError) -> Value {
        var end = start
        var doubledCount = 0
        while true {
            let bytes = unsafe lines.wholeBytes
            while end < bytes.count, unsafe bytes[end] != Self.quote { end += 1 }
            guard end < bytes.count else {
                try goOn(start)
                continue
            }
            // Only a quote behind a quote on the same line can double it.
            guard end + 1 < bytes.count, unsafe bytes[end + 1] == Self.quote else { break }
            doubledCount += 1
            end += 2
        }
        let line = unsafe lines.bytes
        if end + 1 < line.count, unsafe line[end + 1] != delimiter.byte {
            throw damaged(
                .badValue, "something follows the quote that ends a value; a quote inside one is doubled",
                at: end + 1)
        }
        return Value(range: start..<end, doubledCount: doubledCount)
    }

    /// Takes in the next line for a quoted value that does not end on this one.
    private mutating func goOn(_ start: Int) throws(HeadraceError) {
        var isTooLong = unsafe lines.wholeBytes.count - start > quotedByteCount
        if !isTooLong {
            do throws(HeadraceError) {
                if try lines.extend() { return }
            } catch {
                guard error.code == .limitExceeded else { throw error }
                isTooLong = true
            }
        }
        let message =
            isTooLong
            ? "a quoted value begins here and does not end within \(quotedByteCount) bytes (limit quotedByteCount)"
            : "a quoted value begins here and never ends"
        // Where it is not closed, there is no last line to speak of.
        giveBack()
        throw damaged(.badValue, message, at: start - 1)
    }
}

/// Quoted values of a table that have quotes in them, which are written twice: the item's number is the
/// offset of the value's first byte.
// Sendable: as its superclass; it owns nothing more.
final class DoubledQuoteItems: SourceItems, @unchecked Sendable {
    private static let pieceBytes = 4096

    override func read(
        item: Int, offset: Int, into destination: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        var position = item
        var skipped = 0
        var done = 0
        var isSecond = false
        let buffer = OutputBuffer(capacity: Self.pieceBytes)
        while done < destination.count {
            buffer.removeAll()
            // What is still to come has at least as many bytes in the file, so this reads no further than it
            // may.
            let room = min(Self.pieceBytes, offset - skipped + destination.count - done)
            try unsafe buffer.appendInPlace(room: room) {
                (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
                try unsafe bytes.read(position, into: room)
                return room.count
            }
            position += room
            for index in 0..<buffer.count where done < destination.count {
                let byte = unsafe buffer.bytes[index]
                if byte == UInt8(ascii: "\""), !isSecond {
                    isSecond = true
                    continue
                }
                isSecond = false
                if skipped < offset {
                    skipped += 1
                } else {
                    unsafe destination[done] = byte
                    done += 1
                }
            }
        }
    }

    static func undoubled(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var isSecond = false
        for byte in bytes {
            isSecond = byte == UInt8(ascii: "\"") && !isSecond
            if !isSecond { result.append(byte) }
        }
        return result
    }
}
