import Foundation
import HeadraceCore
import HeadraceFormats

@testable import Headrace

/// Shards of any size that take no room: files of zeros with holes for all of them, which share one index. What looks
/// at indexes alone takes them for real.
struct SparseShards {
    let folder = TemporaryFolder()
    let pattern: String
    let byteCount: Int

    /// - Parameters:
    ///   - count: shards.
    ///   - samples: of each shard; as long as each other, or as `lengths` says.
    ///   - frames: of equal size, in which the samples lie; 0: not compressed.
    init(
        _ count: Int, samples: Int, sampleBytes: Int = 100_000, lengths: ((Int) -> Int)? = nil,
        frames: Int = 0
    ) throws {
        var offset = 0
        let rows = (0..<samples).map { index in
            let row = ByteSpan(offset: offset, length: lengths?(index) ?? sampleBytes)
            offset += row.length
            return row
        }
        byteCount = offset
        let name = frames > 0 ? "x.tfrecord.zst" : "x.tfrecord"
        let sampled = [UInt8](repeating: 0, count: min(byteCount, ShardIndexLayout.sampledByteCount))
        let checksum = sampled.withUnsafeBytes { crc32c($0) }
        let header = ShardIndexHeader(
            format: .tfrecord, codec: frames > 0 ? .zstd : .none, shardByteCount: byteCount,
            uncompressedByteCount: byteCount, sampleCount: samples, headCRC32C: checksum,
            tailCRC32C: checksum)
        let byteCount = byteCount
        let table = (0..<frames).map { index in
            let start = byteCount * index / frames
            let length = byteCount * (index + 1) / frames - start
            return Frame(compressedOffset: start, compressedLength: length, offset: start, length: length)
        }
        let output = OutputBuffer()
        ShardIndexWriter.append(header, fields: [], frames: table, rows: rows, to: output)
        try folder.write("index", output.copy())
        try folder.write("shard", [])
        try FileHandle(forWritingTo: URL(fileURLWithPath: folder("shard"))).truncate(
            atOffset: UInt64(byteCount))
        let files = FileManager.default
        try files.createDirectory(atPath: folder("s/.headrace"), withIntermediateDirectories: true)
        for number in 0..<count {
            try files.linkItem(atPath: folder("shard"), toPath: folder("s/\(number)-\(name)"))
            try files.linkItem(atPath: folder("index"), toPath: folder("s/.headrace/\(number)-\(name).index"))
        }
        pattern = folder("s/*-\(name)")
    }

    /// The plan of a job that reads them in batches of 16.
    func plan(
        cacheLimit: Int? = nil, _ change: (inout LoaderOptions) -> Void = { _ in }
    ) throws -> PlanSummary {
        try PlanSummary(
            PlanRequest(Dataset(pattern).batched(16).with(change), cacheLimit: cacheLimit))
    }
}
