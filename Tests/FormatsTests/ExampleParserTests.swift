import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// tf.Example against protobuf, and against messages no protobuf library would write.
struct ExampleParserTests {
    private static let script = """
        import sys, json, random, hashlib
        from tfrecord import example_pb2
        random.seed(5)
        answers, blob = [], b''
        for round in range(300):
            example = example_pb2.Example()
            features = {}
            for index in range(random.randint(1, 6)):
                name = random.choice(['image', 'label', 'text', 'mean', '\\u00e9', '']) + (str(index) if random.random() < .7 else '')
                feature = example.features.feature[name]
                kind = random.choice(['bytes_list', 'bytes_list', 'float_list', 'int64_list', None])
                for k in ['bytes_list', 'float_list', 'int64_list']: feature.ClearField(k)
                if kind is None:
                    features[name] = None
                    continue
                values = getattr(feature, kind).value
                getattr(feature, kind).SetInParent()
                for _ in range(random.choice([0, 1, 1, 1, 2, 300])):
                    values.append({'bytes_list': lambda: random.randbytes(random.choice([0, 1, 130, 3000])),
                        'float_list': lambda: random.random(), 'int64_list': lambda: random.randint(-2**63, 2**63 - 1)}[kind]())
                features[name] = [kind, len(values), hashlib.sha256(values[0] if kind == 'bytes_list' and len(values) == 1
                    else feature.SerializeToString()).hexdigest()]
            data = example.SerializeToString()
            blob += len(data).to_bytes(4, 'little') + data
            answers.append(features)
        open('examples', 'wb').write(blob)
        print(json.dumps(answers))
        """

