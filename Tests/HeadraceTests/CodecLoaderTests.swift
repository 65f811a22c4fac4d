import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Every codec over both formats, written by programs that are not ours, under names that say nothing.
@Suite struct CodecLoaderTests {
    /// How a shard is compressed: the program that reads stdin and writes stdout, and into how many streams.
    struct Way: CustomTestStringConvertible, Sendable {
        var codec: CodecKind
        var command: [String]
        var streams = 1

        var testDescription: String { "\(codec) by \(command.prefix(3))" }
    }

    static let ways = [
        Way(codec: .none, command: ["cat"]),
        Way(codec: .zstd, command: ["zstd", "-qc"]),
        Way(codec: .zstd, command: ["zstd", "-qc", "--no-check"], streams: 3),
        Way(codec: .gzip, command: ["gzip", "-c"]),
        Way(codec: .gzip, command: ["gzip", "-c"], streams: 3),
        Way(
            codec: .zlib,
            command: [
                "python3", "-c",
                "import sys, zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))",
            ]),
        Way(codec: .lz4, command: ["lz4", "-qc"]),
        Way(codec: .lz4, command: ["lz4", "-qc", "-B4", "-BD", "-BX"], streams: 3),
        Way(codec: .lz4, command: ["lz4", "-qcl"]),
    ]

    /// Compresses bytes in as many streams as asked for; nil where the program is missing.
    private func compress(_ bytes: [UInt8], _ way: Way) throws -> [UInt8]? {
        var result: [UInt8] = []
        for part in 0..<way.streams {
            let range = bytes.count * part / way.streams..<bytes.count * (part + 1) / way.streams
            let folder = TemporaryFolder()
            try folder.write("in", Array(bytes[range]))
            // Through a file: a pipe would fill up while nobody reads the other end.
            let words = way.command.map { "'\($0)'" }.joined(separator: " ")
            guard
                let output = try run("sh", ["-c", "exec \(words) < '\(folder("in"))' || exit 127"]),
                output.status == 0
            else {
                print("SKIPPED: \(way.command[0]) is not installed or failed")
                return nil
            }
            result += output.output
        }
        return result
    }

    private static let sizes = [0, 1, 511, 512, 700, 90_000, 3, 20_000, 5, 1000, 1, 65_536]

    /// The samples as files `k000.bin` in a folder.
    private func files() throws -> (folder: TemporaryFolder, payloads: [[UInt8]]) {
        let folder = TemporaryFolder()
        var payloads: [[UInt8]] = []
        for (index, size) in Self.sizes.enumerated() {
            payloads.append(LoaderFixture.bytes(size, seed: index))
            try folder.write("k\(100 + index).bin", payloads[index])
        }
        return (folder, payloads)
    }

    private func tar(_ folder: TemporaryFolder) throws -> [UInt8]? {
        try run("sh", ["-c", "cd '\(folder.path)' && tar --sort=name -cf - k*.bin"])?.output
    }

    private func tfrecord(_ folder: TemporaryFolder) throws -> [UInt8]? {
        let script = """
            import glob, sys, tfrecord
            writer = tfrecord.TFRecordWriter(sys.argv[1] + '/records')
            for name in sorted(glob.glob(sys.argv[1] + '/k*.bin')):
                writer.write({'bin': (open(name, 'rb').read(), 'byte')})
            writer.close()
            sys.stdout.buffer.write(open(sys.argv[1] + '/records', 'rb').read())
            """
        guard let written = try run("python3", ["-c", script, folder.path]), written.status == 0 else {
            print("SKIPPED: Python's module tfrecord is not installed")
            return nil
        }
        return written.output
    }

    @Test(arguments: ways, ShardFormatKind.allCases)
    func othersShardsAreRead(_ way: Way, _ format: ShardFormatKind) throws {
        let (folder, payloads) = try files()
        guard let plain = try format == .tar ? tar(folder) : tfrecord(folder),
            let bytes = try compress(plain, way)
        else { return }
        // No name at all, one that says only what is wrong, and the right one.
        let endings: [CodecKind: String] = [
            .none: "", .zstd: ".zst", .gzip: ".gz", .zlib: ".zlib", .lz4: ".lz4",
        ]
        for name in [
            "shard", "shard.\(format == .tar ? "tfrecord.zst" : "tar")", "x.\(format)\(endings[way.codec]!)",
        ] {
            try folder.write(name, bytes)
            #expect(try ShardReader(folder(name)).codec == way.codec)
            for workers in [1, 3] {
                let loader = try Dataset(folder(name)).decoding("bin", with: .raw).batched(5).workers(workers)
                    .with { $0.parsesExamples = format == .tfrecord }.loader()
                var found: [[UInt8]] = []
                var keys: [String] = []
                while let batch = try loader.next() {
                    let tensor = try batch["bin"]
                    for row in 0..<batch.count { found.append(tensor.bytes(ofRow: row)) }
                    keys += batch.keys
                }
                let isSame = found == payloads
                #expect(isSame, "\(name)")
                if format == .tar { #expect(keys == payloads.indices.map { "k\(100 + $0)" }) }
                let report = loader.report()
                #expect(report.samples == payloads.count && report.skipped == 0)
            }
        }
    }

    /// Samples larger than a chunk, in streams whose blocks are as large as chunks or far smaller.
    @Test(arguments: ways.filter { $0.codec != .none && $0.streams == 1 })
    func largeSamplesComeWholeOutOfStreams(_ way: Way) throws {
        let sizes = [10, 5_000_000, 300_000, 0, 700_000, 12_000_000, 1, 4_200_000, 600_000]
        let fixture = try LoaderFixture("s-%03d.tar", counts: [sizes.count]) { sizes[$0] }
        let path = fixture.folder("shard0/s-000.tar")
        let plain = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        guard let bytes = try compress(plain, way) else { return }
        let folder = TemporaryFolder()
        try folder.write("s", bytes)
        for memory in [48, 256] {
            let dataset = Dataset(folder("s")).batched(2).memory(.mebibytes(memory)).with {
                $0.prefetch = 1
                $0.heldBatches = 1
            }
            let loader = try dataset.loader()
            var keys: [String] = []
            while let batch = try loader.next() {
                let tensor = try batch["bin"]
                for (row, key) in batch.keys.enumerated() {
                    let isSame = tensor.bytes(ofRow: row) == fixture.payloads[key]
                    #expect(isSame, "\(key)")
                }
                keys += batch.keys
            }
            #expect(keys == fixture.keys[0])
            #expect(loader.report().peakBytes <= memory << 20)
        }
    }

    /// A wrong CRC or length at a member's end is found by the loader, whatever the samples before it look like.
    @Test(arguments: [8, 4, 1])
    func aGzipMemberWithAWrongEndIsADefect(_ fromEnd: Int) throws {
        let (folder, _) = try files()
        guard let plain = try tar(folder), let way = Self.ways.first(where: { $0.codec == .gzip }),
            var bytes = try compress(plain, way)
        else { return }
        bytes[bytes.count - fromEnd] ^= 1
        try folder.write("x.tar.gz", bytes)
        let error = #expect(throws: HeadraceError.self) { try drain(Dataset(folder("x.tar.gz")).batched(3)) }
        #expect(error?.code == .checksumMismatch)
    }
}
