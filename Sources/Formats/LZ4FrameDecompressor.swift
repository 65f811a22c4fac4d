package import HeadraceCore

/// Decompresses single frames of a seekable LZ4 shard, in any order.
package final class LZ4FrameDecompressor: FrameDecompressor {
    package init() {}

    package func decompress(
        _ frame: Frame, _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        guard input.count == frame.compressedLength, output.count == frame.length else {
            throw error(
                frame,
                .init(
                    .indexMismatch,
                    "\(input.count) bytes were given for \(output.count), the seek table says "
                        + "\(frame.compressedLength) for \(frame.length)"))
        }
        do throws(LZ4FrameHeader.Refusal) {
            try unsafe decompress(input, into: output, checksum: frame.checksum)
        } catch {
            throw self.error(frame, error)
        }
    }

    private func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer, checksum: UInt32?
    ) throws(LZ4FrameHeader.Refusal) {
        let bytes = unsafe input.bytes
        let header = try readHeader(bytes)
        var place = header.byteCount
        var produced = 0
        var hash = XXH32()
        while true {
            let word = try littleEndian32(bytes, &place)
            if word == 0 { break }
            let size = LZ4Block.Size(word)
            try LZ4Block.check(size, header.header)
            guard bytes.byteCount - place >= size.byteCount else { throw Self.cut }
            let block = unsafe UnsafeRawBufferPointer(rebasing: input[place..<place + size.byteCount])
            place += size.byteCount
            if header.header.hasBlockChecksums {
                let sum = try littleEndian32(bytes, &place)
                try unsafe LZ4Block.check(block, sum)
            }
            let count = try unsafe decompress(block, size, header.header, into: output, at: produced)
            if header.header.hasContentChecksum {
                unsafe hash.update(UnsafeRawBufferPointer(rebasing: output[produced..<produced + count]))
            }
            produced += count
        }
        guard produced == output.count else {
            throw .init(
                .indexMismatch, "the frame holds \(produced) bytes, the seek table says \(output.count)")
        }
        var sum: UInt32?
        if header.header.hasContentChecksum {
            sum = try littleEndian32(bytes, &place)
            guard sum == hash.value else {
                throw .init(.checksumMismatch, "the frame's content does not match its checksum")
            }
        }
        guard place == bytes.byteCount else {
            throw .init(
                .indexMismatch, "the frame has \(place) bytes, the seek table says \(bytes.byteCount)")
        }
        guard let checksum else { return }
        let actual = unsafe sum ?? xxh32(UnsafeRawBufferPointer(output))
        guard actual == checksum else {
            throw .init(
                .checksumMismatch, "the frame's content does not match the seek table's checksum")
        }
    }

    private func decompress(
        _ block: UnsafeRawBufferPointer, _ size: LZ4Block.Size, _ header: LZ4FrameHeader,
        into output: UnsafeMutableRawBufferPointer, at produced: Int
    ) throws(LZ4FrameHeader.Refusal) -> Int {
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: output[produced...])
        if size.isStored {
            guard block.count <= room.count else { throw Self.tooLong(output.count) }
            unsafe room.copyMemory(from: block)
            return block.count
        }
        let past =
            header.areBlocksLinked
            ? unsafe UnsafeRawBufferPointer(
                rebasing: output[max(0, produced - LZ4FrameHeader.historyByteCount)..<produced])
            : unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        let target = unsafe UnsafeMutableRawBufferPointer(
            rebasing: room[..<min(room.count, header.blockByteCount)])
        if let count = unsafe LZ4Block.decompress(block, history: past, into: target) { return count }
        // The library does not say whether the block is damaged or holds more than there is room for.
        throw target.count < header.blockByteCount
            ? .init(
                .corruptStream,
                "the LZ4 block is corrupt, or holds more than the \(output.count) bytes of the seek table")
            : .init(.corruptStream, "the LZ4 block is corrupt")
    }

    /// The header of the frame, and how many bytes it has.
    private func readHeader(
        _ bytes: RawSpan
    ) throws(LZ4FrameHeader.Refusal) -> (header: LZ4FrameHeader, byteCount: Int) {
        guard bytes.byteCount >= LZ4FrameHeader.fixedByteCount else { throw Self.cut }
        guard bytes.littleEndian32(0) == LZ4FrameHeader.magic else {
            throw .init(.corruptStream, "there is no LZ4 frame")
        }
        let byteCount = LZ4FrameHeader.byteCount(bytes.byte(4))
        guard bytes.byteCount >= byteCount else { throw Self.cut }
        return (try LZ4FrameHeader(bytes.extracting(0..<byteCount)), byteCount)
    }

    private func littleEndian32(
        _ bytes: RawSpan, _ place: inout Int
    ) throws(LZ4FrameHeader.Refusal) -> UInt32 {
        guard bytes.byteCount - place >= 4 else { throw Self.cut }
        defer { place += 4 }
        return bytes.littleEndian32(place)
    }

    private static let cut = LZ4FrameHeader.Refusal(.truncated, "the frame is cut")

    private static func tooLong(_ byteCount: Int) -> LZ4FrameHeader.Refusal {
        .init(.indexMismatch, "the frame holds more than the \(byteCount) bytes of the seek table")
    }

    private func error(_ frame: Frame, _ refusal: LZ4FrameHeader.Refusal) -> HeadraceError {
        HeadraceError(
            refusal.code,
            "frame at byte \(frame.compressedOffset) of the compressed file: \(refusal.message)",
            at: .init(offset: frame.offset))
    }
}
