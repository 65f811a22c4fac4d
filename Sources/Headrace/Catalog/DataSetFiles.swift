package import HeadraceCore

extension Dataset {
    /// The files that reading this data set would read: its shards, and what lies in its directories.
    package func filePaths() throws(HeadraceError) -> [String] {
        let catalog = try Catalog(shards, names: FieldNames())
        var paths: [String] = []
        for shard in catalog.shards {
            if let samples = catalog.directories[shard.number] {
                for sample in samples { paths += sample.fields.map(\.path) }
            } else {
                paths.append(shard.path)
            }
        }
        return paths
    }
}

extension Loader {
    /// Bytes of all shards: what one epoch reads.
    package var shardByteCount: Int { engine.catalog.shards.reduce(0) { $0 + $1.size } }
}
