package import HeadraceCore

/// What the header of an index says about its shard.
package struct ShardIndexHeader: Sendable, Equatable {
    package var format: ShardFormatKind
    package var codec: CodecKind
    /// Size of the shard's file.
    package var shardByteCount: Int
    /// Size of the shard's uncompressed bytes.
    package var uncompressedByteCount: Int
    package var sampleCount: Int
    /// CRC-32C of the file's first and last 64 KiB (all of a smaller file): the sampled identity of a shard.
    package var headCRC32C: UInt32
    package var tailCRC32C: UInt32
    /// Damaged samples of the shard were left out, as was asked for: it holds more than the rows say.
    package var leavesOutDamage: Bool

    package init(
        format: ShardFormatKind, codec: CodecKind, shardByteCount: Int, uncompressedByteCount: Int,
        sampleCount: Int, headCRC32C: UInt32, tailCRC32C: UInt32, leavesOutDamage: Bool = false
    ) {
        self.format = format
        self.codec = codec
        self.shardByteCount = shardByteCount
        self.uncompressedByteCount = uncompressedByteCount
        self.sampleCount = sampleCount
        self.headCRC32C = headCRC32C
        self.tailCRC32C = tailCRC32C
        self.leavesOutDamage = leavesOutDamage
    }
}

/// The layout of `.headrace/SHARD.index`, all integers little-endian:
///
///     0   magic "HRINDEX\n", u32 version, u8 format, u8 codec, u8 flags, u8 zero
///     16  u64 shard size, u64 uncompressed size, u64 sample count, u32 CRC of head, u32 CRC of tail
///     48  u32 bytes of the field table, u32 frames, u32 CRC-32C of both tables, u32 CRC-32C of bytes 0..<60
///     64  field table: u32 count, then for each field u16 length and its name in UTF-8
///         frame table: for each frame u32 compressed length, u32 length, u32 checksum
///         zeros up to a multiple of 16
///         rows: for each sample u64 offset and u64 length in the uncompressed shard, in the order of the shard
///         u32 CRC-32C of all that precedes
///
/// Rows have a fixed width, so that a reader fetches those it needs and never the table; that is why header and
/// tables have checksums of their own. Rows do not overlap; what no row covers belongs to no sample. A field table without
/// names says that they are not known (the features of records that were not looked into).
package enum ShardIndexLayout {
    package static let magic: [UInt8] = Array("HRINDEX\n".utf8)
    package static let version: UInt32 = 1
    package static let headerByteCount = 64
    package static let rowByteCount = 16
    package static let frameByteCount = 12
    package static let trailerByteCount = 4
    /// How much of either end of a shard its identity samples.
    package static let sampledByteCount = 64 << 10
    /// Uncompressed bytes of a shard that a reader accepts (1 PiB).
    package static let largestUncompressed = 1 << 50
    /// Bytes of the field table that a reader accepts.
    package static let largestFieldTable = 16 << 20

    /// Flags: the frames have no checksums (those of the table mean nothing); damaged samples were left out; the first
    /// row begins at 0 and each further one where the one before it ends, so that each can be held against its neighbours.
    static let framesLackChecksums: UInt8 = 1
    static let leavesOutDamage: UInt8 = 2
    static let isGapless: UInt8 = 4
    static let knownFlags = framesLackChecksums | leavesOutDamage | isGapless

    /// Path of the index of the shard at `shard`.
    package static func path(forShard shard: String) -> String {
        let (directory, name) = splitPath(shard)
        return "\(directory).headrace/\(name).index"
    }

    /// Path of the manifest of the data set in the folder of the shard at `shard`.
    package static func manifestPath(forShard shard: String) -> String {
        "\(splitPath(shard).directory).headrace/manifest.json"
    }

    static func rowsOffset(fieldTable: Int, frames: Int) -> Int {
        (headerByteCount + fieldTable + frames * frameByteCount + 15) & ~15
    }

    static func code(_ format: ShardFormatKind) -> UInt8 {
        switch format {
        case .tar: 1
        case .tfrecord: 2
        }
    }

    static func code(_ codec: CodecKind) -> UInt8 {
        switch codec {
        case .none: 0
        case .zstd: 1
        case .gzip: 2
        case .zlib: 3
        case .lz4: 4
        }
    }

    /// The folder with its '/' (empty for none) and the name in it.
    private static func splitPath(_ path: String) -> (directory: Substring, name: Substring) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path[...]) }
        let after = path.utf8.index(after: slash)
        return (path[..<after], path[after...])
    }
}

