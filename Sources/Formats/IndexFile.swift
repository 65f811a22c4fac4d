internal import Glibc
internal import HeadraceCore

/// A small file of facts about shards (index, manifest), read by ranges.
// Sendable: immutable after init; the descriptor is read by pread alone and closed by deinit.
final class IndexFile: @unchecked Sendable {
    let path: String
    let byteCount: Int
    private let descriptor: Int32

    init(_ path: String) throws(HeadraceError) {
        // Not blocking: a pipe of that name must not hang whoever looks for an index.
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let number = errno
            throw HeadraceError(
                number == ENOENT ? .notFound : .io, "the file cannot be opened", at: .init(shard: path),
                cause: errorDescription(number))
        }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw HeadraceError(.io, "this is no regular file", at: .init(shard: path))
        }
        self.path = path
        self.descriptor = descriptor
        byteCount = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// The bytes `range`, which must lie within ``byteCount``.
    func read(_ range: Range<Int>) throws(HeadraceError) -> [UInt8] {
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
}
