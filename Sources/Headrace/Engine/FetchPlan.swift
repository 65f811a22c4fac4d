internal import HeadraceCore
internal import HeadraceStorage

/// Which bytes of the file a chunk needs, where they go, and what a direct read needs around them.
@safe struct FetchPlan {
    /// Bytes of the file that are wanted.
    let fileBytes: Int
    /// Where the read starts and how long it is, in whole blocks where the file demands that.
    let offset: Int
    let length: Int
    /// Wanted bytes start so far behind the start of the read.
    private let lead: Int
    let destination: UnsafeMutableRawPointer
    private let headroom: Int
    private let isCompressed: Bool

    init(_ chunk: Chunk, _ pass: ShardPass, _ file: any StorageFile, _ geometry: ChunkGeometry) {
        let range = pass.chunks.fileRange(chunk.index, size: file.size)
        let alignment = max(1, file.alignment)
        headroom = pass.chunks.headroom(chunk.index, geometry: geometry)
        fileBytes = range.count
        offset = range.lowerBound / alignment * alignment
        lead = range.lowerBound - offset
        length = (range.upperBound + alignment - 1) / alignment * alignment - offset
        isCompressed = pass.chunks.needsInput
        if isCompressed {
            unsafe destination = chunk.input!.base
        } else {
            unsafe destination = chunk.slab!.base + headroom
        }
    }

    /// The read brought `count` bytes; throws when wanted ones are missing.
    func check(_ count: Int, _ file: any StorageFile) throws(HeadraceError) {
        guard count >= lead + fileBytes else {
            throw HeadraceError(
                .fileChanged,
                "the file ended \(lead + fileBytes - count) bytes early while it was read; it must not be changed "
                    + "while a loader reads it", at: .init(shard: file.path, offset: offset + count))
        }
    }

    /// Marks where the bytes lie.
    func accept(_ chunk: Chunk) {
        chunk.isFetched = true
        if isCompressed {
            chunk.inputStart = lead
            chunk.inputEnd = lead + fileBytes
            chunk.start = headroom
            chunk.end = headroom
        } else {
            chunk.start = headroom
            chunk.end = headroom + fileBytes
        }
    }
}
