import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Shards as the source of `pack`.
@Suite struct RepackTests {
    /// Two tars of samples whose fields come in no order, written by Python; odd sizes, PAX and GNU names.
    private static let makeTars = """
        import io, random, sys, tarfile
        random.seed(5)
        for shard in range(2):
            format = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT][shard]
            with tarfile.open("%s/in-%d.tar" % (sys.argv[1], shard), "w", format=format) as tar:
                for i in range(90):
                    for field in [["jpg", "cls", "a.txt"], ["z.txt", "bin"]][i % 2]:
                        data = random.randbytes(random.choice([0, 1, 511, 512, 513, 5000, 60000]))
                        name = "./d%d/%s-%03d.%s" % (shard, "long" * (40 if i == 7 else 1), i, field)
                        info = tarfile.TarInfo(name); info.size = len(data); info.mtime = i + .5
                        tar.addfile(info, io.BytesIO(data))
        """

    /// Members of tars in their order: name in hexadecimal and SHA-256.
    private static let listTars = """
        import hashlib, io, subprocess, sys, tarfile
        for path in sys.argv[1:]:
            data = subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout \\
                if path.endswith(".zst") else open(path, "rb").read()
            tar = tarfile.open(fileobj=io.BytesIO(data))
            for member in tar:
                print(member.name.encode().hex(), hashlib.sha256(tar.extractfile(member).read()).hexdigest())
        """

    private func pack(_ words: [String], _ options: PackOptions) throws -> PackResult {
        try Packer(try packSources(at: words), options: options).run()
    }

    private func compress(_ tree: PackTree, _ program: String, _ ending: String) throws -> Bool {
        for shard in 0..<2 {
            let path = "\(tree.source)/in-\(shard).tar"
            guard let run = try PackOracle.run([program, "-fqk", path]), run.status == 0 else { return false }
            #expect(FileManager.default.fileExists(atPath: path + ending))
        }
        return true
    }

    @Test(arguments: ["", ".gz", ".zst"], ["t-%02d.tar", "t-%02d.tar.zst"])
    func membersKeepNamesOrderAndBytes(ending: String, name: String) throws {
        let tree = try PackTree()
        guard try PackOracle.python(Self.makeTars, [tree.source]) != nil else { return }
        if ending == ".gz" { guard try compress(tree, "gzip", ending) else { return } }
        if ending == ".zst" { guard try compress(tree, "zstd", ending) else { return } }
        var options = tree.options(name)
        options.shardLimit = .bytes(900_000)
        options.workers = 3
        if name.hasSuffix(".zst") { options.frameByteCount = 20_000 }
        let result = try pack(["\(tree.source)/in-{0..1}.tar\(ending)"], options)
        #expect(result.summary.sampleCount == 180 && result.shards.count > 2)
        let before = try PackOracle.python(Self.listTars, (0..<2).map { "\(tree.source)/in-\($0).tar" })
        let after = try PackOracle.python(Self.listTars, result.shards.map { "\(tree.output)/\($0.name)" })
        #expect(before?.count == 450)
        #expect(after == before)
    }

    @Test func theCodecOfTheSourceDoesNotShow() throws {
        let tree = try PackTree()
        guard try PackOracle.python(Self.makeTars, [tree.source]) != nil,
            try compress(tree, "gzip", ".gz"), try compress(tree, "zstd", ".zst")
        else { return }
        for order in [PackOrder.asFound, .sorted, .shuffled(seed: 3)] {
            var digests: Set<[String]> = []
            for (number, ending) in ["", ".gz", ".zst"].enumerated() {
                for name in ["\(number)/x-%d.tar.zst", "\(number)/x-%d.tfrecord"] {
                    var options = tree.options(name)
                    options.overwrite = true
                    options.order = order
                    options.workers = number + 1
                    options.shardLimit = .bytes(1_500_000)
                    let result = try pack(["\(tree.source)/in-{0..1}.tar\(ending)"], options)
                    digests.insert([name.hasSuffix("zst") ? "tar" : "record"] + result.shards.map(\.sha256))
                    #expect(result.summary.spoolsSources == (order != .asFound && ending != ""))
                }
            }
            #expect(digests.count == 2, "\(order)")
        }
    }

