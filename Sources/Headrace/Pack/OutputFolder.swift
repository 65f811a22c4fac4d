internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// The folder that shards go to: what is there already, and the manifest that all sets in it share.
struct OutputFolder {
    private let pattern: OutputPattern
    /// Path of the folder, "." for the current one.
    let path: String
    private let sidecars: String

    init(_ pattern: OutputPattern) {
        self.pattern = pattern
        path = pattern.directory.isEmpty ? "." : pattern.directory
        sidecars = "\(pattern.directory).headrace"
    }

    var manifestPath: String { "\(sidecars)/manifest.json" }

    /// Temporary files of runs that were interrupted.
    func leftovers() throws(HeadraceError) -> [String] {
        let own = try names(in: path).filter(AtomicFile.isTemporary).map { pattern.directory + $0 }
        return try own + names(in: sidecars).filter(AtomicFile.isTemporary).map { "\(sidecars)/\($0)" }
    }

    /// Makes the folder ready for the pattern's shards.
    ///
    /// Shards of the pattern that are there are refused, or removed with their indexes and their part of the
    /// manifest when `overwrite` is set: all of them and before anything is written, so that old and new ones
    /// never stand side by side as if they were one set. Says whether there was anything to remove.
    func prepare(overwrite: Bool, isInterrupted: Bool) throws(HeadraceError) -> Bool {
        let lock = try FolderLock(sidecars)
        defer { lock.release() }
        let present = try present()
        guard !present.isNothing else { return false }
        guard overwrite else { throw refusal(of: present, isInterrupted: isInterrupted) }
        // The manifest first: from here on nobody may take the shards for a whole set.
        var manifest = present.manifest
        manifest.sets.removeAll(where: isOwn)
        if present.isListed { try write(manifest) }
        do throws(HeadraceError) {
            for path in present.indexes + present.shards { try remove(path) }
        } catch {
            throw error.sayingTheOldSetIsGone
        }
        return true
    }

    /// Throws what ``prepare(overwrite:isInterrupted:)`` would, and changes nothing. Says whether that would
    /// remove anything.
    func check(overwrite: Bool, isInterrupted: Bool) throws(HeadraceError) -> Bool {
        let present = try present()
        if !present.isNothing, !overwrite { throw refusal(of: present, isInterrupted: isInterrupted) }
        return !present.isNothing
    }

    /// Throws where a shard of the pattern is none that the plan of an interrupted run has.
    func refuseStrangers(among plan: PackPlan) throws(HeadraceError) {
        let plannedNames = Set(plan.shards.indices.map { pattern.name($0) })
        guard
            let name = try names(in: path).first(where: { pattern.matches($0) && !plannedNames.contains($0) })
        else { return }
        throw HeadraceError(
            .exists, "this shard is none of the interrupted run's; move it away",
            at: .init(shard: pattern.directory + name))
    }

    /// Paths of the shards of the pattern that are there and of their indexes: what a run removes to make
    /// room.
    func ownFiles() throws(HeadraceError) -> [String] { try ownShards() + ownIndexes() }

    private func ownShards() throws(HeadraceError) -> [String] {
        try names(in: path).filter(pattern.matches).map { pattern.directory + $0 }
    }

    private func ownIndexes() throws(HeadraceError) -> [String] {
        try names(in: sidecars).filter { $0.hasSuffix(".index") && pattern.matches(String($0.dropLast(6))) }
            .map { "\(sidecars)/\($0)" }
    }

    /// What of the pattern is there already.
    private struct Present {
        var shards: [String]
        var indexes: [String]
        var manifest: Manifest
        var isListed: Bool

        var isNothing: Bool { shards.isEmpty && indexes.isEmpty && !isListed }
    }

    private func present() throws(HeadraceError) -> Present {
        let manifest = try readManifest()
        try refuseForeignShards(in: manifest)
        return Present(
            shards: try ownShards(), indexes: try ownIndexes(), manifest: manifest,
            isListed: manifest.sets.contains(where: isOwn))
    }

