internal import HeadraceCore

/// What the descriptor of an LZ4 frame says (frame format 1.6).
struct LZ4FrameHeader {
    static let magic: UInt32 = 0x184D_2204
    /// The frames of `lz4 -l` and the Linux kernel: blocks of 8 MiB, no descriptor, no checksum, no end.
    static let legacyMagic: UInt32 = 0x184C_2102
    /// zstd and LZ4 share the sixteen magic numbers of frames to be skipped.
    static let skippableMagic: UInt32 = 0x184D_2A50
    static let legacyBlockByteCount = 8 << 20
    /// Magic, FLG and BD: enough to know how long the rest is.
    static let fixedByteCount = 6
    /// How far back a linked block refers.
    static let historyByteCount = 64 << 10
    /// Set in a block's size when the block is stored as it is.
    static let storedBit: UInt32 = 0x8000_0000

    var areBlocksLinked = false
    var hasBlockChecksums = false
    var hasContentChecksum = false
    var isLegacy = false
    var blockByteCount = 0
    var contentByteCount: UInt64?

    /// Bytes of the header that begins with these ``fixedByteCount`` ones.
    static func byteCount(_ flags: UInt8) -> Int {
        fixedByteCount + (flags & 0x08 != 0 ? 8 : 0) + (flags & 0x01 != 0 ? 4 : 0) + 1
    }

    static var legacy: LZ4FrameHeader {
        var header = LZ4FrameHeader()
        header.isLegacy = true
        header.blockByteCount = legacyBlockByteCount
        return header
    }

    static func isSkippable(_ magic: UInt32) -> Bool { magic & 0xFFFF_FFF0 == skippableMagic }

    private init() {}

    /// Reads a header of exactly ``byteCount(_:)`` bytes. Its checksum is looked at first: a header that does not
    /// match it is damaged, whatever else it seems to ask for.
    init(_ bytes: RawSpan) throws(Refusal) {
        let flags = bytes.byte(4)
        let blockFlags = bytes.byte(5)
        let last = bytes.byteCount - 1
        let sum = unsafe bytes.extracting(4..<last).withUnsafeBytes { unsafe xxh32($0) }
        guard UInt8(truncatingIfNeeded: sum >> 8) == bytes.byte(last) else {
            throw Refusal(.checksumMismatch, "the frame's header does not match its checksum")
        }
        guard flags >> 6 == 1 else {
            throw Refusal(
                .unsupported, "the frame is of version \(flags >> 6) of the LZ4 frame format, not 1")
        }
        guard flags & 0x02 == 0, blockFlags & 0x8F == 0 else {
            throw Refusal(.corruptStream, "reserved bits of the frame's header are set")
        }
        let size = Int(blockFlags >> 4)
        guard size >= 4 else {
            throw Refusal(.corruptStream, "the frame's header has no valid block size (code \(size))")
        }
        areBlocksLinked = flags & 0x20 == 0
        hasBlockChecksums = flags & 0x10 != 0
        hasContentChecksum = flags & 0x04 != 0
        blockByteCount = 1 << (8 + 2 * size)
        var offset = Self.fixedByteCount
        if flags & 0x08 != 0 {
            contentByteCount = bytes.littleEndian64(offset)
            offset += 8
        }
        guard flags & 0x01 == 0 else {
            throw Refusal(
                .unsupported,
                "the frame needs dictionary ID \(bytes.littleEndian32(offset)); compress it again without a dictionary"
            )
        }
    }

    /// Why a header or a block cannot be read; whoever reads it knows the place.
    struct Refusal: Error {
        var code: HeadraceError.Code
        var message: String

        init(_ code: HeadraceError.Code, _ message: String) {
            self.code = code
            self.message = message
        }
    }
}
