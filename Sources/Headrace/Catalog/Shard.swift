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
