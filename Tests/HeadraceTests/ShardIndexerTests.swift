import Foundation
import HeadraceCore
import HeadraceFormats
import Synchronization
import Testing

@testable import Headrace

/// Indexes of shards, found by their headers, held against what reading the shards gives.
struct ShardIndexerTests {
    private static func offsets(_ path: String) throws -> [Int] {
        var offsets: [Int] = []
        try ShardReader(path).read { (sample) throws(HeadraceError) in
            offsets.append(sample.offset)
            return true
        }
        return offsets
    }

    /// - Parameter memory: little of it makes many pieces of a shard, so that threads have something to run ahead with.
    private static func find(
        _ path: String, workers: Int = 1, skips: Bool = false, memory: ByteCount = .mebibytes(256)
    ) throws -> FoundIndex {
        var indexer = ShardIndexer(path)
        indexer.memory = memory
        indexer.workers = workers
        indexer.leavesOutDamage = skips
        return try #require(try indexer.find())
    }

    /// What pack has written into its index by its plan is found again in the shard.
    @Test(arguments: [
        "x-%d.tar", "x-%d.tar.zst", "x-%d.tar.lz4", "x-%d.tfrecord", "x-%d.tfrecord.zst", "x-%d.tfrecord.lz4",
    ])
    func packedShardsHaveTheIndexThatPackWrote(name: String) throws {
        // Samples of more than a frame, and of nothing.
        let fixture = try LoaderFixture(name, counts: [120]) { $0 % 9 == 0 ? 70_000 : $0 * 37 % 900 }
        let shard = fixture.folder("shard0/") + name.replacingOccurrences(of: "%d", with: "0")
        let written = try ShardIndex.read(ShardIndexLayout.path(forShard: shard))
        var rows: [ShardIndexRow] = []
        try written.rows(0..<written.header.sampleCount, into: &rows)
        for workers in [1, 3] {
            let found = try Self.find(shard, workers: workers, memory: .mebibytes(2))
            #expect(found.header == written.header)
            #expect(found.rows.map(\.offset) == rows.map(\.offset))
            #expect(found.rows.map(\.length) == rows.map(\.length))
            #expect(found.frames == written.frames)
            // Records are not looked into for their features.
            if found.header.format == .tar { #expect(found.fields == written.fields) }
            #expect(found.leftOutCount == 0)
        }
    }

    private static let python = """
        import tarfile, io, random, sys, os
        random.seed(int(sys.argv[2]))
        formats = [tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT]
        for n, fmt in enumerate(formats):
            with tarfile.open(os.path.join(sys.argv[1], 'f%d.tar' % n), 'w', format=fmt) as t:
                for i in range(150):
                    for e in random.sample(['jpg', 'cls', 'x.json', 'txt'], 3):
                        k = 'd%d/' % (i // 40) + 'k' * random.choice([2, 60] + [140] * (n != 1))
                        if random.random() < .1:
                            d = tarfile.TarInfo('dir%d' % i); d.type = tarfile.DIRTYPE; t.addfile(d)
                        if random.random() < .05:
                            d = tarfile.TarInfo('README'); d.size = random.randrange(200000)
                            t.addfile(d, io.BytesIO(bytes(d.size)))
                        m = tarfile.TarInfo('%s%04d.%s' % (k, i, e))
                        m.mtime = 1.5 if n == 0 else 1
                        m.size = random.choice([0, 1, 511, 512, 513, 4000, random.randrange(120000)])
                        t.addfile(m, io.BytesIO(os.urandom(m.size)))
        """

    @Test(arguments: [1, 2]) func shardsOfTarfileInEveryCodec(seed: Int) throws {
        let folder = TemporaryFolder()
        guard let made = try run("python3", ["-c", Self.python, folder.path, "\(seed)"]) else { return }
        #expect(made.status == 0)
        for number in 0..<3 {
            let plain = folder("f\(number).tar")
            let offsets = try Self.offsets(plain)
            #expect(offsets.count > 150)
            let found = try Self.find(plain)
            #expect(found.rows.map(\.offset) == offsets)
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: plain)))
            try Self.checkRows(bytes, found.rows)
            for (ending, command) in [
                ("gz", ["gzip", "-k"]), ("zst", ["zstd", "-q"]), ("lz4", ["lz4", "-q"]),
            ] {
                let target = ending == "lz4" ? ["\(plain).lz4"] : []
                guard try run(command[0], Array(command[1...]) + [plain] + target)?.status == 0 else {
                    continue
                }
                let packed = try Self.find("\(plain).\(ending)", workers: 2)
                #expect(packed.rows.map(\.offset) == offsets, "\(ending)")
                #expect(packed.rows.map(\.length) == found.rows.map(\.length), "\(ending)")
                #expect(packed.header.uncompressedByteCount == bytes.count, "\(ending)")
                #expect(packed.frames.isEmpty, "\(ending)")
            }
        }
    }

    /// Each row's bytes, in a file of their own, are a shard of that sample.
    private static func checkRows(_ bytes: [UInt8], _ rows: [ByteSpan]) throws {
        let folder = TemporaryFolder()
        for (index, row) in rows.enumerated() where index % 7 == 0 {
            try folder.write("row.tar", Array(bytes[row.offset..<row.offset + row.length]))
            #expect(try offsets(folder("row.tar")) == [0])
        }
    }

    /// Frames that end anywhere, as other writers of seekable files make them.
    @Test(arguments: [CodecKind.zstd, .lz4], [1, 4]) func framesMayCutSamples(codec: CodecKind, workers: Int)
        throws
    {
        var tar: [UInt8] = []
        let fixture = try LoaderFixture("p-%d.tar", counts: [60]) { $0 % 5 == 0 ? 30_000 : 300 }
        tar = [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture.folder("shard0/p-0.tar"))))
        let writer = try codec.makeFrameWriter(level: 1)
        let output = OutputBuffer()
        var rows: [SeekTableRow] = []
        for start in stride(from: 0, to: tar.count, by: 7777) {
            let piece = Array(tar[start..<min(tar.count, start + 7777)])
            rows.append(try piece.withUnsafeBytes { try writer.appendFrame($0, to: output) })
        }
        try #require(SeekTable.of(codec)).append(rows, to: output)
        let folder = TemporaryFolder()
        try folder.write("x.tar.\(codec == .zstd ? "zst" : "lz4")", output.copy())
        let path = folder("x.tar.\(codec == .zstd ? "zst" : "lz4")")
        let found = try Self.find(path, workers: workers, memory: .mebibytes(2))
        let plain = try Self.find(fixture.folder("shard0/p-0.tar"))
        #expect(found.rows.map(\.offset) == plain.rows.map(\.offset))
        #expect(found.rows.map(\.length) == plain.rows.map(\.length))
        #expect(found.frames.count == rows.count && found.header.uncompressedByteCount == tar.count)
    }

    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tfrecord"]) func damageIsNamedOrLeftOut(
        name: String
    ) throws {
        let fixture = try LoaderFixture(name, counts: [50])
        let shard = fixture.folder("shard0/") + name.replacingOccurrences(of: "%03d", with: "000")
        let index = try ShardIndex.read(ShardIndexLayout.path(forShard: shard))
        let row = try index.row(30)
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: shard)))
        let place =
            index.frames.last { $0.offset <= row.offset }.map { $0.compressedOffset + 100 } ?? row.offset
        bytes[place] ^= 0x40
        try Data(bytes).write(to: URL(fileURLWithPath: shard))
        let error = #expect(throws: HeadraceError.self) { try Self.find(shard) }
        #expect(error?.code.category == .data && error?.place.shard == shard)
        #expect(error?.place.offset == (index.frames.isEmpty ? row.offset : error?.place.offset))
        let found = try Self.find(shard, skips: true)
        #expect(found.leftOutCount == 1 && found.header.leavesOutDamage)
        #expect(found.rows.count <= 30 && (index.frames.isEmpty ? found.rows.count == 30 : true))
    }

    @Test func aDuplicateFieldCostsItsSampleAlone() throws {
        let folder = TemporaryFolder()
        let writer = TarWriter()
        let output = OutputBuffer()
        for name in ["a", "b", "c"] {
            for field in name == "b" ? ["x", "x"] : ["x", "y"] {
                writer.appendHeader(key: name, field: field, payloadByteCount: 0, to: output)
            }
        }
        writer.appendEnd(to: output)
        try folder.write("d.tar", output.copy())
        let error = #expect(throws: HeadraceError.self) { try Self.find(folder("d.tar")) }
        #expect(error?.code == .duplicateField && error?.place.key == "b")
        let found = try Self.find(folder("d.tar"), skips: true)
        #expect(found.rows.map(\.offset) == [0, 2048] && found.rows.map(\.length) == [1024, 1024])
        #expect(found.leftOut.map(\.code) == [.duplicateField])
    }

    @Test func keysThatComeBackAreCounted() throws {
        let folder = TemporaryFolder()
        let writer = TarWriter()
        let output = OutputBuffer()
        // Far apart and near, so that the walk is between two pieces when a sample ends.
        for (key, field, byteCount) in [
            ("x", "a", 70_000), ("y", "a", 0), ("x", "b", 90_000), ("y", "b", 3), ("z", "a", 1),
        ] {
            writer.appendHeader(key: key, field: field, payloadByteCount: byteCount, to: output)
            output.appendZeros(byteCount)
            writer.appendPadding(payloadByteCount: byteCount, to: output)
        }
        writer.appendEnd(to: output)
        try folder.write("i.tar", output.copy())
        let found = try Self.find(folder("i.tar"))
        #expect(found.rows.map(\.offset) == (try Self.offsets(folder("i.tar"))))
        #expect(found.rows.count == 5 && found.returningKeyCount == 2)
    }

    @Test func whatCannotBeIndexedIsNeverLeftOut() throws {
        let folder = TemporaryFolder()
        let script = """
            import tarfile, io, sys
            with tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT, pax_headers={'path': 'same.jpg'}) as t:
                for n in 'ab':
                    m = tarfile.TarInfo(n + '.jpg'); m.size = 1; t.addfile(m, io.BytesIO(b'x'))
            """
        guard let made = try run("python3", ["-c", script, folder("g.tar")]) else { return }
        #expect(made.status == 0)
        for skips in [false, true] {
            let error = #expect(throws: HeadraceError.self) { try Self.find(folder("g.tar"), skips: skips) }
            #expect(error?.code == .notIndexable)
        }
    }

    @Test func emptyShardsHaveEmptyIndexes() throws {
        let folder = TemporaryFolder()
        try folder.write("e.tar", [UInt8](repeating: 0, count: 10240))
        try folder.write("e.tfrecord", [])
        for name in ["e.tar", "e.tfrecord"] {
            let found = try Self.find(folder(name))
            #expect(found.rows.isEmpty)
            try folder.write("e.index", found.encoded().copy())
            #expect(try ShardIndex.read(folder("e.index")).header == found.header)
        }
    }

    @Test func itEndsWhenItIsCancelled() throws {
        let fixture = try LoaderFixture("x-%d.tar.zst", counts: [60]) { _ in 30_000 }
        let path = fixture.folder("shard0/x-0.tar.zst")
        var indexer = ShardIndexer(path)
        indexer.memory = .mebibytes(2)
        indexer.workers = 3
        // Not at all, and with pieces under way.
        for pieces in [0, 2] {
            let asked = Atomic<Int>(0)
            let isLate: @Sendable () -> Bool = { asked.add(1, ordering: .relaxed).newValue > pieces }
            indexer.isCancelled = isLate
            let found = try indexer.find()
            #expect(found == nil)
        }
        let frames = try ShardReader(path, memory: .mebibytes(2)).pass.chunks.count
        #expect(frames > 4, "there was something to run ahead with")
    }
}
