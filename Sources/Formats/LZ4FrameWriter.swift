internal import CHeadraceLZ4
package import HeadraceCore

/// Compresses frames that stand alone: independent blocks, content size and content checksum inside, so that the
/// bytes depend on input, level and library version alone. One a worker.
///
/// Blocks of 256 KiB: what was decompressed is still in the processor's cache when its checksum is taken, and they
/// lose next to nothing against larger ones.
@safe package final class LZ4FrameWriter: FrameWriter {
    package static let defaultLevel = 1
    /// Levels as the `lz4` program counts them: 1 and 2 are fast, 3 to 12 search longer and are read as fast; negative
    /// ones are faster still.
    package static var levels: ClosedRange<Int> { -65_536...Int(LZ4F_compressionLevel_max()) }
    /// Version of the library, which reproducible bytes depend on.
    package static var libraryVersion: String { unsafe String(cString: LZ4_versionString()) }

    private var preferences = LZ4F_preferences_t()

    package init(level: Int) {
        preferences.frameInfo.blockSizeID = LZ4F_max256KB
        preferences.frameInfo.blockMode = LZ4F_blockIndependent
        preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled
        preferences.compressionLevel = Int32(clamping: level)
    }

    package func appendFrame(
        _ input: UnsafeRawBufferPointer, to output: OutputBuffer
    ) throws(HeadraceError) -> SeekTableRow {
        let before = output.count
        // Zero stands for "not stated"; a frame of nothing cannot state its size.
        preferences.frameInfo.contentSize = UInt64(input.count)
        let bound = unsafe LZ4F_compressFrameBound(input.count, &preferences)
        try unsafe output.appendInPlace(room: bound) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            let written = unsafe LZ4F_compressFrame(
                room.baseAddress, room.count, input.baseAddress, input.count, &preferences)
            guard LZ4F_isError(written) == 0 else {
                throw HeadraceError(
                    .environment, "lz4 refused to compress",
                    cause: unsafe String(cString: LZ4F_getErrorName(written)))
            }
            return written
        }
        // The content checksum, which the library has just put at the frame's end.
        let checksum = unsafe output.bytes.bytes.littleEndian32(output.count - 4)
        return SeekTableRow(
            compressedByteCount: UInt32(output.count - before), byteCount: UInt32(input.count),
            checksum: checksum)
    }
}
