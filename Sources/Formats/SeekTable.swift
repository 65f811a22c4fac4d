internal import CHeadraceZstd
package import HeadraceCore

/// One frame in the seek table of a shard.
package struct SeekTableRow: Sendable, Equatable {
    package var compressedByteCount: UInt32
    package var byteCount: UInt32
    /// As ``Frame/checksum``.
    package var checksum: UInt32

    package init(compressedByteCount: UInt32, byteCount: UInt32, checksum: UInt32) {
        self.compressedByteCount = compressedByteCount
        self.byteCount = byteCount
        self.checksum = checksum
    }
}

/// The seek table that ends a seekable file: a skippable frame with one entry a frame, which plain decompressors pass
/// over.
///
///     u32 magic of the skippable frame, u32 bytes that follow
///     for each frame u32 compressed length, u32 length, u32 checksum where the descriptor says so
///     u32 count of frames, u8 descriptor (0x80: with checksums), u32 magic of the table
///
/// For zstd that is its seekable format 0.1.0. For LZ4, which has no such format, it is the same layout with magic
/// numbers of its own, and the frames' content checksums (XXH32) as checksums.
///
/// Read from the file's end in two steps: the footer says how long the table is, the table gives the frames.
package struct SeekTable: Sendable, Equatable {
    /// Bytes to read from the file's end for ``tableLength(footer:fileSize:limits:)``.
    package static let footerBytes = 9

    package static let zstd = SeekTable(skippableMagic: 0x184D_2A5E, seekableMagic: 0x8F92_EAB1)
    /// Its magic number reads "HRL4" in the file.
    package static let lz4 = SeekTable(skippableMagic: 0x184D_2A5D, seekableMagic: 0x344C_5248)

    private static let skippableHeaderBytes = 8
    private static let checksumFlag: UInt8 = 0x80
    private static let reservedBits: UInt8 = 0x7C

    private let skippableMagic: UInt32
    private let seekableMagic: UInt32

    /// The table of files of `codec`; nil where it has none.
    package static func of(_ codec: CodecKind) -> SeekTable? {
        switch codec {
        case .zstd: .zstd
        case .lz4: .lz4
        case .none, .gzip, .zlib: nil
        }
    }

    /// A frame that claims more than this is asked whether it agrees before memory is planned for it: nothing protects
    /// the lengths in a table, and one flipped bit can ask for gigabytes.
    package static let trustedFrameBytes = 16 << 20
    /// Bytes of a frame's head that are enough for ``check(_:head:)``.
    package static let frameHeadBytes = 32

    /// Holds the length of `frame` against what the frame's own header states, where it states any.
    package func check(_ frame: Frame, head: UnsafeRawBufferPointer) throws(HeadraceError) {
        let stated: UInt64?
        if self == .zstd {
            let size = unsafe ZSTD_getFrameContentSize(head.baseAddress, head.count)
            // Unknown, and no header at all: the two largest numbers.
            stated = size >= UInt64.max - 1 ? nil : size
        } else {
            let bytes = unsafe head.bytes
            guard bytes.byteCount >= LZ4FrameHeader.fixedByteCount else { return }
            let count = LZ4FrameHeader.byteCount(bytes.byte(4))
            guard bytes.byteCount >= count else { return }
            stated = (try? LZ4FrameHeader(bytes.extracting(0..<count)))?.contentByteCount
        }
        // LZ4 makes at most 255 of a byte; zstd a block of 128 KiB of four.
        let most =
            self == .zstd
            ? (frame.compressedLength / 4 + 1) * (128 << 10) : frame.compressedLength * 255
        if stated == nil, frame.length > most {
            throw HeadraceError(
                .indexMismatch,
                "the seek table is damaged: it says that the \(frame.compressedLength) bytes at byte "
                    + "\(frame.compressedOffset) become \(frame.length), which they cannot",
                at: .init(offset: frame.compressedOffset))
        }
        if let stated, stated != UInt64(frame.length) {
            throw HeadraceError(
                .indexMismatch,
                "the seek table is damaged: it says \(frame.length) bytes of the frame at byte "
                    + "\(frame.compressedOffset), which itself says \(stated)",
                at: .init(offset: frame.compressedOffset))
        }
    }

    private init(skippableMagic: UInt32, seekableMagic: UInt32) {
        self.skippableMagic = skippableMagic
        self.seekableMagic = seekableMagic
    }

    /// Appends the table of `rows`, with checksums.
    package func append(_ rows: [SeekTableRow], to output: OutputBuffer) {
        output.append(littleEndian: skippableMagic)
        output.append(littleEndian: UInt32(rows.count * 12 + Self.footerBytes))
        for row in rows {
            output.append(littleEndian: row.compressedByteCount)
            output.append(littleEndian: row.byteCount)
            output.append(littleEndian: row.checksum)
        }
        output.append(littleEndian: UInt32(rows.count))
        output.append(byte: Self.checksumFlag)
        output.append(littleEndian: seekableMagic)
    }

    /// Bytes of the table frame, which ends the file; nil when the file has none.
    package func tableLength(
        footer: UnsafeRawBufferPointer, fileSize: Int, limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) -> Int? {
        guard footer.count == Self.footerBytes, unsafe footer.bytes.littleEndian32(5) == seekableMagic else {
            return nil
        }
        let descriptor = unsafe footer.bytes.byte(4)
        guard descriptor & Self.reservedBits == 0 else {
            throw mismatch("reserved bits of its descriptor are set, so it is of a later format", fileSize)
        }
        let count = unsafe Int(footer.bytes.littleEndian32(0))
        guard count <= limits.seekTableFrames else {
            throw HeadraceError(
                .limitExceeded,
                "the seek table claims \(count) frames, more than \(limits.seekTableFrames) (limit seekTableFrames)"
            )
        }
        let length = Self.skippableHeaderBytes + count * entryBytes(descriptor) + Self.footerBytes
        guard length <= fileSize else {
            throw mismatch("its \(count) frames need \(length) bytes, the file has \(fileSize)", fileSize)
        }
        return length
    }

    /// Holds the first 8 bytes of a table of `length` bytes against its footer.
    package func checkStart(
        _ start: UnsafeRawBufferPointer, length: Int, fileSize: Int
    ) throws(HeadraceError) {
        guard start.count == Self.skippableHeaderBytes,
            unsafe start.bytes.littleEndian32(0) == skippableMagic,
            unsafe Int(start.bytes.littleEndian32(4)) == length - Self.skippableHeaderBytes
        else { throw mismatch("its frame header does not match its footer", fileSize) }
    }

    /// The frames of a file of `fileSize` bytes that ends with `table`.
    package func frames(
        table: UnsafeRawBufferPointer, fileSize: Int, limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) -> [Frame] {
        let footer = unsafe UnsafeRawBufferPointer(rebasing: table.suffix(Self.footerBytes))
        guard let length = unsafe try tableLength(footer: footer, fileSize: fileSize, limits: limits),
            length == table.count
        else { throw mismatch("it is not where its footer says", fileSize) }
        let bytes = unsafe table.bytes
        try unsafe checkStart(
            UnsafeRawBufferPointer(rebasing: table.prefix(Self.skippableHeaderBytes)), length: length,
            fileSize: fileSize)
        let stride = entryBytes(bytes.byte(length - 5))
        let count = Int(bytes.littleEndian32(length - Self.footerBytes))
        var frames: [Frame] = []
        frames.reserveCapacity(count)
        var compressed = 0
        var offset = 0
        for index in 0..<count {
            let entry = Self.skippableHeaderBytes + index * stride
            let frame = Frame(
                compressedOffset: compressed, compressedLength: Int(bytes.littleEndian32(entry)),
                offset: offset, length: Int(bytes.littleEndian32(entry + 4)),
                checksum: stride == 12 ? bytes.littleEndian32(entry + 8) : nil)
            // At most 2^24 frames of 2^32 bytes: the sums stay far below 2^63.
            compressed += frame.compressedLength
            offset += frame.length
            frames.append(frame)
        }
        guard compressed == fileSize - length else {
            throw mismatch(
                "its frames add up to \(compressed) compressed bytes, the file has \(fileSize - length)",
                fileSize)
        }
        return frames
    }

    private func entryBytes(_ descriptor: UInt8) -> Int { descriptor & Self.checksumFlag != 0 ? 12 : 8 }

    private func mismatch(_ what: String, _ fileSize: Int) -> HeadraceError {
        HeadraceError(
            .indexMismatch,
            "the seek table at the end of the \(fileSize) byte file does not fit: \(what); the file is damaged or "
                + "was appended to")
    }
}
