package import HeadraceCore
internal import HeadraceStorage

/// The shard files that a person's words mean, for tools that look at files rather than at samples.
package enum ShardFiles {
    /// Expands patterns; a directory stands for the shards directly or indirectly in it, in the order of
    /// their names.
    package static func list(_ words: [String]) throws(HeadraceError) -> [String] {
        var paths: [String] = []
        for path in try ShardPattern.resolve(words) {
            if path.contains("://") {
                throw HeadraceError(
                    .unsupported, "remote shards cannot be read yet; copy them to a local disk",
                    at: .init(shard: path))
            }
            guard try LocalFiles.kind(path) == .directory else {
                paths.append(path)
                continue
            }
            let found = try LocalFiles.list(path).files.filter { entry in
                ShardName.isShard(entry.relativePath)
                    && !entry.relativePath.split(separator: "/").contains { $0.first == "." }
            }
            guard !found.isEmpty else {
                throw HeadraceError(
                    .notFound,
                    "there are no shards in this directory; 'headrace pack' makes them of plain files",
                    at: .init(shard: path))
            }
            paths += found.map(\.path)
        }
        return paths
    }
}
