internal import CHeadraceRing
internal import Glibc
package import HeadraceCore

/// A file that appears under its name whole, or not at all.
///
/// It is written under a temporary name in the same directory, brought to disk, and renamed; then the directory is
/// brought to disk. A crash leaves at most a temporary file, which ``isTemporary(_:)`` tells by its name. Dropped
/// without ``commit()``, it removes what it wrote.
package final class AtomicFile {
    package let path: String
    package let temporaryPath: String
    /// Bytes appended so far.
    package private(set) var byteCount = 0

    private let mayReplace: Bool
    private let directory: String
    private var descriptor: Int32
    private var isTemporaryThere = true

    private static let namePrefix = ".headrace-"
    private static let nameSuffix = ".partial"

    /// Opens the temporary file. Throws `exists` when `path` is there and `replacing` is false.
    package init(_ path: String, replacing: Bool = false) throws(HeadraceError) {
        try requireOpenable(path)
        self.path = path
        mayReplace = replacing
        if let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) {
            directory = slash == path.startIndex ? "/" : String(path[..<slash])
        } else {
            directory = "."
        }
        switch try LocalFiles.kind(path) {
        case .file where !replacing: throw Self.alreadyThere(path)
        case .directory, .other: throw Self.noFile(path)
        default: break
        }
        (descriptor, temporaryPath) = try Self.makeTemporary(in: directory, for: path)
    }

    deinit { abort() }

    /// Whether a file of this name is what an interrupted writer left behind.
    package static func isTemporary(_ name: String) -> Bool {
        name.hasPrefix(namePrefix) && name.hasSuffix(nameSuffix)
    }

    /// Writes `bytes` behind what is there.
    package func append(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) {
        unsafe try write(bytes, at: byteCount)
        byteCount += bytes.count
    }

    /// Writes over bytes that were appended before: a header whose content is known last.
    package func overwrite(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HeadraceError) {
        guard offset >= 0, offset <= byteCount, bytes.count <= byteCount - offset else {
            throw HeadraceError(
                .usage, "only bytes that were written can be written over", at: .init(shard: path))
        }
        unsafe try write(bytes, at: offset)
    }

    /// Brings the bytes to disk and gives the file its name. The file is complete when this returns.
    package func commit() throws(HeadraceError) {
        guard descriptor >= 0 else {
            throw HeadraceError(.usage, "the file was committed or aborted before", at: .init(shard: path))
        }
        guard retrying({ fsync(descriptor) }) == 0 else {
            throw systemError(errno, "could not bring the file to disk", path)
        }
        let status = close(descriptor)
        descriptor = -1
        // EINTR: Linux has closed the file all the same.
        guard status == 0 || errno == EINTR else {
            throw systemError(errno, "could not close the file", path)
        }
        try mayReplace ? renameOver() : renameNew()
        isTemporaryThere = false
        try Self.bringDirectoryToDisk(directory)
    }

    /// Removes what was written. Nothing happens after ``commit()``.
    package func abort() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        if isTemporaryThere { unsafe unlink(temporaryPath) }
        isTemporaryThere = false
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(HeadraceError) {
        guard descriptor >= 0 else {
            throw HeadraceError(.usage, "the file was committed or aborted before", at: .init(shard: path))
        }
        unsafe try writeFully(bytes, to: descriptor, at: offset, path)
    }

    private func renameOver() throws(HeadraceError) {
        guard unsafe rename(temporaryPath, path) == 0 else {
            throw systemError(errno, "could not give the finished file its name", path)
        }
    }

    /// Another process may have made a file of this name while ours was written: its bytes must not be lost.
    private func renameNew() throws(HeadraceError) {
        var number = unsafe -headrace_rename_new(temporaryPath, path)
        if number == EINVAL || number == ENOSYS {
            // Network file systems without the exclusive rename have an exclusive link.
            number = unsafe link(temporaryPath, path) == 0 ? 0 : errno
            if number == 0 { unsafe unlink(temporaryPath) }
        }
        switch number {
        case 0: return
        case EEXIST: throw Self.alreadyThere(path)
        case EPERM, EOPNOTSUPP, ENOSYS:
            // Neither: the file systems of some object stores. What is left is to look first.
            guard try LocalFiles.kind(path) == nil else { throw Self.alreadyThere(path) }
            try renameOver()
        default: throw systemError(number, "could not give the finished file its name", path)
        }
    }

    private static func makeTemporary(
        in directory: String, for path: String
    ) throws(HeadraceError) -> (Int32, String) {
        for _ in 0..<100 {
            let digits = String(UInt64.random(in: 0 ... .max), radix: 36)
            let name = "\(directory)/\(namePrefix)\(getpid())-\(digits)\(nameSuffix)"
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
            let descriptor = unsafe open(name, flags, 0o666)
            if descriptor >= 0 { return (descriptor, name) }
            if errno != EEXIST && errno != EINTR {
                throw systemError(errno, "could not make a temporary file in \(directory)", path)
            }
        }
        throw systemError(EEXIST, "could not find a free name for a temporary file in \(directory)", path)
    }

    /// Without this a crash could take the new name back.
    private static func bringDirectoryToDisk(_ directory: String) throws(HeadraceError) {
        let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw systemError(errno, "could not open the directory", directory) }
        defer { close(descriptor) }
        // EINVAL: some network file systems have nothing to bring.
        guard retrying({ fsync(descriptor) }) == 0 || errno == EINVAL else {
            throw systemError(errno, "could not bring the directory to disk", directory)
        }
    }

    private static func alreadyThere(_ path: String) -> HeadraceError {
        HeadraceError(
            .exists, "the file is there already; remove it, or ask for it to be replaced (--overwrite)",
            at: .init(shard: path))
    }

    private static func noFile(_ path: String) -> HeadraceError {
        HeadraceError(.io, "a directory or device of this name is in the way", at: .init(shard: path))
    }
}

/// Writes all of `bytes`, however few the system takes at a time.
func writeFully(
    _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int, _ path: String
) throws(HeadraceError) {
    var done = 0
    while done < bytes.count {
        let length = min(bytes.count - done, PendingRead.callLimit)
        let count = unsafe pwrite(descriptor, bytes.baseAddress! + done, length, offset + done)
        if count > 0 {
            done += count
        } else if count == 0 || errno != EINTR {
            throw systemError(
                count == 0 ? EIO : errno, "writing \(bytes.count) bytes at offset \(offset) failed", path)
        }
    }
}

/// Calls again while a signal interrupts.
private func retrying(_ call: () -> Int32) -> Int32 {
    while true {
        let status = call()
        if status == 0 || errno != EINTR { return status }
    }
}