    @Test func fieldsSurviveTheWayThroughTFRecord() throws {
        let tree = try PackTree()
        try tree.fillAtRandom(seed: 2, samples: 50, largest: 90_000)
        let direct = try tree.pack(tree.options("direct.tar.zst"))
        var options = tree.options("r-%d.tfrecord")
        options.shardLimit = .samples(20)
        _ = try pack(["\(tree.output)/direct.tar.zst"], options)
        let records = try PackOracle.python(
            PackOracle.tfrecord, (0..<3).map { "\(tree.output)/r-\($0).tfrecord" })
        if let records { #expect(records.sorted() == tree.expected) }
        // What was made of a tar comes back as that tar, byte for byte.
        let back = try pack(["\(tree.output)/r-*.tfrecord"], tree.options("back.tar.zst"))
        #expect(back.shards[0].sha256 == direct.shards[0].sha256)
        if let found = try PackOracle.python(
            PackOracle.webdataset, ["\(tree.output)/back.tar.zst"], needing: ["webdataset"])
        {
            #expect(found.sorted() == tree.expected)
        }
        // Records stay what they are, whatever is in them.
        try tree.put("odd.tfrecord", Self.record(Array("no example".utf8)) + Self.record([]), isSample: false)
        let same = try pack(
            ["\(tree.output)/r-*.tfrecord", "\(tree.source)/odd.tfrecord"], tree.options("same.tfrecord"))
        var whole: [UInt8] = []
        for number in 0..<3 { whole += try tree.content("\(tree.output)/r-\(number).tfrecord") }
        #expect(
            try tree.content("\(tree.output)/same.tfrecord") == whole
                + tree.content("\(tree.source)/odd.tfrecord"))
        #expect(same.summary.sampleCount == 52)
    }

    private static func record(_ data: [UInt8]) -> [UInt8] {
        let buffer = OutputBuffer()
        data.withUnsafeBytes { TFRecordWriter.append($0, to: buffer) }
        return Array(buffer.bytes)
    }

