import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Damaged, changing and missing shards as the source of `pack`.
@Suite struct RepackFaultTests {
    /// A tree with 40 samples packed into `name`.
    private func tree(_ name: String) throws -> (tree: PackTree, shard: String) {
        let tree = try PackTree()
        for number in 0..<40 {
            try tree.put("s\(number + 10).bin", (0..<2000).map { UInt8(truncatingIfNeeded: $0 * number) })
        }
        try tree.pack(tree.options(name))
        return (tree, "\(tree.output)/\(name)")
    }

    private func repack(
        _ tree: PackTree, _ shard: String, onDefect: DefectPolicy = .fail, order: PackOrder = .asFound,
        output: String = "new-%d.tar.zst"
    ) throws -> PackResult {
        var options = tree.options("new/" + output)
        options.onDefect = onDefect
        options.order = order
        return try Packer(try packSources(at: [shard]), options: options).run()
    }

    private func flip(_ path: String, at offset: Int) throws {
        var bytes = Array(try #require(FileManager.default.contents(atPath: path)))
        bytes[offset] ^= 0x40
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    @Test(arguments: ["r.tfrecord", "r.tar"])
    func damageFailsOrIsCounted(name: String) throws {
        let (tree, shard) = try tree(name)
        let isTar = name.hasSuffix("tar")
        // A tar's payload has no checksum: its header has.
        try flip(shard, at: isTar ? 10 * 2560 + 20 : 3000)
        let error = #expect(throws: HeadraceError.self) { try repack(tree, shard) }
        #expect(error?.code == (isTar ? .badHeader : .checksumMismatch))
        #expect(error?.place.shard == shard && error?.place.offset != nil)
        #expect(!FileManager.default.fileExists(atPath: "\(tree.output)/new"))
        // Behind a bad header nothing can be found: the manifest tells how many samples that is.
        let lost = isTar ? 30 : 1
        if isTar {
            // Nothing but the manifest guards payloads: with one part of the shard gone, none of it is
            // vouched for.
            let error = #expect(throws: HeadraceError.self) {
                try repack(tree, shard, onDefect: .skip(limit: lost))
            }
            #expect(error?.code == .checksumMismatch)
        } else {
            let result = try repack(tree, shard, onDefect: .skip(limit: lost))
            #expect(result.summary.sampleCount == 40 - lost && result.summary.ignored == [.defect: lost])
            #expect(result.summary.sourceBytes.lost > 0 && result.summary.unreadableRests.isEmpty)
        }
        // A share is judged at the end of the listing, behind what the manifest says of the shard.
        for policy in isTar
            ? [.skip(limit: lost - 1)] : [DefectPolicy.skip(limit: lost - 1), .skipShare(0.02)]
        {
            let error = #expect(throws: HeadraceError.self) { try repack(tree, shard, onDefect: policy) }
            #expect(error?.code == .tooManyDefects, "\(policy)")
        }
    }

    @Test(arguments: ["c.tar", "c.tfrecord", "c.tar.zst"])
    func cutShardsAreNeverSilentlyShorter(name: String) throws {
        let (tree, shard) = try tree(name)
        let size = try tree.content(shard).count
        for cut in [0, 1, 2560, 25_600, size / 2, size - 1024, size - 1] {
            truncate(shard, off_t(cut))
            let error = #expect(throws: HeadraceError.self, "cut at \(cut)") { try repack(tree, shard) }
            #expect(error?.code.category == .data, "cut at \(cut): \(error.map(\.description) ?? "")")
            #expect(!FileManager.default.fileExists(atPath: "\(tree.output)/new"))
            try FileManager.default.removeItem(atPath: tree.output)
            try tree.pack(tree.options(name))
        }
    }

    /// Where nothing comes out of the codec, nobody knows how many bytes would have: those of the file are
    /// lost.
    @Test(arguments: ["b.tar.zst", "b.tar.lz4", "b.tar.gz"], [false, true])
    func aShardThatDoesNotDecompressIsLostByTheByte(name: String, hasMagic: Bool) throws {
        let tree = try PackTree()
        try tree.put("s1.bin", (0..<20_000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 4) })
        try tree.pack(tree.options("good.tar"))
        let good = "\(tree.output)/good.tar"
        let bad = "\(tree.source)/\(name)"
        // Without a seek table, as other programs write them.
        let tool = name.hasSuffix("zst") ? "zstd" : name.hasSuffix("lz4") ? "lz4" : "gzip"
        let words = ["sh", "-c", "\(tool) -qc \(good) >\(bad)"]
        guard try PackOracle.run(["sh", "-c", "command -v \(tool)"])?.status == 0,
            try PackOracle.run(words)?.status == 0
        else { return print("SKIPPED: the program \(tool) is not installed") }
        var bytes = try tree.content(bad)
        let offset = !hasMagic ? 0 : name.hasSuffix("gz") ? 2 : 4
        for place in offset..<offset + 3 { bytes[place] ^= 0xFF }
        try Data(bytes).write(to: URL(fileURLWithPath: bad))
        var options = tree.options("new/x.tar")
        options.onDefect = .skip(limit: .max)
        let summary = try Packer(try packSources(at: [good, bad]), options: options).run().summary
        let goodSize = try tree.content(good).count
        #expect(summary.sampleCount == 1 && summary.ignored == [.defect: 1])
        #expect(summary.sourceBytes.parsed + summary.sourceBytes.ignored == goodSize)
        #expect(summary.sourceBytes.lost == bytes.count)
        #expect(summary.unreadableRests.map(\.path) == [bad])
        #expect(summary.unreadableRests.map(\.byteCount) == [bytes.count])
    }

