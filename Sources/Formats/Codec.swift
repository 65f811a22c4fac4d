package import HeadraceCore

/// Decompresses a shard from front to back. One a shard and pass; not shared between threads.
package protocol StreamDecompressor: AnyObject {
    /// Decompresses from `input` to `output`; stops when either is used up.
    ///
    /// Throws `corruptStream`, `checksumMismatch`, `unsupported` or `limitExceeded`; what was produced before the
    /// damage was returned by earlier calls, or is in ``producedBeforeError``.
    func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) -> (consumed: Int, produced: Int)

    /// Good bytes that the failed call had put in its output before it threw.
    var producedBeforeError: Int { get }

    /// Room in the output below which the next step costs a copy: who can, hands over a fresh buffer first.
    var preferredRoom: Int { get }

    /// The first bytes of what the input taken so far holds of a block that is not here whole; nothing is used up. For
    /// looking at the beginning of a shard only.
    func preview(into output: UnsafeMutableRawBufferPointer) -> Int

    /// Call at the end of the input: throws `truncated` when it ends inside a frame or stream.
    func finish() throws(HeadraceError)
}

extension StreamDecompressor {
    package var preferredRoom: Int { 0 }

    package func preview(into output: UnsafeMutableRawBufferPointer) -> Int { 0 }
}

/// One independent frame of a compressed shard.
package struct Frame: Sendable, Equatable {
    /// Place in the compressed file.
    package var compressedOffset: Int
    package var compressedLength: Int
    /// Place in the uncompressed shard.
    package var offset: Int
    package var length: Int
    /// Checksum of the uncompressed bytes, where the seek table has it: XXH32 for LZ4, the low 32 bits of the XXH64 for
    /// zstd.
    package var checksum: UInt32?

    package init(
        compressedOffset: Int, compressedLength: Int, offset: Int, length: Int, checksum: UInt32? = nil
    ) {
        self.compressedOffset = compressedOffset
        self.compressedLength = compressedLength
        self.offset = offset
        self.length = length
        self.checksum = checksum
    }
}

/// Decompresses whole frames, in any order. One a worker; not shared between threads.
package protocol FrameDecompressor: AnyObject {
    /// Decompresses one frame to exactly `output.count` bytes and verifies its checksums.
    func decompress(
        _ frame: Frame, _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError)
}

/// Compresses frames that stand alone. One a worker; not shared between threads.
package protocol FrameWriter: AnyObject {
    /// Appends one frame that holds `input`, and returns its row of the seek table.
    func appendFrame(
        _ input: UnsafeRawBufferPointer, to output: OutputBuffer
    ) throws(HeadraceError) -> SeekTableRow
}
