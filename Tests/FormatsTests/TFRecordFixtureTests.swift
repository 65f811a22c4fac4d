import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Every TFRecord file that others wrote or damaged.
struct TFRecordFixtureTests {
    @Test func everyFileGetsItsVerdict() throws {
        guard let records = try Fixtures.entries("tfrecord"), let sets = try Fixtures.entries("dataset")
        else { return }
        var count = 0
        for entry in records + sets where entry.tfrecord != nil || entry.path.hasPrefix("tfrecord/") {
            try check(entry)
            count += 1
        }
        #expect(count >= 42, "only \(count) TFRecord files were found in the fixtures")
    }

    private func check(_ entry: Fixtures.Entry) throws {
        let path = entry.path
        let content: ShardContent
        switch sniff(entry.bytes, name: path) {
        case .success(let found): content = found
        case .failure(let error):
            #expect(entry.verdict == "fail" && error.code == .unknownFormat, "\(path): \(error)")
            let forced = scanEveryWay(entry.bytes, .tfrecord, name: path)
            #expect(forced.defects.map(\.code) == [.badHeader], "\(path)")
            return
        }
        #expect(content.format == .tfrecord, "\(path)")
        var bytes = entry.bytes
        var streamError: HeadraceError?
        if content.codec != .none {
            let plain = decompressEveryWay(entry.bytes, content.codec, name: path)
            bytes = plain.bytes
            streamError = plain.error
            #expect((streamError == nil) == (entry.view["decompress_ok"] as? Bool ?? true), "\(path)")
        }
        let shard = scanEveryWay(bytes, .tfrecord, name: path)
        if entry.verdict == "ok" {
            #expect(shard.defects.isEmpty && streamError == nil, "\(path): \(shard.defects)")
        } else {
            #expect(!shard.defects.isEmpty || streamError != nil, "\(path): accepted, must fail")
        }
        guard let strict = entry.tfrecord?["strict"] as? [String: Any] else { return }
        compare(strict, shard, bytes, path, isCut: streamError != nil)
    }

    private func compare(
        _ strict: [String: Any], _ shard: ScannedShard, _ bytes: [UInt8], _ path: String, isCut: Bool
    ) {
        if let list = strict["record_list"] as? [[Any]] {
            let good = shard.samples.prefix { $0.defect == nil }
            #expect(good.count >= list.count, "\(path)")
            for (sample, expected) in zip(good, list) {
                #expect(sample.fields.map(\.name) == ["record"], "\(path)")
                #expect(sample.fields[0].length == expected[0] as! Int, "\(path)")
                let field = sample.fields[0]
                #expect(
                    sha256(bytes[field.offset..<field.offset + field.length]) == expected[1] as! String,
                    "\(path)")
            }
        }
        guard !isCut else { return }
        if let error = strict["error"] as? String,
            let match = error.firstMatch(of: /record (\d+) at byte (\d+)/)
        {
            #expect(shard.defects.first?.place.offset == Int(match.2)!, "\(path): \(error)")
            #expect(shard.samples.firstIndex { $0.defect != nil } == Int(match.1)!, "\(path): \(error)")
        } else {
            #expect(shard.samples.count == strict["records"] as! Int, "\(path)")
        }
    }

    @Test func aBadDataChecksumIsOneDefectAndTheRestIsRead() throws {
        guard let entries = try Fixtures.entries("tfrecord") else { return }
        let entry = try #require(entries.first { $0.path.hasSuffix("flip-data.tfrecord") })
        let shard = scanEveryWay(entry.bytes, .tfrecord)
        #expect(shard.samples.map { $0.defect != nil } == [false, true, false, false])
        #expect(shard.defects.map(\.code) == [.checksumMismatch])
    }

    /// The features that a protobuf library found are the fields that we expose.
    @Test func examplesAreReadAsProtobufReadsThem() throws {
        guard let records = try Fixtures.entries("tfrecord"), let sets = try Fixtures.entries("dataset")
        else { return }
        var compared = 0
        for entry in records + sets {
            guard let strict = entry.tfrecord?["strict"] as? [String: Any], entry.kind == "tfrecord",
                let examples = strict["first_examples"] as? [[String: Any]]
            else { continue }
            let shard = scanEveryWay(entry.bytes, .tfrecord, examples: true, name: entry.path)
            for (sample, example) in zip(shard.samples, examples) where sample.defect == nil {
                guard example["proto"] as? String == "Example" else {
                    #expect(sample.fields.map(\.name) == ["record"], "\(entry.path)")
                    continue
                }
                let features = example["features"] as! [String: [Any]]
                var wanted: Set<String> = []
                for (name, feature) in features where name != "__key__" {
                    // No kind: absent.
                    if feature[0] is String { wanted.insert(name) }
                }
                if entry.path.hasSuffix("sequence_example.tfrecord") {
                    // protobuf was asked for an Example, which has no feature lists.
                    wanted.formUnion(
                        ["x_float_seq", "x_int_seq", "x_byte_seq"].map { "feature_lists/\($0)" })
                }
                #expect(Set(sample.fields.map(\.name)) == wanted, "\(entry.path)")
                compared += 1
            }
        }
        #expect(compared > 20)
    }
}
