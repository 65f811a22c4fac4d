import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// What is taken from source shards must be what their manifest vouched for, under keys that tell them apart.
@Suite struct RepackTrustTests {
    private func tree(_ name: String, samples: Int = 8) throws -> (tree: PackTree, shard: String) {
        let tree = try PackTree()
        for number in 0..<samples {
            try tree.put("s\(number).bin", Array(repeating: UInt8(number), count: 700))
        }
        try tree.pack(tree.options(name))
        return (tree, "\(tree.output)/\(name)")
    }

    private func repack(_ tree: PackTree, _ shard: String, _ policy: DefectPolicy = .fail) throws
        -> PackResult
    {
        var options = tree.options("new/x.tar")
        options.onDefect = policy
        options.overwrite = true
        return try Packer(try packSources(at: [shard]), options: options).run()
    }

    @Test(arguments: ["t.tar", "t.tar.zst", "t.tfrecord"])
    func aFlippedByteAnywhereIsNoticed(name: String) throws {
        let (tree, shard) = try tree(name)
        let whole = try tree.content(shard)
        #expect(try repack(tree, shard).summary.sampleCount == 8)
        for position in stride(from: 5, to: whole.count, by: max(1, whole.count / 23)) {
            var bytes = whole
            bytes[position] ^= 0x10
            try Data(bytes).write(to: URL(fileURLWithPath: shard))
            let error = #expect(throws: HeadraceError.self, "\(position)") { try repack(tree, shard) }
            #expect(error?.code.category == .data && error?.place.shard == shard, "\(position)")
        }
    }

