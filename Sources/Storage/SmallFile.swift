internal import Glibc
package import HeadraceCore

/// Files that are read whole because they are small: settings of the kernel, indices, states.
package enum SmallFile {
    /// Bytes that ``readBytes(_:limit:)`` takes unless told otherwise.
    package static let defaultLimit = 64 << 20

    /// The whole file as text; bytes that are no UTF-8 are replaced.
    package static func read(_ path: String, limit: Int = defaultLimit) throws(HeadraceError) -> String {
        String(decoding: try readBytes(path, limit: limit), as: UTF8.self)
    }

    /// The whole file. Throws `limitExceeded` where it has more than `limit` bytes.
    ///
    /// Reads until the end instead of trusting the size, which is 0 for files of /proc.
    package static func readBytes(
        _ path: String, limit: Int = defaultLimit
    ) throws(HeadraceError) -> [UInt8] {
        let file = try LocalFile(path, direct: .off)
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: min(max(file.size, 4096), 1 << 20))
        while true {
            let count = unsafe piece.withUnsafeMutableBytes { buffer in
                unsafe pread(file.descriptor, buffer.baseAddress, buffer.count, bytes.count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw systemError(errno, "could not read the file", path) }
            if count == 0 { return bytes }
            guard bytes.count + count <= limit else {
                throw HeadraceError(
                    .limitExceeded, "the file is larger than the \(limit) bytes that are read of its kind",
                    at: .init(shard: path))
            }
            bytes.append(contentsOf: piece[..<count])
        }
    }
}
