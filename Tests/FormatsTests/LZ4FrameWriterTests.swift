import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Seekable LZ4 shards: what others make of them, and how we read them back.
struct LZ4FrameWriterTests {
    private static let pieces = [
        LZ4Tests.text(700_000), [7], LZ4Tests.text(100_000, seed: 2), [UInt8](repeating: 0, count: 300_000),
    ]

    private static func shard(level: Int = 1) throws -> (bytes: [UInt8], rows: [SeekTableRow]) {
        let writer = LZ4FrameWriter(level: level)
        let output = OutputBuffer()
        var rows: [SeekTableRow] = []
        for piece in pieces {
            rows.append(try piece.withUnsafeBytes { try writer.appendFrame($0, to: output) })
        }
        SeekTable.lz4.append(rows, to: output)
        return (Array(output.bytes), rows)
    }

    private static func frames(_ bytes: [UInt8]) throws -> [Frame]? {
        try bytes.withUnsafeBytes { all in
            let footer = UnsafeRawBufferPointer(rebasing: all.suffix(SeekTable.footerBytes))
            guard let length = try SeekTable.lz4.tableLength(footer: footer, fileSize: all.count) else {
                return nil
            }
            let table = UnsafeRawBufferPointer(rebasing: all.suffix(length))
            return try SeekTable.lz4.frames(table: table, fileSize: all.count)
        }
    }

    @Test(arguments: [-50, 1, 2, 3, 9, 12])
    func othersReadWhatWeWrite(_ level: Int) throws {
        let (bytes, _) = try Self.shard(level: level)
        let whole = Self.pieces.flatMap { $0 }
        try Oracle.inTemporaryFolder { folder in
            if let output = try Oracle.run(["lz4", "-dc"], in: folder, input: bytes) {
                let isSame = output.stdout == whole
                #expect(output.status == 0 && isSame)
            }
            try Data(bytes).write(to: folder.appendingPathComponent("x.lz4"))
            let script = """
                import lz4.frame, struct, sys
                data = open('x.lz4', 'rb').read()
                sys.stdout.buffer.write(lz4.frame.decompress(data) if not data else b''.join(
                    lz4.frame.decompress(data[at:at + size])
                    for at, size, length, _ in [
                        (sum(struct.unpack_from('<I', data, len(data) - 9 - 12 * (4 - k))[0] for k in range(i)),)
                        + struct.unpack_from('<III', data, len(data) - 9 - 12 * (4 - i)) for i in range(4)]))
                for i in range(4):
                    at = sum(struct.unpack_from('<I', data, len(data) - 9 - 12 * (4 - k))[0] for k in range(i))
                    info = lz4.frame.get_frame_info(data[at:])
                    length = struct.unpack_from('<III', data, len(data) - 9 - 12 * (4 - i))[1]
                    assert info['content_checksum'] and not info['block_linked'], info
                    assert info['content_size'] == length, (info, length)
                """
            if let output = try Oracle.python(script, in: folder) {
                let isSame = output == whole
                #expect(isSame)
            }
            let stream = """
                import lz4.frame, sys
                sys.stdout.buffer.write(lz4.frame.open('x.lz4').read())
                """
            if let output = try Oracle.python(stream, in: folder) {
                let isSame = output == whole
                #expect(isSame)
            }
        }
        let isWhole = decompressEveryWay(bytes, .lz4).bytes == whole
        #expect(isWhole)
    }

    @Test func ourReaderFindsTheFrames() throws {
        let (bytes, rows) = try Self.shard()
        let frames = try #require(try Self.frames(bytes))
        #expect(frames.map(\.length) == Self.pieces.map(\.count))
        #expect(frames.map(\.checksum) == rows.map(\.checksum))
        #expect(rows.map(\.checksum) == Self.pieces.map { $0.withUnsafeBytes { xxh32($0) } })
        let decompressor = LZ4FrameDecompressor()
        for (frame, piece) in zip(frames, Self.pieces).reversed() {
            let input = Array(bytes[frame.compressedOffset..<frame.compressedOffset + frame.compressedLength])
            var output = [UInt8](repeating: 0, count: frame.length)
            try input.withUnsafeBytes { input in
                try output.withUnsafeMutableBytes { try decompressor.decompress(frame, input, into: $0) }
            }
            let isSame = output == piece
            #expect(isSame)
        }
        // The tables of the two codecs are not taken for each other.
        let other = try bytes.suffix(SeekTable.footerBytes).withUnsafeBytes {
            try SeekTable.zstd.tableLength(footer: $0, fileSize: bytes.count)
        }
        #expect(other == nil)
    }

    private func decompress(_ bytes: [UInt8], _ frame: Frame) -> HeadraceError? {
        var output = [UInt8](repeating: 0, count: frame.length)
        do {
            try bytes.withUnsafeBytes { input in
                try output.withUnsafeMutableBytes {
                    try LZ4FrameDecompressor().decompress(frame, input, into: $0)
                }
            }
        } catch { return error as? HeadraceError }
        return nil
    }

    /// Frames of other writers may have linked blocks, block checksums and no content checksum.
    @Test func framesOfOthersAreRead() throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = LZ4Tests.text(300_000)
            for arguments in [
                ["-B4", "-BD"], ["-B4", "-BD", "-BX", "--no-frame-crc"], ["-B5", "--content-size"],
            ] {
                guard let file = try Oracle.run(["lz4", "-qc"] + arguments, in: folder, input: plain) else {
                    return
                }
                let bytes = file.stdout
                var frame = Frame(
                    compressedOffset: 0, compressedLength: bytes.count, offset: 0, length: plain.count,
                    checksum: plain.withUnsafeBytes { xxh32($0) })
                #expect(decompress(bytes, frame) == nil, "\(arguments)")
                frame.checksum! ^= 1
                #expect(decompress(bytes, frame)?.code == .checksumMismatch, "\(arguments)")
                frame.checksum = nil
                frame.length += 1
                #expect(decompress(bytes, frame)?.code == .indexMismatch, "\(arguments)")
                frame.length -= 2
                #expect(decompress(bytes, frame)?.code.category == .data, "\(arguments)")
                frame.length += 1
                frame.compressedLength -= 1
                #expect(decompress(Array(bytes.dropLast()), frame)?.code == .truncated, "\(arguments)")
                frame.compressedLength += 2
                #expect(decompress(bytes + [0], frame)?.code == .indexMismatch, "\(arguments)")
            }
        }
    }

    @Test func whatIsNoFrameIsRefused() {
        func refusal(_ bytes: [UInt8]) -> HeadraceError.Code? {
            decompress(
                bytes, Frame(compressedOffset: 0, compressedLength: bytes.count, offset: 0, length: 10))?.code
        }
        #expect(refusal([]) == .truncated)
        #expect(refusal([4, 0x22, 0x4D, 0x18, 0x68, 0x40, 1]) == .truncated)
        #expect(refusal(Array("no frame".utf8)) == .corruptStream)
        var builder = LZ4Builder()
        builder.header(0x61, fields: littleEndian(5 as UInt32))
        #expect(refusal(builder.bytes) == .unsupported)
    }

    @Test func theSameBytesEachTime() throws {
        for level in [1, 9] {
            let first = try Self.shard(level: level).bytes
            let isSame = try Self.shard(level: level).bytes == first
            #expect(isSame)
        }
    }
}
