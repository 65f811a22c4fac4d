package import HeadraceCore

/// One sample's place in the uncompressed shard.
package struct ShardIndexRow: Sendable, Equatable {
    package var offset: Int
    package var length: Int

    package init(offset: Int, length: Int) {
        self.offset = offset
        self.length = length
    }
}

/// An index opened for reading: its header and tables are in memory and checked, its rows are fetched when asked
/// for, so that an index of a billion samples costs no more than one of ten.
///
/// Nothing in the file is believed before it is checked: counts are held against the file's size before anything
/// is allocated for them. What does not fit is the error `indexMismatch`, which says why.
package final class ShardIndex: Sendable {
    package let header: ShardIndexHeader
    /// Names of the fields that occur in the shard, sorted bytewise.
    package let fields: [String]
    /// The shard's frames; empty without a codec that has them.
    package let frames: [Frame]
    package var path: String { file.path }
    /// Size of the index itself.
    package var byteCount: Int { file.byteCount }

    private let file: IndexFile
    private let rowsOffset: Int
    private let isGapless: Bool

    /// Opens the index at `path`. Throws `notFound`, `io` or `indexMismatch`. May be used by many threads at once.
    ///
    /// - Parameter keepsOpen: hold a descriptor for as long as the value lives. A data set can have more shards than a
    ///   process may have files open; without it each read opens the file again, and notices when it is another.
    package static func read(_ path: String, keepsOpen: Bool = true) throws(HeadraceError) -> ShardIndex {
        try ShardIndex(try IndexFile(path, keepsOpen: keepsOpen))
    }

    private init(_ file: IndexFile) throws(HeadraceError) {
        typealias Layout = ShardIndexLayout
        let path = file.path
        let byteCount = file.byteCount
        guard byteCount >= Layout.headerByteCount + Layout.trailerByteCount else {
            throw mismatch(path, "it has \(byteCount) bytes, less than a header")
        }
        let head = LittleEndianBytes(try file.read(0..<Layout.headerByteCount))
        let parsed = try parseHeader(head, path: path)
        let fieldTable = Int(head.u32(48))
        let frameCount = Int(head.u32(52))
        let rowsOffset = Layout.rowsOffset(fieldTable: fieldTable, frames: frameCount)
        // Both counts are below 2^32, so nothing here can overflow; the sample count can be anything.
        let (rows, overflow) = parsed.sampleCount.multipliedReportingOverflow(by: Layout.rowByteCount)
        let room = byteCount - Layout.trailerByteCount - rowsOffset
        guard !overflow, rows == room, fieldTable >= 4, fieldTable <= Layout.largestFieldTable else {
            throw mismatch(
                path,
                "it claims \(parsed.sampleCount) samples, \(frameCount) frames and \(fieldTable) bytes of "
                    + "field names, which is not what its \(byteCount) bytes hold")
        }
        let tableEnd = Layout.headerByteCount + fieldTable + frameCount * Layout.frameByteCount
        let tables = LittleEndianBytes(try file.read(Layout.headerByteCount..<tableEnd))
        guard tables.checksum(0..<tables.count) == head.u32(56) else {
            throw mismatch(path, "the checksum of its tables is wrong")
        }
        guard parsed.codec != .none || parsed.uncompressedByteCount == parsed.shardByteCount else {
            throw mismatch(
                path,
                "its shard is not compressed and has \(parsed.shardByteCount) bytes, and it speaks of "
                    + "\(parsed.uncompressedByteCount)")
        }
        guard parsed.uncompressedByteCount <= Layout.largestUncompressed else {
            throw mismatch(
                path,
                "it claims \(parsed.uncompressedByteCount) uncompressed bytes, more than the limit "
                    + "largestUncompressed of \(Layout.largestUncompressed)")
        }
        self.fields = try parseFields(tables, end: fieldTable, path: path)
        self.frames = try parseFrames(
            tables, from: fieldTable, count: frameCount, header: parsed,
            hasChecksums: head.bytes[14] & Layout.framesLackChecksums == 0, path: path)
        self.file = file
        self.header = parsed
        isGapless = head.bytes[14] & Layout.isGapless != 0
        self.rowsOffset = rowsOffset
    }

    /// The place of sample `index`.
    package func row(_ index: Int) throws(HeadraceError) -> ShardIndexRow {
        var rows: [ShardIndexRow] = []
        try self.rows(index..<index + 1, into: &rows)
        return rows[0]
    }

    /// Appends the places of the samples `range`, in one read.
    ///
    /// Each is held against the shard's size, the format's units and its neighbours, those at either end of the range
    /// too: rows that are out of order, overlap or are empty are refused. That they begin at a sample and hold all of
    /// it shows when their bytes are scanned.
    package func rows(_ range: Range<Int>, into rows: inout [ShardIndexRow]) throws(HeadraceError) {
        guard range.lowerBound >= 0, range.upperBound <= header.sampleCount else {
            throw HeadraceError(
                .usage, "samples \(range) were asked of an index of \(header.sampleCount)",
                at: .init(shard: path))
        }
        guard !range.isEmpty else { return }
        let width = ShardIndexLayout.rowByteCount
        let seen = max(0, range.lowerBound - 1)..<min(header.sampleCount, range.upperBound + 1)
        let start = rowsOffset + seen.lowerBound * width
        let bytes = LittleEndianBytes(try file.read(start..<start + seen.count * width))
        rows.reserveCapacity(rows.count + range.count)
        var floor: UInt64 = 0
        for index in seen {
            let place = (index - seen.lowerBound) * width
            let offset = bytes.u64(place)
            let length = bytes.u64(place + 8)
            let (end, overflow) = offset.addingReportingOverflow(length)
            guard !overflow, length > 0, end <= UInt64(header.uncompressedByteCount) else {
                throw mismatch(
                    path,
                    "sample \(index) is said to be \(length) bytes at \(offset), beyond the shard's "
                        + "\(header.uncompressedByteCount)")
            }
            guard offset >= floor else {
                throw mismatch(
                    path,
                    "sample \(index) is said to begin at \(offset), before its predecessor's end at \(floor)")
            }
            // Of the first row of a range in the middle no predecessor is known.
            guard !isGapless || index == seen.lowerBound && index > 0 || offset == floor else {
                throw mismatch(
                    path,
                    "sample \(index) is said to begin at \(offset), and its predecessor ends at \(floor): its header "
                        + "says that there are no gaps")
            }
            guard header.format.canHold(offset: offset, length: length) else {
                throw mismatch(
                    path,
                    "no sample of a \(header.format.rawValue) shard can be \(length) bytes at \(offset), as it says "
                        + "of sample \(index)")
            }
            floor = end
            if range.contains(index) { rows.append(ShardIndexRow(offset: Int(offset), length: Int(length))) }
        }
    }

    /// Reads the whole index once, in pieces, and holds it against its checksum.
    package func verifyChecksum() throws(HeadraceError) {
        let end = byteCount - ShardIndexLayout.trailerByteCount
        var crc: UInt32 = 0
        var offset = 0
        while offset < end {
            let piece = offset..<min(end, offset + 1 << 20)
            let bytes = LittleEndianBytes(try file.read(piece))
            crc = bytes.checksum(0..<bytes.count, continuing: crc)
            offset = piece.upperBound
        }
        let trailer = LittleEndianBytes(try file.read(end..<byteCount))
        guard trailer.u32(0) == crc else { throw mismatch(path, "its checksum is wrong") }
    }

    /// Holds the index against its shard: the size, and the CRC-32C of both ends where the caller has read them.
    package func check(
        shardByteCount: Int, headCRC32C: UInt32? = nil, tailCRC32C: UInt32? = nil
    ) throws(HeadraceError) {
        guard shardByteCount == header.shardByteCount else {
            throw mismatch(
                path,
                "it was made for a shard of \(header.shardByteCount) bytes, the shard has \(shardByteCount)")
        }
        if let headCRC32C, headCRC32C != header.headCRC32C {
            throw mismatch(path, "the first 64 KiB of the shard are not those it was made for")
        }
        if let tailCRC32C, tailCRC32C != header.tailCRC32C {
            throw mismatch(path, "the last 64 KiB of the shard are not those it was made for")
        }
    }
}

