import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Damaged tf.Examples and tf.SequenceExamples, with protobuf as the judge.
struct ExampleDamageTests {
    private static let script = """
        import random, struct
        from tfrecord import example_pb2
        random.seed(12)
        def fill(feature):
            k = random.randrange(4)
            if k == 0: feature.bytes_list.value.extend(random.randbytes(random.randint(0, 3)) for _ in range(random.randint(0, 3)))
            if k == 1: feature.float_list.value.extend(random.uniform(-9, 9) for _ in range(random.randint(0, 3)))
            if k == 2: feature.int64_list.value.extend(random.choice([0, 1, -1, 300, 2**62]) for _ in range(random.randint(0, 4)))
        def seed():
            e = example_pb2.SequenceExample()
            for name in random.sample(['a', 'b', '\\u00e9', ''], random.randint(1, 3)): fill(e.context.feature[name])
            if random.random() < .5:
                for name in random.sample(['a', 'l'], random.randint(1, 2)):
                    for _ in range(random.randint(0, 3)): fill(e.feature_lists.feature_list[name].feature.add())
            return e.SerializeToString(deterministic=True)
        def values(f):
            kind = f.WhichOneof('kind')
            if kind == 'bytes_list': return b'B' + b''.join(struct.pack('<I', len(v)) + v for v in f.bytes_list.value)
            if kind == 'float_list': return b'F' + struct.pack('<%df' % len(f.float_list.value), *f.float_list.value)
            if kind == 'int64_list': return b'I' + struct.pack('<%dq' % len(f.int64_list.value), *f.int64_list.value)
            return b''
        def answer(record):
            e = example_pb2.SequenceExample()
            try: e.ParseFromString(record)
            except Exception: return b'-'
            parts = []
            for name, f in e.context.feature.items():
                if f.WhichOneof('kind'): parts.append(b'f' + name.encode() + b'=' + values(f))
            for name, l in e.feature_lists.feature_list.items():
                parts.append(b'l' + name.encode() + b'=' + b','.join(values(f) for f in l.feature))
            return b'+' + b';'.join(sorted(parts))
        with open('corpus', 'wb') as out:
            for _ in range(10000):
                good = seed()
                for _ in range(10):
                    b = bytearray(good)
                    for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
                        if not b: break
                        at, how = random.randrange(len(b)), random.randrange(6)
                        if how == 0: b[at] ^= 1 << random.randrange(8)
                        elif how == 1: b[at] = random.randrange(256)
                        elif how == 2: b[at] = random.choice([0, 1, 2, 8, 10, 13, 18, 26, 127, 128, 255])
                        elif how == 3: del b[at]
                        elif how == 4: b.insert(at, random.choice([1, 8, 10, 18, 128]))
                        else: del b[at:]
                    b = bytes(b)
                    for part in (b, answer(b)): out.write(struct.pack('<I', len(part)) + part)
        """

    /// What is taken for an Example is one to protobuf, too, with the same features and values.
    @Test func protobufAgrees() throws {
        try Oracle.inTemporaryFolder { folder in
            guard try Oracle.python(Self.script, in: folder) != nil else { return }
            var corpus = try Oracle.read("corpus", in: folder)[...]
            func next() -> [UInt8] {
                let count = corpus.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
                defer { corpus = corpus.dropFirst(4 + count) }
                return Array(corpus.dropFirst(4).prefix(count))
            }
            var parser = ExampleParser()
            var accepted = 0
            var left = 0
            while !corpus.isEmpty {
                let record = next()
                let answer = next()
                let found = record.withUnsafeBytes { bytes -> [UInt8]? in
                    guard parser.parse(bytes.bytes) == .example else { return nil }
                    return describe(parser.features, bytes)
                }
                if let found {
                    accepted += 1
                    #expect(found == answer, "\(record)")
                } else {
                    left += 1
                }
            }
            #expect(accepted > 20_000 && left > 20_000, "\(accepted) accepted, \(left) left")
        }
    }

    private func describe(_ features: [ExampleParser.Feature], _ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var parts: [[UInt8]] = []
        for feature in features {
            let name = Array(bytes[feature.name])
            if feature.steps == nil {
                guard feature.kind != nil, let message = FeatureMessage(bytes.bytes, feature.message) else {
                    continue
                }
                #expect(message.count == feature.count && message.kind == feature.kind)
                parts.append([0x66] + name + [0x3d] + values(message, bytes))
            } else {
                var steps: [[UInt8]] = []
                FeatureListMessage.forEachStep(bytes.bytes, feature.message) {
                    steps.append(values($0, bytes))
                }
                #expect(steps.count == feature.steps)
                parts.append([0x6c] + name + [0x3d] + steps.joined(separator: [0x2c]))
            }
        }
        parts.sort { $0.lexicographicallyPrecedes($1) }
        return [0x2b] + parts.joined(separator: [0x3b])
    }

    private func values(_ feature: FeatureMessage, _ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        guard let kind = feature.kind else { return [] }
        if kind == .bytes {
            var values: [UInt8] = []
            feature.forEachString(bytes.bytes) {
                values += littleEndian(UInt32($0.count)) + Array(bytes[$0])
            }
            return [0x42] + values
        }
        var numbers = [UInt8](repeating: 0, count: feature.count * (kind == .int64 ? 8 : 4))
        numbers.withUnsafeMutableBytes { memory in
            if let start = memory.baseAddress { feature.copyNumbers(bytes.bytes, to: start) }
        }
        if kind == .float {
            // Python's floats have eight bytes: on its way through them a signalling NaN becomes a quiet one.
            for end in stride(from: 3, to: numbers.count, by: 4)
            where numbers[end] & 0x7f == 0x7f && numbers[end - 1] >= 0x80
                && (numbers[end - 1] & 0x7f, numbers[end - 2], numbers[end - 3]) != (0, 0, 0)
            {
                numbers[end - 1] |= 0x40
            }
        }
        return [kind == .int64 ? 0x49 : 0x46] + numbers
    }

    /// Lengths far beyond the record are refused without a look at what they claim.
    @Test func hugeClaims() {
        var parser = ExampleParser()
        let huge: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x3F]
        for record in [[0x0A] + huge, [0x0A, 12, 0x0A] + huge, [0x0A, 14, 0x0A, 12, 0x12, 10] + huge] {
            #expect(record.withUnsafeBytes { parser.parse($0.bytes) } == .other)
        }
        for tag in [0x0A, 0x12, 0x1A] as [UInt8] {
            let feature = [tag] + huge
            #expect(feature.withUnsafeBytes { FeatureMessage($0.bytes, 0..<$0.count) == nil })
        }
    }
}
