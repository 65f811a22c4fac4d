internal import CHeadraceLZ4
internal import HeadraceCore

/// Single blocks of LZ4 frames. The library's own frame reader copies each block through buffers of its own, which
/// costs up to half the speed; its block functions do not.
enum LZ4Block {
    /// A block's size as the frame has it.
    struct Size {
        var byteCount: Int
        var isStored: Bool

        init(_ word: UInt32) {
            byteCount = Int(word & ~LZ4FrameHeader.storedBit)
            isStored = word & LZ4FrameHeader.storedBit != 0
        }
    }

    /// Decompresses a block into `output`, of which it may fill less; nil when the block is damaged or needs more.
    ///
    /// - Parameter history: up to 64 KiB that precede the block's content; empty for independent blocks. Need not be
    ///   in front of `output`.
    static func decompress(
        _ block: UnsafeRawBufferPointer, history: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) -> Int? {
        // An empty target would be a null pointer, which the library takes for a failure of ours.
        guard let target = output.baseAddress, let source = block.baseAddress else { return nil }
        let result = unsafe LZ4_decompress_safe_usingDict(
            source.assumingMemoryBound(to: CChar.self), target.assumingMemoryBound(to: CChar.self),
            Int32(clamping: block.count), Int32(clamping: output.count),
            history.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(clamping: history.count))
        return result < 0 ? nil : Int(result)
    }

    /// As far as the first bytes of a block lead, which need not be all of it; for a block without history.
    static func preview(
        _ start: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> Int {
        guard let target = output.baseAddress, let source = start.baseAddress else { return 0 }
        let result = unsafe LZ4_decompress_safe_partial(
            source.assumingMemoryBound(to: CChar.self), target.assumingMemoryBound(to: CChar.self),
            Int32(clamping: start.count), Int32(clamping: output.count), Int32(clamping: output.count))
        return max(0, Int(result))
    }

    /// Throws unless `checksum`, where there is one, is that of the block as it is stored.
    static func check(
        _ block: UnsafeRawBufferPointer, _ checksum: UInt32?
    ) throws(LZ4FrameHeader.Refusal) {
        guard let checksum, unsafe xxh32(block) != checksum else { return }
        throw .init(.checksumMismatch, "the block does not match its checksum")
    }

    /// Throws when a block's size cannot be.
    static func check(_ size: Size, _ header: LZ4FrameHeader) throws(LZ4FrameHeader.Refusal) {
        guard size.byteCount <= header.blockByteCount else {
            throw .init(
                .corruptStream,
                "the block has \(size.byteCount) bytes, more than the \(header.blockByteCount) of the frame's header"
            )
        }
    }
}
