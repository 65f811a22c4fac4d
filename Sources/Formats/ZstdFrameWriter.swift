internal import CHeadraceZstd
package import HeadraceCore

/// Compresses frames that stand alone: content size and content checksum inside, no thread of the library's own,
/// so that the bytes depend on input, level and library version alone. One a worker.
@safe package final class ZstdFrameWriter: FrameWriter {
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