extension ShardFormatKind {
    /// Whether a sample of the format can be so long, there.
    fileprivate func canHold(offset: UInt64, length: UInt64) -> Bool {
        switch self {
        case .tar: offset % UInt64(TarHeader.blockBytes) == 0 && length % UInt64(TarHeader.blockBytes) == 0
        case .tfrecord: length >= UInt64(TFRecordWalk.framingBytes)
        }
    }
}

private func mismatch(_ path: String, _ reason: String) -> HeadraceError {
    HeadraceError(
        .indexMismatch,
        "the index does not fit: \(reason); make it anew ('headrace index --rebuild'), or remove it",
        at: .init(shard: path)
    )
}

private func parseHeader(_ head: LittleEndianBytes, path: String) throws(HeadraceError) -> ShardIndexHeader {
    guard head.bytes.starts(with: ShardIndexLayout.magic) else {
        throw mismatch(path, "it does not begin as an index does")
    }
    guard head.u32(8) == ShardIndexLayout.version else {
        throw mismatch(path, "it is of version \(head.u32(8)); this build reads \(ShardIndexLayout.version)")
    }
    guard head.checksum(0..<60) == head.u32(60) else {
        throw mismatch(path, "the checksum of its header is wrong")
    }
    guard let format = ShardFormatKind.allCases.first(where: { ShardIndexLayout.code($0) == head.bytes[12] }),
        let codec = CodecKind.allCases.first(where: { ShardIndexLayout.code($0) == head.bytes[13] })
    else { throw mismatch(path, "format \(head.bytes[12]) with codec \(head.bytes[13]) is unknown") }
    guard head.bytes[14] & ~ShardIndexLayout.knownFlags == 0, head.bytes[15] == 0 else {
        throw mismatch(path, "it has flags that this build does not know")
    }
    guard let shard = Int(exactly: head.u64(16)), let uncompressed = Int(exactly: head.u64(24)),
        let samples = Int(exactly: head.u64(32))
    else { throw mismatch(path, "its header claims sizes beyond 2^63") }
    return ShardIndexHeader(
        format: format, codec: codec, shardByteCount: shard, uncompressedByteCount: uncompressed,
        sampleCount: samples, headCRC32C: head.u32(40), tailCRC32C: head.u32(44),
        leavesOutDamage: head.bytes[14] & ShardIndexLayout.leavesOutDamage != 0)
}

