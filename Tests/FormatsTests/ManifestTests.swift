import Foundation
import HeadraceCore
import Testing

@testable import HeadraceFormats

@Suite struct ManifestTests {
    private static let sha256 = String(repeating: "0a", count: 32)
    private static let manifest = Manifest(sets: [
        Manifest.ShardSet(
            pattern: "train-%06d.tar.zst", format: .tar, codec: .zstd, level: 3, frameByteCount: 2 << 20,
            fields: ["cls", "jpg"], classes: ["cat", "dog"], libraries: ["zstd": "1.5.4"],
            shards: [
                .init(
                    name: "train-000000.tar.zst", sampleCount: 3, byteCount: 10, uncompressedByteCount: 30,
                    sha256: sha256),
                .init(
                    name: "train-000001.tar.zst", sampleCount: 4, byteCount: 20, uncompressedByteCount: 40,
                    sha256: sha256),
            ]),
        Manifest.ShardSet(
            pattern: "val.tfrecord", format: .tfrecord, codec: .none, fields: ["tokens"], libraries: [:],
            shards: [
                .init(
                    name: "val.tfrecord", sampleCount: 1, byteCount: 5, uncompressedByteCount: 5,
                    sha256: sha256)
            ]),
    ])

    private static func error(_ text: String) -> HeadraceError? {
        do {
            _ = try Manifest(parsing: Array(text.utf8), path: "m.json")
            return nil
        } catch {
            return error
        }
    }

    @Test func whatWasWrittenComesBack() throws {
        let bytes = Self.manifest.encoded()
        #expect(try Manifest(parsing: bytes, path: "m.json") == Self.manifest)
        #expect(Self.manifest.encoded() == bytes)
        #expect(Self.manifest.shard(named: "val.tfrecord")?.set.pattern == "val.tfrecord")
        #expect(Self.manifest.shard(named: "other") == nil)
    }

    @Test func pythonReadsItWithSortedKeys() throws {
        let path = WriterOracle.temporaryPath("json")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(Self.manifest.encoded()).write(to: URL(fileURLWithPath: path))
        let script = """
            import json, sys
            def pairs(items):
                names = [n for n, _ in items]; assert names == sorted(names), names
                return dict(items)
            m = json.load(open(sys.argv[1]), object_pairs_hook=pairs)
            print(m["schema"], [s["samples"] for s in m["sets"]], m["sets"][0]["classes"], m["sets"][0]["uncompressed_bytes"])
            """
        guard let printed = try WriterOracle.python(script, [path]) else { return }
        #expect(printed == "headrace.manifest/1 [7, 1] ['cat', 'dog'] 70\n")
    }

    @Test func replacingASetLeavesTheOthers() throws {
        var manifest = Self.manifest
        var set = manifest.sets[1]
        set.shards[0].sampleCount = 9
        manifest.replace(set)
        #expect(manifest.sets.map(\.pattern) == ["train-%06d.tar.zst", "val.tfrecord"])
        #expect(manifest.sets[1].sampleCount == 9 && manifest.sets[0] == Self.manifest.sets[0])
    }

    @Test(arguments: [
        ("\"samples\": 7", "\"samples\": 8"),
        ("\"samples\": 3", "\"samples\": -3"),
        ("\"samples\": 3", "\"samples\": 3.5"),
        ("\"uncompressed_bytes\": 30", "\"uncompressed_bytes\": 9223372036854775807"),
        ("train-000000.tar.zst", "../train-000000.tar.zst"),
        ("train-000000.tar.zst", "train-000001.tar.zst"),
        ("train-000000.tar.zst", ".."),
        ("headrace.manifest/1", "headrace.manifest/2"),
        ("\"format\": \"tar\"", "\"format\": \"zip\""),
        ("0a0a0a", "0A0a0a"),
        ("0a0a0a", ""),
        ("\"sets\"", "\"set\""),
        ("{", "[{"),
    ])
    func contradictionsAreRefused(change: (String, String)) throws {
        let good = String(decoding: Self.manifest.encoded(), as: UTF8.self)
        let range = try #require(good.range(of: change.0), "\(change.0) is not in the manifest")
        let bad = good.replacingCharacters(in: range, with: change.1)
        #expect(Self.error(good) == nil)
        #expect(Self.error(bad)?.code == .indexMismatch, "\(change)")
    }

    @Test func everyCutIsRefused() {
        let bytes = Self.manifest.encoded()
        // The last byte is the newline after the value, which may be missing.
        for count in 0..<bytes.count - 1 {
            #expect(throws: HeadraceError.self) {
                try Manifest(parsing: Array(bytes[..<count]), path: "m.json")
            }
        }
    }

    @Test func aMissingFileIsNotFound() {
        let error = #expect(throws: HeadraceError.self) { try Manifest.read("/nowhere/manifest.json") }
        #expect(error?.code == .notFound)
    }
}
