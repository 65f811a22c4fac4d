internal import CHeadraceZstd
package import HeadraceCore

/// Compresses frames that stand alone: content size and content checksum inside, no thread of the library's own,
/// so that the bytes depend on input, level and library version alone. One a worker.
@safe package final class ZstdFrameWriter {
    package static let defaultLevel = 3
    /// Levels the library takes.
    package static var levels: ClosedRange<Int> { Int(ZSTD_minCLevel())...Int(ZSTD_maxCLevel()) }
    /// Version of the library, which reproducible bytes depend on.
    package static var libraryVersion: String { unsafe String(cString: ZSTD_versionString()) }

    private let context: OpaquePointer

    package init(level: Int) throws(HeadraceError) {
        guard let context = unsafe ZSTD_createCCtx() else {
            throw HeadraceError(.environment, "no memory for a zstd compression context")
        }
        unsafe self.context = context
        try check(unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(clamping: level)))
        try check(unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1))
        try check(unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1))
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    /// Appends one frame that holds `input`, and returns its row of the seek table.
    package func appendFrame(
        _ input: UnsafeRawBufferPointer, to output: OutputBuffer
    ) throws(HeadraceError) -> SeekTableRow {
        let before = output.count
        try unsafe output.appendInPlace(room: ZSTD_compressBound(input.count)) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            let written = unsafe ZSTD_compress2(
                context, room.baseAddress, room.count, input.baseAddress, input.count)
            try check(written)
            return written
        }
        return SeekTableRow(
            compressedByteCount: UInt32(output.count - before), byteCount: UInt32(input.count),
            checksum: unsafe UInt32(truncatingIfNeeded: xxh64(input, seed: 0)))
    }

    private func check(_ status: Int) throws(HeadraceError) {
        guard ZSTD_isError(status) != 0 else { return }
        throw HeadraceError(
            .environment, "zstd refused to compress",
            cause: unsafe String(cString: ZSTD_getErrorName(status)))
    }
}

/// One frame in the seek table of a shard.
package struct SeekTableRow: Sendable, Equatable {
    package var compressedByteCount: UInt32
    package var byteCount: UInt32
    /// Low 32 bits of the XXH64 of the uncompressed bytes.
    package var checksum: UInt32

    package init(compressedByteCount: UInt32, byteCount: UInt32, checksum: UInt32) {
        self.compressedByteCount = compressedByteCount
        self.byteCount = byteCount
        self.checksum = checksum
    }
}

/// Writes the seek table of the zstd seekable format 0.1.0: a skippable frame that closes the shard, which plain
/// decompressors pass over.
package enum SeekTableWriter {
    private static let skippableMagic: UInt32 = 0x184D_2A5E
    private static let seekableMagic: UInt32 = 0x8F92_EAB1
    private static let checksumFlag: UInt8 = 0x80

    package static func append(_ rows: [SeekTableRow], to output: OutputBuffer) {
        output.append(littleEndian: skippableMagic)
        output.append(littleEndian: UInt32(rows.count * 12 + 9))
        for row in rows {
            output.append(littleEndian: row.compressedByteCount)
            output.append(littleEndian: row.byteCount)
            output.append(littleEndian: row.checksum)
        }
        output.append(littleEndian: UInt32(rows.count))
        output.append(byte: checksumFlag)
        output.append(littleEndian: seekableMagic)
    }
}
