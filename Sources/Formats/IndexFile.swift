internal import Glibc
internal import HeadraceCore

/// A small file of facts about shards (index, manifest), read by ranges.
final class IndexFile: Sendable {
    let path: String
    let byteCount: Int
    /// Nil where each read opens the file.
    private let descriptor: Int32?
    /// What tells the file from another of its name.
    private let identity: [Int]

    init(_ path: String, keepsOpen: Bool = true) throws(HeadraceError) {
        let (descriptor, status) = try Self.open(path)
        self.path = path
        byteCount = Int(status.st_size)
        identity = Self.identity(status)
        if !keepsOpen { close(descriptor) }
        self.descriptor = keepsOpen ? descriptor : nil
    }

    deinit {
        if let descriptor { close(descriptor) }
    }

    /// The bytes `range`, which must lie within ``byteCount``.
    func read(_ range: Range<Int>) throws(HeadraceError) -> [UInt8] {
        if let descriptor { return try read(range, from: descriptor) }
        let (descriptor, status) = try Self.open(path)
        defer { close(descriptor) }
        guard Self.identity(status) == identity else {
            throw HeadraceError(
                .fileChanged, "the file has become another since it was opened", at: .init(shard: path))
        }
        return try read(range, from: descriptor)
    }

    private func read(_ range: Range<Int>, from descriptor: Int32) throws(HeadraceError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var done = 0
        while done < range.count {
            let count = unsafe bytes.withUnsafeMutableBytes {
                unsafe pread(descriptor, $0.baseAddress! + done, range.count - done, range.lowerBound + done)
            }
            if count > 0 {
                done += count
            } else if count == 0 {
                throw HeadraceError(
                    .fileChanged, "the file has become shorter",
                    at: .init(shard: path, offset: range.lowerBound + done))
            } else if errno != EINTR {
                throw HeadraceError(
                    .io, "the file cannot be read", at: .init(shard: path, offset: range.lowerBound + done),
                    cause: errorDescription(errno))
            }
        }
        return bytes
    }

    private static func open(_ path: String) throws(HeadraceError) -> (Int32, stat) {
        // Not blocking: a pipe of that name must not hang whoever looks for an index.
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let number = errno
            throw HeadraceError(
                number == ENOENT || number == ENOTDIR ? .notFound : .io, "the file cannot be opened",
                at: .init(shard: path), cause: errorDescription(number))
        }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw HeadraceError(.io, "this is no regular file", at: .init(shard: path))
        }
        return (descriptor, status)
    }

    private static func identity(_ status: stat) -> [Int] {
        [
            Int(truncatingIfNeeded: status.st_dev), Int(truncatingIfNeeded: status.st_ino),
            Int(status.st_size),
            status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
        ]
    }
}
