internal import HeadraceFormats
internal import HeadraceStorage

/// What a shard's file name says about its content. Content decides where it can; the name where it cannot.
enum ShardName {
    private static let formats = ["tar", "tgz", "tfrecord", "tfrecords", "tfr", "record"]
    private static let codecs = ["zst", "zstd", "gz", "lz4", "zlib"]

    /// The shards of a folder that holds nothing else, but for hidden files and the indexes that other loaders keep beside
    /// their shards; nil where there are other files, or no shards.
    static func shards(among files: [LocalFiles.Entry]) -> [LocalFiles.Entry]? {
        var shards: [LocalFiles.Entry] = []
        for file in files where !file.relativePath.split(separator: "/").contains(where: { $0.first == "." })
        {
            if isShard(file.relativePath) {
                shards.append(file)
            } else if !isForeignIndex(file.relativePath) {
                return nil
            }
        }
        return shards.isEmpty ? nil : shards
    }

    private static func isForeignIndex(_ path: String) -> Bool {
        path.hasSuffix(".idx") || baseName(path) == WidsIndex.fileName
    }

    /// Whether the name is one that shards have: `x.tar`, `x.tar.zst`, `x.tgz`, `x.tfrecord.gz`,
    /// `x.tfrecord-00000-of-00012` and the like.
    static func isShard(_ path: String) -> Bool {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let parts = name.lowercased().split(separator: ".").map(String.init)
        guard parts.count >= 2 else { return false }
        for part in parts.dropFirst() {
            let stem = part.split(separator: "-").first.map(String.init) ?? part
            if formats.contains(stem) {
                let rest = parts.drop { $0 != part }.dropFirst()
                return rest.allSatisfy { codecs.contains($0) }
            }
        }
        return false
    }
}
