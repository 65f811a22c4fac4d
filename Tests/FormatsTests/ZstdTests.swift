import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// zstd streams and seekable files, written by the `zstd` tool and by hand.
struct ZstdTests {
    private func text(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
    }

    private func zstd(_ bytes: [UInt8], _ arguments: [String] = [], in folder: URL) throws -> [UInt8]? {
        try Oracle.run(["zstd", "-qc"] + arguments, in: folder, input: bytes)?.stdout
    }

    private func skippable(_ body: [UInt8], nibble: UInt32 = 0) -> [UInt8] {
        littleEndian(0x184D_2A50 + nibble) + littleEndian(UInt32(body.count)) + body
    }

    @Test func framesAndSkippableFramesInAnyOrder() throws {
        try Oracle.inTemporaryFolder { folder in
            let first = text(100_000)
            let second = text(700)
            guard let one = try zstd(first, in: folder),
                let two = try zstd(second, ["--no-check"], in: folder)
            else {
                return
            }
            let skip = skippable([1, 2, 3])
            let file = skip + one + skippable([], nibble: 15) + two + skip + one + skip
            let result = decompressEveryWay(file, .zstd)
            let isSame = result.bytes == first + second + first
            #expect(result.error == nil && isSame)
            #expect(try sniff(skip + one, name: "x.tar").get() == ShardContent(codec: .zstd, format: .tar))
        }
    }