    private func refusal(of present: Present, isInterrupted: Bool) -> HeadraceError {
        HeadraceError(
            .exists,
            "the output exists (\(present.shards.count) shards of this pattern, \(present.indexes.count) "
                + "indexes); remove it, choose another name, or ask for it to be replaced (--overwrite)"
                + (isInterrupted ? "; a run was interrupted here, which --resume continues" : ""),
            at: .init(shard: present.shards.first ?? manifestPath))
    }

    /// Keeps the shards of an interrupted run that are whole, and removes what else it left.
    ///
    /// Each is read once and held against the checksum that was noted when it was finished: the manifest will
    /// vouch for it, and a crash may have taken what a system call had promised.
    func keep(
        _ entries: [PackJournal.Entry], of plan: PackPlan, processes: [Int], isCancelled: () -> Bool
    ) throws(HeadraceError) -> [PackJournal.Kept?] {
        let lock = try FolderLock(sidecars)
        defer { lock.release() }
        try refuseStrangers(among: plan)
        var kept: [PackJournal.Kept?] = Array(repeating: nil, count: plan.shards.count)
        for entry in entries where kept.indices.contains(entry.number) && kept[entry.number] == nil {
            if try isWhole(entry, isCancelled) {
                kept[entry.number] = PackJournal.Kept(
                    shard: plan.manifestEntry(
                        entry.number, byteCount: entry.byteCount,
                        uncompressedByteCount: entry.uncompressedByteCount, sha256: entry.sha256),
                    jpegs: entry.jpegs)
            }
        }
        let keptNames = Set(kept.compactMap { $0?.shard.name })
        for name in try names(in: path) where pattern.matches(name) && !keptNames.contains(name) {
            try remove(pattern.directory + name)
        }
        for name in try names(in: sidecars) where name.hasSuffix(".index") {
            let shard = String(name.dropLast(6))
            if pattern.matches(shard), !keptNames.contains(shard) { try remove("\(sidecars)/\(name)") }
        }
        for leftover in try leftovers() where Self.isOrphan(leftover, of: processes) { try remove(leftover) }
        return kept
    }

    private func isWhole(
        _ entry: PackJournal.Entry, _ isCancelled: () -> Bool
    ) throws(HeadraceError) -> Bool {
        let shard = pattern.path(entry.number)
        let index = ShardIndexLayout.path(forShard: shard)
        guard try LocalFiles.kind(shard) == .file, try LocalFiles.kind(index) == .file,
            try LocalFiles.entry(shard).size == entry.byteCount,
            try FileChecksums(index).sha256(isCancelled: isCancelled) == entry.indexSHA256
        else { return false }
        guard let sha256 = try FileChecksums(shard).sha256(isCancelled: isCancelled) else {
            throw HeadraceError.packCancelled
        }
        return sha256 == entry.sha256
    }

    /// Whether a temporary file was made by one of these processes and nobody writes to it any more. The
    /// journal's lock says that they are not at work here; a live process of such a number is another, or
    /// this one.
    private static func isOrphan(_ path: String, of processes: [Int]) -> Bool {
        let name = baseName(path)
        return processes.contains { process in
            name.hasPrefix(".headrace-\(process)-")
                && (process == Int(getpid()) || kill(pid_t(truncatingIfNeeded: process), 0) != 0)
        }
    }

    var journalPath: String { "\(sidecars)/\(pattern.nameInManifest)\(PackJournal.ending)" }

    /// Enters a finished set into the manifest, beside the other sets of the folder.
    func publish(_ set: Manifest.ShardSet) throws(HeadraceError) {
        let lock = try FolderLock(sidecars)
        defer { lock.release() }
        var manifest = try readManifest()
        manifest.replace(set)
        try write(manifest)
    }

    /// The pattern's set, where a run has finished it.
    func finishedSet() throws(HeadraceError) -> Manifest.ShardSet? {
        try readManifest().sets.first(where: isOwn)
    }

    private func isOwn(_ set: Manifest.ShardSet) -> Bool {
        set.pattern.utf8.elementsEqual(pattern.nameInManifest.utf8)
    }

    /// Throws when another set of the folder has shards of such names.
    private func refuseForeignShards(in manifest: Manifest) throws(HeadraceError) {
        for set in manifest.sets where !isOwn(set) {
            guard let shard = set.shards.first(where: { pattern.matches($0.name) }) else { continue }
            throw HeadraceError(
                .exists, "the shard belongs to the set '\(set.pattern)' of this folder; choose another name",
                at: .init(shard: pattern.directory + shard.name))
        }
    }

