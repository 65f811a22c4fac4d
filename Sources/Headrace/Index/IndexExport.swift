package import HeadraceCore
package import HeadraceFormats
internal import HeadraceStorage

/// Writes the indexes of other loaders, about plain shards.
package struct IndexExport: Sendable {
    private let places: IndexPlaces
    private let replaces: Bool

    /// - Parameters:
    ///   - folder: where to write, nil for beside each shard.
    ///   - replaces: whether a file that says otherwise may be replaced. Nothing in it tells who wrote it.
    package init(folder: String?, replaces: Bool) {
        places = IndexPlaces(folder: folder)
        self.replaces = replaces
    }

    /// Writes DALI's index of `shard`; returns its path.
    package func writeDALI(_ index: FoundIndex, forShard shard: String) throws(HeadraceError) -> String {
        guard index.header.codec == .none else {
            throw HeadraceError(
                .unsupported,
                "DALI reads plain shards only, and this one is compressed with \(index.header.codec.rawValue); "
                    + "'headrace pack' writes it plain", at: .init(shard: shard))
        }
        guard !index.rows.isEmpty else {
            throw HeadraceError(
                .unsupported, "the shard has no samples, which DALI's index cannot say",
                at: .init(shard: shard))
        }
        let output: OutputBuffer
        do throws(HeadraceError) {
            output =
                index.header.format == .tar
                ? try DALIIndex.encodeTar(index.members ?? []) : DALIIndex.encodeRecords(index.rows)
        } catch {
            throw error.placed(shard: shard)
        }
        let path = places.dali(shard)
        try write(output.copy(), to: path)
        return path
    }

    /// A shard for wids, with the checksum that its index wants.
    package func widsEntry(
        _ index: FoundIndex, forShard shard: String, isCancelled: () -> Bool
    ) throws(HeadraceError) -> WidsIndex.Shard? {
        guard index.header.codec == .none, index.header.format == .tar else {
            throw HeadraceError(
                .unsupported, "wids reads plain tar shards only; 'headrace pack' makes one of this",
                at: .init(shard: shard))
        }
        guard let md5 = try FileChecksums(shard).md5(isCancelled: isCancelled) else { return nil }
        return WidsIndex.Shard(
            url: try url(ofShard: shard), sampleCount: index.header.sampleCount,
            byteCount: index.header.shardByteCount, md5: md5)
    }

    /// Writes the indexes of wids that list `entries`, one in each folder; returns their paths.
    package func writeWids(
        _ entries: [(shard: String, entry: WidsIndex.Shard)]
    ) throws(HeadraceError) -> [String] {
        let byPath = Dictionary(grouping: entries) { places.wids($0.shard) }
        let paths = byPath.keys.sorted(by: LocalFiles.isBefore)
        for path in paths {
            let shards = (byPath[path] ?? []).map(\.entry)
            let folder = LocalFiles.resolved(folderPrefix(path) + ".") ?? ""
            let index = WidsIndex(name: baseName(folder), shards: shards)
            try write(index.encoded(), to: path)
        }
        return paths
    }

    /// The shard's place as its index names it: relative to the index's folder.
    private func url(ofShard shard: String) throws(HeadraceError) -> String {
        guard let folder = places.folder else { return baseName(shard) }
        try makeFolder(folder)
        guard let from = LocalFiles.resolved(folder), let to = LocalFiles.resolved(shard) else {
            throw HeadraceError(.notFound, "the shard is not there any more", at: .init(shard: shard))
        }
        var above = from.split(separator: "/")
        var below = to.split(separator: "/")
        while let first = above.first, first == below.first, below.count > 1 {
            above.removeFirst()
            below.removeFirst()
        }
        return (above.map { _ in ".." } + below).joined(separator: "/")
    }

    private func write(_ bytes: [UInt8], to path: String) throws(HeadraceError) {
        if let folder = places.folder { try makeFolder(folder) }
        if try LocalFiles.kind(path) == .file {
            if try SmallFile.readBytes(path, limit: DALIIndex.largestByteCount) == bytes { return }
            guard replaces else {
                throw HeadraceError(
                    .exists,
                    "another index is there, and says otherwise; move it, or let it be replaced (--rebuild)",
                    at: .init(shard: path))
            }
        }
        try writeWhole(bytes, to: path)
    }
}
