internal import CHeadraceZstd
package import HeadraceCore

/// Decompresses a zstd file front to back: all its frames, skippable ones passed over wherever they stand.
@safe package final class ZstdStreamDecompressor: StreamDecompressor {
    /// Longest frame header; its bytes are kept so that a refusal can name the dictionary.
    private static let maxFrameHeaderBytes = 18

    private let context: OpaquePointer
    private var account: DecompressionGuard
    private let windowLog: Int
    package private(set) var producedBeforeError = 0
    /// Whether the last byte ended a frame.
    private var isAtBoundary = true
    private var hasFrame = false
    /// Bytes the library asks for: the rest of a block and the next block's header.
    private var hint = 0
    /// The header, block or checksum being fed: where it starts in the compressed file, and what it still lacks.
    private var unitStart = 0
    private var unitLeft = 0
    private var frameHeader: [UInt8] = []
    /// Where that frame starts in the compressed file.
    private var frameStart = 0
    /// Bytes that have come out of it.
    private var frameProduced: UInt64 = 0
    private var failure: HeadraceError?

    package init(limits: FormatLimits = FormatLimits()) throws(HeadraceError) {
        guard let context = unsafe ZSTD_createDCtx() else {
            throw HeadraceError(.environment, "no memory for a zstd decompressor")
        }
        unsafe self.context = unsafe context
        account = DecompressionGuard(limits)
        windowLog = limits.zstdWindowLog
        unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Int32(clamping: windowLog))
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    package func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) -> (consumed: Int, produced: Int) {
        producedBeforeError = 0
        if let failure { throw failure }
        var consumed = 0
        var produced = 0
        var mayTakeWholeFrame = true
        while true {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: input[consumed...])
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: output[produced...])
            // A frame that is here whole is decompressed in one go, without the library's own window. Otherwise
            // one block a call: when the library refuses one, those before it have come out.
            let whole = unsafe isAtBoundary && mayTakeWholeFrame ? wholeFrame(rest, room.count) : 0
            if unitLeft == 0 || whole > 0 { beginUnit() }
            let offered = whole > 0 ? whole : min(rest.count, unitLeft)
            if offered == 0, room.count == 0 || isAtBoundary { break }
            let (taken, made, result) = unsafe step(UnsafeRawBufferPointer(rebasing: rest[..<offered]), room)
            if whole > 0, ZSTD_isError(result) != 0 {
                mayTakeWholeFrame = false
                unsafe ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
                continue
            }
            mayTakeWholeFrame = true
            unitLeft = max(0, unitLeft - taken)
            if ZSTD_isError(result) != 0 {
                failure = unsafe describe(result, rest)
                producedBeforeError = produced
                throw failure!
            }
            unsafe note(
                taken, made, result, UnsafeRawBufferPointer(rebasing: input[consumed..<consumed + taken]))
            consumed += taken
            produced += made
            account.add(consumed: taken, produced: made)
            if let error = account.excess ?? (result == 0 && !frameHeader.isEmpty ? wrongSize : nil) {
                failure = error
                producedBeforeError = produced
                throw error
            }
            if taken == 0, made == 0 { break }
        }
        return (consumed, produced)
    }

    /// Starts to feed the next header, block or checksum; a block apart from the header of the next one, so that
    /// damage there does not take the block with it.
    private func beginUnit() {
        let blockHeaderBytes = 3
        unitStart = account.consumed
        unitLeft = hint > blockHeaderBytes ? hint - blockHeaderBytes : max(hint, 1)
    }

    /// Bytes of the frame that `rest` begins with, if all of it is there and its content fits into `room`; else 0.
    private func wholeFrame(_ rest: UnsafeRawBufferPointer, _ room: Int) -> Int {
        let content = unsafe ZSTD_getFrameContentSize(rest.baseAddress, rest.count)
        guard content <= UInt64(room) else { return 0 }  // Unknown and undecodable are the largest numbers.
        let size = unsafe ZSTD_findFrameCompressedSize(rest.baseAddress, rest.count)
        return ZSTD_isError(size) == 0 && size <= rest.count ? size : 0
    }

    private func step(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer
    ) -> (taken: Int, made: Int, result: Int) {
        var source = unsafe ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = unsafe ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let result = unsafe ZSTD_decompressStream(context, &target, &source)
        return unsafe (source.pos, target.pos, result)
    }

    /// Keeps track of frames after a good step that took `bytes`.
    private func note(_ taken: Int, _ made: Int, _ result: Int, _ bytes: UnsafeRawBufferPointer) {
        if taken > 0, isAtBoundary {
            frameHeader.removeAll(keepingCapacity: true)
            frameStart = account.consumed
            frameProduced = 0
        }
        frameProduced += UInt64(made)
        if frameHeader.count < Self.maxFrameHeaderBytes {
            unsafe frameHeader.append(contentsOf: bytes.prefix(Self.maxFrameHeaderBytes - frameHeader.count))
        }
        if result == 0 {
            isAtBoundary = true
            hasFrame = true
        } else if taken > 0 {
            isAtBoundary = false
        }
        hint = result
    }

    /// The error of a frame that has ended with less than its header states: where its last block is empty the library
    /// does not look.
    private var wrongSize: HeadraceError? {
        let stated = unsafe frameHeader.withUnsafeBytes {
            unsafe ZSTD_getFrameContentSize($0.baseAddress, $0.count)
        }
        // The two largest numbers stand for unknown and undecodable.
        guard stated < UInt64.max - 1, stated != frameProduced else { return nil }
        return account.error(
            .corruptStream, "the frame holds \(frameProduced) bytes, its header says \(stated)",
            at: frameStart)
    }

    private func describe(_ result: Int, _ rest: UnsafeRawBufferPointer) -> HeadraceError {
        let cause = unsafe String(cString: ZSTD_getErrorName(result))
        switch ZSTD_getErrorCode(result) {
        case ZSTD_error_dictionary_wrong:
            let header = unsafe (isAtBoundary ? [] : frameHeader) + rest.prefix(Self.maxFrameHeaderBytes)
            let identifier = unsafe header.withUnsafeBytes {
                unsafe ZSTD_getDictID_fromFrame($0.baseAddress, $0.count)
            }
            return account.error(.unsupported, Self.needsDictionary(identifier), at: frameStart, cause: cause)
        case ZSTD_error_checksum_wrong:
            return account.error(
                .checksumMismatch, "the frame's content does not match its checksum", at: frameStart,
                cause: cause)
        case ZSTD_error_frameParameter_windowTooLarge:
            return account.error(
                .limitExceeded, "the frame needs a window above 2^\(windowLog) bytes (limit zstdWindowLog)",
                at: frameStart, cause: cause)
        case ZSTD_error_memory_allocation:
            return HeadraceError(.environment, "no memory for the window of a zstd frame", cause: cause)
        case ZSTD_error_prefix_unknown:
            let what = hasFrame ? "what follows the last frame is no zstd frame" : "this is no zstd frame"
            return account.error(.corruptStream, what, at: isAtBoundary ? nil : frameStart, cause: cause)
        default:
            return account.error(.corruptStream, "the zstd frame is corrupt", at: unitStart, cause: cause)
        }
    }

    static func needsDictionary(_ identifier: UInt32) -> String {
        "the frame needs dictionary ID \(identifier); compress it again without a dictionary"
    }

    package func finish() throws(HeadraceError) {
        if let failure { throw failure }
        guard isAtBoundary, hasFrame else {
            throw account.error(
                .truncated,
                hasFrame || !isAtBoundary ? "the file ends inside a zstd frame" : "the file has no zstd frame"
            )
        }
    }
}
