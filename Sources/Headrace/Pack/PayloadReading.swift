internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats

extension PackPayload {
    /// Appends the payload's bytes `range` to `buffer`; throws `fileChanged` when they are no longer what was listed.
    func append(_ range: Range<Int>, to buffer: OutputBuffer) throws(HeadraceError) {
        switch self {
        case .bytes(let bytes):
            unsafe bytes.withUnsafeBytes { unsafe buffer.append(UnsafeRawBufferPointer(rebasing: $0[range])) }
        case .file(let path, let byteCount, let modified):
            let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
            guard descriptor >= 0 else {
                throw HeadraceError(
                    errno == ENOENT ? .fileChanged : .io,
                    errno == ENOENT
                        ? "the file was there when it was listed and is gone" : "the file cannot be opened",
                    at: .init(shard: path), cause: errorDescription(errno))
            }
            defer { close(descriptor) }
            try unsafe buffer.appendInPlace(room: range.count) {
                (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
                try unsafe fill(room, from: descriptor, offset: range.lowerBound, path: path)
                return room.count
            }
            try checkUnchanged(descriptor, path: path, byteCount: byteCount, modified: modified)
        case .item(let items, let index, _):
            try unsafe buffer.appendInPlace(room: range.count) {
                (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
                try unsafe items.read(item: index, offset: range.lowerBound, into: room)
                return room.count
            }
        }
    }
}

extension PackInventory {
    /// Throws where a file that samples come from is gone or may not be read. Asked before anything is removed
    /// to make room for them.
    func checkSourcesAreThere() throws(HeadraceError) {
        for path in sourcePaths where unsafe access(path, R_OK) != 0 {
            let number = errno
            throw HeadraceError(
                number == ENOENT ? .fileChanged : .io,
                number == ENOENT
                    ? "the file was there when it was listed and is gone" : "the file cannot be opened",
                at: .init(shard: path), cause: errorDescription(number))
        }
    }
}

/// Copies what `destination`, which begins at byte `offset` of the item, holds of `header`, the item's first bytes;
/// returns the part of `destination` behind that.
func copyHead(
    _ header: [UInt8], from offset: Int, to destination: UnsafeMutableRawBufferPointer
) -> UnsafeMutableRawBufferPointer {
    let count = max(0, min(header.count - offset, destination.count))
    if count > 0 {
        unsafe header.withUnsafeBytes {
            unsafe destination.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count]))
        }
    }
    return unsafe UnsafeMutableRawBufferPointer(rebasing: destination[count...])
}

/// Fills `room` from the file; a file that ends early has changed.
func fill(
    _ room: UnsafeMutableRawBufferPointer, from descriptor: Int32, offset: Int, path: String
) throws(HeadraceError) {
    var done = 0
    while done < room.count {
        let count = unsafe pread(descriptor, room.baseAddress! + done, room.count - done, offset + done)
        if count > 0 {
            done += count
        } else if count == 0 {
            throw HeadraceError(
                .fileChanged, "the file ends before the size it had when it was listed",
                at: .init(shard: path, offset: offset + done))
        } else if errno != EINTR {
            throw HeadraceError(
                .io, "the file cannot be read", at: .init(shard: path, offset: offset + done),
                cause: errorDescription(errno))
        }
    }
}

/// Throws `fileChanged` unless size and time of modification are those that were listed. Asked after reading: what
/// was written while the bytes were taken shows then.
@discardableResult
func checkUnchanged(
    _ descriptor: Int32, path: String, byteCount: Int, modified: Int
) throws(HeadraceError) -> stat {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
        throw HeadraceError(
            .io, "the file cannot be examined", at: .init(shard: path), cause: errorDescription(errno))
    }
    guard Int(status.st_size) == byteCount else {
        throw HeadraceError(
            .fileChanged, "the file had \(byteCount) bytes when it was listed and has \(status.st_size) now",
            at: .init(shard: path))
    }
    guard modificationNanoseconds(status) == modified else {
        throw HeadraceError(
            .fileChanged, "the file was written to since it was listed", at: .init(shard: path))
    }
    return status
}
