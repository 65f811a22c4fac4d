import HeadraceCore
import Testing

@testable import Headrace

/// Samples from memory, for packing.
struct ListSource: PackSource {
    var samples: [(key: String, fields: [(String, [UInt8])])]

    func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        for sample in samples {
            inventory.add(key: sample.key, fields: sample.fields.map { ($0.0, .bytes($0.1)) })
        }
    }
}

/// A small data set on disk: `shards` shards of unlike sizes, sample `s/i` with a number and some bytes.
struct LoaderFixture {
    let folder = TemporaryFolder()
    let pattern: String
    /// Keys of each shard, in its order.
    var keys: [[String]] = []
    var payloads: [String: [UInt8]] = [:]

    /// - Parameter counts: samples of each shard.
    init(
        _ name: String = "s-%03d.tar", counts: [Int] = [40, 7, 23, 61, 1],
        payload: (Int) -> Int = { $0 * 37 % 900 }
    )
        throws
    {
        var total = 0
        for (shard, count) in counts.enumerated() {
            var samples: [(String, [(String, [UInt8])])] = []
            for index in 0..<count {
                let key = "k\(shard)-\(index)"
                let bytes = Self.bytes(payload(total), seed: total)
                samples.append((key, [("bin", bytes), ("cls", Array("\(total)".utf8))]))
                payloads[key] = bytes
                total += 1
            }
            keys.append(samples.map(\.0))
            var options = PackOptions(output: folder("shard\(shard)/" + name))
            if name.hasSuffix(".zst") || name.hasSuffix(".lz4") { options.frameByteCount = 16 << 10 }
            _ = try Packer([ListSource(samples: samples)], options: options).run()
        }
        let suffix = name.split(separator: ".").dropFirst().joined(separator: ".")
        pattern = folder("shard{0..\(counts.count - 1)}/s-000.\(suffix)")
    }

    /// Bytes that differ from sample to sample and from place to place; built in blocks, because a debug build is
    /// slow byte by byte.
    static func bytes(_ count: Int, seed: Int) -> [UInt8] {
        var generator = SplitMix64(UInt64(seed))
        let block = (0..<1021).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 2 * block.count)
        while bytes.count < count {
            bytes += block
            bytes += Array("\(bytes.count)".utf8)
        }
        return Array(bytes.prefix(count))
    }

    /// The streamed walk's order, worked out the slow way: one sample of each live lane in turn.
    func expectedOrder(lanes: Int) -> [String] {
        let laneCount = min(lanes, keys.count)
        var queues = (0..<laneCount).map { lane in
            stride(from: lane, to: keys.count, by: laneCount).flatMap { keys[$0] }
        }
        var order: [String] = []
        while queues.contains(where: { !$0.isEmpty }) {
            for lane in queues.indices where !queues[lane].isEmpty {
                order.append(queues[lane].removeFirst())
            }
        }
        return order
    }
}

/// Reads a loader to its end: the keys in order, and the report.
func drain(_ dataset: Dataset) throws -> (keys: [String], report: LoaderReport) {
    let loader = try dataset.loader()
    var keys: [String] = []
    while let batch = try loader.next() { keys += batch.keys }
    let report = loader.report()
    loader.close()
    return (keys, report)
}
