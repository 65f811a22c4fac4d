internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Where the index of a shard lies, ours and others'.
///
/// Ours is `.headrace/NAME.index` beside the shard, or `NAME.index` in a folder of its own (`--index DIR`, for shards on
/// storage that cannot be written). That folder is looked into first. A link to a shard is that shard: what lies beside
/// the file that it leads to comes last.
struct IndexPlaces: Sendable {
    /// The folder of its own, without a slash at its end; nil for none.
    let folder: String?

    init(folder: String?) {
        guard var path = folder, !path.isEmpty else {
            self.folder = nil
            return
        }
        while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        self.folder = path
    }

    /// Where our index of `shard` is written.
    func own(_ shard: String) -> String {
        folder.map { "\($0)/\(baseName(shard)).index" } ?? ShardIndexLayout.path(forShard: shard)
    }

    /// Where the manifest is that lists `shard`.
    func manifest(_ shard: String) -> String {
        folder.map { "\($0)/manifest.json" } ?? ShardIndexLayout.manifestPath(forShard: shard)
    }

    /// Every place where an index of `shard` may be, in the order in which they are looked at: the first that has one
    /// decides.
    func all(_ shard: String) -> [(path: String, isOurs: Bool)] {
        var places: [(path: String, isOurs: Bool)] = []
        if folder != nil {
            places.append((own(shard), true))
            places += foreign(shard).map { ($0, false) }
        }
        let beside = IndexPlaces(folder: nil)
        for path in [shard, LocalFiles.linkTarget(shard)] {
            guard let path else { continue }
            places.append((beside.own(path), true))
            places += beside.foreign(path).map { ($0, false) }
        }
        return places
    }

    /// Names that DALI's index of `shard` may have: `x.tar.idx`, `x.idx`, and up to the first dot of the name.
    private func foreign(_ shard: String) -> [String] {
        let name = baseName(shard)
        let directory = folder.map { $0 + "/" } ?? folderPrefix(shard)
        var names = ["\(name).idx"]
        for dot in [name.lastIndex(of: "."), name.dropFirst().firstIndex(of: ".")] {
            guard let dot, dot > name.startIndex, !names.contains("\(name[..<dot]).idx") else { continue }
            names.append("\(name[..<dot]).idx")
        }
        return names.map { directory + $0 }
    }

    /// Where DALI's index of `shard` is written: the last part of the name gives way to `idx`.
    func dali(_ shard: String) -> String {
        let name = baseName(shard)
        let directory = folder.map { $0 + "/" } ?? folderPrefix(shard)
        guard let dot = name.lastIndex(of: "."), dot > name.startIndex else {
            return "\(directory)\(name).idx"
        }
        return "\(directory)\(name[..<dot]).idx"
    }

    /// Where the index of wids that lists `shard` is.
    func wids(_ shard: String) -> String {
        let directory = folder.map { $0 + "/" } ?? folderPrefix(shard)
        return directory + WidsIndex.fileName
    }
}