/// Builds the bytes of an index.
package enum ShardIndexWriter {
    /// Appends a whole index to `output`, which must be empty: the checksums run from its first byte.
    ///
    /// - Parameter rows: of the samples in the order of the shard; they must not overlap.
    package static func append(
        _ header: ShardIndexHeader, fields: [String], frames: [Frame], rows: some Collection<ByteSpan>,
        to output: OutputBuffer
    ) {
        precondition(output.count == 0 && rows.count == header.sampleCount)
        let tables = OutputBuffer()
        tables.append(littleEndian: UInt32(fields.count))
        for field in fields {
            let length = UInt16(clamping: field.utf8.count)
            tables.append(byte: UInt8(truncatingIfNeeded: length))
            tables.append(byte: UInt8(truncatingIfNeeded: length >> 8))
            tables.append(field)
        }
        let fieldTable = tables.count
        for frame in frames {
            tables.append(littleEndian: UInt32(truncatingIfNeeded: frame.compressedLength))
            tables.append(littleEndian: UInt32(truncatingIfNeeded: frame.length))
            tables.append(littleEndian: frame.checksum ?? 0)
        }
        var flags: UInt8 = header.leavesOutDamage ? ShardIndexLayout.leavesOutDamage : 0
        if frames.contains(where: { $0.checksum == nil }) { flags |= ShardIndexLayout.framesLackChecksums }
        if isGapless(rows) { flags |= ShardIndexLayout.isGapless }
        let start = ShardIndexLayout.rowsOffset(fieldTable: fieldTable, frames: frames.count)
        output.reserve(start + header.sampleCount * ShardIndexLayout.rowByteCount + 4)
        appendHeader(
            header, flags: flags, fieldTable: fieldTable, frames: frames.count, tables: tables, to: output)
        unsafe output.append(tables.bytes)
        output.appendZeros(start - output.count)
        for row in rows {
            output.append(littleEndian: UInt64(row.offset))
            output.append(littleEndian: UInt64(row.length))
        }
        output.append(littleEndian: unsafe crc32c(output.bytes))
    }

    private static func isGapless(_ rows: some Collection<ByteSpan>) -> Bool {
        var end = 0
        for row in rows {
            guard row.offset == end else { return false }
            end += row.length
        }
        return true
    }

    /// The same for samples that follow each other without a gap from the shard's first byte on, in frames of which only
    /// the seek table is known.
    package static func append(
        _ header: ShardIndexHeader, fields: [String], frames: [SeekTableRow],
        sampleByteCounts: ArraySlice<Int>, to output: OutputBuffer
    ) {
        var offset = 0
        let rows = sampleByteCounts.map { byteCount in
            defer { offset += byteCount }
            return ByteSpan(offset: offset, length: byteCount)
        }
        // Places follow from lengths: those of the frames are not written.
        let frames = frames.map { row in
            Frame(
                compressedOffset: 0, compressedLength: Int(row.compressedByteCount), offset: 0,
                length: Int(row.byteCount), checksum: row.checksum)
        }
        append(header, fields: fields, frames: frames, rows: rows, to: output)
    }

    private static func appendHeader(
        _ header: ShardIndexHeader, flags: UInt8, fieldTable: Int, frames: Int, tables: OutputBuffer,
        to output: OutputBuffer
    ) {
        for byte in ShardIndexLayout.magic { output.append(byte: byte) }
        output.append(littleEndian: ShardIndexLayout.version)
        output.append(byte: ShardIndexLayout.code(header.format))
        output.append(byte: ShardIndexLayout.code(header.codec))
        output.append(byte: flags)
        output.append(byte: 0)
        output.append(littleEndian: UInt64(header.shardByteCount))
        output.append(littleEndian: UInt64(header.uncompressedByteCount))
        output.append(littleEndian: UInt64(header.sampleCount))
        output.append(littleEndian: header.headCRC32C)
        output.append(littleEndian: header.tailCRC32C)
        output.append(littleEndian: UInt32(fieldTable))
        output.append(littleEndian: UInt32(frames))
        output.append(littleEndian: unsafe crc32c(tables.bytes))
        output.append(littleEndian: unsafe crc32c(output.bytes))
    }
}
