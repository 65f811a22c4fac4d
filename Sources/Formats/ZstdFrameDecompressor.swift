internal import CHeadraceZstd
package import HeadraceCore

/// Decompresses single frames of a seekable zstd shard, in any order.
@safe package final class ZstdFrameDecompressor: FrameDecompressor {
    private let context: OpaquePointer

    package init() throws(HeadraceError) {
        guard let context = unsafe ZSTD_createDCtx() else {
            throw HeadraceError(.environment, "no memory for a zstd decompressor")
        }
        unsafe self.context = unsafe context
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    package func decompress(
        _ frame: Frame, _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        guard input.count == frame.compressedLength, output.count == frame.length else {
            throw error(
                frame, .indexMismatch,
                "\(input.count) bytes were given for \(output.count), the seek table says \(frame.compressedLength) "
                    + "for \(frame.length)")
        }
        let size = unsafe ZSTD_findFrameCompressedSize(input.baseAddress, input.count)
        if ZSTD_isError(size) != 0 { throw describe(frame, size) }
        if size != input.count {
            throw error(
                frame, .indexMismatch, "the frame has \(size) bytes, the seek table says \(input.count)")
        }
        let dictionary = unsafe ZSTD_getDictID_fromFrame(input.baseAddress, input.count)
        guard dictionary == 0 else {
            throw error(frame, .unsupported, ZstdStreamDecompressor.needsDictionary(dictionary))
        }
        let result = unsafe ZSTD_decompressDCtx(
            context, output.baseAddress, output.count, input.baseAddress, input.count)
        guard ZSTD_isError(result) == 0 else { throw describe(frame, result) }
        guard result == output.count else {
            throw error(
                frame, .indexMismatch, "the frame holds \(result) bytes, the seek table says \(output.count)")
        }
        if let checksum = frame.checksum {
            let actual = unsafe contentChecksum(input) ?? UInt32(truncatingIfNeeded: xxh64(.init(output)))
            guard actual == checksum else {
                throw error(
                    frame, .checksumMismatch, "the frame's content does not match the seek table's checksum")
            }
        }
    }

    /// The checksum that ends the frame, where it has one: the same sum as the table's, and the library has just held
    /// the content against it.
    private func contentChecksum(_ input: UnsafeRawBufferPointer) -> UInt32? {
        let bytes = unsafe input.bytes
        let checksumFlag: UInt8 = 0x04
        guard bytes.byteCount > 8, bytes.littleEndian32(0) == ZSTD_MAGICNUMBER,
            bytes.byte(4) & checksumFlag != 0
        else { return nil }
        return bytes.littleEndian32(bytes.byteCount - 4)
    }

    private func describe(_ frame: Frame, _ result: Int) -> HeadraceError {
        let cause = unsafe String(cString: ZSTD_getErrorName(result))
        switch ZSTD_getErrorCode(result) {
        case ZSTD_error_checksum_wrong:
            return error(frame, .checksumMismatch, "the frame's content does not match its checksum", cause)
        case ZSTD_error_dstSize_tooSmall:
            return error(
                frame, .indexMismatch,
                "the frame holds more than the \(frame.length) bytes of the seek table", cause)
        case ZSTD_error_srcSize_wrong:
            return error(frame, .truncated, "the frame is cut", cause)
        default:
            return error(frame, .corruptStream, "the zstd frame is corrupt", cause)
        }
    }

    private func error(
        _ frame: Frame, _ code: HeadraceError.Code, _ message: String, _ cause: String? = nil
    ) -> HeadraceError {
        HeadraceError(
            code, "frame at byte \(frame.compressedOffset) of the compressed file: \(message)",
            at: .init(offset: frame.offset), cause: cause)
    }
}
