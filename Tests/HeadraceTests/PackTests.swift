import Foundation
import HeadraceCore
import HeadraceFormats
import HeadraceStorage
import Testing

@testable import Headrace

@Suite struct PackTests {
    @Test(
        arguments: [
            "t-%03d.tar", "t-%03d.tar.zst", "t-%03d.tar.lz4", "t-%03d.tfrecord", "t-%03d.tfrecord.zst",
            "t-%03d.tfrecord.lz4",
        ], [1, 3])
    func readersFindEveryField(name: String, seed: Int) throws {
        let tree = try PackTree()
        try tree.fillAtRandom(seed: UInt64(seed), samples: 60, largest: 200_000)
        var options = tree.options(name)
        options.shardLimit = .bytes(1 << 20)
        // Far below the largest samples, so that some are cut into pieces.
        if !name.hasSuffix(".tar"), !name.hasSuffix(".tfrecord") { options.frameByteCount = 32 << 10 }
        let result = try tree.pack(options)
        #expect(result.shards.count > 1 && result.summary.sampleCount == 60)
        let paths = result.shards.map { "\(tree.output)/\($0.name)" }
        let isTar = name.contains(".tar")
        let found = try PackOracle.python(
            isTar ? PackOracle.webdataset : PackOracle.tfrecord, paths, needing: isTar ? ["webdataset"] : [])
        if let found {
            #expect(found.sorted() == tree.expected)
            // In shard order, samples have their keys in bytewise order.
            let keys = found.map { String($0.prefix { $0 != " " }) }
            #expect(keys == keys.sorted())
        }
        for (shard, path) in zip(result.shards, paths) {
            #expect(try tree.content(path).sha256 == shard.sha256)
            let tools = [".zst": "zstd", ".lz4": "lz4"]
            if let tool = tools[String(name.suffix(4))],
                let tested = try PackOracle.run([tool, "-tq", path])
            {
                #expect(tested.status == 0, "\(tested.output)")
            }
        }
        if isTar,
            let listed = try PackOracle.run(
                ["tar"] + (name.hasSuffix(".lz4") ? ["-I", "lz4"] : []) + ["-tf", paths[0]])
        {
            #expect(listed.status == 0, "\(listed.output)")
        }
    }

    @Test(arguments: ["t-%d.tar.zst", "t-%d.tfrecord.zst", "t-%d.tar", "t-%d.tfrecord", "t-%d.tar.lz4"])
    func bytesDoNotDependOnWorkers(name: String) throws {
        let tree = try PackTree()
        try tree.fillAtRandom(seed: 9, samples: 80, largest: 150_000)
        var digests: Set<[String]> = []
        var manifests: Set<[UInt8]> = []
        for workers in [1, 2, 4, 9] {
            var options = tree.options(name)
            options.overwrite = true
            options.workers = workers
            options.shardLimit = .bytes(700_000)
            if !name.hasSuffix(".tar"), !name.hasSuffix(".tfrecord") { options.frameByteCount = 16 << 10 }
            let result = try tree.pack(options)
            digests.insert(result.shards.map(\.sha256))
            manifests.insert(try tree.content(result.manifestPath))
        }
        #expect(digests.count == 1)
        #expect(manifests.count == 1)
    }

