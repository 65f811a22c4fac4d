import Foundation
import HeadraceCore
import Testing

@testable import HeadraceFormats

@Suite struct ZstdFrameWriterTests {
    private static let pieces: [[UInt8]] = [
        Array(String(repeating: "the quick brown fox ", count: 20_000).utf8),
        (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) },
        [42],
    ]

    private static func shard(level: Int = 3) throws -> (bytes: [UInt8], rows: [SeekTableRow]) {
        let writer = try ZstdFrameWriter(level: level)
        let output = OutputBuffer()
        var rows: [SeekTableRow] = []
        for piece in pieces {
            rows.append(try piece.withUnsafeBytes { try writer.appendFrame($0, to: output) })
        }
        SeekTable.zstd.append(rows, to: output)
        return (Array(output.bytes), rows)
    }

    @Test(arguments: [1, 3, 19, -5])
    func zstdDecompressesIt(level: Int) throws {
        let path = WriterOracle.temporaryPath("zst")
        defer { for end in ["", ".raw"] { try? FileManager.default.removeItem(atPath: path + end) } }
        try Data(Self.shard(level: level).bytes).write(to: URL(fileURLWithPath: path))
        guard let tested = try WriterOracle.run(["zstd", "-q", "-d", path, "-o", path + ".raw"]) else {
            return
        }
        #expect(tested.status == 0, "\(tested.errors)")
        #expect(FileManager.default.contents(atPath: path + ".raw") == Data(Self.pieces.flatMap { $0 }))
        let listed = try #require(try WriterOracle.run(["zstd", "-lv", path]))
        #expect(listed.output.contains("Check: XXH64"), "\(listed.output)")
        #expect(listed.output.contains("# Skippable Frames: 1"), "\(listed.output)")
        #expect(listed.output.contains("# Zstandard Frames: 3"), "\(listed.output)")
    }

    @Test func anIndependentParserAgreesWithTheSeekTable() throws {
        let path = WriterOracle.temporaryPath("zst")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(Self.shard().bytes).write(to: URL(fileURLWithPath: path))
        // Written from the seekable format's description; frames are decompressed one by one with the zstd program.
        let script = """
            import struct, subprocess, sys
            M = (1 << 64) - 1
            P = [11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261]
            rot = lambda v, n: (v << n | v >> 64 - n) & M
            rnd = lambda a, b: rot((a + b * P[1]) & M, 31) * P[0] & M
            def xxh64(d):
                n, i = len(d), 0
                if n >= 32:
                    v = [(P[0] + P[1]) & M, P[1], 0, -P[0] & M]
                    while i + 32 <= n:
                        w = struct.unpack_from("<4Q", d, i); v = [rnd(a, b) for a, b in zip(v, w)]; i += 32
                    h = sum(rot(a, r) for a, r in zip(v, (1, 7, 12, 18))) & M
                    for a in v: h = ((h ^ rnd(0, a)) * P[0] + P[3]) & M
                else: h = P[4]
                h = (h + n) & M
                while i + 8 <= n:
                    h = (rot(h ^ rnd(0, struct.unpack_from("<Q", d, i)[0]), 27) * P[0] + P[3]) & M; i += 8
                if i + 4 <= n:
                    h = (rot(h ^ struct.unpack_from("<I", d, i)[0] * P[0] & M, 23) * P[1] + P[2]) & M; i += 4
                for b in d[i:]: h = rot(h ^ b * P[4] & M, 11) * P[0] & M
                h = (h ^ h >> 33) * P[1] & M; h = (h ^ h >> 29) * P[2] & M
                return h ^ h >> 32
            data = open(sys.argv[1], "rb").read()
            count, flags, magic = struct.unpack("<IBI", data[-9:])
            assert magic == 0x8F92EAB1 and flags == 0x80, (magic, flags)
            size = 12 * count + 9
            assert struct.unpack_from("<II", data, len(data) - size - 8) == (0x184D2A5E, size)
            at = 0
            for i in range(count):
                c, n, h = struct.unpack_from("<III", data, len(data) - size + 12 * i)
                raw = subprocess.run(["zstd", "-dcq"], input=data[at:at + c], stdout=subprocess.PIPE, check=True).stdout
                assert len(raw) == n and xxh64(raw) & 0xffffffff == h, i
                assert data[at:at + 4] == bytes.fromhex("28b52ffd")
                single, checksum = data[at + 4] >> 5 & 1, data[at + 4] >> 2 & 1
                assert checksum and (single or data[at + 4] >> 6), "content size and checksum must be there"
                at += c
            assert at == len(data) - size - 8
            print("frames", count)
            """
        guard try WriterOracle.run(["zstd", "--version"]) != nil else { return }
        guard let printed = try WriterOracle.python(script, [path]) else { return }
        #expect(printed == "frames 3\n")
    }

    @Test func ourReaderFindsTheFrames() throws {
        let (bytes, rows) = try Self.shard()
        let footer = Array(bytes.suffix(SeekTable.footerBytes))
        let length = try #require(
            try footer.withUnsafeBytes { try SeekTable.zstd.tableLength(footer: $0, fileSize: bytes.count) })
        let frames = try Array(bytes.suffix(length)).withUnsafeBytes {
            try SeekTable.zstd.frames(table: $0, fileSize: bytes.count)
        }
        #expect(frames.map(\.length) == Self.pieces.map(\.count))
        #expect(frames.map(\.checksum) == rows.map(\.checksum))
        let decompressor = try ZstdFrameDecompressor()
        for (frame, piece) in zip(frames, Self.pieces) {
            let input = Array(bytes[frame.compressedOffset..<frame.compressedOffset + frame.compressedLength])
            var output = [UInt8](repeating: 0, count: frame.length)
            try input.withUnsafeBytes { input in
                try output.withUnsafeMutableBytes { try decompressor.decompress(frame, input, into: $0) }
            }
            #expect(output == piece)
        }
    }

    @Test func aUsedContextGivesTheBytesOfAFreshOne() throws {
        let used = try ZstdFrameWriter(level: 3)
        let first = OutputBuffer()
        for piece in Self.pieces + Self.pieces {
            _ = try piece.withUnsafeBytes { try used.appendFrame($0, to: first) }
        }
        let second = OutputBuffer()
        for piece in Self.pieces + Self.pieces {
            let fresh = try ZstdFrameWriter(level: 3)
            _ = try piece.withUnsafeBytes { try fresh.appendFrame($0, to: second) }
        }
        #expect(Array(first.bytes) == Array(second.bytes))
    }
}
