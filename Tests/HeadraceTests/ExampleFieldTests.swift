import Foundation
import HeadraceCore
import HeadraceDecode
import HeadraceFormats
import Testing

@testable import Headrace

/// Features of tf.Examples and tf.SequenceExamples through the loader, against protobuf.
@Suite struct ExampleFieldTests {
    /// A shard of records that Python makes: `records` is a list of serialized messages.
    private static let writer = """
        import struct, json
        from tfrecord import example_pb2
        def crc(data):
            value = 0xffffffff
            for byte in data:
                value ^= byte
                for _ in range(8): value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
            value ^= 0xffffffff
            return ((value >> 15 | value << 17) + 0xa282ead8) & 0xffffffff
        def write(name, records):
            with open(name, 'wb') as f:
                for r in records:
                    h = struct.pack('<Q', len(r))
                    f.write(h + struct.pack('<I', crc(h)) + r + struct.pack('<I', crc(r)))
        def varint(n):
            n &= (1 << 64) - 1
            out = b''
            while n >= 128: out += bytes([n & 127 | 128]); n >>= 7
            return out + bytes([n])
        def field(number, body): return varint(number << 3 | 2) + varint(len(body)) + body
        def entry(name, feature): return field(1, field(1, name.encode()) + field(2, feature))

        """

    private static let corpus = """
        import random
        random.seed(3)
        records, answers = [], []
        for row in range(200):
            e = example_pb2.Example()
            f = e.features.feature
            f['label'].int64_list.value.append(random.randint(-2**63, 2**63 - 1))
            f['box'].float_list.value.extend(random.uniform(-1e6, 1e6) for _ in range(6))
            f['tokens'].int64_list.value.extend(random.choice([0, 1, 127, 128, -1, 2**40]) for _ in range(random.randint(0, 40)))
            f['curve'].float_list.value.extend(random.random() for _ in range(3 * random.randint(0, 9)))
            f['tags'].bytes_list.value.extend(random.randbytes(random.randint(0, 20)) for _ in range(random.randint(0, 5)))
            f['image'].bytes_list.value.append(random.randbytes(50))
            if row % 3: f['rare'].int64_list.value.append(row)
            if not f['tokens'].int64_list.value: f['tokens'].int64_list.SetInParent()
            if not f['curve'].float_list.value: f['curve'].float_list.SetInParent()
            if not f['tags'].bytes_list.value: f['tags'].bytes_list.SetInParent()
            data = e.SerializeToString()
            # Half of the records as an old writer has them: unpacked, in pieces, with another kind before.
            if row % 2:
                def old(name, values, number, one):
                    half = len(values) // 2
                    lists = field(number, b''.join(map(one, values[:half]))) + field(number, b''.join(map(one, values[half:])))
                    return entry(name, field(3 if number != 3 else 2, b'') + lists)
                i64 = lambda v: b'\\x08' + varint(v)
                f32 = lambda v: b'\\x0d' + struct.pack('<f', v)
                g = lambda n, k: list(getattr(f[n], k).value)
                data = field(1, old('label', [5, 6], 3, i64) + old('label', g('label', 'int64_list'), 3, i64) + old('box', g('box', 'float_list'), 2, f32)
                    + old('tokens', g('tokens', 'int64_list'), 3, i64) + old('curve', g('curve', 'float_list'), 2, f32)
                    + old('tags', g('tags', 'bytes_list'), 1, lambda v: field(1, v)) + old('image', g('image', 'bytes_list'), 1, lambda v: field(1, v))
                    + (old('rare', [row], 3, i64) if row % 3 else entry('rare', b'')))
            check = example_pb2.Example(); check.ParseFromString(data)
            c = check.features.feature
            records.append(data)
            answers.append({'label': list(c['label'].int64_list.value), 'box': list(c['box'].float_list.value), 'tokens': list(c['tokens'].int64_list.value),
                'curve': list(c['curve'].float_list.value), 'tags': [v.hex() for v in c['tags'].bytes_list.value], 'image': c['image'].bytes_list.value[0].hex(),
                'rare': list(c['rare'].int64_list.value)})
        write('e.tfrecord', records)
        print(json.dumps(answers))
        """

    private func batches(_ dataset: Dataset) throws -> [Batch] {
        let loader = try dataset.loader()
        var batches: [Batch] = []
        while batches.count < 4, let batch = try loader.next() { batches.append(batch) }
        return batches
    }

