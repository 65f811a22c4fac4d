internal import Glibc
public import HeadraceCore
internal import HeadraceFormats

/// A directory tree: the files of one stem are the fields of one sample, as WebDataset names them.
///
/// The key of `images/cat.17.JPG` is `images/cat`, its field `17.jpg`: the key ends at the first dot of the file's
/// name, relative to the directory given, and fields are in lower case. Samples come in bytewise order of their
/// keys. Links are followed.
public struct DirectorySource: PackSource {
    /// The directory.
    public let path: String

    /// All samples below `path`.
    public init(_ path: String) { self.path = path }

    /// Lists the tree; reads no file.
    public func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        var walk = DirectoryWalk(root: path)
        try walk.run(&inventory)
        let files = walk.files
        // Numbers are sorted by keys of their own: moving or copying files a step would cost more than comparing.
        let keys = files.map(\.key)
        var order = Array(files.indices)
        order.sort {
            let first = byteOrder(keys[$0], keys[$1])
            return first != 0 ? first < 0 : byteOrder(files[$0].field, files[$1].field) < 0
        }
        var start = 0
        while start < order.count {
            let key = files[order[start]].key
            var end = start + 1
            while end < order.count, byteOrder(files[order[end]].key, key) == 0 { end += 1 }
            let fields = order[start..<end].map { index in
                (
                    name: files[index].field,
                    payload: PackPayload.file(
                        path: "\(path)/\(files[index].relativePath)", byteCount: files[index].byteCount,
                        modificationNanoseconds: files[index].modificationNanoseconds)
                )
            }
            inventory.add(key: key, fields: fields)
            start = end
        }
    }
}

/// A file that becomes a field.
private struct FoundFile {
    let relativePath: String
    let key: String
    let field: String
    let byteCount: Int
    let modificationNanoseconds: Int
}

/// One pass over a directory tree.
private struct DirectoryWalk {
    let root: String
    var files: [FoundFile] = []
    /// The directories from the root to the current one: meeting one of them again is a loop.
    private var ancestors: [FileIdentity] = []

    private struct FileIdentity: Equatable {
        let device: dev_t
        let inode: ino_t
    }

    init(root: String) { self.root = root }

    mutating func run(_ inventory: inout PackInventory) throws(HeadraceError) {
        try enter("", &inventory)
    }

    private mutating func enter(_ relative: String, _ inventory: inout PackInventory) throws(HeadraceError) {
        let path = relative.isEmpty ? root : "\(root)/\(relative)"
        guard let stream = unsafe opendir(path) else {
            throw HeadraceError(
                errno == ENOENT ? .notFound : .io, "the directory cannot be listed", at: .init(shard: path),
                cause: errorDescription(errno))
        }
        defer { unsafe closedir(stream) }
        let descriptor = unsafe dirfd(stream)
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw Self.unreadable(path) }
        let identity = FileIdentity(device: status.st_dev, inode: status.st_ino)
        if ancestors.contains(identity) { return inventory.ignore(.symlinkLoop, path: path) }
        ancestors.append(identity)
        defer { ancestors.removeLast() }
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw Self.unreadable(path) }
                return
            }
            let bytes = unsafe directoryEntryName(entry)
            if bytes == [UInt8(ascii: ".")] || bytes == [UInt8(ascii: "."), UInt8(ascii: ".")] { continue }
            let prefix = relative.isEmpty ? "" : "\(relative)/"
            guard let name = String(validating: bytes, as: UTF8.self) else {
                let shown = prefix + String(decoding: bytes, as: UTF8.self)
                inventory.refuse(
                    .badName,
                    "the name is no UTF-8 (bytes \(bytes.hexadecimal)), which keys must be; rename it",
                    path: "\(root)/\(shown)")
                continue
            }
            if bytes[0] == UInt8(ascii: ".") {
                inventory.ignore(.dotfile, path: "\(path)/\(name)")
                let isThere = unsafe fstatat(descriptor, name, &status, 0) == 0
                if isThere, status.st_mode & S_IFMT == S_IFREG {
                    inventory.count(ignored: Int(status.st_size))
                }
                continue
            }
            guard unsafe fstatat(descriptor, name, &status, 0) == 0 else {
                let dangling = errno == ENOENT
                inventory.refuse(
                    dangling ? .notFound : .io,
                    dangling
                        ? "the link leads nowhere; remove it"
                        : "the file cannot be examined: \(errorDescription(errno))", path: "\(path)/\(name)")
                continue
            }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: try enter(prefix + name, &inventory)
            case S_IFREG: add(prefix + name, status, &inventory)
            default: inventory.ignore(.notRegular, path: "\(path)/\(name)")
            }
        }
    }

    private mutating func add(_ relative: String, _ status: stat, _ inventory: inout PackInventory) {
        switch unsafe WebDatasetName(relative.utf8Span.span.bytes) {
        case .field(let keyLength):
            let dot = relative.utf8.index(relative.startIndex, offsetBy: keyLength)
            let field = WebDatasetName.lowercased(Array(relative.utf8[dot...].dropFirst()))
            files.append(
                FoundFile(
                    relativePath: relative, key: String(relative[..<dot]),
                    field: String(decoding: field, as: UTF8.self), byteCount: Int(status.st_size),
                    modificationNanoseconds: modificationNanoseconds(status)))
            return inventory.count(parsed: Int(status.st_size))
        case .meta:
            inventory.refuse(
                .badName, "readers skip names of the form __name__, so the file would be lost; rename it",
                path: "\(root)/\(relative)")
        case .hidden: inventory.ignore(.dotfile, path: "\(root)/\(relative)")
        case .unmatched
        where relative.utf8.contains(0x0A) && relative.split(separator: "/").last?.contains(".") == true:
            inventory.refuse(
                .badName,
                "readers do not match a line feed before a directory with a dot, so the file would be lost; "
                    + "rename it", path: "\(root)/\(relative)")
        case .unmatched: inventory.ignore(.noExtension, path: "\(root)/\(relative)")
        }
        inventory.count(ignored: Int(status.st_size))
    }

    private static func unreadable(_ path: String) -> HeadraceError {
        HeadraceError(
            .io, "the directory cannot be read", at: .init(shard: path), cause: errorDescription(errno))
    }
}

/// The bytes of a directory entry's name.
func directoryEntryName(_ entry: UnsafeMutablePointer<dirent>) -> [UInt8] {
    // Not through a copy of `dirent`: its name is declared as long as the longest, the record often is shorter.
    let start = unsafe UnsafeRawPointer(entry) + MemoryLayout<dirent>.offset(of: \.d_name)!
    let length = unsafe strlen(start.assumingMemoryBound(to: CChar.self))
    return unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: length))
}

/// Time of last modification; saturated where it does not fit, which only a damaged inode has.
func modificationNanoseconds(_ status: stat) -> Int {
    let (seconds, overflow) = status.st_mtim.tv_sec.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max : seconds &+ status.st_mtim.tv_nsec
}
