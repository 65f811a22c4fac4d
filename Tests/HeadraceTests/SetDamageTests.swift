import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// Cuts and flips in shards that have a manifest: `verify` must find every one, and a loader that skips defects must
/// account for every sample and byte.
struct SetDamageTests {
    static let endings = ["tar", "tar.zst", "tar.lz4", "tfrecord", "tfrecord.zst", "tfrecord.lz4"]
    static let isFull = ProcessInfo.processInfo.environment["HEADRACE_FAULTS"] == "full"
    static let sampleCount = 30

    /// One shard with its manifest and index.
    struct Packed {
        let folder = TemporaryFolder()
        let path: String
        let bytes: [UInt8]
        /// By key.
        let payloads: [String: [UInt8]]

        init(_ ending: String) throws {
            let samples = (0..<SetDamageTests.sampleCount).map { index in
                (
                    key: "k\(index)",
                    fields: [
                        ("bin", LoaderFixture.bytes(index * 61 % 1500, seed: index)),
                        ("cls", Array("\(index)".utf8)),
                    ]
                )
            }
            var options = PackOptions(output: folder("s.\(ending)"))
            if ending.contains(".") { options.frameByteCount = 16 << 10 }
            _ = try Packer([ListSource(samples: samples)], options: options).run()
            path = folder("s.\(ending)")
            bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
            payloads = Dictionary(uniqueKeysWithValues: samples.map { ($0.key, $0.fields[0].1) })
        }

        /// Puts a damaged copy in the shard's place: cut for even numbers, flipped for odd ones, all over the file.
        func damage(_ number: Int, of count: Int) throws -> (name: String, flipped: Int?) {
            var copy = bytes
            let place = number * bytes.count / count
            if number % 4 == 0 {
                copy.removeSubrange(place...)
                try Data(copy).write(to: URL(fileURLWithPath: path))
                return ("cut to \(place)", nil)
            }
            let mask = UInt8(1) << UInt8(number % 8)
            copy[place] ^= mask
            try Data(copy).write(to: URL(fileURLWithPath: path))
            return ("byte \(place) ^ \(mask)", place)
        }
    }

    @Test(arguments: endings) func verifyFindsEveryOne(_ ending: String) throws {
        let shard = try Packed(ending)
        let sidecars = ShardSidecars()
        func verdict() -> ShardVerdict {
            ShardVerifier(shard.path, sidecars: sidecars, memory: .mebibytes(64)).verify()
        }
        #expect(verdict().isSound)
        let count = Self.isFull ? 20_000 : 200
        for number in 0..<count {
            let damage = try shard.damage(number, of: count)
            let verdict = verdict()
            #expect(!verdict.isSound, "\(ending): \(damage.name)")
            #expect(!verdict.defects.contains { $0.code == .unaccounted }, "\(ending): \(damage.name)")
        }
    }

    /// Of a plain tar the payloads have no checksum that a reader could see; everywhere else a sample is delivered as
    /// it was written, or it is counted.
    @Test(arguments: endings) func theLoaderAccountsForEverySample(_ ending: String) throws {
        let shard = try Packed(ending)
        let count = Self.isFull ? 20_000 : 120
        var refusedCount = 0
        for number in 0..<count {
            let damage = try shard.damage(number, of: count)
            let dataset = Dataset(shard.path).decoding("bin", with: .raw).batched(8).memory(.mebibytes(32))
                .onDefect(.skip(limit: 1000)).with { $0.parsesExamples = true }
            let loader: Loader
            do throws(HeadraceError) {
                loader = try dataset.loader()
            } catch {
                // Refused as a whole: the shard that tells what the data set looks like cannot be understood.
                #expect(error.code.category == .data, "\(ending), \(damage.name): \(error)")
                refusedCount += 1
                continue
            }
            defer { loader.close() }
            var delivered = 0
            while let batch = try loader.next() {
                let column = try batch["bin"]
                for (row, key) in batch.keys.enumerated() {
                    let payload = column.withRow(row) { Array($0) }
                    if payload != shard.payloads[key] {
                        #expect(
                            ending == "tar" && damage.flipped != nil, "\(ending), \(damage.name): \(key)")
                    }
                    delivered += 1
                }
            }
            let report = loader.report()
            #expect(report.samples == delivered)
            // Damage behind the last sample hides no sample, but is counted as one that cannot be read.
            let isBehind = delivered == Self.sampleCount && report.skipped == 1
            #expect(
                report.samples + report.skipped + report.dropped == Self.sampleCount + (isBehind ? 1 : 0),
                "\(ending), \(damage.name): \(report.samples) and \(report.skipped)")
            #expect(report.found == report.samples + report.skipped, "\(ending), \(damage.name)")
        }
        #expect(refusedCount < count / 3, "\(ending): \(refusedCount) of \(count) were refused")
    }
}