    @Test(arguments: ["", ".zst"])
    func featuresBecomeMembers(ending: String) throws {
        let tree = try PackTree()
        // Written with a protobuf encoder of its own: packed and unpacked lists of every kind.
        let script = """
            import struct, sys
            def v(n):
                n &= 2 ** 64 - 1; out = b""
                while n > 127: out += bytes([n & 127 | 128]); n >>= 7
                return out + bytes([n])
            def m(field, data): return v(field << 3 | 2) + v(len(data)) + data
            def crc(data):
                c = 0xffffffff
                for b in data:
                    c ^= b
                    for _ in range(8): c = c >> 1 ^ (0x82f63b78 if c & 1 else 0)
                c ^= 0xffffffff
                return ((c >> 15 | c << 17) + 0xa282ead8) & 0xffffffff
            def record(d):
                n = struct.pack("<Q", len(d))
                return n + struct.pack("<I", crc(n)) + d + struct.pack("<I", crc(d))
            def example(*features):
                return m(1, b"".join(m(1, m(1, k.encode()) + m(2, f)) for k, f in features))
            ints = [0, 1, -1, 2 ** 62, -2 ** 63, 300]
            floats = [0.5, -2.25, 1e30]
            a = example(("image/Encoded", m(1, m(1, b"pixels"))), ("label", m(3, m(1, b"".join(map(v, ints))))),
                ("loose", m(3, b"".join(b"\\x08" + v(i) for i in ints))),
                ("box", m(2, m(1, struct.pack("<3f", *floats)))), ("empty", m(2, b"")), ("unset", b""),
                ("spread", m(2, b"".join(b"\\x0d" + struct.pack("<f", x) for x in floats))),
                ("words", m(1, m(1, b"one") + m(1, b"two"))), ("__key__", m(1, m(1, b"first"))))
            open(sys.argv[1], "wb").write(record(a) + record(b"plain"))
            """
        let path = "\(tree.source)/x.one.tfrecord"
        guard try PackOracle.python(script, [path]) != nil else { return }
        if !ending.isEmpty {
            guard let run = try PackOracle.run(["zstd", "-q", path]), run.status == 0 else { return }
        }
        var options = tree.options("x.tar.zst")
        options.frameByteCount = 16 << 10
        let result = try pack([path + ending], options)
        #expect(result.summary.renamedFields == ["image/Encoded": "image.encoded"])
        #expect(result.summary.ignored == [.unsetFeature: 1])
        let reader = """
            import sys, io, numpy, webdataset as wds
            for s in wds.WebDataset(["pipe:zstd -dc " + sys.argv[1]], shardshuffle=False, empty_check=False):
                for name, data in s.items():
                    if name in ("__url__", "__local_path__"): continue
                    if name.endswith(".npy"):
                        a = numpy.load(io.BytesIO(data)); data = "%s %s" % (a.dtype, a.tolist())
                    print(name, data)
            """
        guard
            let found = try PackOracle.python(
                reader, ["\(tree.output)/x.tar.zst"], needing: ["webdataset", "numpy"])
        else { return }
        let ints = "int64 [0, 1, -1, 4611686018427387904, -9223372036854775808, 300]"
        let floats = "float32 [0.5, -2.25, 1.0000000150474662e+30]"
        #expect(
            found == [
                "__key__ first", "image.encoded b'pixels'", "label.npy \(ints)", "loose.npy \(ints)",
                "box.npy \(floats)", "empty.npy float32 []", "spread.npy \(floats)",
                "words.feature b'\\n\\n\\n\\x03one\\n\\x03two'", "__key__ x-one-000000001", "record b'plain'",
            ])
    }

    @Test func sortingAndShufflingAreOverAllSources() throws {
        let tree = try PackTree()
        for number in 0..<60 { try tree.put("s\(number % 7)-\(number).txt", "\(number)") }
        var options = tree.options("a-%d.tar.zst")
        options.shardLimit = .samples(25)
        try tree.pack(options)
        func keys(_ options: PackOptions, _ words: [String]) throws -> [String] {
            let result = try pack(words, options)
            var keys: [String] = []
            for shard in result.shards {
                try ShardReader("\(tree.output)/\(shard.name)").read { (sample) throws(HeadraceError) in
                    keys.append(sample.key ?? "")
                    return true
                }
            }
            return keys
        }
        let all = tree.files.keys.map { String($0.dropLast(4)) }
        options = tree.options("b-%d.tfrecord")
        options.order = .shuffled(seed: 1)
        let words = ["\(tree.output)/a-{2,0,1}.tar.zst"]
        _ = try keys(options, words)
        options.output = "\(tree.output)/c-%d.tar"
        let first = try keys(options, words)
        options.output = "\(tree.output)/d-%d.tar"
        #expect(try keys(options, words) == first)
        options.order = .shuffled(seed: 2)
        options.output = "\(tree.output)/e-%d.tar"
        let second = try keys(options, words)
        #expect(first != second && first.sorted() == second.sorted())
        #expect(first.sorted() == all.sorted() && first != first.sorted())
        options.order = .sorted
        options.output = "\(tree.output)/f-%d.tar"
        #expect(try keys(options, words) == all.sorted { Array($0.utf8).lexicographicallyPrecedes($1.utf8) })
    }

    @Test func theSameKeyInTwoShardsIsRefused() throws {
        let tree = try PackTree()
        try tree.put("a.txt", "a")
        try tree.pack(tree.options("a.tar"))
        try tree.pack(tree.options("b.tar.zst"))
        let error = #expect(throws: HeadraceError.self) {
            try pack(["\(tree.output)/a.tar", "\(tree.output)/b.tar.zst"], tree.options("c.tar"))
        }
        #expect(error?.code == .duplicateKey)
    }
}
