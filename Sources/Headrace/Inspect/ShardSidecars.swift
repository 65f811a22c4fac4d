package import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// What lies in `.headrace/` beside shards: manifests are read once for all the shards of a folder.
// Sendable: `lock` guards the cache.
package final class ShardSidecars: @unchecked Sendable {
    private let lock = Lock()
    private var folders: [String: Result<Folder?, HeadraceError>] = [:]

    /// A manifest with its shards by name: a data set can have a hundred thousand.
    struct Folder: Sendable {
        let path: String
        let manifest: Manifest
        private let places: [[UInt8]: (set: Int, shard: Int)]

        init(path: String, manifest: Manifest) {
            self.path = path
            self.manifest = manifest
            var places: [[UInt8]: (set: Int, shard: Int)] = [:]
            for (set, shards) in manifest.sets.enumerated() {
                for (number, shard) in shards.shards.enumerated() {
                    places[Array(shard.name.utf8)] = (set, number)
                }
            }
            self.places = places
        }

        func entry(named name: String) -> (set: Manifest.ShardSet, shard: Manifest.Shard)? {
            places[Array(name.utf8)].map { (manifest.sets[$0.set], manifest.sets[$0.set].shards[$0.shard]) }
        }
    }

    package init() {}

    /// The manifest of the folder of the shard at `path`; nil where there is none.
    func folder(ofShard path: String) throws(HeadraceError) -> Folder? {
        let place = ShardIndexLayout.manifestPath(forShard: path)
        return try lock.withLock { () -> Result<Folder?, HeadraceError> in
            if let known = folders[place] { return known }
            let result: Result<Folder?, HeadraceError>
            do throws(HeadraceError) {
                result = .success(Folder(path: place, manifest: try Manifest.read(place)))
            } catch {
                result = error.code == .notFound ? .success(nil) : .failure(error)
            }
            folders[place] = result
            return result
        }.get()
    }

    /// What a manifest says of the shard at `path`: the one beside it or, where that does not know the shard,
    /// the one beside the file that the path leads to. Nil where neither does.
    func entry(
        ofShard path: String
    ) throws(HeadraceError) -> (folder: String, set: Manifest.ShardSet, shard: Manifest.Shard)? {
        for place in [path, LocalFiles.linkTarget(path)] {
            guard let place, let folder = try folder(ofShard: place) else { continue }
            if let entry = folder.entry(named: baseName(place)) {
                return (folder.path, entry.set, entry.shard)
            }
        }
        return nil
    }

    /// The index of the shard at `path`; nil where there is none.
    static func index(ofShard path: String) throws(HeadraceError) -> ShardIndex? {
        do throws(HeadraceError) {
            return try ShardIndex.read(ShardIndexLayout.path(forShard: path))
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }

    /// Shards that the manifests seen so far list and that are not there, as paths in the order of the
    /// manifests.
    package func missingShards() throws(HeadraceError) -> [String] {
        let seen = lock.withLock { folders.compactMap { try? $0.value.get() } }
        var missing: [String] = []
        for folder in seen.sorted(by: { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }) {
            let directory = folder.path.dropLast(".headrace/manifest.json".utf8.count)
            for set in folder.manifest.sets {
                for shard in set.shards where try LocalFiles.kind(directory + shard.name) == nil {
                    missing.append(directory + shard.name)
                }
            }
        }
        return missing
    }
}

/// The checksum that a manifest has of a whole shard.
package enum ShardSum {
    /// In hexadecimal; nil when `isCancelled` said so on the way.
    package static func sha256(_ path: String, isCancelled: () -> Bool) throws(HeadraceError) -> String? {
        try FileChecksums(path).sha256(isCancelled: isCancelled)
    }
}

/// Reads of a whole file for its checksums.
struct FileChecksums {
    private static let pieceBytes = 1 << 20
    let file: any StorageFile

    init(_ path: String) throws(HeadraceError) {
        file = try LocalStorage(engine: .pread).open(path)
    }

    init(_ file: any StorageFile) { self.file = file }

    /// Holds the index against the file's size and both of its ends.
    func check(_ index: ShardIndex) throws(HeadraceError) {
        try index.check(shardByteCount: file.size)
        let ends = try ends()
        try index.check(shardByteCount: file.size, headCRC32C: ends.head, tailCRC32C: ends.tail)
    }

    /// CRC-32C of the file's first and last bytes: with its size, the sampled identity of a shard.
    func ends() throws(HeadraceError) -> (head: UInt32, tail: UInt32) {
        let sampled = min(file.size, ShardIndexLayout.sampledByteCount)
        let probe = ShardProbe(reader: BlockingReader())
        let head = try probe.bytes(of: file, 0..<sampled)
        let tail = try probe.bytes(of: file, file.size - sampled..<file.size)
        return (
            head: unsafe head.withUnsafeBytes { unsafe crc32c($0) },
            tail: unsafe tail.withUnsafeBytes { unsafe crc32c($0) }
        )
    }

    /// SHA-256 of the file in hexadecimal; nil when `isCancelled` said so on the way.
    func sha256(isCancelled: () -> Bool) throws(HeadraceError) -> String? {
        var hash = SHA256()
        return try unsafe read(isCancelled: isCancelled) { unsafe hash.update($0) } ? hash.hexadecimal() : nil
    }

    /// MD5 of the file in hexadecimal; nil when `isCancelled` said so on the way.
    func md5(isCancelled: () -> Bool) throws(HeadraceError) -> String? {
        var hash = MD5()
        return try unsafe read(isCancelled: isCancelled) { unsafe hash.update($0) } ? hash.hexadecimal() : nil
    }

    /// Gives the file to `body` piece by piece; false when it was cancelled.
    private func read(
        isCancelled: () -> Bool, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(HeadraceError) -> Bool {
        let reader = BlockingReader()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.pieceBytes, alignment: 4096)
        defer { unsafe memory.deallocate() }
        var completions: [ReadCompletion] = []
        var offset = 0
        while offset < file.size {
            if isCancelled() { return false }
            let length = min(Self.pieceBytes, file.size - offset)
            completions.removeAll(keepingCapacity: true)
            unsafe reader.submit([
                ReadRequest(ticket: 0, file: file, offset: offset, length: length, destination: memory)
            ])
            reader.wait(minimum: 1, into: &completions)
            let count = try completions[0].result.get()
            guard count == length else {
                throw HeadraceError(
                    .fileChanged, "the file ended early while it was read",
                    at: .init(shard: file.path, offset: offset + count))
            }
            unsafe body(UnsafeRawBufferPointer(start: memory, count: count))
            offset += count
        }
        try file.checkUnchanged()
        return true
    }
}
