public import HeadraceCore
internal import HeadraceFormats

/// How text is cut into samples.
public enum TextSplit: Sendable, Hashable {
    /// Each line is a sample, without its end.
    case line
    /// Pieces of at most so many bytes that end with a line, or at least with a character. One after the
    /// other they are the file.
    case chunk(byteCount: Int)

    /// Chunks that make sense.
    public static let chunkByteCounts = 16...1 << 30
}

/// Text files, plain or compressed: each line or piece is a sample with the field `txt`.
///
/// Sample 17 of `corpus.txt.gz` has the key `corpus-000000017`. What is no UTF-8 is an error with line and
/// offset.
public struct TextSource: PackSource {
    /// The files, in order.
    public let paths: [String]
    /// How they are cut.
    public let split: TextSplit

    /// The text of these files.
    public init(_ paths: [String], split: TextSplit = .line) {
        self.paths = paths
        self.split = split
    }

    /// Reads the files once.
    public func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        if case .chunk(let byteCount) = split, !TextSplit.chunkByteCounts.contains(byteCount) {
            throw HeadraceError(
                .usage,
                "chunks of \(byteCount) bytes are refused: \(TextSplit.chunkByteCounts.lowerBound) to "
                    + "\(TextSplit.chunkByteCounts.upperBound)")
        }
        for path in paths {
            let file = try SourceFile(path)
            let codec = try file.codec()
            let items = SourceItems(inventory.bytes(of: file, codec: codec))
            switch split {
            case .line: try addLines(try LineReader(file, codec: codec), items, &inventory)
            case .chunk(let byteCount): try addChunks(file, codec, byteCount, items, &inventory)
            }
        }
    }

    private func addLines(
        _ lines: LineReader, _ items: SourceItems, _ inventory: inout PackInventory
    ) throws(HeadraceError) {
        let keys = GeneratedKeys(lines.path)
        while try lines.next() {
            let line = lines.current
            if line.number & 0xFFF == 0 { try inventory.checkGoesOn() }
            do throws(HeadraceError) {
                try lines.checkText()
            } catch {
                try inventory.leaveOut(error)
                inventory.count(lost: lines.wholeByteCount)
                continue
            }
            // A byte order mark is no text.
            let mark = lines.markByteCount
            inventory.count(parsed: lines.wholeByteCount - mark, ignored: mark)
            let payload = PackPayload.item(
                items, index: line.offset + mark, byteCount: unsafe lines.bytes.count - mark)
            // Keys tell the line, also where lines before it were left out.
            inventory.add(key: keys.key(line.number - 1), fields: [(name: "txt", payload: payload)])
        }
    }

    private func addChunks(
        _ file: SourceFile, _ codec: CodecKind, _ byteCount: Int, _ items: SourceItems,
        _ inventory: inout PackInventory
    ) throws(HeadraceError) {
        let reader = try SourceReader(file, codec: codec)
        let keys = GeneratedKeys(file.path)
        let buffer = OutputBuffer(capacity: byteCount + 1)
        var offset = 0
        var line = 1
        var number = 0
        while true {
            try inventory.checkGoesOn()
            // One byte more, to see whether a character goes on behind the cut.
            while buffer.count <= byteCount {
                guard try reader.read(into: buffer, room: byteCount + 1 - buffer.count) > 0 else { break }
            }
            guard buffer.count > 0 else { return }
            let cut = unsafe Self.cut(buffer.bytes, atMost: byteCount)
            let chunk = unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[..<cut])
            if let wrong = unsafe invalidUTF8(chunk) {
                let number = unsafe line + chunk[..<wrong].count { $0 == 0x0A }
                try inventory.leaveOut(
                    HeadraceError(
                        .badValue, "line \(number): no valid UTF-8; convert the file first",
                        at: .init(shard: file.path, offset: offset + wrong)))
                inventory.count(lost: cut)
            } else {
                inventory.count(parsed: cut)
                let payload = PackPayload.item(items, index: offset, byteCount: cut)
                inventory.add(key: keys.key(number), fields: [(name: "txt", payload: payload)])
            }
            line += unsafe chunk.count { $0 == 0x0A }
            offset += cut
            number += 1
            buffer.removeFirst(cut)
        }
    }

    /// Where the first chunk of `bytes` ends.
    private static func cut(_ bytes: UnsafeRawBufferPointer, atMost byteCount: Int) -> Int {
        guard bytes.count > byteCount else { return bytes.count }
        if let end = unsafe bytes[..<byteCount].lastIndex(of: 0x0A) { return end + 1 }
        // No character has more than three bytes behind its first; more are no text, which is found out next.
        var cut = byteCount
        while byteCount - cut < 3, unsafe bytes[cut] & 0xC0 == 0x80 { cut -= 1 }
        return unsafe bytes[cut] & 0xC0 == 0x80 ? byteCount : cut
    }
}
