internal import Glibc
public import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Entries of a directory that is still looked through for IDX files: those data sets come as a handful of files,
/// and opening every file of a large image folder would take minutes.
private let largestIDXDirectory = 64

/// What sources cannot tell by themselves.
public struct PackSourceOptions: Sendable {
    /// How text is cut into samples. Nil: `.txt` files by line, and files of unknown names are refused; otherwise
    /// every file that is nothing else is text.
    public var text: TextSplit?
    /// The member of JSON objects, or the column of tables, that is the sample's key.
    public var keyField: String?

    /// The defaults.
    public init() {}
}

/// The sources that `words` name: paths, globs and brace patterns of files and directories.
///
/// Files are told by their content (IDX files, which are paired among each other, .npy and .npz, whose rows are, and
/// shards), then by their name (`.jsonl`, `.ndjson`, `.csv`, `.tsv`, `.txt`, each also with `.gz`, `.zst` or `.lz4`). A directory that holds IDX files,
/// or nothing but shards, stands for these; any other is a ``DirectorySource``. Sources come in the order of the
/// words.
public func packSources(
    at words: [String], options: PackSourceOptions = PackSourceOptions()
) throws(HeadraceError) -> [any PackSource] {
    var sources: [any PackSource] = []
    // IDX files belong together, and so do arrays; they stand where the first of them does.
    var idx: (place: Int, paths: [String])?
    var arrays: (place: Int, paths: [String])?
    if words.contains("-"), try LocalFiles.kind("-") == nil {
        throw HeadraceError(
            .usage, "standard input cannot be packed, as sources are read twice; write it to a file first")
    }
    for path in try ShardPattern.resolve(words) {
        if path.contains("://") {
            throw HeadraceError(
                .unsupported, "remote sources cannot be read yet; copy them to a local disk",
                at: .init(shard: path))
        }
        switch try LocalFiles.kind(path) {
        case .none: throw HeadraceError(.notFound, "there is no such source", at: .init(shard: path))
        case .other:
            throw HeadraceError(
                .usage,
                "this is neither a directory nor a file; sources are read twice, so write what comes through a pipe "
                    + "to a file first", at: .init(shard: path))
        case .directory: sources.append(try directorySource(path))
        case .file where try IDXFile.isIDX(path):
            if idx == nil {
                idx = (sources.count, [])
                sources.append(IDXSource([]))
            }
            idx?.paths.append(path)
        case .file where try isArrayFile(path):
            if arrays == nil {
                arrays = (sources.count, [])
                sources.append(ArraySource([]))
            }
            arrays?.paths.append(path)
        case .file: try append(path, options, to: &sources)
        }
    }
    if let idx { sources[idx.place] = IDXSource(idx.paths) }
    if let arrays { sources[arrays.place] = ArraySource(arrays.paths) }
    if options.keyField != nil, !sources.contains(where: { $0 is JSONLinesSource || $0 is TableSource }) {
        throw HeadraceError(.usage, "a key field says something of JSON lines and tables, and there are none")
    }
    if options.text != nil, !sources.contains(where: { $0 is TextSource }) {
        throw HeadraceError(.usage, "how to cut text says something of text files, and there are none")
    }
    return sources
}

/// Adds one file; neighbours of one kind become one source.
private func append(
    _ path: String, _ options: PackSourceOptions, to sources: inout [any PackSource]
) throws(HeadraceError) {
    let refusal = try shardRefusal(path)
    guard let refusal else {
        let before = sources.last as? ShardSource
        if before != nil { sources.removeLast() }
        var source = ShardSource((before?.paths ?? []) + [path])
        source.wholeFolders = before?.wholeFolders ?? []
        return sources.append(source)
    }
    switch nameEnding(path) {
    case "jsonl", "ndjson": sources.append(JSONLinesSource([path], keyField: options.keyField))
    case "csv": sources.append(TableSource([path], keyField: options.keyField))
    case "tsv": sources.append(TableSource([path], delimiter: .tab, keyField: options.keyField))
    case "txt": sources.append(TextSource([path], split: options.text ?? .line))
    default:
        if let split = options.text { return sources.append(TextSource([path], split: split)) }
        throw HeadraceError(
            .unknownFormat,
            "this file is of no kind that can be packed: directories, shards, IDX files, .npy, .npz, .jsonl, "
                + ".ndjson, .csv, .tsv and .txt can, and with --text any other file as text",
            at: .init(shard: path), cause: refusal)
    }
}

/// The last part of a file's name, in lower case, before what it is compressed with.
private func nameEnding(_ path: String) -> String {
    var parts = baseName(path).lowercased().split(separator: ".").dropFirst()
    if let last = parts.last, ["gz", "zst", "zstd", "lz4"].contains(last) { parts.removeLast() }
    return parts.last.map(String.init) ?? ""
}

private func directorySource(_ path: String) throws(HeadraceError) -> any PackSource {
    if let source = try idxSource(in: path) { return source }
    // A tree that cannot be listed as shards (a loop of links, say) may still be a source of files.
    guard let found = ShardName.shards(among: (try? LocalFiles.list(path))?.files ?? []) else {
        return DirectorySource(path)
    }
    try ShardFiles.checkComplete(path)
    var source = ShardSource(found.map(\.path))
    source.wholeFolders = [path]
    return source
}

/// Whether the file holds arrays of NumPy. Content decides; the name does where it is compressed.
private func isArrayFile(_ path: String) throws(HeadraceError) -> Bool {
    let file = try SourceFile(path)
    if try SourceArray.isArray(file) { return true }
    if try SourceArray.isArchive(file) { return true }
    return ["npy", "npz"].contains(nameEnding(path))
}

/// Why the file is no shard; nil when it is one, or claims to be.
private func shardRefusal(_ path: String) throws(HeadraceError) -> String? {
    let head = try SourceFile(path).head(ShardSniffer.headBytes)
    let result: Result<Void, HeadraceError> = unsafe head.withUnsafeBytes { head in
        do throws(HeadraceError) {
            _ = try unsafe ShardSniffer.sniff(head: head, name: path)
            return .success(())
        } catch {
            return .failure(error)
        }
    }
    do throws(HeadraceError) {
        try result.get()
        return nil
    } catch  where error.code == .unknownFormat {
        return error.message
    }
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
