internal import HeadraceCore
internal import HeadraceStorage

extension PlanSummary {
    /// Bytes of the shards' blocks that the cache in `directory` has; nil where there is no cache. Nothing is read but names
    /// of files.
    func heldBytes(_ catalog: Catalog, in directory: String) throws(HeadraceError) -> Int? {
        guard try LocalFiles.kind(directory) == .directory else { return nil }
        let folder: CacheFolder
        do throws(HeadraceError) { folder = try CacheFolder(existing: directory) } catch {
            // An empty directory becomes a cache when a loader opens it; any other is refused by it.
            if error.code == .notFound { return nil }
            throw error
        }
        let storage = try LocalStorage(engine: .pread)
        var sum = 0
        for shard in catalog.shards where catalog.directories[shard.number] == nil {
            sum += folder.heldBytes(of: try storage.open(shard.path))
        }
        return sum
    }
}
