internal import Glibc

/// From the words a person writes for shards to the list of files they mean.
package enum ShardPattern {
    /// Words that one pattern may stand for. More are a mistyped range; real data sets have some 100,000
    /// shards.
    package static let expansionLimit = 1_000_000
    /// Bytes of all words that one pattern may stand for.
    package static let expansionByteLimit = 256 << 20
    /// Braces inside one another.
    package static let nestingLimit = 32
    /// Missing files that an error names one by one.
    package static let namedMissingFiles = 10

    /// The files, directories and URLs that `words` mean, in the order of the words.
    ///
    /// What exists under exactly the name given is taken as it is, so that a file with braces or brackets in its
    /// name can be read. Otherwise braces are expanded, in the order they are written; then each word with a star,
    /// a question mark or a bracket is matched against the file system, sorted bytewise. URLs (`scheme://`) are
    /// expanded, but neither matched nor looked for. Files that do not exist are reported all at once: a range
    /// with a hole is better learned before a run than in its third hour.
    package static func resolve(_ words: [String]) throws(HeadraceError) -> [String] {
        var found: [String] = []
        var missing: [String] = []
        for word in words {
            guard !word.isEmpty, !word.utf8.contains(0) else {
                throw HeadraceError(.usage, "a shard name is empty or holds a NUL byte")
            }
            if try exists(word) {
                found.append(word)
                continue
            }
            for name in try expandBraces(word) {
                if isURL(name) {
                    found.append(name)
                } else if try exists(name) {
                    found.append(name)
                } else if isGlob(name) {
                    found += try matches(of: name)
                } else {
                    missing.append(name)
                }
            }
        }
        if !missing.isEmpty { throw missingFiles(missing, of: found.count + missing.count) }
        return found
    }

    private static func missingFiles(_ missing: [String], of total: Int) -> HeadraceError {
        let named = missing.prefix(namedMissingFiles).joined(separator: ", ")
        let rest = missing.count - min(missing.count, namedMissingFiles)
        let place = missing.count == 1 ? HeadraceError.Place(shard: missing[0]) : .init()
        if total == 1 { return HeadraceError(.notFound, "no such file or directory", at: place) }
        return HeadraceError(
            .notFound,
            "\(missing.count) of \(total) shards do not exist: \(named)"
                + (rest > 0 ? " and \(rest) more" : ""),
            at: place)
    }

    private static func isURL(_ name: String) -> Bool {
        guard let end = name.utf8.firstIndex(of: UInt8(ascii: ":")), end > name.utf8.startIndex else {
            return false
        }
        return name.utf8[end...].starts(with: "://".utf8)
            && name.utf8[..<end].allSatisfy { byte in
                byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z")
                    || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") || "+-.".utf8.contains(byte)
            }
    }

    private static func isGlob(_ name: String) -> Bool {
        name.utf8.contains { "*?[".utf8.contains($0) }
    }

    private static func exists(_ path: String) throws(HeadraceError) -> Bool {
        if unsafe access(path, F_OK) == 0 { return true }
        let reason = errno
        // Too long for a name can still be a pattern.
        guard [ENOENT, ENOTDIR, ENAMETOOLONG].contains(reason) else {
            throw HeadraceError(
                .io, "cannot be reached", at: .init(shard: path), cause: errorDescription(reason))
        }
        return false
    }

    private static func matches(of pattern: String) throws(HeadraceError) -> [String] {
        var result = unsafe glob_t()
        defer { unsafe globfree(&result) }
        // Unreadable directories are errors: a shard that is silently not found is a shard lost. The C
        // library would sort by locale, and orders must not depend on that.
        let status = unsafe glob(pattern, Int32(GLOB_ERR) | Int32(GLOB_NOSORT), nil, &result)
        let reason = errno
        switch status {
        case 0: break
        case Int32(GLOB_NOMATCH):
            throw HeadraceError(.notFound, "no file matches this pattern", at: .init(shard: pattern))
        case Int32(GLOB_NOSPACE):
            throw HeadraceError(.environment, "no memory to match this pattern", at: .init(shard: pattern))
        default:
            throw HeadraceError(
                .io, "a directory of this pattern cannot be read", at: .init(shard: pattern),
                cause: errorDescription(reason))
        }
        var names: [String] = []
        let count = unsafe Int(result.gl_pathc)
        for index in 0..<count {
            if let name = unsafe result.gl_pathv[index] { names.append(unsafe String(cString: name)) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