    @Test func whatProtobufReadsIsDecoded() throws {
        let folder = TemporaryFolder()
        guard let output = try python(Self.writer + Self.corpus, in: folder) else { return }
        let answers = try JSONSerialization.jsonObject(with: Data(output)) as! [[String: Any]]
        let dataset = Dataset(folder("e.tfrecord")).parsingExamples().batched(64)
            .decoding("label", with: .int64).decoding("box", with: .float(shape: [2, 3]))
            .decoding("tokens", with: .int64List).decoding("curve", with: .floatList(of: [3]))
            .decoding("tags", with: .bytesList).decoding("image", with: .raw)
            .decoding("rare", with: .int64(default: [-7])).decoding(
                "rare", with: .int64List, optional: true, as: "often")
        var row = 0
        for batch in try batches(dataset) {
            let tokens = try batch["tokens"]
            let curve = try batch["curve"]
            let tags = try batch["tags"]
            #expect(tokens.shape == [batch.count, nil] && curve.shape == [batch.count, nil, 3])
            #expect(tags.shape == [batch.count, nil, nil] && tokens.elementType == .int64)
            #expect(try batch["box"].shape == [batch.count, 2, 3])
            let labels = try batch["label"].elements(as: Int64.self)
            let rare = try batch["rare"].elements(as: Int64.self)
            let all = try tokens.elements(as: Int64.self)
            let offsets = tokens.rowOffsets
            let strings = tags.withUnsafeBytes { Array($0) }
            let places = tags.stringOffsets
            let rows = tags.rowOffsets
            #expect(rows.last! + 1 == places.count && places.last == strings.count)
            for place in 0..<batch.count {
                let answer = answers[row]
                #expect([labels[place]] == answer["label"] as! [Int64])
                let box = try batch["box"].elements(ofRow: place, as: Float.self)
                #expect(box == (answer["box"] as! [Double]).map(Float.init))
                #expect(Array(all[offsets[place]..<offsets[place + 1]]) == answer["tokens"] as! [Int64])
                #expect(try tokens.elements(ofRow: place, as: Int64.self) == answer["tokens"] as! [Int64])
                #expect(
                    try curve.elements(ofRow: place, as: Float.self)
                        == (answer["curve"] as! [Double]).map(Float.init))
                #expect(tags.byteStrings(ofRow: place).map(hexadecimal) == answer["tags"] as! [String])
                let sliced = (rows[place]..<rows[place + 1]).map {
                    hexadecimal(Array(strings[places[$0]..<places[$0 + 1]]))
                }
                #expect(sliced == answer["tags"] as! [String])
                #expect(hexadecimal(try batch["image"].bytes(ofRow: place)) == answer["image"] as! String)
                let there = answer["rare"] as! [Int64]
                #expect([rare[place]] == (there.isEmpty ? [-7] : there))
                #expect(try batch["often"].elements(ofRow: place, as: Int64.self) == there)
                row += 1
            }
        }
        #expect(row == 200)
    }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func sequenceExamples() throws {
        let folder = TemporaryFolder()
        let script =
            Self.writer + """
                records = []
                for row in range(10):
                    e = example_pb2.SequenceExample()
                    e.context.feature['x'].int64_list.value.append(row)
                    xs = e.feature_lists.feature_list['x']
                    ps = e.feature_lists.feature_list['points']
                    ws = e.feature_lists.feature_list['words']
                    for step in range(row):
                        xs.feature.add().int64_list.value.append(step * row)
                        ps.feature.add().float_list.value.extend([step, row])
                        ws.feature.add().bytes_list.value.append(b'w%d' % step)
                    records.append(e.SerializeToString())
                write('s.tfrecord', records)
                """
        guard try python(script, in: folder) != nil else { return }
        let dataset = Dataset(folder("s.tfrecord")).parsingExamples().batched(10)
            .decoding("x", with: .int64).decoding("feature_lists/x", with: .int64List)
            .decoding("feature_lists/points", with: .floatList(of: [2]), as: "points")
            .decoding("feature_lists/words", with: .bytesList, as: "words")
        let batch = try #require(try batches(dataset).first)
        #expect(try batch["x"].elements(as: Int64.self) == Array(0..<10))
        for row in 0..<10 {
            let steps = 0..<row
            #expect(
                try batch["feature_lists/x"].elements(ofRow: row, as: Int64.self)
                    == steps.map { Int64($0 * row) })
            #expect(
                try batch["points"].elements(ofRow: row, as: Float.self)
                    == steps.flatMap { [Float($0), Float(row)] })
            #expect(try batch["words"].byteStrings(ofRow: row) == steps.map { Array("w\($0)".utf8) })
        }
        #expect(try batch["points"].shape == [10, nil, 2])
        #expect(try batch["words"].rowOffsets == [0, 0, 1, 3, 6, 10, 15, 21, 28, 36, 45])
        // Of one shape for all: only the row with three steps has it.
        let fixed = Dataset(folder("s.tfrecord")).parsingExamples().onDefect(.skip(limit: 10))
            .decoding("feature_lists/points", with: .float(shape: [3, 2]))
        let loader = try fixed.loader()
        let rows = try #require(try loader.next())
        #expect(rows.count == 1)
        #expect(try rows["feature_lists/points"].elements(as: Float.self) == [0, 3, 1, 3, 2, 3])
    }

    /// Records that a decoder must refuse, each with its reason, and the good ones around them.
    @Test func defectsSayWhatIsWrong() throws {
        let folder = TemporaryFolder()
        let script =
            Self.writer + """
                ints = lambda *v: field(3, field(1, b''.join(map(varint, v))))
                floats = lambda *v: field(2, field(1, b''.join(struct.pack('<f', x) for x in v)))
                strings = lambda *v: field(1, b''.join(field(1, x) for x in v))
                def record(*entries): return field(1, b''.join(entries))
                write('d.tfrecord', [record(entry('a', ints(1, 2, 3))), record(entry('a', floats(1))), record(entry('a', strings(b'1'))),
                    record(entry('a', strings(b'1', b'2'))), record(entry('a', ints())), record(entry('b', ints(1))), record(entry('a', ints(4, 5))),
                    record(entry('a', b'')), record(entry('a', ints(7, 8, 9)))])
                """
        guard try python(script, in: folder) != nil else { return }
        func reasons(_ decoder: any Decoder, optional: Bool = false) throws -> (rows: Int, [String]) {
            let loader = try Dataset(folder("d.tfrecord")).parsingExamples().onDefect(.skip(limit: 100)).with
            {
                $0.fields = [FieldRequest("a", decoder, isOptional: optional)]
            }.loader()
            var rows = 0
            while let batch = try loader.next() { rows += batch.count }
            return (rows, loader.report().defects.map(\.message))
        }
        let (rows, found) = try reasons(FeatureDecoder(int64: [3]))
        #expect(rows == 2)
        let expected = [
            "float values, and is to be decoded as int64", "bytes values, and is to be decoded as int64",
            "bytes values, and is to be decoded as int64", "there and empty; shape (3,)",
            "no field 'a'", "has 2 values; shape (3,) needs 3", "no field 'a'",
        ]
        #expect(found.count == expected.count)
        for (message, words) in zip(found, expected) { #expect(message.contains(words), "\(message)") }
        // A default is for absent features, not for those that are there and empty or of another kind.
        #expect(try reasons(FeatureDecoder(int64: [3], default: [0])).rows == 4)
        #expect(try reasons(FeatureListDecoder(.int64)).rows == 4)
        #expect(try reasons(FeatureListDecoder(.int64), optional: true).rows == 6)
        #expect(try reasons(FeatureListDecoder(.int64, stepShape: [3])).rows == 3)
        #expect(try reasons(FeatureStringsDecoder()).rows == 2)
        #expect(try reasons(FeatureStringsDecoder(count: 2)).rows == 1)
        let (raw, why) = try reasons(RawDecoder())
        #expect(raw == 1 && why[0].contains("3 int64 values of a tf.Example; decode it as int64"))
        #expect(try reasons(TextDecoder()).rows == 1)
        #expect(throws: HeadraceError.self) { try reasons(FeatureDecoder(int64: [1 << 62, 8])) }
        #expect(throws: HeadraceError.self) { try reasons(FeatureDecoder(int64: [3], default: [1, 2])) }
        #expect(throws: HeadraceError.self) { try reasons(FeatureDecoder(float: [-1])) }
        let huge = #expect(throws: HeadraceError.self) { try reasons(FeatureDecoder(int64: [1 << 40])) }
        #expect(huge?.code == .budget)
    }

    /// A digest tells a feature's kind: the same bytes as another kind are another sample.
    /// A default stands in for a feature that a record lacks, never for a record that is something else.
    @Test func aRecordThatIsNoExampleGetsNoDefault() throws {
        let folder = TemporaryFolder()
        let script =
            Self.writer + """
                write('n.tfrecord', [b'', b'\\xff\\xff garbage', field(1, field(1, field(1, b'a') + field(2, b'')))])
                """
        guard try python(script, in: folder) != nil else { return }
        for isOptional in [true, false] {
            let loader = try Dataset(folder("n.tfrecord")).decoding(
                "a", with: .int64(default: [9]), optional: isOptional
            ).onDefect(.skip(limit: 3)).with { $0.parsesExamples = true }.loader()
            var keys: [String] = []
            while let batch = try loader.next() { keys += batch.keys }
            #expect(keys == ["n.tfrecord:0", "n.tfrecord:2"])
            #expect(loader.report().defects.map(\.code) == [.badValue])
        }
    }

    @Test func theDigestTellsAListFromBytes() throws {
        let folder = TemporaryFolder()
        let script =
            Self.writer + """
                inner = field(3, field(1, b'\\x05'))
                write('list.tfrecord', [field(1, entry('a', inner))])
                write('bytes.tfrecord', [field(1, entry('a', field(1, field(1, inner))))])
                """
        guard try python(script, in: folder) != nil else { return }
        var digests: Set<String> = []
        for name in ["list", "bytes"] {
            let path = folder("\(name).tfrecord")
            // One name for both, since a record without a key is named after its shard.
            let copy = folder("\(name)/x.tfrecord")
            try FileManager.default.createDirectory(
                atPath: folder(name), withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: path, toPath: copy)
            let batch = try #require(try batches(Dataset(copy).parsingExamples()).first)
            #expect(try batch["a"].bytes(ofRow: 0) == [0x1a, 3, 0x0a, 1, 5])
            let report = try drain(Dataset(copy).parsingExamples().with { $0.digest = true }).report
            digests.insert(try #require(report.digest))
        }
        #expect(digests.count == 2)
    }

    @Test func kindsOfTheCommandLine() throws {
        func columns(_ text: String) throws -> [String] {
            try FieldRequest.requests(text).map { "\($0.column) \($0.decoder)" }
        }
        // Names may hold equals signs, and so may the paths and names in a kind: the first one before a kind
        // counts.
        #expect(try columns("a=b=int") == ["a=b IntegerDecoder()"])
        #expect(try columns("a=int=b=int") == ["a=int=b IntegerDecoder()"])
        #expect(try columns("=a=int") == ["=a IntegerDecoder()"])
        #expect(try columns("a==int") == ["a= IntegerDecoder()"])
        for (text, name) in [
            "a=json:b=c": "a/b=c", "a=json:x=int": "a/x=int", "a=npz:x=y": "a/x=y", "a=b=npz:x=y": "a=b/x=y",
        ] {
            #expect(try FieldRequest.requests(text).map(\.column) == [name], "\(text)")
        }
        for (text, names) in [
            "x=json:a/b:float64": ["x/a/b"], "x=npz:p,q": ["x/p", "x/q"], "x=npz": ["x"], "x=json": ["x"],
            "x=json:": ["x"],
        ] {
            #expect(try FieldRequest.requests(text).map(\.column) == names)
        }
        for (text, layout) in [
            "int64": ColumnLayout.fixed(.int64, shape: []), "int64[3]": .fixed(.int64, shape: [3]),
            "float[28,28]": .fixed(.float32, shape: [28, 28]), "int64[]": .spans(.list(.int64, shape: [])),
            "float[,3]": .spans(.list(.float32, shape: [3])), "float[0]:2.5": .fixed(.float32, shape: [0]),
            "int64:-1": .fixed(.int64, shape: []), "bytes[]": .spans(.strings), "bytes[4]": .spans(.strings),
            "bytes": .spans(.bytes),
        ] {
            let decoder = try FieldRequest.requests("f=\(text)")[0].decoder
            #expect(
                try decoder.column(for: UnsafeRawBufferPointer(start: nil, count: 0)) == layout, "\(text)")
        }
        for text in [
            "", "x", "=int", "x=", "x=pickle", "x=int64[", "x=int64[3", "x=int64[a]", "x=int64[-1]",
            "x=int64[3]x",
            "x=int64[3,]", "x=int64[+3]", "x=int64:", "x=int64:1.5", "x=int64[]:1", "x=bytes:1",
            "x=bytes[2,3]",
            "x=int64x", "x=float[3]:y", "x=npz:", "x=npz:a,", "x=json:a:complex64", "x=json:a:uint64",
            "x=int64[99999999999999999999]", "a=b=c", "x==", "x=json:a:complex64=b:uint64",
        ] {
            let error = #expect(throws: HeadraceError.self, "\(text)") { try FieldRequest.requests(text) }
            #expect(error?.code == .usage)
        }
    }
}
