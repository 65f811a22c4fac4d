internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Where a sample of an indexed walk comes from.
struct SampleOrigin: Sendable {
    /// The shard's number in the catalog.
    var shard: Int32
    /// How often a mixture has walked through the shard's data set before, in this epoch.
    var pass: UInt32 = 0
    /// Ordinal in the shard.
    var ordinal: Int
}

/// What an indexed walk brings into one chunk: reads that lie anywhere, and the samples that are found in them.
///
/// Sendable: belongs to whoever has the chunk.
final class PlannedChunk: @unchecked Sendable {
    /// One read of a file.
    struct Fetch {
        var shard: Int32
        /// Whole blocks where reads are direct.
        var offset: Int
        var length: Int
        /// Where it goes, in the memory for what is read.
        var place: Int
    }

    struct Sample {
        var origin: SampleOrigin
        /// In the uncompressed shard.
        var offset: Int
        var length: Int
        /// In the uncompressed bytes of the chunk.
        var place: Int
    }

    unowned let window: Window
    var fetches: [Fetch] = []
    var samples: [Sample] = []
    /// Frames that the read brings, of one shard; empty where it is not compressed.
    var frames: [Frame] = []
    /// Where the compressed bytes of the first frame lie in the read.
    var frameLead = 0
    /// Memory for the uncompressed bytes of all frames.
    var frameBytes = 0
    /// Only the samples of the frames are kept, because they are a small part.
    var keepsSamplesAlone = false
    /// Memory for what batches refer to.
    var outputBytes = 0
    /// Memory for what is read and compressed.
    var inputBytes = 0
    /// Once its memory is granted.
    var chunk: Chunk?
    /// Defects known before anything was read: samples without a place.
    var failures: [(sample: Int, error: HeadraceError)] = []
    /// Files of the reads, by shard; opened by the planner.
    var files: [Int32: any StorageFile] = [:]

    init(_ window: Window) { self.window = window }
}

/// Some consecutive batches of an indexed walk: their rows are planned, read and found together.
///
/// Sendable: made by the worker that plans, then guarded by the engine's lock.
final class Window: @unchecked Sendable {
    /// Steps of the current segment.
    var steps: Range<Int>
    var chunks: [PlannedChunk] = []
    /// The window's rows in order: the place of the chunk in `chunks` and the sample in it; chunk -1 for padding.
    var rows: [RowReference] = []
    /// First row of each step, and the end.
    var starts: [Int] = []
    /// Rows that only make ranks equal, by step.
    var repeats: [Int] = []
    /// Chunks that have no memory yet start here.
    var admitted = 0
    /// Chunks that are not filled yet.
    var pending = 0
    /// The next step to be dealt.
    var nextStep = 0
    /// Where the current batch lists each chunk; -1: not yet.
    var listings: [Int32] = []

    init(steps: Range<Int>) { self.steps = steps }

    var isFilled: Bool { pending == 0 }
}