    private func readManifest() throws(HeadraceError) -> Manifest { try Manifest.readIfThere(manifestPath) }

    private func write(_ manifest: Manifest) throws(HeadraceError) { try manifest.write(to: manifestPath) }

    /// Makes the folder, those above it, and the one for indexes and manifest.
    func makeDirectories() throws(HeadraceError) { try makeFolder(sidecars) }

    /// Throws where ``makeDirectories()`` is bound to fail, or files in the folders are, and changes nothing.
    func checkCanBeMade() throws(HeadraceError) {
        for folder in [path, sidecars] {
            var part = folder
            var status = stat()
            while unsafe stat(part, &status) != 0 {
                guard errno == ENOENT, let above = Self.folder(above: part) else {
                    throw Self.refused(part, errno)
                }
                part = above
            }
            guard status.st_mode & S_IFMT == S_IFDIR else { throw Self.refused(part, ENOTDIR) }
            if unsafe access(part, W_OK | X_OK) != 0 { throw Self.refused(part, errno) }
            if FileSystemKind(ofPath: part)?.isKernels == true { throw Self.refused(part, EROFS) }
        }
    }

    /// Throws where the folder lies in one of `sources`, folders all of whose files are samples: a run that is
    /// gone on with would find its own shards among them. What has a part that begins with a dot is passed over
    /// there.
    func refuseToLie(in sources: [String]) throws(HeadraceError) {
        let owners = sources.map { (path: $0, identity: FileIdentity($0)) }
        var isHidden = false
        func look(at part: String) {
            if baseName(part).hasPrefix("."), baseName(part) != "." { isHidden = true }
        }
        var part = path.hasSuffix("/") && path != "/" ? String(path.dropLast()) : path
        while LocalFiles.resolved(part) == nil {
            guard baseName(part) != ".." else {
                throw HeadraceError(
                    .usage,
                    "the output's folder is named by '..' behind a folder that is not there; name it directly",
                    at: .init(shard: path))
            }
            look(at: part)
            guard let above = Self.folder(above: part) else { return }
            part = above
        }
        var place = LocalFiles.resolved(part)
        while let here = place, !isHidden {
            if let identity = FileIdentity(here), let owner = owners.first(where: { $0.identity == identity })
            {
                throw HeadraceError(
                    .usage,
                    "the output's folder lies in '\(owner.path)', which is to be packed: shards would be found among "
                        + "the samples; write to a folder outside of it, or to one whose name begins with a dot",
                    at: .init(shard: path))
            }
            look(at: here)
            place = Self.folder(above: here)
        }
    }

    /// The path without its last part; nil where there is nothing above.
    static func folder(above path: String) -> String? {
        var bytes = Array(path.utf8)
        while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
        if bytes == Array("/".utf8) || bytes == Array(".".utf8) { return nil }
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == 0 ? "/" : String(decoding: bytes[..<slash], as: UTF8.self)
    }

    private static func refused(_ path: String, _ number: Int32) -> HeadraceError {
        HeadraceError(
            .io, "the output's directory cannot be made here, or nothing be written to it",
            at: .init(shard: path), cause: errorDescription(number))
    }

    private func remove(_ path: String) throws(HeadraceError) {
        guard unsafe unlink(path) == 0 || errno == ENOENT else {
            throw HeadraceError(
                .io, "the old file cannot be removed", at: .init(shard: path), cause: errorDescription(errno))
        }
    }

    /// What is in a directory; nothing when it is not there.
    private func names(in directory: String) throws(HeadraceError) -> [String] {
        do throws(HeadraceError) {
            return try directoryNames(directory)
        } catch {
            if error.code == .notFound { return [] }
            throw error
        }
    }
}

extension OutputPattern {
    /// The pattern as it was written, without the folder.
    var nameInManifest: String {
        func escaped(_ part: String) -> String {
            part.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
        }
        guard let width else { return escaped(prefix) }
        return escaped(prefix) + (width == 1 ? "%d" : "%0\(width)d") + escaped(suffix)
    }
}
