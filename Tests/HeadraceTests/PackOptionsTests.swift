import Headrace
import HeadraceCore
import Testing

@testable import struct Headrace.OutputPattern
@testable import struct Headrace.PackSettings

@Suite struct PackOptionsTests {
    private static func settings(
        _ output: String, _ change: (inout PackOptions) -> Void = { _ in }
    ) throws -> PackSettings {
        var options = PackOptions(output: output)
        change(&options)
        return try PackSettings(options)
    }

    @Test func theNameSaysFormatAndCodec() throws {
        for (name, format, codec) in [
            ("x.tar", "tar", "none"), ("d.d/x-%d.tar.zst", "tar", "zstd"),
            ("x-%06d.tfrecord", "tfrecord", "none"),
            ("x.TFRECORD.zst", "tfrecord", "zstd"), ("x.v2.tar", "tar", "none"),
            ("x-%d.tar.lz4", "tar", "lz4"), ("x.tfrecord.lz4", "tfrecord", "lz4"),
        ] {
            let settings = try Self.settings(name)
            #expect(settings.format.rawValue == format && settings.codec.rawValue == codec, "\(name)")
        }
        let flagged = try Self.settings("shard-%d") {
            $0.format = .tar
            $0.codec = .zstd
        }
        #expect(flagged.format == .tar && flagged.codec == .zstd && flagged.level == 3)
        #expect(try Self.settings("x.tar") { $0.format = .tar }.format == .tar)
    }

    @Test func contradictionsAreUsageErrors() {
        let changes: [(String, @Sendable (inout PackOptions) -> Void)] = [
            ("x.tar", { $0.format = .tfrecord }), ("x.tar", { $0.codec = .zstd }),
            ("x.tar.zst", { $0.codec = PackCodec.none }), ("x.tar", { $0.level = 3 }),
            ("x.tar", { $0.frameByteCount = 1 << 20 }), ("x.tar.zst", { $0.level = 99 }),
            ("x.tar.zst", { $0.level = 0 }), ("x.tar.zst", { $0.frameByteCount = 1 }),
            ("x.tar.zst", { $0.frameByteCount = 2 << 30 }), ("x.tar", { $0.shardLimit = .bytes(1 << 20) }),
            ("x-%d.tar", { $0.shardLimit = .bytes(0) }), ("x-%d.tar", { $0.shardLimit = .samples(-1) }),
            ("x-%d.tar", { $0.workers = 0 }), ("x-%d.tar", { $0.workers = 1 << 40 }), ("x", { _ in }),
            ("x.zip", { _ in }), ("x.tar.gz", { _ in }), ("x.tar.bz2", { _ in }),
            ("x-%d", { $0.codec = .zstd }), ("x.tar.lz4", { $0.codec = .zstd }),
            ("x.tar.lz4", { $0.level = 13 }), ("x.tar.lz4", { $0.level = 0 }),
            ("x.tar.lz4", { $0.level = -70_000 }),
            ("", { _ in }), ("a/", { _ in }), (".x.tar", { _ in }), ("x-%5d.tar", { _ in }),
            ("x-%s.tar", { _ in }),
            ("x-%d-%d.tar", { _ in }), ("x-%.tar", { _ in }), ("x-%0d.tar", { _ in }),
            ("x-%099d.tar", { _ in }),
            ("x-%0999999999999999999999d.tar", { _ in }), ("x%", { _ in }), ("x\u{0}.tar", { _ in }),
        ]
        for (index, (name, change)) in changes.enumerated() {
            let error = #expect(throws: HeadraceError.self, "\(index): \(name)") {
                try Self.settings(name, change)
            }
            #expect(error?.code == .usage, "\(index): \(name)")
        }
    }

    @Test func patternsNameTheirShards() throws {
        let pattern = try OutputPattern("a%b/train-%04d.tar")
        #expect(pattern.directory == "a%b/" && pattern.name(7) == "train-0007.tar")
        #expect(pattern.capacity == 10_000 && pattern.readPattern(count: 1) == "a%b/train-0000.tar")
        #expect(pattern.readPattern(count: 12) == "a%b/train-{0000..0011}.tar")
        #expect(pattern.matches("train-0012.tar") && !pattern.matches("train-12.tar"))
        #expect(
            !pattern.matches("train-00012.tar") && !pattern.matches("train-.tar")
                && !pattern.matches("train-+001.tar"))
        let percent = try OutputPattern("50%%-%d.tar")
        #expect(percent.name(3) == "50%-3.tar" && percent.nameInManifest == "50%%-%d.tar")
        #expect(percent.matches("50%-10.tar") && !percent.matches("50%-010.tar"))
        let single = try OutputPattern("one.tar")
        #expect(single.isSingle && single.matches("one.tar") && !single.matches("one.tar2"))
    }

    @Test func tooFewDigitsAreRefused() throws {
        let tree = try PackTree()
        for number in 0..<101 { try tree.put("s\(number).bin", [1]) }
        var options = tree.options("x-%02d.tar")
        options.shardLimit = .samples(1)
        let error = #expect(throws: HeadraceError.self) { try tree.pack(options) }
        #expect(error?.code == .usage && error?.message.contains("%03d") == true)
        #expect(tree.outputNames() == [])
        options.output = "\(tree.output)/x-%d.tar"
        #expect(try tree.pack(options).summary.readPattern == "\(tree.output)/x-{0..100}.tar")
    }
}
