internal import Glibc
package import HeadraceCore
package import HeadraceFormats
internal import HeadraceStorage

/// Writes indexes and what goes with them; shards are never touched.
package struct IndexStore: Sendable {
    private let places: IndexPlaces

    /// - Parameter folder: where to write, nil for `.headrace/` beside each shard.
    package init(folder: String?) { places = IndexPlaces(folder: folder) }

    /// Where the index of `shard` is written.
    package func path(ofShard shard: String) -> String { places.own(shard) }

    /// What is in an index's place.
    package enum Present: Sendable {
        case nothing
        /// An index that fits its shard.
        case current
        /// One of ours that does not, and why.
        case stale(HeadraceError)
    }

    /// Looks at what is there for `shard`. Throws `exists` where it is no index of ours: that is nobody's to replace.
    package func present(forShard shard: String) throws(HeadraceError) -> Present {
        let path = places.own(shard)
        guard let kind = try LocalFiles.kind(path) else { return .nothing }
        guard kind == .file, try hasMagic(path) else {
            throw HeadraceError(
                .exists,
                "a file that is no index of headrace's is in the way of one; move it, or write the indexes elsewhere "
                    + "(-o DIR)", at: .init(shard: path))
        }
        do throws(HeadraceError) {
            let index = try ShardIndex.read(path, keepsOpen: false)
            try FileChecksums(shard).check(index)
            try index.verifyChecksum()
            return .current
        } catch {
            guard error.code == .indexMismatch else { throw error }
            return .stale(error)
        }
    }

    private func hasMagic(_ path: String) throws(HeadraceError) -> Bool {
        let file = try LocalStorage(engine: .pread).open(path)
        let count = min(file.size, ShardIndexLayout.magic.count)
        return try ShardProbe(reader: BlockingReader()).bytes(of: file, 0..<count) == ShardIndexLayout.magic
    }

    /// Writes the index of `shard`, whole or not at all.
    package func write(_ index: FoundIndex, forShard shard: String) throws(HeadraceError) {
        let path = places.own(shard)
        try makeFolder(folder(of: path))
        let file = try AtomicFile(path, replacing: true)
        let output = index.encoded()
        try unsafe file.append(output.bytes)
        try file.commit()
    }

    /// Throws where two shards would have their indexes in one place.
    package func refuseClashes(_ shards: [String]) throws(HeadraceError) {
        var owners: [String: String] = [:]
        for shard in shards {
            let path = places.own(shard)
            if let other = owners.updateValue(shard, forKey: path) {
                throw HeadraceError(
                    .usage,
                    other == shard
                        ? "this shard is named twice"
                        : "its index would have the place of that of '\(other)', which has the same name: give folders "
                            + "of their own to shards of different folders",
                    at: .init(shard: shard))
            }
        }
    }

    // MARK: Manifest

    /// A shard as the manifest will list it.
    package struct Listing: Sendable {
        package var shard: String
        package var format: ShardFormatKind
        package var codec: CodecKind
        package var fields: [String]
        package var entry: Manifest.Shard

        package init(shard: String, _ header: ShardIndexHeader, fields: [String], sha256: String?) {
            self.shard = shard
            self.format = header.format
            self.codec = header.codec
            self.fields = fields
            entry = Manifest.Shard(
                name: baseName(shard), sampleCount: header.sampleCount, byteCount: header.shardByteCount,
                uncompressedByteCount: header.uncompressedByteCount, sha256: sha256)
        }
    }

    /// What the index that is there already says: its header, its frames where it has any, and what the manifest will
    /// say of its shard.
    package func kept(
        ofShard shard: String
    ) throws(HeadraceError) -> (header: ShardIndexHeader, frameCount: Int?, listing: Listing) {
        let index = try ShardIndex.read(places.own(shard), keepsOpen: false)
        return (
            index.header, index.frames.isEmpty ? nil : index.frames.count,
            Listing(shard: shard, index.header, fields: index.fields, sha256: nil)
        )
    }

    /// Enters shards that the manifests do not list yet. An entry that says otherwise is replaced where `replaces` is
    /// set; else it is thrown, as `indexMismatch`, after all that fit were entered.
    package func enter(_ listings: [Listing], replaces: Bool) throws(HeadraceError) {
        var failure: HeadraceError?
        let byManifest = Dictionary(grouping: listings) { places.manifest($0.shard) }
        for path in byManifest.keys.sorted(by: LocalFiles.isBefore) {
            guard let listings = byManifest[path] else { continue }
            try makeFolder(folder(of: path))
            let lock = try FolderLock(folder(of: path))
            defer { lock.release() }
            var manifest = try Manifest.readIfThere(path)
            var isChanged = false
            for listing in listings {
                do throws(HeadraceError) {
                    if try manifest.enter(listing, replaces: replaces, path: path) { isChanged = true }
                } catch {
                    failure = failure ?? error
                }
            }
            if isChanged { try manifest.write(to: path) }
        }
        if let failure { throw failure }
    }

    private func folder(of path: String) -> String {
        let prefix = folderPrefix(path)
        return prefix.isEmpty ? "." : String(prefix.dropLast())
    }
}

