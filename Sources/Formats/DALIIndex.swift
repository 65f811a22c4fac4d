package import HeadraceCore

/// The index files of NVIDIA DALI, `NAME.idx`: text, one line a sample, about plain shards only.
///
///     tar       first line `v1.2 COUNT` (or `v1.1`), then for each member of the sample `ext offset size name` (v1.1
///               without the name), all parted by single spaces; the offset is the payload's
///     TFRecord  `offset size`, the size with the record's framing
///
/// Nothing in them identifies the shard. What can be held against it is: every place lies inside and behind the one
/// before, payloads begin at whole blocks, records follow each other without a gap up to the shard's end.
package enum DALIIndex {
    /// Bytes of an index that are read; a line takes some 50.
    package static let largestByteCount = 1 << 30

    private static let block = TarHeader.blockBytes

    /// Where the samples of a tar shard of `shardByteCount` bytes are. A row begins where the one before it ends, and so
    /// holds the sample's own headers, with PAX and whatever else stands before them.
    package static func tarRows(
        _ bytes: [UInt8], shardByteCount: Int, path: String
    ) throws(HeadraceError) -> [ByteSpan] {
        var lines = Lines(bytes)
        guard let first = lines.next() else { throw refused(path, "it is empty") }
        let head = words(bytes, first)
        let width: Int
        switch head.first.map({ text(bytes, $0) }) {
        case "v1.1": width = 3
        case "v1.2": width = 4
        default:
            throw refused(
                path,
                "its first line is none of DALI's, which would begin with v1.1 or v1.2"
                    + (bytes.first == 0x80 ? "; it looks like a Python pickle, which is never loaded" : ""))
        }
        guard head.count == 2, let count = number(bytes, head[1]) else {
            throw refused(path, "its first line does not say how many samples follow")
        }
        var rows: [ByteSpan] = []
        var end = 0
        while let line = lines.next() {
            let words = words(bytes, line)
            guard !words.isEmpty, words.count % width == 0 else {
                throw refused(
                    path,
                    "line \(lines.number) has \(words.count) words where each member has \(width); names with spaces "
                        + "cannot be written in such an index")
            }
            let start = end
            for member in stride(from: 0, to: words.count, by: width) {
                guard let offset = number(bytes, words[member + 1]),
                    let size = number(bytes, words[member + 2]),
                    offset % block == 0, offset - block >= end, size <= shardByteCount,
                    offset <= shardByteCount - size
                else {
                    throw refused(
                        path,
                        "line \(lines.number) has a member at '\(text(bytes, words[member + 1]))' of "
                            + "'\(text(bytes, words[member + 2]))' bytes: that is inside another, at no whole block, or "
                            + "beyond the shard's \(shardByteCount) bytes")
                }
                end = offset + TarHeader.padded(size)
            }
            rows.append(ByteSpan(offset: start, length: min(end, shardByteCount) - start))
        }
        guard rows.count == count else {
            throw refused(path, "it announces \(count) samples and lists \(rows.count)")
        }
        return rows
    }

    /// Where the records of a TFRecord shard of `shardByteCount` bytes are.
    package static func recordRows(
        _ bytes: [UInt8], shardByteCount: Int, path: String
    ) throws(HeadraceError) -> [ByteSpan] {
        var lines = Lines(bytes)
        var rows: [ByteSpan] = []
        var end = 0
        while let line = lines.next() {
            let words = words(bytes, line)
            guard words.count == 2, let offset = number(bytes, words[0]), let size = number(bytes, words[1]),
                offset == end, size >= TFRecordWalk.framingBytes, size <= shardByteCount - end
            else {
                throw refused(
                    path,
                    "line \(lines.number) is no record that begins at byte \(end), where the one before it ends, and "
                        + "ends within the shard's \(shardByteCount) bytes"
                        + (bytes.first == 0x80
                            ? "; it looks like a Python pickle, which is never loaded" : ""))
            }
            rows.append(ByteSpan(offset: offset, length: size))
            end += size
        }
        guard end == shardByteCount else {
            throw refused(path, "its last record ends at byte \(end) of the shard's \(shardByteCount)")
        }
        return rows
    }

    /// A member as DALI's index lists it.
    package struct Member: Sendable {
        package var name: [UInt8]
        package var payloadOffset: Int
        package var size: Int

        package init(name: [UInt8], payloadOffset: Int, size: Int) {
            self.name = name
            self.payloadOffset = payloadOffset
            self.size = size
        }

        /// What follows the first dot of the base name.
        var ending: ArraySlice<UInt8> {
            let base = name.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
            guard let dot = name[base...].firstIndex(of: UInt8(ascii: ".")) else { return [] }
            return name[(dot + 1)...]
        }
    }

    /// The index of a tar shard, as `wds2idx` writes it.
    package static func encodeTar(_ samples: [[Member]]) throws(HeadraceError) -> OutputBuffer {
        let output = OutputBuffer()
        output.append("v1.2 \(samples.count)\n")
        for sample in samples {
            for (index, member) in sample.enumerated() {
                let ending = member.ending
                let isBroken = member.name.contains { $0 <= 0x20 || $0 == 0x7f }
                guard !isBroken, !ending.isEmpty else {
                    throw HeadraceError(
                        .unsupported,
                        "DALI's index cannot hold the member '\(String(decoding: member.name, as: UTF8.self))': its name "
                            + (isBroken ? "has a space or control character" : "ends in its dot")
                            + ", and words are parted by spaces; pack the shard with other names",
                        at: .init(offset: member.payloadOffset))
                }
                if index > 0 { output.append(byte: UInt8(ascii: " ")) }
                unsafe ending.withUnsafeBytes { unsafe output.append($0) }
                output.append(" \(member.payloadOffset) \(member.size) ")
                unsafe member.name.withUnsafeBytes { unsafe output.append($0) }
            }
            output.append(byte: 0x0A)
        }
        return output
    }

    /// The index of a TFRecord shard, as `tfrecord2idx` writes it.
    package static func encodeRecords(_ rows: [ByteSpan]) -> OutputBuffer {
        let output = OutputBuffer()
        for row in rows { output.append("\(row.offset) \(row.length)\n") }
        return output
    }

    // MARK: Text

    /// The lines of the file; a last one without its newline counts.
    private struct Lines {
        private let bytes: [UInt8]
        private var position = 0
        private(set) var number = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func next() -> Range<Int>? {
            guard position < bytes.count else { return nil }
            let start = position
            while position < bytes.count, bytes[position] != 0x0A { position += 1 }
            let end = position
            position += 1
            number += 1
            return start..<end
        }
    }

    private static func words(_ bytes: [UInt8], _ line: Range<Int>) -> [Range<Int>] {
        var words: [Range<Int>] = []
        var start = line.lowerBound
        for index in line where bytes[index] == 0x20 {
            words.append(start..<index)
            start = index + 1
        }
        words.append(start..<line.upperBound)
        return words
    }

    /// Decimal digits below 2^63; nil for anything else.
    private static func number(_ bytes: [UInt8], _ word: Range<Int>) -> Int? {
        guard (1...18).contains(word.count) else { return nil }
        var value = 0
        for index in word {
            let digit = bytes[index] &- 0x30
            guard digit <= 9 else { return nil }
            value = value * 10 + Int(digit)
        }
        return value
    }

    private static func text(_ bytes: [UInt8], _ word: Range<Int>) -> String {
        String(decoding: bytes[word].prefix(40), as: UTF8.self)
    }

    private static func refused(_ path: String, _ reason: String) -> HeadraceError {
        HeadraceError(
            .indexMismatch,
            "this index of DALI's is not used: \(reason); remove it, or make one of ours with 'headrace index'",
            at: .init(shard: path))
    }
}
