internal import HeadraceCore
internal import HeadraceFormats

/// The reads of an epoch of a streamed walk: each shard is cut into chunks, each of which is a read.
struct StreamedReads {
    private(set) var count = 0
    private(set) var byteCount = 0
    /// Of all shards, decompressed; nil where nothing tells of one of them.
    private(set) var uncompressedByteCount: Int? = 0

    private let geometry: ChunkGeometry
    private let sidecars = ShardSidecars()

    init(_ catalog: Catalog, budget: Int, lanes: Int) throws(HeadraceError) {
        let geometry = ChunkGeometry(budget: budget, lanes: max(1, min(lanes, catalog.shards.count)))
        // As the loader does, whose workers read for themselves unless they are told otherwise.
        let isPlain = catalog.shards.first.map { catalog.directories[0] == nil && Self.isPlain($0) } ?? false
        self.geometry = isPlain ? geometry.halved() : geometry
        for shard in catalog.shards {
            byteCount += shard.size
            if let samples = catalog.directories[shard.number] {
                count += samples.reduce(0) { $0 + $1.fields.count { $0.size > 0 } }
                add(uncompressed: shard.size)
            } else {
                try add(shard)
            }
        }
    }

    private mutating func add(_ shard: Shard) throws(HeadraceError) {
        let pieces = (shard.size + geometry.chunkBytes - 1) / geometry.chunkBytes
        if Self.isPlain(shard) {
            count += pieces
            add(uncompressed: shard.size)
            return
        }
        let entry = try sidecars.entry(ofShard: shard.path)
        // A streamed walk needs no index: one that cannot be read, or is of another shard, is no matter.
        if let index = try? ShardSidecars.index(ofShard: shard.path),
            index.header.shardByteCount == shard.size
        {
            add(uncompressed: index.header.uncompressedByteCount)
            count +=
                ChunkCutting(
                    size: shard.size, codec: index.header.codec, frames: index.frames, geometry: geometry
                ).count
        } else if let entry, let frame = entry.set.frameByteCount, frame > 0 {
            // Frames share a chunk as long as they fit into it.
            let run = frame > geometry.chunkBytes ? frame : geometry.chunkBytes / frame * frame
            count += max(0, entry.shard.uncompressedByteCount - 1) / run + 1
            add(uncompressed: entry.shard.uncompressedByteCount)
        } else {
            count += pieces
            add(uncompressed: entry?.shard.uncompressedByteCount)
        }
    }

    private mutating func add(uncompressed byteCount: Int?) {
        guard let sum = uncompressedByteCount, let byteCount else {
            uncompressedByteCount = nil
            return
        }
        // What indexes and manifests say can be anything.
        let (total, overflow) = sum.addingReportingOverflow(byteCount)
        uncompressedByteCount = overflow ? nil : total
    }

    /// By its name, which is all that is known before a shard is looked at.
    private static func isPlain(_ shard: Shard) -> Bool {
        let last = shard.name.split(separator: ".").last?.lowercased() ?? ""
        return !["zst", "zstd", "gz", "tgz", "lz4", "zlib"].contains(last)
    }
}
