import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// What a dry run says of damaged compressed shards is what the run does: the listing decides which samples are
/// good, and the second reading must not fail on damage behind them.
@Suite struct RepackDamagedTests {
    /// A damaged shard: what was done to it, and its bytes.
    private struct Damaged {
        let what: String
        let bytes: [UInt8]
    }

    /// The shard cut, flipped and continued with garbage, at places all over it.
    private func damages(_ bytes: [UInt8]) -> [Damaged] {
        var damages = [Damaged(what: "garbage behind it", bytes: bytes + Array("garbage".utf8) + bytes)]
        for part in 1..<12 {
            let place = bytes.count * part / 12
            damages.append(Damaged(what: "cut at \(place)", bytes: Array(bytes[..<place])))
            var flipped = bytes
            flipped[place] ^= 0x10
            damages.append(Damaged(what: "flipped at \(place)", bytes: flipped))
        }
        for distance in 1...9 {
            var flipped = bytes
            flipped[bytes.count - distance] ^= 0x10
            damages.append(Damaged(what: "flipped \(distance) before the end", bytes: flipped))
        }
        return damages
    }

    /// 60 samples of sizes that spread over several frames and pieces of input.
    private func shard(_ name: String) throws -> [UInt8] {
        let tree = try PackTree()
        for number in 0..<60 {
            try tree.put(
                "s\(number + 10).bin", (0..<20_000).map { UInt8(truncatingIfNeeded: $0 * number >> 3) })
        }
        let plain = name.hasSuffix(".gz") ? String(name.dropLast(3)) : name
        var options = tree.options(plain)
        if plain == name { options.frameByteCount = 128 << 10 }
        try tree.pack(options)
        if plain != name { try run("/bin/sh", ["-c", "gzip -n '\(tree.output)/\(plain)'"]) }
        return try tree.content("\(tree.output)/\(name)")
    }

    private func run(_ tool: String, _ arguments: [String]) throws {
        let process = try Process.run(URL(fileURLWithPath: tool), arguments: arguments)
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }

    @Test(arguments: ["d.tar.zst", "d.tar.lz4", "d.tfrecord.zst", "d.tar.gz", "d.tfrecord.gz"])
    func theRunPacksWhatTheDryRunCounts(name: String) throws {
        let tree = try PackTree()
        let path = "\(tree.source)/\(name)"
        var packed = 0
        for damaged in damages(try shard(name)) {
            try Data(damaged.bytes).write(to: URL(fileURLWithPath: path))
            for order in [PackOrder.asFound, .shuffled(seed: 3)] {
                var options = tree.options("x-%d.tar.zst")
                options.onDefect = .skip(limit: .max)
                options.order = order
                options.overwrite = true
                let packer = { try Packer(try packSources(at: [path]), options: options) }
                let planned = Result { try packer().plan() }
                let ran = Result { try packer().run() }
                switch (planned, ran) {
                case (.success(let plan), .success(let result)):
                    #expect(plan.sampleCount == result.summary.sampleCount, "\(damaged.what), \(order)")
                    packed += 1
                case (.failure(let dry), .failure(let error)):
                    let codes = [dry, error].map { ($0 as? HeadraceError)?.code }
                    #expect(codes[0] == codes[1], "\(damaged.what), \(order): \(dry), \(error)")
                default:
                    Issue.record("\(damaged.what), \(order): dry run \(planned), run \(ran)")
                }
            }
        }
        // Otherwise nothing was compared.
        #expect(packed > 20)
    }
}