    @Test func skippingDoesNotMakeAPayloadTrusted() throws {
        let (tree, shard) = try tree("t.tar")
        var bytes = try tree.content(shard)
        // Within the payload of the first member, which nothing but the manifest guards.
        bytes[600] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: shard))
        for policy in [DefectPolicy.fail, .skip(limit: .max), .skipShare(1)] {
            let error = #expect(throws: HeadraceError.self) { try repack(tree, shard, policy) }
            #expect(error?.code == .checksumMismatch && error?.place.shard == shard)
            #expect(error?.message.contains("copy it to a folder without the manifest") == true)
        }
        // Where no manifest vouches for it, it is what it is.
        let alone = "\(tree.root)/alone.tar"
        try Data(bytes).write(to: URL(fileURLWithPath: alone))
        #expect(try repack(tree, alone).summary.sampleCount == 8)
    }

    /// A link to a shard is held against the manifest beside the shard, whatever the link is called.
    @Test(arguments: ["b.tar", "other.tar"])
    func aLinkedShardIsHeldAgainstItsManifest(name: String) throws {
        let (tree, shard) = try tree("b.tar")
        let alias = "\(tree.root)/l/\(name)"
        try FileManager.default.createDirectory(atPath: "\(tree.root)/l", withIntermediateDirectories: true)
        #expect(symlink("../out/b.tar", alias) == 0)
        #expect(try repack(tree, alias).summary.sampleCount == 8)
        var bytes = try tree.content(shard)
        bytes[600] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: shard))
        let error = #expect(throws: HeadraceError.self) { try repack(tree, alias, .skip(limit: .max)) }
        #expect(error?.code == .checksumMismatch && error?.place.shard == alias)
    }

    @Test(arguments: ["b.tar", "b.tfrecord"])
    func aLostRestHasNoLimit(name: String) throws {
        let (tree, shard) = try tree(name)
        let bytes = try tree.content(shard)
        let alone = "\(tree.root)/\(name)"
        // Equal samples: half of the file may end where one does.
        let cut = bytes.count / 2 + 30
        try Data(bytes[..<cut]).write(to: URL(fileURLWithPath: alone))
        let result = try repack(tree, alone, .skip(limit: .max))
        #expect(result.summary.unreadableRests.map(\.path) == [alone])
        #expect(result.summary.unreadableRests.first?.isCounted == false)
        let account = result.summary.sourceBytes
        #expect(account.lost > 0 && account.parsed + account.ignored + account.lost == cut)
        for policy in [DefectPolicy.skip(limit: 7), .skipShare(0.99)] {
            let error = #expect(throws: HeadraceError.self) { try repack(tree, alone, policy) }
            #expect(error?.code == .tooManyDefects, "\(error.map(\.description) ?? "")")
        }
    }

    /// A stream that ends early: what came out of it and makes no whole sample is lost, and nobody knows how
    /// much more would have come.
    @Test(arguments: [".gz", ".zst"])
    func theRestOfACutStreamIsOfUnknownSize(ending: String) throws {
        let (tree, shard) = try tree("b.tar")
        let plain = try tree.content(shard)
        let alone = "\(tree.root)/alone.tar"
        try Data(plain).write(to: URL(fileURLWithPath: alone))
        let tool = ending == ".gz" ? "gzip" : "zstd"
        guard try PackOracle.run(["sh", "-c", "command -v \(tool)"])?.status == 0 else {
            return print("SKIPPED: the program \(tool) is not installed")
        }
        // All of the bytes but the end of the stream, so that how many came out does not depend on the codec.
        let cut = plain.count / 2 + 30
        let words = "head -c \(cut) '\(alone)' | \(tool) -qc >'\(alone)\(ending)'"
        #expect(try PackOracle.run(["sh", "-c", words])?.status == 0)
        let size = try tree.content(alone + ending).count
        #expect(truncate(alone + ending, off_t(size - 3)) == 0)
        let summary = try repack(tree, alone + ending, .skip(limit: .max)).summary
        let rest = try #require(summary.unreadableRests.first)
        #expect(!rest.isSizeKnown && !rest.isCounted && rest.byteCount > 0)
        #expect(rest.byteCount == summary.sourceBytes.lost && rest.sizeInWords.contains("of unknown size"))
        let account = summary.sourceBytes
        if ending == ".gz" { #expect(account.parsed + account.ignored + account.lost == cut) }
        let error = #expect(throws: HeadraceError.self) { try repack(tree, alone + ending, .skip(limit: 7)) }
        #expect(error?.message.contains("of unknown size (\(rest.byteCount) bytes") == true)
        // That of a plain shard is known.
        truncate(alone, off_t(cut))
        let known = try #require(try repack(tree, alone, .skip(limit: .max)).summary.unreadableRests.first)
        #expect(known.isSizeKnown && known.sizeInWords == "\(known.byteCount) bytes" && known.byteCount > 0)
    }

    @Test func generatedKeysTellFilesApart() {
        let stems = [
            "d/train.tfrecord-00000-of-00002": "train-tfrecord-00000-of-00002",
            "train.tfrecord-00001-of-00002.gz": "train-tfrecord-00001-of-00002", "a.tfrecord.zst": "a",
            "a.v1.jsonl": "a-v1", "a.v2.JSONL.gz": "a-v2", "a": "a", "tar.gz": "tar",
            "corpus.txt.lz4": "corpus",
        ]
        for (path, stem) in stems { #expect(GeneratedKeys(path).key(7) == "\(stem)-000000007", "\(path)") }
    }

    @Test(arguments: ["n.tar", "n.tfrecord.zst"])
    func shardsNamedOneOfManyArePacked(name: String) throws {
        let tree = try PackTree()
        let writer = TFRecordRecords.self
        for number in 0..<2 {
            let path = "\(tree.source)/train.tfrecord-0000\(number)-of-00002"
            try Data(writer.file([[1, 2, UInt8(number)], [0xFF]])).write(to: URL(fileURLWithPath: path))
        }
        let sources = try packSources(at: ["\(tree.source)/train.tfrecord-*"])
        let result = try Packer(sources, options: tree.options(name)).run()
        #expect(result.summary.sampleCount == 4)
        // The same file name in two folders: records keep no key, members of a tar would have the same.
        for folder in ["p", "q"] { try tree.put("\(folder)/r.tfrecord", writer.file([[9]])) }
        let twins = try packSources(at: ["\(tree.source)/p/r.tfrecord", "\(tree.source)/q/r.tfrecord"])
        let packer = try Packer(twins, options: tree.options("twins-" + name))
        if name.hasSuffix("tar") {
            #expect(throws: HeadraceError.self) { try packer.run() }
        } else {
            #expect(try packer.run().summary.sampleCount == 2)
        }
    }

    /// Other files of the same names, sizes and times are not gone on with.
    @Test(arguments: ["in place", "another folder"])
    func resumingKnowsFilesApart(how: String) throws {
        let tree = try PackTree()
        for number in 0..<60 { try tree.put("s\(number + 10).bin", Array(repeating: 1, count: 900)) }
        var options = tree.options("x-%02d.tar")
        options.shardLimit = .samples(5)
        options.workers = 1
        options.resume = true
        let packer = try Packer([DirectorySource(tree.source)], options: options)
        let stopped = #expect(throws: HeadraceError.self) {
            try packer.run { if $0.shardCount > 2 { packer.cancel() } }
        }
        #expect(stopped?.code == .packCancelled)
        var source = tree.source
        if how == "in place" {
            let victim = "\(source)/s60.bin"
            var before = stat()
            var now = stat()
            #expect(stat(victim, &before) == 0)
            // Only the time of change tells, and the clock of a file system ticks every few milliseconds.
            repeat {
                try Data(repeating: 2, count: 900).write(to: URL(fileURLWithPath: victim))
                #expect(utimensat(AT_FDCWD, victim, [before.st_atim, before.st_mtim], 0) == 0)
                #expect(stat(victim, &now) == 0)
            } while now.st_ctim.tv_sec == before.st_ctim.tv_sec
                && now.st_ctim.tv_nsec == before.st_ctim.tv_nsec
        } else {
            source = "\(tree.root)/copy"
            guard let copy = try PackOracle.run(["cp", "-a", tree.source, source]) else { return }
            #expect(copy.status == 0)
        }
        let error = #expect(throws: HeadraceError.self) {
            try Packer([DirectorySource(source)], options: options).run()
        }
        #expect(error?.code == .exists && error?.message.contains("not what they were") == true)
        // What the run refuses, the plan refuses; and neither touches what is there.
        #expect(throws: HeadraceError.self) { try Packer([DirectorySource(source)], options: options).plan() }
        #expect(tree.outputNames().contains(".headrace/x-%02d.tar.run"))
    }
}

/// TFRecord files made by hand.
private enum TFRecordRecords {
    static func file(_ records: [[UInt8]]) -> [UInt8] {
        records.flatMap { record -> [UInt8] in
            let length = (0..<8).map { UInt8(truncatingIfNeeded: record.count >> ($0 * 8)) }
            return length + masked(length) + record + masked(record)
        }
    }

    private static func masked(_ bytes: [UInt8]) -> [UInt8] {
        let crc = bytes.withUnsafeBytes { maskedCRC32C($0) }
        return (0..<4).map { UInt8(truncatingIfNeeded: crc >> ($0 * 8)) }
    }
}
