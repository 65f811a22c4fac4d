package import HeadraceCore
internal import HeadraceFormats
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
            try checkComplete(path)
            paths += found.map(\.path)
        }
        return paths
    }

    /// Throws `notFound` when the manifest of `directory` lists shards that are not there: who names a directory means
    /// all of it.
    static func checkComplete(_ directory: String) throws(HeadraceError) {
        let path = directory + "/.headrace/manifest.json"
        guard try LocalFiles.kind(path) == .file else { return }
        var missing: [String] = []
        for set in try Manifest.read(path).sets {
            for shard in set.shards where try LocalFiles.kind("\(directory)/\(shard.name)") != .file {
                missing.append(shard.name)
            }
        }
        guard let first = missing.first else { return }
        throw HeadraceError(
            .notFound,
            "the manifest of this directory lists \(missing.count) shards that are not here, the first is \(first); "
                + "bring them back, or name the shards that are to be read",
            at: .init(shard: directory))
    }
}
