internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// One sample of a plain directory: the files that share a stem.
struct FileSample: Sendable {
    struct Field: Sendable {
        /// Number of the field's name in the loader's ``FieldNames``.
        var name: Int32
        var path: String
        var size: Int
    }

    var key: [UInt8]
    var fields: [Field]

    var byteCount: Int { fields.reduce(0) { $0 + $1.size } }
}

/// Room 1: what a data set consists of, before anything of it is read.
struct Catalog: Sendable {
    /// Bytes of one shard (4 TiB); a million of them still add up without overflow.
    static let largestShard = 1 << 42

    let shards: [Shard]
    /// Number of the first shard of each data set, and at the end the count of all shards: one data set, but for mixtures.
    let dataSetStarts: [Int]
    /// Samples of those entries that are directories, by shard number.
    let directories: [Int: [FileSample]]
    /// The shards' names as UTF-8, for keys of samples that have none.
    let nameBytes: [[UInt8]]
    /// What the user should know of how the words were understood.
    let notes: [String]

    /// Samples of the whole data set, where the manifests tell.
    var listedSampleCount: Int? {
        var sum = 0
        for shard in shards {
            guard let count = directories[shard.number]?.count ?? shard.listed?.sampleCount else {
                return nil
            }
            // A manifest can claim anything.
            sum = min(PlanLimits.sampleCount, PlanLimits.sum(sum, count))
        }
        return sum
    }

    var byteCount: Int { shards.reduce(0) { $0 + $1.size } }

    /// Lists what `words` mean: shard files, patterns of them, or directories.
    ///
    /// A directory that holds nothing but shards (and indexes of them) stands for these shards, in the order of their
    /// names. Any other directory is a source of samples itself: the files of one stem are a sample.
    ///
    /// - Parameter isMixture: each word is a data set of its own.
    init(_ words: [String], isMixture: Bool = false, names: FieldNames) throws(HeadraceError) {
        var shards: [Shard] = []
        var directories: [Int: [FileSample]] = [:]
        var notes: [String] = []
        var starts = [0]
        for group in isMixture ? words.map({ [$0] }) : [words] {
            try Self.list(group, names, &shards, &directories, &notes)
            starts.append(shards.count)
        }
        guard !shards.isEmpty else {
            throw HeadraceError(.usage, "no shards were named")
        }
        self.shards = try Self.withManifests(shards)
        self.directories = directories
        self.notes = notes
        dataSetStarts = starts
        nameBytes = shards.map { Array($0.name.utf8) }
    }

    /// Puts what `words` mean behind `shards`.
    private static func list(
        _ words: [String], _ names: FieldNames, _ shards: inout [Shard],
        _ directories: inout [Int: [FileSample]], _ notes: inout [String]
    ) throws(HeadraceError) {
        for path in try ShardPattern.resolve(words) {
            if path.contains("://") {
                throw HeadraceError(
                    .unsupported, "remote shards cannot be read yet; copy them to a local disk",
                    at: .init(shard: path))
            }
            guard try LocalFiles.kind(path) == .directory else {
                let size = try Self.checkedSize(LocalFiles.entry(path).size, path)
                shards.append(Shard(number: shards.count, path: path, size: size))
                continue
            }
            // A tree that cannot be listed as shards (a loop of links, say) may still be a source of files.
            if let found = ShardName.shards(among: (try? LocalFiles.list(path))?.files ?? []) {
                for entry in found {
                    let size = try Self.checkedSize(entry.size, entry.path)
                    shards.append(Shard(number: shards.count, path: entry.path, size: size))
                }
                try ShardFiles.checkComplete(path)
                continue
            }
            let samples = try DirectoryListing.samples(of: path, names: names, notes: &notes)
            guard !samples.isEmpty else {
                throw HeadraceError(
                    .notFound, "there are no samples in this directory: no file in it has a name KEY.FIELD",
                    at: .init(shard: path))
            }
            directories[shards.count] = samples
            let size = samples.reduce(0) { $0 + $1.byteCount }
            shards.append(Shard(number: shards.count, path: path, size: size))
        }
    }

    /// Sparse files can claim any size; beyond this, arithmetic on offsets and sums would overflow.
    private static func checkedSize(_ size: Int, _ path: String) throws(HeadraceError) -> Int {
        guard size <= largestShard else {
            throw HeadraceError(
                .limitExceeded,
                "the file claims \(ByteCount(size)), more than the \(ByteCount(largestShard)) of the largest shard",
                at: .init(shard: path))
        }
        return size
    }

    /// Looks each shard up in the manifest of its folder.
    private static func withManifests(_ shards: [Shard]) throws(HeadraceError) -> [Shard] {
        var folders: [String: [String: Shard.Listed]] = [:]
        func entry(_ folder: String, _ name: String) throws(HeadraceError) -> Shard.Listed? {
            if folders[folder] == nil {
                folders[folder] = try entries(of: folder + "/.headrace/manifest.json")
            }
            return folders[folder]?[name]
        }
        var listed: [Shard] = []
        listed.reserveCapacity(shards.count)
        for var shard in shards {
            shard.listed = try entry(shard.folder, shard.name)
            // A link to a shard is that shard: its manifest lies beside what the link leads to.
            if shard.listed == nil, let target = LocalFiles.linkTarget(shard.path) {
                let slash = target.utf8.lastIndex(of: UInt8(ascii: "/")) ?? target.startIndex
                shard.listed = try entry(
                    String(target[..<slash]), String(target[target.utf8.index(after: slash)...]))
            }
            listed.append(shard)
        }
        return listed
    }

    private static func entries(of path: String) throws(HeadraceError) -> [String: Shard.Listed] {
        guard try LocalFiles.kind(path) == .file else { return [:] }
        var entries: [String: Shard.Listed] = [:]
        for set in try Manifest.read(path).sets {
            for shard in set.shards {
                entries[shard.name] = .init(byteCount: shard.byteCount, sampleCount: shard.sampleCount)
            }
        }
        return entries
    }
}
