internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Keeps two runs from changing one manifest at the same time; ends with the process whatever happens to it.
struct FolderLock {
    private let descriptor: Int32

    init(_ directory: String) throws(HeadraceError) {
        descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw HeadraceError(
                .io, "the directory cannot be opened", at: .init(shard: directory),
                cause: errorDescription(errno))
        }
        while flock(descriptor, LOCK_EX) != 0 {
            if errno == EINTR { continue }
            // A file system without locks: go on as if alone.
            if errno == ENOLCK || errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS { return }
            let number = errno
            close(descriptor)
            throw HeadraceError(
                .io, "the directory cannot be locked", at: .init(shard: directory),
                cause: errorDescription(number))
        }
    }

    func release() { close(descriptor) }
}

/// Makes the folder `path` and those above it, where they are not there.
func makeFolder(_ path: String) throws(HeadraceError) {
    var end = path.utf8.startIndex
    while true {
        let rest = path.utf8[end...]
        let slash = rest.dropFirst().firstIndex(of: UInt8(ascii: "/")) ?? path.utf8.endIndex
        let part = String(path[..<slash])
        if unsafe mkdir(part, 0o777) != 0, errno != EEXIST {
            // What is there already may stand on a file system that refuses the attempt first (EROFS, EACCES).
            let number = errno
            var status = stat()
            guard unsafe stat(part, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw HeadraceError(
                    .io, "the output's directory cannot be made", at: .init(shard: part),
                    cause: errorDescription(number))
            }
        }
        if slash == path.utf8.endIndex { return }
        end = slash
    }
}

extension Manifest {
    /// The manifest at `path`; one without sets where there is none.
    static func readIfThere(_ path: String) throws(HeadraceError) -> Manifest {
        do throws(HeadraceError) {
            return try Manifest.read(path)
        } catch  where error.code == .notFound {
            return Manifest(sets: [])
        } catch {
            throw error
        }
    }

    func write(to path: String) throws(HeadraceError) { try writeWhole(encoded(), to: path) }
}

/// Writes a file that is there whole or not at all, in the place of one of its name.
func writeWhole(_ bytes: [UInt8], to path: String) throws(HeadraceError) {
    let file = try AtomicFile(path, replacing: true)
    let result: Result<Void, HeadraceError> = unsafe bytes.withUnsafeBytes { bytes in
        do throws(HeadraceError) {
            return .success(try unsafe file.append(bytes))
        } catch {
            return .failure(error)
        }
    }
    try result.get()
    try file.commit()
}
