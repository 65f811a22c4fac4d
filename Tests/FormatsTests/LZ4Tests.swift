import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Writes LZ4 frames by hand, right or wrong.
struct LZ4Builder {
    var bytes: [UInt8] = []

    /// Flags of the descriptor: version 1, independent blocks.
    static let plain: UInt8 = 0x60
    static let blockChecksums: UInt8 = 0x10
    static let contentSize: UInt8 = 0x08
    static let contentChecksum: UInt8 = 0x04
    static let dictionary: UInt8 = 0x01

    mutating func header(_ flags: UInt8 = plain, blockFlags: UInt8 = 0x40, fields: [UInt8] = []) {
        let descriptor = [flags, blockFlags] + fields
        let sum = descriptor.withUnsafeBytes { xxh32($0) }
        bytes += littleEndian(0x184D_2204 as UInt32) + descriptor + [UInt8(truncatingIfNeeded: sum >> 8)]
    }

    mutating func stored(_ block: [UInt8]) {
        bytes += littleEndian(UInt32(block.count) | 0x8000_0000) + block
    }

    mutating func word(_ value: UInt32) { bytes += littleEndian(value) }
}

/// LZ4 streams, written by the `lz4` program and by hand.
struct LZ4Tests {
    /// Words of a small vocabulary: compresses, and refers back a long way.
    static func text(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var generator = SeededGenerator(seed)
        let words = (0..<200).map { _ in
            (0..<Int.random(in: 3...40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
        }
        var bytes: [UInt8] = []
        while bytes.count < count { bytes += words[Int.random(in: 0..<200, using: &generator)] }
        return Array(bytes[..<count])
    }

    private func lz4(_ bytes: [UInt8], _ arguments: [String] = [], in folder: URL) throws -> [UInt8]? {
        try Oracle.run(["lz4", "-qc"] + arguments, in: folder, input: bytes)?.stdout
    }

    private func skippable(_ body: [UInt8], nibble: UInt32 = 0) -> [UInt8] {
        littleEndian(0x184D_2A50 + nibble) + littleEndian(UInt32(body.count)) + body
    }

    @Test(arguments: ["-B4", "-B5", "-B6", "-B7"], ["-BI", "-BD"])
    func everyKindOfFrame(_ size: String, _ mode: String) throws {
        try Oracle.inTemporaryFolder { folder in
            var generator = SeededGenerator(9)
            let noise = (0..<70_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let plain = Self.text(300_000) + noise + Self.text(200_000, seed: 3)
            for extra in [[], ["-BX"], ["--no-frame-crc"], ["--content-size", "-BX"], ["-9"]] {
                guard let file = try lz4(plain, [size, mode] + extra, in: folder) else { return }
                let result = decompressEveryWay(file, .lz4, name: "\(size) \(mode) \(extra)")
                let isSame = result.bytes == plain
                #expect(result.error == nil && isSame, "\(size) \(mode) \(extra): \(result)")
            }
        }
    }

    /// Outputs so small that every block goes through the buffer, and inputs that cut it anywhere.
    @Test func linkedBlocksFindTheirPastWhateverTheBuffers() throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = Self.text(400_000)
            guard let file = try lz4(plain, ["-B4", "-BD"], in: folder) else { return }
            for (input, output) in [(1 << 20, 65_536), (1 << 20, 65_537), (5000, 70_000), (1 << 20, 131_071)]
            {
                let result = decompress(file, .lz4, inputStep: input, outputStep: output)
                let isSame = result.bytes == plain
                #expect(result.error == nil && isSame, "\(input) in, \(output) out")
            }
        }
    }

    @Test func framesAndSkippableFramesInAnyOrder() throws {
        try Oracle.inTemporaryFolder { folder in
            let first = Self.text(100_000)
            let second = Self.text(700)
            guard let one = try lz4(first, in: folder),
                let two = try lz4(second, ["-B4", "-BD"], in: folder),
                let nothing = try lz4([], in: folder)
            else { return }
            let skip = skippable([1, 2, 3])
            let file = skip + one + skippable([], nibble: 15) + two + nothing + skip + two + skip
            let result = decompressEveryWay(file, .lz4)
            let isSame = result.bytes == first + second + second
            #expect(result.error == nil && isSame)
            #expect(try sniff(skip + one, name: "x.tar").get() == ShardContent(codec: .lz4, format: .tar))
        }
    }

    @Test func legacyFrames() throws {
        try Oracle.inTemporaryFolder { folder in
            var long = Self.text(50_000)
            while long.count < 9 << 20 { long += long }
            long = Array(long[..<(9 << 20)])
            let short = Self.text(3000, seed: 5)
            guard let two = try lz4(long, ["-l"], in: folder), let one = try lz4(short, ["-l"], in: folder),
                let frame = try lz4(short, in: folder), let nothing = try lz4([], ["-l"], in: folder)
            else { return }
            var result = decompressEveryWay(two + one + frame + skippable([7]) + one + nothing, .lz4)
            var isSame = result.bytes == long + short + short + short
            #expect(result.error == nil && isSame, "\(result.error.debugDescription)")
            result = decompressEveryWay(Array(one.dropLast()), .lz4)
            #expect(result.error?.code == .truncated)
            // Blocks but the last have 8 MiB: what is not so has lost something.
            result = decompressEveryWay(one + one.dropFirst(4), .lz4)
            isSame = result.bytes == short
            #expect(result.error?.code == .corruptStream && isSame)
            var bytes = one
            bytes[8] ^= 0xF0
            #expect(decompressEveryWay(bytes, .lz4).error?.code == .corruptStream)
        }
    }

    @Test func everyCutIsTruncation() throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = Self.text(3000)
            guard let frame = try lz4(plain, ["--content-size", "-BX"], in: folder) else { return }
            let file = skippable([1, 2, 3]) + frame + frame
            let boundaries = [11, 11 + frame.count, file.count]
            for cut in 0...file.count {
                let result = decompress(Array(file[..<cut]), .lz4, inputStep: 50, outputStep: 1000)
                if boundaries.contains(cut) {
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

    private func refusal(_ build: (inout LZ4Builder) -> Void) -> HeadraceError? {
        var builder = LZ4Builder()
        build(&builder)
        return decompressEveryWay(builder.bytes, .lz4).error
    }

    @Test func headersThatAskForTheImpossibleAreRefused() {
        let cases: [(UInt8, UInt8, [UInt8], HeadraceError.Code, String)] = [
            (0xA0, 0x40, [], .unsupported, "version 2"), (0x62, 0x40, [], .corruptStream, "reserved"),
            (0x60, 0xC0, [], .corruptStream, "reserved"), (0x60, 0x41, [], .corruptStream, "reserved"),
            (0x60, 0x30, [], .corruptStream, "block size"), (0x60, 0x00, [], .corruptStream, "block size"),
            (0x61, 0x40, littleEndian(77 as UInt32), .unsupported, "dictionary ID 77"),
            (0x69, 0x40, littleEndian(9 as UInt64) + littleEndian(78 as UInt32), .unsupported, "ID 78"),
        ]
        for (flags, blockFlags, fields, code, words) in cases {
            let error = refusal {
                $0.header(flags, blockFlags: blockFlags, fields: fields)
                $0.word(0)
            }
            #expect(error?.code == code && error!.message.contains(words), "\(error.debugDescription)")
        }
        // The header's own checksum is judged first.
        let error = refusal {
            $0.header(0x61, fields: littleEndian(77 as UInt32))
            $0.bytes[7] ^= 1
        }
        #expect(error?.code == .checksumMismatch && error?.message.contains("header") == true)
    }

    @Test func blocksAndEndsThatDoNotFitAreRefused() {
        let block = Self.text(500)
        let sum = block.withUnsafeBytes { xxh32($0) }
        func frame(_ flags: UInt8, fields: [UInt8] = [], _ rest: (inout LZ4Builder) -> Void) -> HeadraceError?
        {
            refusal {
                $0.header(LZ4Builder.plain | flags, fields: fields)
                rest(&$0)
            }
        }
        #expect(
            frame(0) {
                $0.word(0x8001_0001); $0.bytes += block
            }?.code == .corruptStream)
        #expect(frame(0) { $0.word(0x7FFF_FFFF) }?.code == .corruptStream)
        #expect(
            frame(0) {
                $0.stored(block); $0.word(0)
            } == nil)
        #expect(
            frame(LZ4Builder.contentChecksum) {
                $0.stored(block); $0.word(0); $0.word(sum)
            } == nil)
        var error = frame(LZ4Builder.contentChecksum) {
            $0.stored(block); $0.word(0); $0.word(sum ^ 1)
        }
        #expect(error?.code == .checksumMismatch && error?.place.offset == 500)
        #expect(
            frame(LZ4Builder.blockChecksums) {
                $0.stored(block); $0.word(sum); $0.word(0)
            } == nil)
        error = frame(LZ4Builder.blockChecksums) {
            $0.stored(block); $0.word(sum ^ 1); $0.word(0)
        }
        #expect(error?.code == .checksumMismatch && error?.place.offset == 0)
        // Claims of too much and too little; none of them is believed, or allocated.
        for claim in [0, 499, 501, 1 << 62, .max] as [UInt64] {
            error = frame(LZ4Builder.contentSize, fields: littleEndian(claim)) {
                $0.stored(block); $0.word(0)
            }
            #expect(error?.code == .corruptStream, "\(claim): \(error.debugDescription)")
        }
        #expect(
            frame(LZ4Builder.contentSize, fields: littleEndian(500 as UInt64)) {
                $0.stored(block); $0.word(0)
            }
                == nil)
        for garbage in [Array("garbage!".utf8), [0, 0, 0, 0]] {
            error = frame(0) {
                $0.stored(block); $0.word(0); $0.bytes += garbage
            }
            #expect(
                error?.code == .corruptStream && error?.message.contains("at byte 515") == true, "\(error!)")
        }
        #expect(refusal { $0.bytes = Array("no lz4 at all".utf8) }?.code == .corruptStream)
        #expect(refusal { _ in }?.code == .truncated)
    }

    @Test func goodBlocksBeforeABadOneComeOut() throws {
        try Oracle.inTemporaryFolder { folder in
            let plain = Self.text(300_000)
            guard let file = try lz4(plain, ["-B4", "-BX"], in: folder) else { return }
            // The fourth block's first byte: its checksum is judged before anything of it comes out.
            var offset = 7
            for _ in 0..<3 {
                offset += 8 + Int(file[offset]) + Int(file[offset + 1]) << 8 + Int(file[offset + 2]) << 16
            }
            var bytes = file
            bytes[offset + 4] ^= 1
            let result = decompressEveryWay(bytes, .lz4)
            #expect(result.error?.code == .checksumMismatch)
            #expect(result.bytes.count == 3 * 65_536)
            let isGood = result.bytes == Array(plain[..<result.bytes.count])
            #expect(isGood)
        }
    }

    /// The head of a shard is smaller than its first block, which `lz4` makes 4 MiB large.
    @Test(arguments: [["-B7"], ["-B7", "-BD"], ["-l"], ["-B7", "--fast=50"]])
    func aShardIsRecognisedByTheStartOfItsFirstBlock(_ arguments: [String]) throws {
        try Oracle.inTemporaryFolder { folder in
            var generator = SeededGenerator(4)
            let noise = (0..<300_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
            for payload in [Self.text(900_000), noise] {
                var tar = TarBuilder()
                tar.add("a.x", payload)
                tar.end()
                var records = TFRecordBuilder()
                records.add(payload)
                for (bytes, format) in [(tar.bytes, ShardFormatKind.tar), (records.bytes, .tfrecord)] {
                    guard let file = try lz4(bytes, arguments, in: folder) else { return }
                    #expect(file.count > ShardSniffer.headBytes)
                    #expect(try sniff(file, name: "x").get() == ShardContent(codec: .lz4, format: format))
                }
            }
        }
    }

    @Test func bombsAreLimited() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let file = try lz4([UInt8](repeating: 0, count: 8 << 20), in: folder) else { return }
            var limits = FormatLimits()
            limits.decompressionFloor = 1 << 20
            limits.decompressionRatio = 100
            for output in [1 << 16, 1 << 23] {
                let result = decompress(file, .lz4, inputStep: 4096, outputStep: output, limits: limits)
                #expect(result.error?.code == .limitExceeded)
                #expect(result.error?.message.contains("decompressionRatio") == true)
                #expect(result.bytes.count <= 1 << 20)
            }
        }
    }
}
