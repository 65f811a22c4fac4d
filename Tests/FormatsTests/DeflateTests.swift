import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// gzip and zlib streams, written by `gzip` and Python's zlib.
struct DeflateTests {
    private func text(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
    }

    private func gzip(_ bytes: [UInt8], in folder: URL) throws -> [UInt8]? {
        try Oracle.run(["gzip", "-cn"], in: folder, input: bytes)?.stdout
    }

    private func zlib(_ bytes: [UInt8], dictionary: String = "", in folder: URL) throws -> [UInt8]? {
        let script = """
            import sys, zlib
            d = sys.argv[1].encode()
            c = zlib.compressobj(zdict=d) if d else zlib.compressobj()
            sys.stdout.buffer.write(c.compress(sys.stdin.buffer.read()) + c.flush())
            """
        return try Oracle.run(["python3", "-c", script, dictionary], in: folder, input: bytes)?.stdout
    }

    @Test func membersPaddingAndGarbage() throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = text(100_000)
            guard let one = try gzip(plain, in: folder), let two = try gzip([], in: folder) else { return }
            var result = decompressEveryWay(one + two + one, .gzip)
            var isSame = result.bytes == plain + plain
            #expect(result.error == nil && isSame)
            result = decompressEveryWay(one + [UInt8](repeating: 0, count: 5000), .gzip)
            isSame = result.bytes == plain
            #expect(result.error == nil && isSame)
            for garbage: [UInt8] in [[1], [0, 0, 7], Array("text".utf8)] {
                let error = try #require(decompressEveryWay(one + garbage, .gzip).error)
                #expect(error.code == .corruptStream)
                let place = one.count + (garbage[0] == 0 ? 2 : 0)
                #expect(error.message.contains("at byte \(place) of the compressed file"), "\(error)")
                #expect(error.place.offset == plain.count)
            }
            #expect(decompressEveryWay(one + [0x1F], .gzip).error?.code == .truncated)
        }
    }

    @Test func paddingIsCounted() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let one = try gzip(text(100), in: folder) else { return }
            let decompressor = try DeflateStreamDecompressor(.gzip)
            var output = [UInt8](repeating: 0, count: 1000)
            _ = try (one + [0, 0, 0]).withUnsafeBytes { input in
                try output.withUnsafeMutableBytes { try decompressor.decompress(input, into: $0) }
            }
            try decompressor.finish()
            #expect(decompressor.paddingBytes == 3)
        }
    }

    @Test(arguments: [CodecKind.gzip, .zlib])
    func everyFlipAndCutIsFound(_ codec: CodecKind) throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = text(2000)
            guard let file = codec == .gzip ? try gzip(plain, in: folder) : try zlib(plain, in: folder) else {
                return
            }
            let isSame = decompressEveryWay(file, codec).bytes == plain
            #expect(isSame)
            for cut in 0..<file.count {
                let result = decompress(Array(file[..<cut]), codec, inputStep: 1 << 16, outputStep: 700)
                #expect(result.error?.code == .truncated, "cut at \(cut)")
                let isPrefix = result.bytes == Array(plain[..<result.bytes.count])
                #expect(isPrefix)
            }
            for bit in 0..<file.count * 8 {
                var bytes = file
                bytes[bit / 8] ^= 1 << (bit % 8)
                let result = decompress(bytes, codec, inputStep: 1 << 16, outputStep: 700)
                // A header has a time and flags that the content does not depend on, and the last byte spare bits.
                let isSame = result.bytes == plain
                if result.error == nil { #expect(isSame, "bit \(bit)") }
            }
            var bytes = file
            bytes[file.count - 1] ^= 1
            #expect(decompressEveryWay(bytes, codec).error?.code == .checksumMismatch)
        }
    }

    @Test func presetDictionariesAreRefusedByName() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let file = try zlib(text(500), dictionary: "dictionary", in: folder) else { return }
            let error = try #require(decompressEveryWay(file, .zlib).error)
            #expect(
                error.code == .unsupported && error.message.contains(/preset dictionary ID \d+/), "\(error)")
        }
    }

    @Test func whatFollowsAZlibStreamIsRefused() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let file = try zlib(text(500), in: folder) else { return }
            #expect(decompressEveryWay(file + [0], .zlib).error?.code == .corruptStream)
        }
    }

    @Test func bombsAreLimited() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let file = try gzip([UInt8](repeating: 0, count: 4 << 20), in: folder) else { return }
            var limits = FormatLimits()
            limits.decompressionFloor = 1 << 20
            limits.decompressionRatio = 100
            let result = decompress(file, .gzip, inputStep: 4096, outputStep: 1 << 16, limits: limits)
            #expect(result.error?.code == .limitExceeded)
            #expect(result.bytes.count < 2 << 20)
        }
    }
}