private func parseFields(
    _ tables: LittleEndianBytes, end: Int, path: String
) throws(HeadraceError) -> [String] {
    let count = Int(tables.u32(0))
    guard count <= (end - 4) / 2 else { throw mismatch(path, "its field table claims \(count) names") }
    var names: [String] = []
    var position = 4
    for _ in 0..<count {
        guard position + 2 <= end else { throw mismatch(path, "its field table ends early") }
        let length = Int(tables.bytes[position]) | Int(tables.bytes[position + 1]) << 8
        position += 2
        guard position + length <= end,
            let name = String(validating: tables.bytes[position..<position + length], as: UTF8.self)
        else { throw mismatch(path, "a name in its field table is cut or no UTF-8") }
        names.append(name)
        position += length
    }
    guard position == end else { throw mismatch(path, "its field table has bytes to spare") }
    return names
}

private func parseFrames(
    _ tables: LittleEndianBytes, from start: Int, count: Int, header: ShardIndexHeader, hasChecksums: Bool,
    path: String
) throws(HeadraceError) -> [Frame] {
    var frames: [Frame] = []
    frames.reserveCapacity(count)
    var compressed = 0
    var uncompressed = 0
    for index in 0..<count {
        let row = start + index * ShardIndexLayout.frameByteCount
        let frame = Frame(
            compressedOffset: compressed, compressedLength: Int(tables.u32(row)), offset: uncompressed,
            length: Int(tables.u32(row + 4)), checksum: hasChecksums ? tables.u32(row + 8) : nil)
        // Two frames at one place of the file could not be told apart.
        guard frame.compressedLength > 0 else {
            throw mismatch(path, "its frame \(index) has no bytes in the shard")
        }
        frames.append(frame)
        compressed += frame.compressedLength
        uncompressed += frame.length
    }
    guard count == 0 || (uncompressed == header.uncompressedByteCount && compressed <= header.shardByteCount)
    else {
        throw mismatch(
            path, "its frames add up to \(compressed) and \(uncompressed) bytes, its header differs")
    }
    return frames
}

/// Little-endian integers out of bytes whose bounds the caller has checked.
private struct LittleEndianBytes {
    let bytes: [UInt8]
    var count: Int { bytes.count }

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func u32(_ offset: Int) -> UInt32 {
        unsafe bytes.withUnsafeBytes { unsafe $0.bytes.littleEndian32(offset) }
    }

    func u64(_ offset: Int) -> UInt64 {
        unsafe bytes.withUnsafeBytes { unsafe $0.bytes.littleEndian64(offset) }
    }

    func checksum(_ range: Range<Int>, continuing crc: UInt32 = 0) -> UInt32 {
        unsafe bytes.withUnsafeBytes {
            unsafe crc32c(UnsafeRawBufferPointer(rebasing: $0[range]), continuing: crc)
        }
    }
}
