internal import Glibc
package import HeadraceCore

/// The files below a directory, and what is known of one without opening it.
package enum LocalFiles {
    /// A regular file.
    package struct Entry: Sendable, Equatable {
        /// What to open.
        package var path: String
        /// Place below the listed directory, with `/` between the parts.
        package var relativePath: String
        package var size: Int
        package var modificationNanoseconds: Int
    }

    /// What a directory holds. Everything is in one of the two lists.
    package struct Listing: Sendable, Equatable {
        /// Regular files, and symbolic links to such, in the order of the bytes of their relative paths.
        package var files: [Entry] = []
        /// Relative paths of what is no file to read: FIFOs, sockets, devices. In the same order.
        package var others: [String] = []
    }

    /// Kinds of what a path can name.
    package enum Kind: Sendable, Equatable {
        case file
        case directory
        case other
    }

    /// What `path` names, behind symbolic links; nil when nothing is there.
    package static func kind(_ path: String) throws(HeadraceError) -> Kind? {
        do {
            return try look(path).kind
        } catch  where error.code == .notFound {
            return nil
        }
    }

    /// The path, without links in it, of what `path` leads to; nil when nothing is there.
    package static func resolved(_ path: String) -> String? {
        guard let found = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(found) }
        return unsafe String(validatingCString: found)
    }

    /// The file that a link leads to, as an absolute path; nil for what is no link, or leads nowhere.
    package static func linkTarget(_ path: String) -> String? {
        var facts = stat()
        guard unsafe lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFLNK else { return nil }
        return resolved(path)
    }

    /// Size and time of a regular file. Throws `notFound`, or `io` when it is something else.
    package static func entry(_ path: String) throws(HeadraceError) -> Entry {
        let seen = try look(path)
        guard seen.kind == .file else {
            throw HeadraceError(.io, "this is no regular file", at: .init(shard: path))
        }
        let name = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path[path.index(after: $0)...] }
        return Entry(
            path: path, relativePath: name.map(String.init) ?? path, size: seen.identity.size,
            modificationNanoseconds: seen.identity.modificationNanoseconds)
    }

    /// Lists `directory` with all that is below it.
    ///
    /// Symbolic links are followed; one that leads to a directory above itself, or nowhere, is an error, because a
    /// data set that silently lost files is worse. The order does not depend on the file system.
    package static func list(_ directory: String) throws(HeadraceError) -> Listing {
        let root = try look(directory)
        guard root.kind == .directory else {
            throw HeadraceError(.io, "this is no directory", at: .init(shard: directory))
        }
        var listing = Listing()
        // Directories found so far; each knows by number in whose contents it was found.
        var directories = [Directory(path: directory, relativePath: "", identity: root.identity, parent: nil)]
        var next = 0
        while next < directories.count {
            let current = directories[next]
            for name in try names(in: current.path) {
                let path = current.path.hasSuffix("/") ? current.path + name : "\(current.path)/\(name)"
                let relative = current.relativePath.isEmpty ? name : "\(current.relativePath)/\(name)"
                let seen = try look(path)
                switch seen.kind {
                case .file:
                    listing.files.append(
                        Entry(
                            path: path, relativePath: relative, size: seen.identity.size,
                            modificationNanoseconds: seen.identity.modificationNanoseconds))
                case .other: listing.others.append(relative)
                case .directory:
                    let found = Directory(
                        path: path, relativePath: relative, identity: seen.identity, parent: next)
                    try requireNoLoop(found, in: directories)
                    directories.append(found)
                }
            }
            next += 1
        }
        listing.files.sort { isBefore($0.relativePath, $1.relativePath) }
        listing.others.sort(by: isBefore)
        return listing
    }

    /// Whether `first` comes before `second` in the order of their bytes. (`<` of strings is another order.)
    package static func isBefore(_ first: String, _ second: String) -> Bool {
        first.utf8.lexicographicallyPrecedes(second.utf8)
    }

    private struct Directory {
        var path: String
        var relativePath: String
        var identity: LocalFile.Identity
        var parent: Int?
    }

    private static func requireNoLoop(
        _ found: Directory, in directories: [Directory]
    ) throws(HeadraceError) {
        var ancestor = found.parent
        while let number = ancestor {
            let above = directories[number]
            if above.identity.inode == found.identity.inode && above.identity.device == found.identity.device
            {
                throw HeadraceError(
                    .io,
                    "a symbolic link leads back to \(above.path), so the listing would never end; remove it",
                    at: .init(shard: found.path))
            }
            ancestor = above.parent
        }
    }

    private static func look(
        _ path: String
    ) throws(HeadraceError) -> (kind: Kind, identity: LocalFile.Identity) {
        try requireOpenable(path)
        var facts = stat()
        guard unsafe stat(path, &facts) == 0 else { throw lookError(errno, path) }
        let kind: Kind
        switch facts.st_mode & mode_t(S_IFMT) {
        case mode_t(S_IFREG): kind = .file
        case mode_t(S_IFDIR): kind = .directory
        default: kind = .other
        }
        return (kind, LocalFile.Identity(facts))
    }

    private static func lookError(_ number: Int32, _ path: String) -> HeadraceError {
        var facts = stat()
        let isLink = unsafe lstat(path, &facts) == 0 && facts.st_mode & mode_t(S_IFMT) == mode_t(S_IFLNK)
        if isLink && number == ENOENT {
            return HeadraceError(
                .io, "this symbolic link leads nowhere; repair or remove it", at: .init(shard: path),
                cause: errorDescription(number))
        }
        return systemError(
            number, number == ELOOP ? "this symbolic link leads to itself" : "could not look at the path",
            path)
    }

    private static func names(in directory: String) throws(HeadraceError) -> [String] {
        guard let stream = unsafe opendir(directory) else {
            throw systemError(errno, "could not open the directory", directory)
        }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else { break }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let name else {
                throw HeadraceError(
                    .badName, "the directory has an entry whose name is no UTF-8; rename it",
                    at: .init(shard: directory))
            }
            if name != "." && name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw systemError(errno, "could not list the directory", directory) }
        return names
    }
}
