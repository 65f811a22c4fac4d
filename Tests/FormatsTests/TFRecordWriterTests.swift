import Foundation
import HeadraceCore
import Testing

@testable import HeadraceFormats

@Suite struct TFRecordWriterTests {
    /// Reads records and examples with nothing of ours: a CRC by table, a parser of protobuf's wire format.
    private static let reader = """
        import struct, sys
        table = []
        for n in range(256):
            for _ in range(8): n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
            table.append(n)
        def masked(data):
            crc = 0xffffffff
            for b in data: crc = table[(crc ^ b) & 255] ^ crc >> 8
            crc ^= 0xffffffff
            return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff
        def varint(b, i):
            v = s = 0
            while True:
                v |= (b[i] & 127) << s; s += 7; i += 1
                if b[i - 1] < 128: return v, i
        def message(b):
            i = 0
            while i < len(b):
                tag, i = varint(b, i); assert tag & 7 == 2, tag
                n, i = varint(b, i); assert i + n <= len(b)
                yield tag >> 3, b[i:i + n]; i += n
        def one(b, number):
            fields = list(message(b)); assert len(fields) == 1 and fields[0][0] == number, fields
            return fields[0][1]
        data = open(sys.argv[1], "rb").read()
        at = 0
        while at < len(data):
            length, = struct.unpack_from("<Q", data, at)
            assert struct.unpack_from("<I", data, at + 8)[0] == masked(data[at:at + 8])
            record = data[at + 12:at + 12 + length]; assert len(record) == length
            assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(record)
            at += 16 + length
            names = []
            for number, entry in message(one(record, 1)):
                assert number == 1
                parts = dict(message(entry))
                names.append(parts[1])
                print(parts[1].hex(), one(one(parts[2], 1), 1).hex())
            assert names == sorted(names)
            print("end")
        """

    private static let samples: [(key: String, fields: [(String, [UInt8])])] = [
        ("a", [("cls", Array("7".utf8))]),
        ("dir/ключ", [("", []), ("Z", [1]), ("npy", Array(repeating: 9, count: 127)), ("ä", [0, 255])]),
        ("empty", [("txt", [])]),
        ("lengths", [("a", Array(repeating: 1, count: 100)), ("b", Array(repeating: 2, count: 16300))]),
        ("long", [("bin", (0..<70_000).map { UInt8(truncatingIfNeeded: $0) })]),
    ]

    private static func file() -> Data {
        let buffer = OutputBuffer()
        for sample in samples {
            var fields = sample.fields + [(ExampleWriter.keyName, Array(sample.key.utf8))]
            fields.sort { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
            let features = fields.reduce(0) {
                $0
                    + ExampleWriter.featureByteCount(
                        nameByteCount: $1.0.utf8.count, payloadByteCount: $1.1.count)
            }
            let record = OutputBuffer()
            ExampleWriter.appendHead(featuresByteCount: features, to: record)
            for (name, payload) in fields {
                ExampleWriter.appendFeatureHead(name: name, payloadByteCount: payload.count, to: record)
                payload.withUnsafeBytes { record.append($0) }
            }
            #expect(record.count == ExampleWriter.exampleByteCount(featuresByteCount: features))
            TFRecordWriter.append(record.bytes, to: buffer)
        }
        return Data(buffer.bytes)
    }

    @Test func anIndependentReaderFindsEveryField() throws {
        let path = WriterOracle.temporaryPath("tfrecord")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Self.file().write(to: URL(fileURLWithPath: path))
        guard let printed = try WriterOracle.python(Self.reader, [path]) else { return }
        var expected = ""
        for sample in Self.samples {
            var fields = sample.fields + [("__key__", Array(sample.key.utf8))]
            fields.sort { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
            for (name, payload) in fields {
                expected += "\(Array(name.utf8).hexadecimal) \(payload.hexadecimal)\n"
            }
            expected += "end\n"
        }
        #expect(printed == expected)
    }

    @Test func thePackageTfrecordReadsThem() throws {
        let path = WriterOracle.temporaryPath("tfrecord")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Self.file().write(to: URL(fileURLWithPath: path))
        let script = """
            import sys
            from tfrecord.reader import tfrecord_loader
            for record in tfrecord_loader(sys.argv[1], None):
                print(bytes(record["__key__"]).decode(), len(record))
            """
        guard let printed = try WriterOracle.python(script, [path], needing: ["tfrecord", "numpy"]) else {
            return
        }
        #expect(printed == Self.samples.map { "\($0.key) \($0.fields.count + 1)\n" }.joined())
    }

    @Test func combinedChecksumsAreThoseOfTheWhole() {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<100_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        bytes.withUnsafeBytes { bytes in
            for cut in [0, 1, 2, 7, 8, 9, 255, 4096, 65_535, 65_536, 99_999, 100_000] {
                let first = crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<cut]))
                let second = crc32c(UnsafeRawBufferPointer(rebasing: bytes[cut...]))
                #expect(combinedCRC32C(first, second, secondByteCount: bytes.count - cut) == crc32c(bytes))
            }
        }
        // Wrong in length or part: another result, so the test above means something.
        #expect(combinedCRC32C(1, 2, secondByteCount: 8) != combinedCRC32C(1, 2, secondByteCount: 9))
        #expect(combinedCRC32C(1, 2, secondByteCount: 8) != combinedCRC32C(2, 1, secondByteCount: 8))
    }
}
