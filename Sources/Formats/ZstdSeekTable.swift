package import HeadraceCore

/// The seek table that ends a seekable zstd file (format 0.1.0): a skippable frame with one entry a frame.
///
/// Read from the file's end in two steps: the footer says how long the table is, the table gives the frames.
package enum ZstdSeekTable {
    /// Bytes to read from the file's end for ``tableLength(footer:fileSize:limits:)``.
    package static let footerBytes = 9

    private static let skippableMagic: UInt32 = 0x184D_2A5E
    private static let skippableHeaderBytes = 8
    private static let seekableMagic: UInt32 = 0x8F92_EAB1
    private static let checksumFlag: UInt8 = 0x80
    private static let reservedBits: UInt8 = 0x7C

    /// Bytes of the table frame, which ends the file; nil when the file has none.
    package static func tableLength(
        footer: UnsafeRawBufferPointer, fileSize: Int, limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) -> Int? {
        guard footer.count == footerBytes, unsafe footer.bytes.littleEndian32(5) == seekableMagic else {
            return nil
        }
        let descriptor = unsafe footer.bytes.byte(4)
        guard descriptor & reservedBits == 0 else {
            throw mismatch("reserved bits of its descriptor are set, so it is of a later format", fileSize)
        }
        let count = unsafe Int(footer.bytes.littleEndian32(0))
        guard count <= limits.seekTableFrames else {
            throw HeadraceError(
                .limitExceeded,
                "the seek table claims \(count) frames, more than \(limits.seekTableFrames) (limit seekTableFrames)"
            )
        }
        let length = skippableHeaderBytes + count * entryBytes(descriptor) + footerBytes
        guard length <= fileSize else {
            throw mismatch("its \(count) frames need \(length) bytes, the file has \(fileSize)", fileSize)
        }
        return length
    }

    /// The frames of a file of `fileSize` bytes that ends with `table`.
    package static func frames(
        table: UnsafeRawBufferPointer, fileSize: Int, limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) -> [Frame] {
        let footer = unsafe UnsafeRawBufferPointer(rebasing: table.suffix(footerBytes))
        guard let length = unsafe try tableLength(footer: footer, fileSize: fileSize, limits: limits),
            length == table.count
        else { throw mismatch("it is not where its footer says", fileSize) }
        let bytes = unsafe table.bytes
        guard bytes.littleEndian32(0) == skippableMagic,
            Int(bytes.littleEndian32(4)) == length - skippableHeaderBytes
        else { throw mismatch("its frame header does not match its footer", fileSize) }
        let stride = entryBytes(bytes.byte(length - 5))
        let count = Int(bytes.littleEndian32(length - footerBytes))
        var frames: [Frame] = []
        frames.reserveCapacity(count)
        var compressed = 0
        var offset = 0
        for index in 0..<count {
            let entry = skippableHeaderBytes + index * stride
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

    private static func entryBytes(_ descriptor: UInt8) -> Int { descriptor & checksumFlag != 0 ? 12 : 8 }

    private static func mismatch(_ what: String, _ fileSize: Int) -> HeadraceError {
        HeadraceError(
            .indexMismatch,
            "the seek table at the end of the \(fileSize) byte file does not fit: \(what); the file is damaged or "
                + "was appended to")
    }
}
