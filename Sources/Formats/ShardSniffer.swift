package import HeadraceCore

/// What a shard is made of.
package struct ShardContent: Sendable, Equatable {
    package var codec: CodecKind
    package var format: ShardFormatKind

    package init(codec: CodecKind, format: ShardFormatKind) {
        self.codec = codec
        self.format = format
    }
}

/// Finds out what a shard is: by its first bytes, and only where they say nothing by its name.
///
/// Names lie (`.gz` files that a client has unpacked on the way, tars without an ending); magic numbers and
/// checksums hardly ever do. Where the content is no intact shard but the name claims one, the name decides, so
/// that the scanner can say what is wrong and where.
package enum ShardSniffer {
    /// Bytes of the file's head that are enough to decide, unless a longer skippable frame comes first. Nothing comes
    /// out of a zstd frame before its first block is whole, which has up to 128 KiB.
    package static let headBytes = 144 << 10
    /// Bytes decompressed to look at the format: a tar header and some.
    private static let decompressedBytes = 4096

    private static let zstdMagic: UInt32 = 0xFD2F_B528
    private static let skippableHeaderBytes = 8

    /// - Parameters:
    ///   - head: the file's first bytes, ``headBytes`` of them or the whole file.
    ///   - name: path or URL, for what the content leaves open and for the error.
    package static func sniff(
        head: UnsafeRawBufferPointer, name: String, limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) -> ShardContent {
        let named = NamedContent(name)
        // A length with its CRC first: no codec begins with one by chance, but one length in 65536 begins as gzip does.
        if unsafe TFRecordScanner.hasValidLength(head) {
            return ShardContent(codec: .none, format: .tfrecord)
        }
        switch unsafe codec(head, named) {
        case .none:
            if let format = unsafe format(head) { return ShardContent(codec: .none, format: format) }
            if unsafe isZlib(head), let format = unsafe format(head, behind: .zlib, limits) {
                return ShardContent(codec: .zlib, format: format)
            }
            if let format = named.format {
                // A damaged zlib stream has no magic of its own: its name must speak for it.
                let isZlib = unsafe named.codec == .zlib && isZlib(head)
                return ShardContent(codec: isZlib ? .zlib : .none, format: format)
            }
            throw unsafe unknown(head, name, "neither a TFRecord length with its CRC nor a tar header")
        case let codec:
            if let format = unsafe format(head, behind: codec, limits) ?? named.format {
                return ShardContent(codec: codec, format: format)
            }
            throw unsafe unknown(
                head, name,
                "\(codec.rawValue), and in it neither a TFRecord length with its CRC nor a tar header")
        }
    }

    /// The codec whose magic the file begins with, behind frames that are to be skipped.
    private static func codec(_ head: UnsafeRawBufferPointer, _ named: NamedContent) -> CodecKind {
        let bytes = unsafe head.bytes
        if bytes.byteCount >= 2, bytes.byte(0) == 0x1F, bytes.byte(1) == 0x8B { return .gzip }
        var offset = 0
        while bytes.byteCount - offset >= 4 {
            let magic = bytes.littleEndian32(offset)
            if magic == zstdMagic { return .zstd }
            if magic == LZ4FrameHeader.magic || magic == LZ4FrameHeader.legacyMagic { return .lz4 }
            guard LZ4FrameHeader.isSkippable(magic), bytes.byteCount - offset >= skippableHeaderBytes
            else {
                break
            }
            offset += skippableHeaderBytes + Int(bytes.littleEndian32(offset + 4))
        }
        // Only skippable frames as far as one can see: the name tells whose.
        if offset > 0 { return named.codec == .lz4 ? .lz4 : .zstd }
        return .none
    }

    /// The format of uncompressed bytes.
    private static func format(_ head: UnsafeRawBufferPointer) -> ShardFormatKind? {
        if unsafe TFRecordScanner.hasValidLength(head) { return .tfrecord }
        return unsafe TarHeader.isPlausible(head.bytes) ? .tar : nil
    }

    /// Whether the two bytes of a zlib header are there: method, window, and their check.
    private static func isZlib(_ head: UnsafeRawBufferPointer) -> Bool {
        guard head.count >= 2 else { return false }
        let first = unsafe Int(head.bytes.byte(0))
        let second = unsafe Int(head.bytes.byte(1))
        return first & 0x0F == 8 && first >> 4 <= 7 && (first << 8 | second) % 31 == 0
    }

    /// The format of the first bytes that come out of `codec`.
    private static func format(
        _ head: UnsafeRawBufferPointer, behind codec: CodecKind, _ limits: FormatLimits
    ) -> ShardFormatKind? {
        guard let decompressor = try? codec.makeStreamDecompressor(limits: limits) else { return nil }
        var output = [UInt8](repeating: 0, count: decompressedBytes)
        return unsafe output.withUnsafeMutableBytes { buffer -> ShardFormatKind? in
            var consumed = 0
            var produced = 0
            do throws(HeadraceError) {
                while produced < buffer.count {
                    let step = unsafe try decompressor.decompress(
                        UnsafeRawBufferPointer(rebasing: head[consumed...]),
                        into: UnsafeMutableRawBufferPointer(rebasing: buffer[produced...]))
                    consumed += step.consumed
                    produced += step.produced
                    if step.consumed == 0, step.produced == 0 { break }
                }
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[produced...])
                produced += unsafe decompressor.preview(into: rest)
            } catch {
                // The damage is found again, and reported, when the shard is read.
                produced += decompressor.producedBeforeError
            }
            return unsafe format(UnsafeRawBufferPointer(rebasing: buffer[..<produced]))
        }
    }

    private static func unknown(
        _ head: UnsafeRawBufferPointer, _ name: String, _ seen: String
    ) -> HeadraceError {
        if unsafe head.isEmpty {
            return HeadraceError(
                .unknownFormat, "the file is empty, and its name says neither tar nor TFRecord",
                at: .init(shard: name, offset: 0))
        }
        let digits = Array("0123456789abcdef")
        let first = unsafe head.prefix(8).map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }
        return HeadraceError(
            .unknownFormat,
            "the content is of no format that is read: it begins with \(first.joined(separator: " ")), \(seen), and "
                + "the name does not end in .tar or .tfrecord either",
            at: .init(shard: name, offset: 0))
    }
}

/// What a file's name claims.
struct NamedContent {
    var codec: CodecKind?
    var format: ShardFormatKind?

    init(_ name: String) {
        var base = Substring(name)
        // The query of a URL is no part of the name.
        if base.contains("://"), let end = base.firstIndex(where: { $0 == "?" || $0 == "#" }) {
            base = base[..<end]
        }
        if let slash = base.lastIndex(of: "/") { base = base[base.index(after: slash)...] }
        let lowered = base.lowercased()
        var parts = lowered.split(separator: ".")
        switch parts.last {
        case "zst", "zstd": codec = .zstd
        case "gz": codec = .gzip
        case "zlib", "zz": codec = .zlib
        case "lz4": codec = .lz4
        case "tgz":
            codec = .gzip
            format = .tar
        case "tzst":
            codec = .zstd
            format = .tar
        default: break
        }
        if codec != nil, format == nil { parts.removeLast() }
        switch parts.last {
        case "tar": format = .tar
        case "tfrecord", "tfrecords", "tfr", "tfrec", "record", "records": format = .tfrecord
        default:
            // TensorFlow's shards end in a count: `data_tfrecord-00000-of-00002`.
            if format == nil, lowered.contains("tfrecord") { format = .tfrecord }
        }
    }
}
