internal import CHeadraceZlib
package import HeadraceCore

/// Decompresses a gzip file with all its members, or a zlib stream.
///
/// zlib verifies header, length and CRC of each. Zeros after the last gzip member are tape padding, as `gzip` has
/// it; anything else there is refused: it may be a member whose header was damaged.
@safe package final class DeflateStreamDecompressor: StreamDecompressor {
    /// What wraps the deflate stream.
    package enum Wrapper: Sendable { case gzip, zlib }

    private enum State { case betweenMembers, inMember, padding, ended }

    private let wrapper: Wrapper
    /// On the heap, because zlib keeps the address.
    private let stream: UnsafeMutablePointer<z_stream>
    private var account: DecompressionGuard
    private var state = State.betweenMembers
    private var memberCount = 0
    private var failure: HeadraceError?
    package private(set) var producedBeforeError = 0
    /// Zeros that followed the last gzip member.
    package private(set) var paddingBytes = 0

    package init(_ wrapper: Wrapper, limits: FormatLimits = FormatLimits()) throws(HeadraceError) {
        self.wrapper = wrapper
        account = DecompressionGuard(limits)
        unsafe stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // 15: the largest window, 2^15 bytes; 16 more make zlib expect gzip.
        guard unsafe headrace_inflate_init(stream, wrapper == .gzip ? 15 + 16 : 15) == Z_OK else {
            unsafe stream.deallocate()
            throw HeadraceError(.environment, "no memory for a zlib decompressor")
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    package func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) -> (consumed: Int, produced: Int) {
        producedBeforeError = 0
        if let failure { throw failure }
        var consumed = 0
        var produced = 0
        do throws(HeadraceError) {
            while true {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: input[consumed...])
                switch state {
                case .betweenMembers:
                    guard let first = unsafe rest.first else { return (consumed, produced) }
                    try beginMember(first)
                case .padding:
                    let data = unsafe rest.bytes.firstNonZero(from: 0, to: rest.count)
                    paddingBytes += data ?? rest.count
                    account.add(consumed: data ?? rest.count, produced: 0)
                    guard data == nil else { throw account.error(.corruptStream, Self.garbage) }
                    return (input.count, produced)
                case .ended:
                    guard unsafe rest.isEmpty else { throw account.error(.corruptStream, Self.garbage) }
                    return (consumed, produced)
                case .inMember:
                    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: output[produced...])
                    let (taken, made) = unsafe try step(rest, room, &produced)
                    consumed += taken
                    if taken == 0, made == 0, state == .inMember { return (consumed, produced) }
                }
            }
        } catch {
            failure = error
            producedBeforeError = produced
            throw error
        }
    }

    private static let garbage = "what follows the end of the compressed data is neither a member nor padding"

    /// Decides what the first byte behind a member (or of the file) begins.
    private func beginMember(_ first: UInt8) throws(HeadraceError) {
        if memberCount > 0 {
            if first == 0 {
                state = .padding
                return
            }
            guard first == 0x1F else { throw account.error(.corruptStream, Self.garbage) }
            unsafe inflateReset(stream)
        }
        state = .inMember
    }

    private func step(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer, _ total: inout Int
    ) throws(HeadraceError) -> (taken: Int, made: Int) {
        let inputCount = UInt32(clamping: input.count)
        let outputCount = UInt32(clamping: output.count)
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        unsafe stream.pointee.avail_in = inputCount
        // zlib refuses a nil target even where it has no room.
        var nothing: UInt8 = 0
        let result = unsafe withUnsafeMutablePointer(to: &nothing) { spare in
            unsafe stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? spare
            unsafe stream.pointee.avail_out = outputCount
            return unsafe inflate(stream, Z_NO_FLUSH)
        }
        let taken = unsafe Int(inputCount - stream.pointee.avail_in)
        let made = unsafe Int(outputCount - stream.pointee.avail_out)
        account.add(consumed: taken, produced: made)
        total += made
        switch result {
        case Z_OK, Z_BUF_ERROR:
            break
        case Z_STREAM_END:
            memberCount += 1
            state = wrapper == .gzip ? .betweenMembers : .ended
        default:
            throw describe(result)
        }
        if let excess = account.excess { throw excess }
        return (taken, made)
    }

    private func describe(_ result: Int32) -> HeadraceError {
        let cause = unsafe stream.pointee.msg.map { unsafe String(cString: $0) }
        let what = wrapper == .gzip ? "gzip member \(memberCount)" : "the zlib stream"
        switch result {
        case Z_NEED_DICT:
            let identifier = unsafe stream.pointee.adler
            return account.error(
                .unsupported,
                "\(what) needs preset dictionary ID \(identifier); compress it again without one")
        case Z_MEM_ERROR:
            return HeadraceError(.environment, "no memory to decompress \(what)")
        default:
            let isCheck = cause?.hasSuffix("check") ?? false
            let isData = cause == "incorrect data check" || cause == "incorrect length check"
            if isCheck, isData || cause == "header crc mismatch" {
                return account.error(
                    .checksumMismatch, "\(what) does not match its checksum or length", cause: cause)
            }
            return account.error(.corruptStream, "\(what) is corrupt", cause: cause)
        }
    }

    package func finish() throws(HeadraceError) {
        if let failure { throw failure }
        guard memberCount > 0, state != .inMember else {
            throw account.error(
                .truncated,
                wrapper == .gzip
                    ? "the file ends inside gzip member \(memberCount)" : "the zlib stream is cut")
        }
    }
}
