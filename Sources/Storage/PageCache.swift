internal import CHeadraceRing
internal import Glibc
package import HeadraceCore

/// What the kernel keeps of files in memory: to measure cold and warm reads, and to say honestly which it was.
package enum PageCache {
    /// How much of a file is in the page cache.
    package struct Residency: Sendable, Equatable {
        package var cachedBytes: Int
        package var fileBytes: Int

        package init(cachedBytes: Int, fileBytes: Int) {
            self.cachedBytes = cachedBytes
            self.fileBytes = fileBytes
        }

        /// From 0 to 1; an empty file is resident.
        package var share: Double { fileBytes == 0 ? 1 : Double(cachedBytes) / Double(fileBytes) }
    }

    /// Drops the file's pages and returns what stayed, because others map it or the file system keeps it.
    ///
    /// Only clean pages can be dropped: what was just written is brought to disk first.
    package static func evict(_ path: String) throws(HeadraceError) -> Residency {
        let file = try LocalFile(path, direct: .off)
        try drop(file)
        let left = try residency(of: file)
        guard left.cachedBytes > 0 else { return left }
        guard fdatasync(file.descriptor) == 0 else {
            throw systemError(errno, "could not write the file's pages to disk to evict them", path)
        }
        try drop(file)
        return try residency(of: file)
    }

    /// How much of the file is in the page cache now. Reads nothing.
    package static func residency(_ path: String) throws(HeadraceError) -> Residency {
        try residency(of: LocalFile(path, direct: .off))
    }

    /// Reads the file through, so that it is in the page cache if it fits, and returns what is.
    package static func warm(_ path: String) throws(HeadraceError) -> Residency {
        let file = try LocalFile(path, direct: .off)
        file.expectSequentialReads()
        let pieceBytes = 1 << 20
        let piece = UnsafeMutableRawPointer.allocate(byteCount: pieceBytes, alignment: 4096)
        defer { unsafe piece.deallocate() }
        var offset = 0
        while true {
            let count = unsafe pread(file.descriptor, piece, pieceBytes, offset)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw systemError(errno, "reading at offset \(offset) failed", path) }
            if count == 0 { break }
            offset += count
        }
        return try residency(of: file)
    }

    /// Whether a server, whose cache cannot be seen or emptied from here, is or may be behind `path`.
    package static func isNetworkFileSystem(_ path: String) -> Bool {
        FileSystemKind(ofPath: path)?.isNetwork ?? false
    }

    private static func drop(_ file: LocalFile) throws(HeadraceError) {
        let status = posix_fadvise(file.descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED))
        guard status == 0 else {
            throw systemError(status, "the file's pages could not be evicted", file.path)
        }
    }

    private static func residency(of file: LocalFile) throws(HeadraceError) -> Residency {
        let counted = headrace_cached_byte_count(file.descriptor, UInt64(file.size))
        if counted >= 0 { return Residency(cachedBytes: Int(counted), fileBytes: file.size) }
        let number = Int32(clamping: -counted)
        guard number == ENOSYS || number == EOPNOTSUPP || number == EPERM else {
            throw systemError(number, "could not ask what the page cache holds of the file", file.path)
        }
        return try mappedResidency(of: file)
    }

    /// The way of kernels before 6.5, and of sandboxes that do not know the newer call.
    static func mappedResidency(of file: LocalFile) throws(HeadraceError) -> Residency {
        let pageBytes = Int(sysconf(Int32(_SC_PAGESIZE)))
        let windowBytes = 1 << 30
        var states = [UInt8](repeating: 0, count: min(file.size, windowBytes) / pageBytes + 1)
        var cached = 0
        var offset = 0
        while offset < file.size {
            let length = min(windowBytes, file.size - offset)
            // Nothing touches the mapping, so a file that shrinks cannot hurt.
            let address = unsafe mmap(nil, length, PROT_NONE, MAP_SHARED, file.descriptor, offset)
            guard let address = unsafe address, unsafe address != MAP_FAILED else {
                throw systemError(errno, "could not map the file to see what the page cache holds", file.path)
            }
            let status = unsafe mincore(address, length, &states)
            let number = errno
            unsafe munmap(address, length)
            guard status == 0 else {
                throw systemError(number, "could not see what the page cache holds of the file", file.path)
            }
            let pages = (length + pageBytes - 1) / pageBytes
            for page in 0..<pages where states[page] & 1 == 1 {
                cached += min(pageBytes, length - page * pageBytes)
            }
            offset += length
        }
        return Residency(cachedBytes: cached, fileBytes: file.size)
    }
}
