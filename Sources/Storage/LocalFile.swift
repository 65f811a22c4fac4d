internal import CHeadraceRing
internal import Glibc
package import HeadraceCore

/// Whether reads pass by the page cache.
package enum DirectMode: Sendable, Equatable {
    /// Through the page cache.
    case off
    /// By O_DIRECT, or not at all: a file system that refuses is the error `directRefused`.
    case required
}

/// An open regular file of this machine.
///
/// It keeps the identity it was opened with: a rename over its path changes nothing, the old file is read whole.
package final class LocalFile: StorageFile {
    /// What a file is, apart from its name.
    package struct Identity: Equatable, Sendable {
        package var device: UInt64
        package var inode: UInt64
        package var size: Int
        package var modificationNanoseconds: Int
    }

    package let path: String
    package let identity: Identity
    package let alignment: Int
    /// Reads pass by the page cache.
    package let isDirect: Bool
    let descriptor: Int32

    package var size: Int { identity.size }
    package var version: FileVersion? {
        FileVersion(inode: identity.inode, modificationNanoseconds: identity.modificationNanoseconds)
    }

    /// Alignment for direct reads where the kernel is too old to tell: the largest block size in use.
    static let unknownAlignment = 4096

    package init(_ path: String, direct: DirectMode) throws(HeadraceError) {
        self.path = path
        isDirect = direct == .required
        descriptor = try Self.open(path, isDirect: isDirect)
        do {
            let facts = try Self.facts(of: descriptor, path)
            try Self.requireRegular(facts, path)
            identity = Identity(facts)
            alignment = isDirect ? try Self.directAlignment(of: descriptor, path) : 1
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    package func checkUnchanged() throws(HeadraceError) {
        let now = Identity(try Self.facts(of: descriptor, path))
        if now.size != identity.size {
            throw changed("it had \(identity.size) bytes when it was opened and has \(now.size) now")
        }
        if now.modificationNanoseconds != identity.modificationNanoseconds {
            throw changed("it was written to after it was opened")
        }
    }

    /// Reads ranges of a buffered file, in one call each; returns how many from the front were read whole.
    func readNow(_ ranges: ArraySlice<ScatteredRead>, into base: UnsafeMutableRawPointer) -> Int {
        guard !isDirect else { return 0 }
        var count = 0
        for range in ranges {
            guard range.offset >= 0, range.length > 0, range.offset < size,
                range.length <= PendingRead.callLimit
            else { break }
            let read = unsafe headrace_pread(
                descriptor, base + range.place, UInt64(range.length), Int64(range.offset))
            guard read == min(range.length, size - range.offset) else { break }
            count += 1
        }
        return count
    }

    /// Tells the kernel that the file will be read from front to back, so that it reads ahead further.
    package func expectSequentialReads() {
        guard !isDirect else { return }
        // Only advice: a file system that does not take it reads as well as before.
        _ = posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_SEQUENTIAL))
    }

    func changed(_ how: String) -> HeadraceError {
        HeadraceError(
            .fileChanged, "the file changed while it was being read: \(how); read it when its writer is done",
            at: .init(shard: path))
    }

    /// Bytes the file has now; nil when the system will not say.
    var currentSize: Int? { (try? Self.facts(of: descriptor, path)).map { Identity($0).size } }

    private static func open(_ path: String, isDirect: Bool) throws(HeadraceError) -> Int32 {
        try requireOpenable(path)
        let descriptor = unsafe headrace_open_for_reading(path, isDirect ? 1 : 0)
        if descriptor >= 0 { return descriptor }
        if isDirect && -descriptor == EINVAL {
            var facts = stat()
            if unsafe stat(path, &facts) == 0 { try requireRegular(facts, path) }
            throw directRefused(path, "the file system refused O_DIRECT at open")
        }
        throw systemError(-descriptor, "could not open the file", path)
    }

    private static func facts(of descriptor: Int32, _ path: String) throws(HeadraceError) -> stat {
        var facts = stat()
        guard unsafe fstat(descriptor, &facts) == 0 else {
            throw systemError(errno, "could not look at the open file", path)
        }
        return facts
    }

    private static func requireRegular(_ facts: stat, _ path: String) throws(HeadraceError) {
        let kind: String
        switch facts.st_mode & mode_t(S_IFMT) {
        case mode_t(S_IFREG): return
        case mode_t(S_IFDIR): kind = "a directory"
        case mode_t(S_IFIFO): kind = "a FIFO"
        case mode_t(S_IFSOCK): kind = "a socket"
        case mode_t(S_IFBLK): kind = "a block device"
        case mode_t(S_IFCHR): kind = "a character device"
        default: kind = "no regular file"
        }
        throw HeadraceError(
            .io, "this is \(kind); only regular files can be read", at: .init(shard: path))
    }

    private static func directAlignment(of descriptor: Int32, _ path: String) throws(HeadraceError) -> Int {
        // These take the flag and ignore it: their page cache is all there is.
        if FileSystemKind(ofPath: "/proc/self/fd/\(descriptor)")?.isInMemory == true {
            throw directRefused(path, "the file system lives in memory, O_DIRECT means nothing there")
        }
        let alignment = headrace_direct_alignment(descriptor)
        if alignment == 0 {
            throw directRefused(path, "the file system has no direct I/O for this file")
        }
        guard alignment > 0, alignment & (alignment - 1) == 0 else { return unknownAlignment }
        return Int(alignment)
    }

    static func directRefused(_ path: String, _ why: String) -> HeadraceError {
        HeadraceError(
            .directRefused,
            "\(why); read it through the page cache (no --direct) or from another file system",
            at: .init(shard: path))
    }
}

extension LocalFile.Identity {
    init(_ facts: stat) {
        self.init(
            device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino), size: Int(facts.st_size),
            modificationNanoseconds: facts.st_mtim.tv_sec &* 1_000_000_000 &+ facts.st_mtim.tv_nsec)
    }
}

/// Refuses paths that C would read as another one.
func requireOpenable(_ path: String) throws(HeadraceError) {
    if path.isEmpty { throw HeadraceError(.usage, "the path of a file is empty") }
    if path.utf8.contains(0) {
        throw HeadraceError(.usage, "a path cannot contain a zero byte", at: .init(shard: path))
    }
}

/// The error of a refused system call: its code by errno, and what to do where that is known.
func systemError(_ number: Int32, _ sentence: String, _ path: String) -> HeadraceError {
    var text = sentence
    var code = HeadraceError.Code.io
    switch number {
    case ENOENT, ENOTDIR: code = .notFound
    case EMFILE: text += "; this process has too many files open (raise it with `ulimit -n`)"
    case ENFILE: text += "; the machine has too many files open (sysctl fs.file-max)"
    case EACCES, EPERM: text += "; the user running this has no right to"
    case ENOSPC: text += "; the file system is full"
    case EDQUOT: text += "; the user's quota is used up"
    case EFBIG: text += "; the file would be larger than the file system or `ulimit -f` allows"
    case EROFS: text += "; the file system is mounted read-only"
    case ESTALE: text += "; the file was removed on the server"
    default: break
    }
    return HeadraceError(code, text, at: .init(shard: path), cause: errorDescription(number))
}