    @Test(
        arguments: ["w.tar", "w.tar.zst", "w.tfrecord"], ["shrink", "touch", "remove", "exchange"])
    func aSourceThatChangesBetweenThePassesIsNoticed(name: String, how: String) throws {
        let (tree, shard) = try tree(name)
        for order in [PackOrder.asFound, .shuffled(seed: 1)] {
            try FileManager.default.removeItem(atPath: tree.output)
            try tree.pack(tree.options(name))
            let other = "\(tree.root)/other"
            try Data(tree.content(shard)).write(to: URL(fileURLWithPath: other))
            // As it is when both were written within one tick of the file system's clock.
            var status = stat()
            #expect(stat(shard, &status) == 0)
            let times = [status.st_atim, status.st_mtim]
            #expect(utimensat(AT_FDCWD, other, times, 0) == 0)
            let source = MeddlingSource(sources: try packSources(at: [shard])) {
                switch how {
                case "shrink": truncate(shard, 3000)
                case "touch": utimes(shard, [timeval(tv_sec: 1, tv_usec: 0), timeval(tv_sec: 1, tv_usec: 0)])
                case "remove": unlink(shard)
                default: rename(other, shard)
                }
            }
            var options = tree.options("new/x-%d.tar.zst")
            options.order = order
            let error = #expect(throws: HeadraceError.self) { try Packer([source], options: options).run() }
            #expect(error?.code == .fileChanged, "\(error.map(\.description) ?? "")")
            #expect(error?.place.shard == shard)
            #expect(tree.outputNames().filter { $0.hasPrefix("new/") && !$0.hasSuffix(".headrace") } == [])
        }
    }

    @Test func whatIsNoSourceIsRefusedByName() throws {
        let tree = try PackTree()
        try tree.put("noise.bin", (0..<3000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) })
        var error = #expect(throws: HeadraceError.self) { try packSources(at: ["\(tree.source)/noise.bin"]) }
        #expect(error?.code == .unknownFormat && error?.place.shard == "\(tree.source)/noise.bin")
        error = #expect(throws: HeadraceError.self) { try packSources(at: ["\(tree.source)/x-{0..3}.tar"]) }
        #expect(error?.code == .notFound && error?.message.contains("4 of 4") == true)
    }
}
