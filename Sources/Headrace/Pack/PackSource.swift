public import HeadraceCore

/// Where samples to be packed come from.
public protocol PackSource: Sendable {
    /// Adds every sample to `inventory`, in the order they are to be packed in. Payloads are not kept: only where
    /// they are and how large.
    ///
    /// Throws what keeps the source from being listed; names that cannot be packed are reported to the inventory,
    /// so that all of them are heard of at once.
    func addSamples(to inventory: inout PackInventory) throws(HeadraceError)
}

extension PackSource {
    /// Folders all of whose files are samples: shards that are written there would become some.
    var folders: [String] {
        switch self {
        case let source as DirectorySource: [source.path]
        case let source as ShardSource: source.wholeFolders
        default: []
        }
    }
}

/// The bytes of one field: known in length from the start, read when their turn comes.
public enum PackPayload: Sendable {
    /// A whole file, which must still have this size and this time of modification (nanoseconds since 1970) when it
    /// is read.
    case file(path: String, byteCount: Int, modificationNanoseconds: Int)
    /// Bytes in memory.
    case bytes([UInt8])
    /// A part of something larger that reads its items itself.
    case item(any PackItems, index: Int, byteCount: Int)

    /// Bytes of the payload.
    public var byteCount: Int {
        switch self {
        case .file(_, let byteCount, _), .item(_, _, let byteCount): byteCount
        case .bytes(let bytes): bytes.count
        }
    }
}

/// Many payloads that live in one place, such as the images of one file. Used by many threads at once.
public protocol PackItems: AnyObject, Sendable {
    /// Fills `destination` with the bytes of item `index` from `offset` on; all of them, or it throws.
    func read(
        item index: Int, offset: Int, into destination: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError)

    /// What tells these payloads from others of the same sizes, such as a time of modification: an interrupted run
    /// is only resumed with sources of the same version.
    var version: String { get }
}

extension PackItems {
    /// Nothing but the sizes tells one version from another.
    public var version: String { "" }
}