    @Test func everyCutIsTruncation() throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = text(3000)
            guard let frame = try zstd(plain, in: folder) else { return }
            let file = skippable([1, 2, 3]) + frame + frame
            let boundaries = [11 + frame.count, file.count]
            for cut in 0...file.count {
                let result = decompress(Array(file[..<cut]), .zstd, inputStep: 50, outputStep: 1000)
                if boundaries.contains(cut) || cut == 11 {
                    #expect(result.error == nil, "cut at \(cut)")
                } else {
                    #expect(
                        result.error?.code == .truncated, "cut at \(cut): \(result.error.debugDescription)")
                }
                let isPrefix = result.bytes == Array((plain + plain)[..<result.bytes.count])
                #expect(isPrefix)
            }
        }
    }

    @Test func everyFlipIsFound() throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = text(2000)
            guard let frame = try zstd(plain, in: folder) else { return }
            for bit in 0..<frame.count * 8 {
                var bytes = frame
                bytes[bit / 8] ^= 1 << (bit % 8)
                let result = decompress(bytes, .zstd, inputStep: 1 << 16, outputStep: 1 << 16)
                // A few bits of a frame mean nothing (unused ones); what comes out then is right all the same.
                let isSame = result.bytes == plain
                if result.error == nil { #expect(isSame, "bit \(bit)") }
                if let error = result.error { #expect(error.code.category == .data, "bit \(bit): \(error)") }
            }
            var bytes = frame
            bytes[frame.count - 1] ^= 1
            #expect(decompressEveryWay(bytes, .zstd).error?.code == .checksumMismatch)
        }
    }

    @Test func goodBlocksBeforeABadOneComeOut() throws {
        try Oracle.inTemporaryFolder { folder in
            var generator = SeededGenerator(2)
            let plain = (0..<600_000).map { _ in UInt8.random(in: 0...63, using: &generator) }
            guard let frame = try zstd(plain, in: folder) else { return }
            var bytes = frame
            bytes[thirdBlock(frame)] |= 6  // Block type 3, which no block has.
            let result = decompressEveryWay(bytes, .zstd)
            #expect(result.error?.code == .corruptStream)
            #expect(result.bytes.count == 256 << 10)
            let isGood = result.bytes == Array(plain[..<result.bytes.count])
            #expect(isGood)
        }
    }

    /// Where the third block of a frame has its header.
    private func thirdBlock(_ frame: [UInt8]) -> Int {
        let descriptor = Int(frame[4])
        let isSingleSegment = descriptor >> 5 & 1
        let contentSize = [isSingleSegment, 2, 4, 8][descriptor >> 6]
        var offset = 5 + (1 - isSingleSegment) + [0, 1, 2, 4][descriptor & 3] + contentSize
        for _ in 0..<2 {
            let header = Int(frame[offset]) | Int(frame[offset + 1]) << 8 | Int(frame[offset + 2]) << 16
            #expect(header & 6 != 2, "an RLE block stores its size otherwise")
            offset += 3 + (header >> 3)
        }
        return offset
    }

    @Test func garbageBehindTheLastFrameIsFoundAtItsPlace() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let frame = try zstd(text(100), in: folder) else { return }
            let error = try #require(decompressEveryWay(frame + Array("garbage!".utf8), .zstd).error)
            #expect(error.code == .corruptStream)
            #expect(error.message.contains("at byte \(frame.count) of the compressed file"), "\(error)")
            #expect(decompressEveryWay(frame + [0x28, 0xB5], .zstd).error?.code == .truncated)
        }
    }

    @Test func windowsAndBombsAreLimited() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let wide = try zstd(text(3 << 20), ["--long=21", "--no-content-size"], in: folder) else {
                return
            }
            var limits = FormatLimits()
            limits.zstdWindowLog = 20
            var error = decompress(wide, .zstd, inputStep: 4096, outputStep: 1 << 16, limits: limits).error
            #expect(
                error?.code == .limitExceeded && error!.message.contains("zstdWindowLog"),
                "\(error.debugDescription)")
            let zeros = try #require(try zstd([UInt8](repeating: 0, count: 8 << 20), in: folder))
            limits = FormatLimits()
            limits.decompressionFloor = 1 << 20
            limits.decompressionRatio = 100
            let result = decompress(zeros, .zstd, inputStep: 4096, outputStep: 1 << 16, limits: limits)
            error = result.error
            #expect(error?.code == .limitExceeded && error!.message.contains("decompressionRatio"))
            #expect(result.bytes.count < 2 << 20)
        }
    }

    /// A seekable file from single frames, put together by hand.
    private func seekable(_ parts: [[UInt8]], checksums: Bool, in folder: URL) throws -> [UInt8]? {
        var file: [UInt8] = []
        var entries: [UInt8] = []
        for part in parts {
            guard let frame = try zstd(part, in: folder) else { return nil }
            file += frame
            entries += littleEndian(UInt32(frame.count)) + littleEndian(UInt32(part.count))
            if checksums {
                entries += littleEndian(UInt32(truncatingIfNeeded: part.withUnsafeBytes { xxh64($0) }))
            }
        }
        let footer =
            littleEndian(UInt32(parts.count)) + [checksums ? 0x80 : 0] + littleEndian(0x8F92_EAB1 as UInt32)
        return file + skippable(entries + footer, nibble: 14)
    }

    private func frames(_ file: [UInt8]) throws -> [Frame]? {
        guard let length = try tableLength(file) else { return nil }
        return try Array(file.suffix(length)).withUnsafeBytes {
            try SeekTable.zstd.frames(table: $0, fileSize: file.count)
        }
    }

    private func tableLength(_ file: [UInt8]) throws -> Int? {
        try Array(file.suffix(SeekTable.footerBytes)).withUnsafeBytes {
            try SeekTable.zstd.tableLength(footer: $0, fileSize: file.count)
        }
    }

    private func code(_ body: () throws -> Void) -> HeadraceError.Code? {
        do { try body() } catch { return (error as? HeadraceError)?.code }
        return nil
    }

    @Test(arguments: [false, true])
    func seekTablesLeadToTheirFrames(_ checksums: Bool) throws {
        try Oracle.inTemporaryFolder { folder in
            let parts = [text(5000), text(1), text(70_000)]
            guard let file = try seekable(parts, checksums: checksums, in: folder) else { return }
            let found = try #require(try frames(file))
            #expect(found.map(\.length) == [5000, 1, 70_000])
            #expect(found.map(\.offset) == [0, 5000, 5001])
            let decompressor = try ZstdFrameDecompressor()
            for (frame, part) in zip(found, parts).reversed() {
                var output = [UInt8](repeating: 0, count: frame.length)
                let range = frame.compressedOffset..<frame.compressedOffset + frame.compressedLength
                try Array(file[range]).withUnsafeBytes { input in
                    try output.withUnsafeMutableBytes { try decompressor.decompress(frame, input, into: $0) }
                }
                let isSame = output == part
                #expect(isSame)
            }
            let isWhole = decompressEveryWay(file, .zstd).bytes == parts.flatMap { $0 }
            #expect(isWhole)
            #expect(try tableLength(text(100)) == nil)
        }
    }

    @Test func seekTablesThatDoNotFitAreRefused() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let file = try seekable([text(500), text(600)], checksums: true, in: folder) else { return }
            // Bytes before the file, a cut front, a false count, a reserved bit, a false frame size.
            #expect(code { _ = try frames([0] + file) } == .indexMismatch)
            #expect(code { _ = try frames(Array(file.dropFirst())) } == .indexMismatch)
            for (offset, value) in [(9, 3), (9, 1), (5, 0x84), (21, 0xFF), (33, 0x7F)] as [(Int, UInt8)] {
                var bytes = file
                bytes[file.count - offset] ^= value
                #expect(code { _ = try frames(bytes) } == .indexMismatch, "\(offset)")
            }
            var bytes = file
            bytes.replaceSubrange(file.count - 9..<file.count - 5, with: [0xFF, 0xFF, 0xFF, 0xFF])
            #expect(code { _ = try frames(bytes) } == .limitExceeded)
        }
    }

    @Test func damagedFramesAreRefused() throws {
        try Oracle.inTemporaryFolder { folder in
            let part = text(3000)
            guard let file = try seekable([part], checksums: true, in: folder) else { return }
            let frame = try #require(try frames(file)).first!
            let decompressor = try ZstdFrameDecompressor()
            func decompress(_ bytes: [UInt8], _ frame: Frame) -> HeadraceError.Code? {
                var output = [UInt8](repeating: 0, count: frame.length)
                return code {
                    try Array(bytes[..<frame.compressedLength]).withUnsafeBytes { input in
                        try output.withUnsafeMutableBytes {
                            try decompressor.decompress(frame, input, into: $0)
                        }
                    }
                }
            }
            #expect(decompress(file, frame) == nil)
            var other = frame
            other.checksum! ^= 1
            #expect(decompress(file, other) == .checksumMismatch)
            for change in [-1, 1] {
                other = frame
                other.length += change
                #expect(decompress(file, other) == .indexMismatch, "\(change)")
            }
            other = frame
            other.compressedLength -= 1
            #expect(decompress(file, other) == .truncated)
            for offset in 0..<frame.compressedLength {
                var bytes = file
                bytes[offset] ^= 0x10
                if let found = decompress(bytes, frame) {
                    #expect(
                        [.corruptStream, .checksumMismatch, .indexMismatch, .truncated, .unsupported]
                            .contains(found))
                }
            }
        }
    }
}