extension Manifest {
    /// Enters one shard; false where it is there already.
    fileprivate mutating func enter(
        _ listing: IndexStore.Listing, replaces: Bool, path: String
    ) throws(HeadraceError) -> Bool {
        let entry = listing.entry
        for set in sets.indices {
            guard
                let place = sets[set].shards.firstIndex(where: { $0.name.utf8.elementsEqual(entry.name.utf8) }
                )
            else { continue }
            let old = sets[set].shards[place]
            let isSame =
                old.byteCount == entry.byteCount && old.sampleCount == entry.sampleCount
                && old.uncompressedByteCount == entry.uncompressedByteCount
            if isSame, old.sha256 == entry.sha256 || entry.sha256 == nil { return false }
            guard isSame && old.sha256 == nil || replaces else {
                throw HeadraceError(
                    .indexMismatch,
                    "the manifest \(path) lists it with \(old.sampleCount) samples in \(old.byteCount) bytes"
                        + (isSame
                            ? ", as it is, but with another SHA-256"
                            : ", it has \(entry.sampleCount) in \(entry.byteCount)")
                        + ": it was changed since; bring the right one back, or let the entry be replaced (--rebuild)",
                    at: .init(shard: listing.shard))
            }
            sets[set].shards[place] = entry
            return true
        }
        let pattern = Self.pattern(of: entry.name)
        let known = sets.firstIndex {
            $0.pattern == pattern && $0.format == listing.format && $0.codec == listing.codec
                && $0.libraries.isEmpty
        }
        guard let known else {
            sets.append(
                ShardSet(
                    pattern: pattern, format: listing.format, codec: listing.codec, fields: listing.fields,
                    libraries: [:], shards: [entry]))
            sets.sort { $0.pattern.utf8.lexicographicallyPrecedes($1.pattern.utf8) }
            return true
        }
        sets[known].shards.append(entry)
        sets[known].shards.sort { LocalFiles.isBefore($0.name, $1.name) }
        sets[known].fields = Set(sets[known].fields + listing.fields).sorted(by: LocalFiles.isBefore)
        return true
    }

    /// What a name has in common with its likes: `train-*.tar` of `train-000017.tar`.
    static func pattern(of name: String) -> String {
        var stem = Substring(name)
        var ending = Substring()
        if let dot = name.lastIndex(of: "."), ["lz4"].contains(name[name.index(after: dot)...].lowercased()) {
            stem = name[..<dot]
            ending = name[dot...]
        }
        var pattern = ""
        var wasDigit = false
        for character in stem {
            let isDigit = character.isASCII && character.isNumber
            if !isDigit { pattern.append(character) } else if !wasDigit { pattern.append("*") }
            wasDigit = isDigit
        }
        return pattern + ending
    }
}
