internal import Glibc
package import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

extension PlannedShard {
    /// The shards that `words` mean, with what manifests or indexes say of them; no shard is opened.
    package static func list(_ words: [String]) throws(HeadraceError) -> [PlannedShard] {
        let sidecars = ShardSidecars()
        var shards: [PlannedShard] = []
        for path in try ShardFiles.list(words) {
            let byteCount = try LocalFiles.entry(path).size
            guard byteCount <= Catalog.largestShard else {
                throw HeadraceError(
                    .limitExceeded,
                    "the file claims \(byteCount) bytes, more than the limit largestShard of "
                        + "\(Catalog.largestShard)", at: .init(shard: path))
            }
            var shard = PlannedShard(path: path, byteCount: byteCount, sampleCount: nil)
            if let entry = try sidecars.entry(ofShard: path) {
                guard entry.shard.byteCount == byteCount else {
                    throw HeadraceError(
                        .indexMismatch,
                        "the manifest lists \(entry.shard.byteCount) bytes, the shard has "
                            + "\(byteCount): it was cut or replaced (pack it again, or remove its manifest)",
                        at: .init(shard: path))
                }
                shard.sampleCount = entry.shard.sampleCount
                if let frame = entry.set.frameByteCount {
                    shard.frameCount = max(1, (entry.shard.uncompressedByteCount + frame - 1) / frame)
                }
            } else if let index = try ShardSidecars.index(ofShard: path) {
                try index.check(shardByteCount: byteCount)
                shard.sampleCount = index.header.sampleCount
                shard.frameCount = index.frames.count
            }
            shards.append(shard)
        }
        return shards
    }
}

extension Ranks {
    /// What launchers set in the environment of this process, of all the variables that ``resolve(rank:worldSize:environment:)``
    /// looks at.
    package static var processEnvironment: [String: String] {
        var environment: [String: String] = [:]
        for name in variableNames {
            if let value = unsafe getenv(name) { environment[name] = unsafe String(cString: value) }
        }
        return environment
    }

    /// Nodes of the job, where the launcher says how many of its processes are on each.
    package var nodeCount: Int? {
        let each = Machine.current.processesOnNode
        return each > 1 && worldSize % each == 0 ? worldSize / each : nil
    }
}
