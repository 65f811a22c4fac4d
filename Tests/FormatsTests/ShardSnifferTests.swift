import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Content first, name second.
struct ShardSnifferTests {
    private var tar: [UInt8] {
        var tar = TarBuilder()
        tar.add("a.x", text: "1")
        tar.end()
        return tar.bytes
    }

    private var tfrecord: [UInt8] {
        var shard = TFRecordBuilder()
        shard.add(Array("record".utf8))
        return shard.bytes
    }

    private func expect(_ bytes: [UInt8], _ name: String, _ codec: CodecKind, _ format: ShardFormatKind) {
        switch sniff(bytes, name: name) {
        case .success(let found): #expect(found == ShardContent(codec: codec, format: format), "\(name)")
        case .failure(let error): Issue.record("\(name): \(error)")
        }
    }

    private func expectFailure(_ bytes: [UInt8], _ name: String, _ code: HeadraceError.Code) {
        guard case .failure(let error) = sniff(bytes, name: name) else {
            Issue.record("\(name): accepted")
            return
        }
        #expect(error.code == code && error.place.shard == name, "\(error)")
    }

    @Test func contentWinsOverTheName() {
        expect(tar, "a.tfrecord", .none, .tar)
        expect(tfrecord, "a.tar.gz", .none, .tfrecord)
        expect([UInt8](repeating: 0, count: 1024), "data", .none, .tar)
    }

    @Test func theNameDecidesWhatTheContentLeavesOpen() {
        for name in ["a.tar", "dir/b.TAR", "https://h/c.tar?x=1.tfrecord", "a.tar.gz"] {
            expect(Array("neither".utf8), name, .none, .tar)
        }
        for name in ["a.tfrecord", "a.tfr", "a.record", "data_tfrecord-00000-of-00002", "x.tfrecords.gz"] {
            expect(Array("neither".utf8), name, .none, .tfrecord)
            expect([], name, .none, .tfrecord)
        }
        expect([], "a.tar", .none, .tar)
        expectFailure([], "a", .unknownFormat)
        expectFailure(Array("neither".utf8), "a.jpg", .unknownFormat)
        expectFailure([0x28, 0xB5, 0x2F, 0xFD, 0xFF, 0xFF], "a.zst", .unknownFormat)
    }

    @Test func compressedContentIsLookedInto() throws {
        try Oracle.inTemporaryFolder { folder in
            let tools: [(CodecKind, [String])] = [
                (.zstd, ["zstd", "-qc"]), (.gzip, ["gzip", "-c"]), (.lz4, ["lz4", "-qc"]),
                (.lz4, ["lz4", "-qcl"]),
                (
                    .zlib,
                    [
                        "python3", "-c",
                        "import sys, zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))",
                    ]
                ),
            ]
            for (codec, tool) in tools {
                for (bytes, format) in [(tar, ShardFormatKind.tar), (tfrecord, .tfrecord)] {
                    guard let output = try Oracle.run(tool, in: folder, input: bytes) else { continue }
                    expect(output.stdout, "anything", codec, format)
                    // Cut in the middle of the stream: what did come out is enough, or else the name.
                    expect(Array(output.stdout.dropLast(3)), "a.\(format.rawValue)", codec, format)
                }
                guard let output = try Oracle.run(tool, in: folder, input: Array("text".utf8)) else {
                    continue
                }
                expectFailure(output.stdout, "notes", .unknownFormat)
                guard codec != .zlib else { continue }
                guard let empty = try Oracle.run(tool, in: folder, input: []) else { continue }
                expect(empty.stdout, "a.tfrecord.\(codec.rawValue)", codec, .tfrecord)
            }
        }
    }

    /// What hardly compresses fills the first block with more bytes than are looked at of other codecs.
    @Test func aLargeFirstBlockIsEnough() throws {
        var generator = SeededGenerator(6)
        let payload = (0..<400_000).map { _ in UInt8.random(in: 0...220, using: &generator) }
        var shard = TarBuilder()
        shard.add("a.x", payload)
        shard.end()
        try Oracle.inTemporaryFolder { folder in
            for tool in [["zstd", "-qc"], ["zstd", "-qc19"], ["gzip", "-c"], ["lz4", "-qc"]] {
                guard let output = try Oracle.run(tool, in: folder, input: shard.bytes) else { continue }
                let codecs: [String: CodecKind] = ["zstd": .zstd, "gzip": .gzip, "lz4": .lz4]
                expect(output.stdout, "anything", codecs[tool[0]]!, .tar)
            }
        }
    }

    @Test func skippableFramesAreLookedPast() {
        let skip = littleEndian(0x184D_2A53 as UInt32) + littleEndian(3 as UInt32) + [1, 2, 3]
        expect(skip + skip + [0x04, 0x22, 0x4D, 0x18], "a.tar.zst", .lz4, .tar)
        expect(skip + [0x28, 0xB5, 0x2F, 0xFD], "a.tar", .zstd, .tar)
        // Longer than the head: only the name can tell whose it is.
        let long = littleEndian(0x184D_2A50 as UInt32) + littleEndian(1 << 30 as UInt32)
        expect(long, "a.tar.lz4", .lz4, .tar)
        expect(long, "a.tar.zst", .zstd, .tar)
    }

    /// Some lengths begin with the magic number of a codec: the CRC behind them says what they are.
    @Test func everyLengthOfAFirstRecordIsRecognised() {
        for length in Array(0..<2000) + [0x8B1F, 0x1_8B1F, 0x9C78, 0xDA78, 0x0178] {
            let header = littleEndian(UInt64(length))
            let head = header + littleEndian(header.withUnsafeBytes { maskedCRC32C($0) }) + [1, 2, 3]
            for name in ["x", "x.gz", "x.tar"] {
                guard case .success(let content) = sniff(head, name: name) else {
                    Issue.record("a record of \(length) bytes in \(name) is not recognised")
                    continue
                }
                #expect(content == ShardContent(codec: .none, format: .tfrecord), "\(length) in \(name)")
            }
        }
    }
}
