internal import CHeadraceZlib
package import HeadraceCore

/// Reads the bytes of zip members, piece by piece, and verifies size and CRC-32 of each. Used for one member after
/// the other; keeps its memory.
@safe package final class ZipInflater {
    /// On the heap, because zlib keeps the address.
    private let stream: UnsafeMutablePointer<z_stream>
    private var member: ZipMember?
    private var archive: UnsafeRawBufferPointer
    private var consumed = 0
    private var produced = 0
    private var checksum: UInt32 = 0
    private var isEnded = false

    package init() throws(HeadraceError) {
        unsafe archive = UnsafeRawBufferPointer(start: nil, count: 0)
        unsafe stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // Negative: the bare deflate stream, which has neither header nor checksum.
        guard unsafe headrace_inflate_init(stream, -15) == Z_OK else {
            unsafe stream.deallocate()
            throw HeadraceError(.environment, "no memory for a deflate decompressor")
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Begins at the first byte of `member` of `archive`, which must stay where it is until ``finish()``.
    package func begin(_ member: ZipMember, of archive: UnsafeRawBufferPointer) {
        self.member = member
        unsafe self.archive = archive
        consumed = member.data.lowerBound
        produced = 0
        checksum = 0
        isEnded = false
        if member.method == .deflated { unsafe inflateReset(stream) }
    }

    /// The next bytes of the member: as many as `target` takes, fewer at its end.
    package func read(into target: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int {
        guard let member, let start = target.baseAddress, target.count > 0 else { return 0 }
        let count: Int
        switch member.method {
        case .stored:
            count = min(target.count, member.data.upperBound - consumed)
            if count > 0, let from = unsafe archive.baseAddress {
                unsafe start.copyMemory(from: from + consumed, byteCount: count)
            }
            consumed += count
        case .deflated:
            count = unsafe try inflate(member, into: target)
        }
        checksum = unsafe UInt32(
            truncatingIfNeeded: crc32_z(UInt(checksum), start.assumingMemoryBound(to: UInt8.self), count))
        produced += count
        guard produced <= member.byteCount else {
            throw HeadraceError(.corruptStream, "a zip member has more bytes than the directory says")
        }
        return count
    }

    private func inflate(
        _ member: ZipMember, into target: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) -> Int {
        var made = 0
        while made < target.count, !isEnded {
            let input = unsafe archive.baseAddress.map { unsafe $0 + consumed }
            let left = UInt32(clamping: member.data.upperBound - consumed)
            let room = UInt32(clamping: target.count - made)
            unsafe stream.pointee.next_in = UnsafeMutablePointer(
                mutating: input?.assumingMemoryBound(to: UInt8.self))
            unsafe stream.pointee.avail_in = left
            unsafe stream.pointee.next_out = (target.baseAddress! + made).assumingMemoryBound(to: UInt8.self)
            unsafe stream.pointee.avail_out = room
            let result = unsafe CHeadraceZlib.inflate(stream, Z_NO_FLUSH)
            let taken = unsafe Int(left - stream.pointee.avail_in)
            let more = unsafe Int(room - stream.pointee.avail_out)
            consumed += taken
            made += more
            switch result {
            case Z_STREAM_END: isEnded = true
            case Z_OK where taken + more > 0: break
            case Z_OK, Z_BUF_ERROR:
                throw HeadraceError(.truncated, "the deflate stream of a zip member is cut")
            case Z_MEM_ERROR:
                throw HeadraceError(.environment, "no memory to decompress a zip member")
            default:
                let cause = unsafe stream.pointee.msg.map { unsafe String(cString: $0) }
                throw HeadraceError(
                    .corruptStream, "the deflate stream of a zip member is corrupt", cause: cause)
            }
        }
        return made
    }

    /// Makes sure that the member has been read to its end, and is what the directory says.
    package func finish() throws(HeadraceError) {
        guard let member else { return }
        if member.method == .deflated, !isEnded, produced == member.byteCount {
            // The last bytes may have come out before the end of the stream was seen.
            var spare: UInt8 = 0
            let more = unsafe try withUnsafeMutableBytes(of: &spare) { (bytes) throws(HeadraceError) in
                unsafe try inflate(member, into: bytes)
            }
            guard more == 0 else {
                throw HeadraceError(.corruptStream, "a zip member has more bytes than the directory says")
            }
        }
        guard produced == member.byteCount, consumed == member.data.upperBound else {
            throw HeadraceError(
                .corruptStream,
                "a zip member has \(produced) bytes, and its directory says \(member.byteCount)")
        }
        guard checksum == member.checksum else {
            throw HeadraceError(.checksumMismatch, "the CRC-32 of a zip member does not match")
        }
    }

    /// Verifies the CRC-32 of bytes that were read in place.
    package static func check(
        _ member: ZipMember, of archive: UnsafeRawBufferPointer
    ) throws(HeadraceError) {
        let data = unsafe UnsafeRawBufferPointer(rebasing: archive[member.data])
        let found = unsafe UInt32(
            truncatingIfNeeded: crc32_z(0, data.baseAddress?.assumingMemoryBound(to: UInt8.self), data.count))
        guard found == member.checksum else {
            throw HeadraceError(.checksumMismatch, "the CRC-32 of a zip member does not match")
        }
    }
}
