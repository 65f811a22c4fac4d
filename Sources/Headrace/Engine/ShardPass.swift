internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// One pass over one shard: how it is cut into chunks, and the ordered stage that turns them into samples.
///
/// Sendable: made and cut by the worker that opened it, then only read, but for `unpacker`, which belongs to the
/// worker that has claimed the lane.
final class ShardPass: @unchecked Sendable {
    let shard: Shard
    /// Nil for a directory, whose files are opened one by one, and for a shard that could not be opened.
    let file: (any StorageFile)?
    let layout: ShardLayout?
    /// The samples of a directory.
    let directory: [FileSample]
    let unpacker: ShardUnpacker
    let chunks: ChunkCutting
    let epoch: Int
    /// The shard's samples are all found, or lost; guarded by the engine's lock.
    var isOver = false

    init(
        shard: Shard, file: (any StorageFile)?, layout: ShardLayout?, chunks: ChunkCutting,
        unpacker: ShardUnpacker, epoch: Int, directory: [FileSample] = []
    ) {
        self.shard = shard
        self.file = file
        self.layout = layout
        self.chunks = chunks
        self.unpacker = unpacker
        self.epoch = epoch
        self.directory = directory
    }
}

/// How a shard's file is cut into chunks. Every way has at least one chunk, so that an empty file is judged too.
enum ChunkCutting: Sendable {
    /// Equal pieces of the file: the shard itself where there is no codec, else its compressed stream.
    case pieces(count: Int, bytes: Int, isStream: Bool)
    /// Runs of independent frames: any chunk can be decompressed on its own.
    case frames([FrameRun])

    /// Runs of small files, each chunk whole samples.
    case files([FileRun])

    struct FileRun: Sendable {
        var samples: Range<Int>
        var length: Int
    }

    struct FrameRun: Sendable {
        var frames: Range<Int>
        var compressedOffset: Int
        var compressedLength: Int
        var length: Int
    }

    var count: Int {
        switch self {
        case .pieces(let count, _, _): count
        case .frames(let runs): runs.count
        case .files(let runs): runs.count
        }
    }

    /// Room in front of chunk `index` for what its predecessor could not finish; the first has no predecessor.
    func headroom(_ index: Int, geometry: ChunkGeometry) -> Int {
        if case .files = self { return 0 }
        return index == 0 ? 0 : geometry.headroomBytes
    }

    /// Memory that the uncompressed bytes of chunk `index` need, head room included.
    func outputBytes(_ index: Int, size: Int, geometry: ChunkGeometry) -> Int {
        let room = headroom(index, geometry: geometry)
        switch self {
        case .pieces: return room + fileRange(index, size: size).count + ChunkGeometry.pageBytes
        case .frames(let runs): return room + runs[index].length
        case .files(let runs): return max(1, runs[index].length)
        }
    }

    /// Memory that the compressed bytes of chunk `index` need; a direct read may start and end a page further out.
    func inputBytes(_ index: Int, size: Int) -> Int {
        switch self {
        case .pieces(_, _, let isStream):
            return isStream ? fileRange(index, size: size).count + ChunkGeometry.pageBytes : 0
        case .frames(let runs): return runs[index].compressedLength + 2 * ChunkGeometry.pageBytes
        case .files: return 0
        }
    }

    var needsInput: Bool {
        switch self {
        case .pieces(_, _, let isStream): isStream
        case .frames: true
        case .files: false
        }
    }

    var isStream: Bool {
        if case .pieces(_, _, isStream: true) = self { return true }
        return false
    }

    /// Cuts a file of `size` bytes; frames are grouped up to a chunk's size, larger ones stand alone.
    init(size: Int, codec: CodecKind, frames: [Frame]?, geometry: ChunkGeometry) {
        guard codec != .none, let frames, !frames.isEmpty else {
            let count = max(1, (size + geometry.chunkBytes - 1) / geometry.chunkBytes)
            self = .pieces(count: count, bytes: geometry.chunkBytes, isStream: codec != .none)
            return
        }
        var runs: [FrameRun] = []
        for (index, frame) in frames.enumerated() {
            if let last = runs.last, last.length + frame.length <= geometry.chunkBytes,
                last.compressedLength + frame.compressedLength <= geometry.chunkBytes
            {
                runs[runs.count - 1].frames = last.frames.lowerBound..<index + 1
                runs[runs.count - 1].length += frame.length
                runs[runs.count - 1].compressedLength += frame.compressedLength
            } else {
                runs.append(
                    FrameRun(
                        frames: index..<index + 1, compressedOffset: frame.compressedOffset,
                        compressedLength: frame.compressedLength, length: frame.length))
            }
        }
        self = .frames(runs)
    }

    /// The bytes of the file that chunk `index` needs.
    func fileRange(_ index: Int, size: Int) -> Range<Int> {
        switch self {
        case .pieces(_, let bytes, _):
            let start = min(size, index * bytes)
            return start..<min(size, start + bytes)
        case .frames(let runs):
            return runs[index].compressedOffset..<runs[index].compressedOffset + runs[index].compressedLength
        case .files:
            return 0..<0
        }
    }
}