    @Test(arguments: ["one.tar.zst", "one.tfrecord.zst", "one.tar.lz4", "one.tfrecord.lz4"])
    func indexAndManifestDescribeTheShard(name: String) throws {
        let tree = try PackTree()
        try tree.fillAtRandom(seed: 4, samples: 40, largest: 100_000)
        var options = tree.options(name)
        options.frameByteCount = 20_000
        let result = try tree.pack(options)
        #expect(tree.outputNames() == [".headrace/\(name).index", ".headrace/manifest.json", name].sorted())
        #expect(result.summary.readPattern == "\(tree.output)/\(name)")
        let path = "\(tree.output)/\(name)"
        let shard = try tree.content(path)
        let manifest = try Manifest.read(result.manifestPath)
        let entry = try #require(manifest.shard(named: name))
        #expect(entry.shard.sha256 == shard.sha256 && entry.shard.byteCount == shard.count)
        #expect(entry.shard.sampleCount == 40 && entry.set.pattern == name)

        let index = try ShardIndex.read(ShardIndexLayout.path(forShard: path))
        try index.verifyChecksum()
        #expect(entry.set.libraries[index.header.codec.rawValue] != nil)
        let sampled = ShardIndexLayout.sampledByteCount
        try index.check(
            shardByteCount: shard.count, headCRC32C: shard.prefix(sampled).withUnsafeBytes { crc32c($0) },
            tailCRC32C: shard.suffix(sampled).withUnsafeBytes { crc32c($0) })
        #expect(index.fields == result.summary.fields)

        // Frames one by one make the shard, and rows cut it where the scanner finds samples.
        var raw: [UInt8] = []
        let decompressor = try index.header.codec.makeFrameDecompressor()
        for frame in index.frames {
            let input = Array(shard[frame.compressedOffset..<frame.compressedOffset + frame.compressedLength])
            var piece = [UInt8](repeating: 0, count: frame.length)
            try input.withUnsafeBytes { input in
                try piece.withUnsafeMutableBytes { try decompressor.decompress(frame, input, into: $0) }
            }
            #expect(frame.length <= 20_000 + PackPlan.smallestPiece)
            raw += piece
        }
        #expect(
            raw.count == index.header.uncompressedByteCount && raw.count == entry.shard.uncompressedByteCount)
        var rows: [ShardIndexRow] = []
        try index.rows(0..<40, into: &rows)
        var table = SampleTable()
        let names = FieldNames()
        let scanner: any ShardScanner =
            name.contains(".tar") ? TarScanner(names: names) : TFRecordScanner(names: names)
        _ = raw.withUnsafeBytes { scanner.scan($0, at: 0, isLast: true, total: raw.count, into: &table) }
        #expect(table.samples.map(\.offset) == rows.map(\.offset))
        #expect(table.defects.isEmpty)
    }

    @Test func shardsAreCutByBytesOrBySamples() throws {
        let tree = try PackTree()
        for number in 0..<10 { try tree.put("s\(number).bin", Array(repeating: 7, count: 1024)) }
        var options = tree.options("b-%02d.tar")
        options.shardLimit = .bytes(3 * 1536 + 100)
        var result = try tree.pack(options)
        #expect(result.shards.map(\.sampleCount) == [3, 3, 3, 1])
        #expect(result.shards.map(\.uncompressedByteCount) == [5632, 5632, 5632, 2560])
        #expect(result.summary.readPattern == "\(tree.output)/b-{00..03}.tar")
        options = tree.options("c-%d.tar")
        options.shardLimit = .samples(4)
        result = try tree.pack(options)
        #expect(result.shards.map(\.sampleCount) == [4, 4, 2])
        #expect(result.summary.readPattern == "\(tree.output)/c-{0..2}.tar")
        // A sample larger than a shard gets one to itself.
        options = tree.options("d-%d.tar")
        options.shardLimit = .bytes(1)
        #expect(try tree.pack(options).shards.count == 10)
        // Sets beside each other share the manifest.
        #expect(
            try Manifest.read(result.manifestPath).sets.map(\.pattern) == [
                "b-%02d.tar", "c-%d.tar", "d-%d.tar",
            ])
    }

    @Test func classesAreTheTopDirectoriesInOrder() throws {
        let tree = try PackTree()
        for name in ["zebra/1", "Apple/x/2", "bee/3", "bee/4"] { try tree.put("\(name).jpg", name) }
        var options = tree.options("c.tar")
        options.classFromDirectory = true
        let result = try tree.pack(options)
        #expect(result.summary.classes == ["Apple", "bee", "zebra"])
        #expect(try Manifest.read(result.manifestPath).sets[0].classes == ["Apple", "bee", "zebra"])
        if let found = try PackOracle.python(
            PackOracle.webdataset, ["\(tree.output)/c.tar"], needing: ["webdataset"])
        {
            let classes = found.filter { $0.contains(" \(Array("cls".utf8).hexadecimal) ") }
            #expect(
                classes.map { String($0.suffix(64)) } == ["0", "1", "1", "2"].map { Array($0.utf8).sha256 })
        }
        try tree.put("loose.jpg", "no class")
        options = tree.options("d.tar")
        options.classFromDirectory = true
        #expect(throws: HeadraceError.self) { try tree.pack(options) }
        try FileManager.default.removeItem(atPath: "\(tree.source)/loose.jpg")
        try tree.put("bee/3.cls", "7")
        let error = #expect(throws: HeadraceError.self) { try tree.pack(options) }
        #expect(error?.code == .duplicateField)
    }

    @Test func whatIsLeftOutIsCounted() throws {
        let tree = try PackTree()
        try tree.put("a.txt", "a")
        try tree.put("d/b.txt", "b")
        for name in [".hidden.txt", "d/.DS_Store", "README", ".git/config.txt"] {
            try tree.put(name, [1], isSample: false)
        }
        try FileManager.default.createSymbolicLink(atPath: "\(tree.source)/d/up", withDestinationPath: "..")
        try FileManager.default.createSymbolicLink(
            atPath: "\(tree.source)/link.txt", withDestinationPath: "a.txt")
        #expect(mkfifo("\(tree.source)/pipe.txt", 0o600) == 0)
        let result = try tree.pack(tree.options("x.tar"))
        #expect(result.summary.ignored == [.dotfile: 3, .noExtension: 1, .symlinkLoop: 1, .notRegular: 1])
        #expect(result.summary.ignoredExamples[.noExtension] == ["\(tree.source)/README"])
        // The link to a file is a sample of its own.
        #expect(result.summary.sampleCount == 3)
    }

    @Test func aPlanWritesNothing() throws {
        let tree = try PackTree()
        try tree.fillAtRandom(seed: 1, samples: 10, largest: 1000)
        let summary = try Packer([DirectorySource(tree.source)], options: tree.options("x-%d.tar.zst")).plan()
        #expect(
            summary.sampleCount == 10
                && summary.payloadByteCount == tree.files.values.reduce(0) { $0 + $1.count })
        #expect(!FileManager.default.fileExists(atPath: tree.output))
    }

    @Test func progressEndsAtTheTotals() throws {
        // Sendable: `lock` guards `reports`.
        final class Log: @unchecked Sendable {
            let lock = NSLock()
            var reports: [PackProgress] = []
        }
        let tree = try PackTree()
        try tree.fillAtRandom(seed: 2, samples: 50, largest: 100_000)
        var options = tree.options("x-%d.tar.zst")
        options.shardLimit = .samples(9)
        let log = Log()
        let result = try Packer([DirectorySource(tree.source)], options: options).run { report in
            log.lock.withLock { log.reports.append(report) }
        }
        let last = try #require(log.reports.last)
        #expect(last.sampleCount == 50 && last.shardCount == 6 && last.byteCount == last.totalByteCount)
        #expect(last.totalByteCount == result.summary.uncompressedByteCount)
        // The seek tables are written after the last frame's report.
        #expect(last.writtenByteCount <= result.byteCount)
        #expect(zip(log.reports, log.reports.dropFirst()).allSatisfy { $0.byteCount <= $1.byteCount })
    }

    /// A gigabyte must not be held: the largest payload is many times what the process may grow by.
    @Test func largePayloadsAreStreamed() async throws {
        let tree = try PackTree()
        let big = "\(tree.source)/big.bin"
        _ = FileManager.default.createFile(atPath: big, contents: nil)
        try FileHandle(forWritingAtPath: big)?.truncate(atOffset: 600 << 20)
        await #expect(processExitsWith: .success) {
            [source = tree.source as String, output = tree.output as String] in
            var limit = rlimit(rlim_cur: 300 << 20, rlim_max: 300 << 20)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit) == 0)
            for name in ["a.tar.zst", "b.tfrecord.zst"] {
                var options = PackOptions(output: "\(output)/\(name)")
                options.workers = 2
                let result = try Packer([DirectorySource(source)], options: options).run()
                #expect(result.summary.payloadByteCount == 600 << 20)
            }
        }
        if let tested = try PackOracle.run(["tar", "--zstd", "-tvf", "\(tree.output)/a.tar.zst"]) {
            #expect(tested.status == 0 && tested.output.contains(" 629145600 "), "\(tested.output)")
        }
    }
}
