internal import Glibc
public import HeadraceCore
internal import HeadraceStorage

/// Entries of a directory that is still looked through for IDX files: those data sets come as a handful of files,
/// and opening every file of a large image folder would take minutes.
private let largestIDXDirectory = 64

/// The sources that `paths` name: IDX files by their content, and directories.
///
/// A directory that holds IDX files directly stands for them; any other is a ``DirectorySource``. IDX files given
/// one by one are paired among each other.
public func packSources(at paths: [String]) throws(HeadraceError) -> [any PackSource] {
    var sources: [any PackSource] = []
    var single: [String] = []
    for path in paths {
        switch try LocalFiles.kind(path) {
        case .none: throw HeadraceError(.notFound, "there is no such source", at: .init(shard: path))
        case .other:
            throw HeadraceError(.usage, "this is neither a directory nor a file", at: .init(shard: path))
        case .file:
            guard try IDXFile.isIDX(path) else {
                throw HeadraceError(
                    .unknownFormat, "directories and IDX files can be packed; this file is no IDX file",
                    at: .init(shard: path))
            }
            single.append(path)
        case .directory: sources.append(try idxSource(in: path) ?? DirectorySource(path))
        }
    }
    return single.isEmpty ? sources : sources + [IDXSource(single)]
}

/// The IDX files directly in `directory`; nil when there are none.
private func idxSource(in directory: String) throws(HeadraceError) -> IDXSource? {
    var files: [String] = []
    var others: [String] = []
    let names = try directoryNames(directory).filter { !$0.utf8.starts(with: ".".utf8) }
    guard names.count <= largestIDXDirectory else { return nil }
    for name in names {
        let path = "\(directory)/\(name)"
        guard try LocalFiles.kind(path) == .file else { return nil }
        if try IDXFile.isIDX(path) { files.append(path) } else { others.append(path) }
    }
    guard !files.isEmpty else { return nil }
    var source = IDXSource(files)
    source.others = others
    return source
}

/// Names in a directory, sorted bytewise. Those that are no UTF-8 are left out: whoever packs them refuses them.
func directoryNames(_ directory: String) throws(HeadraceError) -> [String] {
    guard let stream = unsafe opendir(directory) else {
        let number = errno
        throw HeadraceError(
            number == ENOENT ? .notFound : .io, "the directory cannot be listed", at: .init(shard: directory),
            cause: errorDescription(number))
    }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    errno = 0
    while let entry = unsafe readdir(stream) {
        if let name = String(validating: unsafe directoryEntryName(entry), as: UTF8.self), name != ".",
            name != ".."
        {
            names.append(name)
        }
        errno = 0
    }
    guard errno == 0 else {
        throw HeadraceError(
            .io, "the directory cannot be read", at: .init(shard: directory), cause: errorDescription(errno))
    }
    return names.sorted { byteOrder($0, $1) < 0 }
}
