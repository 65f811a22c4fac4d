internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// One shard of a data set, as the catalog lists it before anything of it is read.
struct Shard: Sendable, Equatable {
    /// Place in the catalog: part of what makes a sample's randomness.
    let number: Int
    let path: String
    /// Bytes of the file; for a directory, of its samples.
    let size: Int
    /// What the manifest beside the shard says of it; nil where there is none.
    var listed: Listed?

    /// What a manifest promises. A shard that keeps less has lost something, even where its format cannot tell.
    struct Listed: Sendable, Equatable {
        var byteCount: Int
        var sampleCount: Int
    }

    /// The defect of a shard of `found` samples, if it is not what the manifest promises.
    func disagreement(found: Int) -> HeadraceError? {
        guard let listed, listed.byteCount != size || listed.sampleCount != found else { return nil }
        return HeadraceError(
            .indexMismatch,
            "the manifest lists \(listed.sampleCount) samples in \(listed.byteCount) bytes, the shard has \(found) in "
                + "\(size): it was cut or replaced (pack it again, list it anew with 'headrace index --rebuild', or "
                + "remove its manifest)",
            at: .init(shard: path))
    }

    /// The folder it lies in.
    var folder: String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The part of the path that identifies the shard wherever the data set is copied to.
    var name: String { String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...]) }
}

/// What the first and last bytes of a shard told: enough to cut it into chunks.
struct ShardLayout: Sendable {
    let codec: CodecKind
    let format: ShardFormatKind
    /// The frames of a seekable compressed shard.
    let frames: [Frame]?

    /// Bytes of the uncompressed shard, where they are known.
    func uncompressedSize(fileSize: Int) -> Int? {
        if codec == .none { return fileSize }
        return frames.map { frames in frames.last.map { $0.offset + $0.length } ?? 0 }
    }
}