    @Test func whatProtobufWritesIsRead() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let output = try Oracle.python(Self.script, in: folder) else { return }
            let answers = try JSONSerialization.jsonObject(with: Data(output)) as! [[String: Any]]
            var blob = try Oracle.read("examples", in: folder)[...]
            var builder = TFRecordBuilder()
            while let first = blob.indices.first {
                let count = (0..<4).reduce(0) { $0 | Int(blob[first + $1]) << (8 * $1) }
                builder.add(Array(blob[first + 4..<first + 4 + count]))
                blob = blob[(first + 4 + count)...]
            }
            let shard = scanEveryWay(builder.bytes, .tfrecord, examples: true)
            #expect(shard.defects.isEmpty, "\(shard.defects)")
            #expect(shard.samples.count == 300)
            for (sample, answer) in zip(shard.samples, answers) {
                var expected: [String: String] = [:]
                for (name, feature) in answer {
                    guard let feature = feature as? [Any] else { continue }
                    expected[name] = feature[2] as? String
                }
                var found: [String: String] = [:]
                for field in sample.fields {
                    found[field.name] = sha256(builder.bytes[field.offset..<field.offset + field.length])
                }
                #expect(found == expected)
            }
        }
    }

    private func delimited(_ field: UInt8, _ body: [UInt8]) -> [UInt8] {
        var head = [field << 3 | 2]
        var rest = body.count
        while rest >= 128 {
            head.append(UInt8(rest & 0x7F | 0x80))
            rest >>= 7
        }
        return head + [UInt8(rest)] + body
    }

    private func entry(_ name: String, _ feature: [UInt8]) -> [UInt8] {
        delimited(1, delimited(1, Array(name.utf8)) + delimited(2, feature))
    }

    private func parse(_ record: [UInt8]) -> (ExampleParser.Outcome, [ExampleParser.Feature]) {
        var parser = ExampleParser(featureLimit: 4)
        let outcome = record.withUnsafeBytes { parser.parse($0.bytes) }
        return (outcome, parser.features)
    }

    private func scan(_ record: [UInt8]) -> ScannedShard {
        var builder = TFRecordBuilder()
        builder.add(record)
        builder.add([])
        return scanEveryWay(builder.bytes, .tfrecord, examples: true)
    }

    @Test func packedAndUnpackedListsCountAlike() {
        let unpackedFloats: [UInt8] = [0x0D, 0, 0, 0, 0, 0x0D, 0, 0, 0, 0]
        let packedFloats = delimited(1, [UInt8](repeating: 0, count: 8))
        let unpackedIntegers: [UInt8] = [
            0x08, 0x01, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01,
        ]
        let packedIntegers = delimited(1, [0x01, 0x80, 0x01])
        for (kind, list) in [
            (2, unpackedFloats), (2, packedFloats), (3, unpackedIntegers), (3, packedIntegers),
        ] {
            let (outcome, features) = parse(delimited(1, entry("f", delimited(UInt8(kind), list))))
            #expect(outcome == .example)
            #expect(features.map(\.count) == [2])
            #expect(features.first?.kind == (kind == 2 ? .float : .int64))
        }
    }

    @Test func theLastOfTwoEqualNamesWinsAndUnknownFieldsArePassedOver() {
        let one = delimited(1, delimited(1, [1]))
        let two = delimited(1, delimited(1, [2, 2]))
        let unknown: [UInt8] =
            [0x38, 0x96, 0x01] + [0x4D, 1, 2, 3, 4] + [0x51, 1, 2, 3, 4, 5, 6, 7, 8] + [0x7A, 1, 9]
        let (outcome, features) = parse(
            unknown + delimited(1, entry("a", one) + entry("b", one + unknown))
                + delimited(1, entry("a", two)))
        #expect(outcome == .example)
        #expect(features.map(\.first.count) == [2, 1])
    }

    /// Records of many features are searched by a table: the answer must be that of the plain search.
    @Test func manyFeaturesAreFoundByName() {
        for count in [23, 24, 25, 26, 64, 65, 129, 1000, 4000] {
            var entries: [UInt8] = []
            for index in 0..<count {
                entries += entry(
                    "f\(index)", delimited(1, delimited(1, [UInt8](repeating: 7, count: index % 3))))
            }
            // Every third comes again, longer.
            for index in stride(from: 0, to: count, by: 3) {
                entries += entry("f\(index)", delimited(1, delimited(1, [UInt8](repeating: 9, count: 5))))
            }
            var parser = ExampleParser()
            let outcome = delimited(1, entries).withUnsafeBytes { parser.parse($0.bytes) }
            #expect(outcome == .example)
            #expect(
                parser.features.map(\.first.count) == (0..<count).map { $0 % 3 == 0 ? 5 : $0 % 3 }, "\(count)"
            )
        }
    }

    @Test func whatIsNoExampleIsOther() {
        let good = delimited(1, entry("a", delimited(1, delimited(1, [1]))))
        let others: [[UInt8]] = [
            [], [0x0A], [0x0A, 5, 1], [0x09, 1, 2, 3, 4, 5, 6, 7, 8], [0x0B, 0x0C],
            good + delimited(2, [1]), good + [0x80], Array(good.dropLast()), good + [0x10, 1],
            good + delimited(2, delimited(1, delimited(1, [1]))),
            delimited(2, delimited(1, delimited(1, [1]) + delimited(2, delimited(1, [8])))),
            delimited(1, delimited(1, delimited(1, [1]))),
            delimited(1, entry("a", delimited(2, delimited(1, [1, 2, 3])))),
            delimited(1, entry("a", delimited(3, delimited(1, [0x80])))),
            [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [0x00, 0x00],
            Array("a text".utf8),
        ]
        for record in others {
            #expect(parse(record).0 == .other, "\(record)")
            #expect(scan(record).samples[0].fields.map(\.name) == ["record"], "\(record)")
        }
    }

    @Test func keysAndDefectsOfExamples() {
        let value = delimited(1, delimited(1, Array("k7".utf8)))
        var shard = scan(delimited(1, entry("__key__", value) + entry("x", value)))
        #expect(shard.samples[0].key == Array("k7".utf8))
        #expect(shard.samples[0].fields.map(\.name) == ["x"])
        let split = delimited(3, [0x08, 1]) + delimited(3, [0x08, 2])
        shard = scan(delimited(1, entry("__key__", value) + entry("label", split)))
        #expect(shard.defects.isEmpty && shard.samples[0].fields.map(\.length) == [8])
        // A context feature that has the name of a feature list's field.
        let list = delimited(2, delimited(1, delimited(1, Array("a".utf8)) + delimited(2, [])))
        shard = scan(delimited(1, entry("__key__", value) + entry("feature_lists/a", value)) + list)
        #expect(shard.defects.map(\.code) == [.duplicateField])
        #expect(shard.defects[0].place.field == "a" && shard.defects[0].place.key == "k7")
        #expect(shard.samples.map { $0.defect != nil } == [true, false])
        let many = (0..<5).flatMap { entry("f\($0)", delimited(1, [])) }
        #expect(parse(delimited(1, many)).0 == .tooManyFeatures)
    }

    @Test func randomDamageNeverTraps() {
        var generator = SeededGenerator(9)
        let value = delimited(1, delimited(1, [1, 2, 3]))
        let good = delimited(
            1,
            entry("a", value) + entry("b", delimited(3, delimited(1, [1, 0x80, 1])))
                + entry("c", delimited(2, [])))
        for _ in 0..<20_000 {
            var record = good
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                record[Int.random(in: 0..<record.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            let (_, features) = parse(record)
            for feature in features { #expect(feature.message.upperBound <= record.count) }
        }
    }
}
