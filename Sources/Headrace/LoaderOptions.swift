public import HeadraceCompute
public import HeadraceCore
public import HeadraceDecode

/// What to do with a sample or shard that is damaged.
public enum DefectPolicy: Hashable, Sendable {
    /// Deliver all batches before the faulty one, then throw.
    case fail
    /// Leave defective samples out and count them, until there are more than `limit` of them.
    case skip(limit: Int)
    /// Leave defective samples out and count them, while they are at most `share` (0...1) of the samples seen. The
    /// share is judged from the 1,000th sample on and at the end of each epoch.
    case skipShare(Double)
}

/// What happens to the samples at the end of an epoch that do not fill a batch.
public enum LastBatch: String, Hashable, Sendable, CaseIterable {
    /// They are delivered as a smaller batch.
    case keep
    /// They are left out, and counted as dropped.
    case drop
}

/// The order in which samples are delivered.
public enum Shuffle: Hashable, Sendable {
    /// Shards in catalog order, lanes in turn.
    case none
    /// Shards in a random order, then each block of so many consecutive samples permuted. Streamed walk.
    case buffer(Int)
    /// Blocks of so many neighbours in random order, each permuted within. Indexed walk.
    case block(Int)
    /// A random permutation of all samples. Indexed walk.
    case global

    /// As `--shuffle` reads it.
    var words: String {
        switch self {
        case .none: "none"
        case .buffer(let size): "buffer:\(size)"
        case .block(let size): "block:\(size)"
        case .global: "global"
        }
    }
}

/// One field that a loader decodes.
public struct FieldRequest: Sendable {
    /// Name of the field: the member's extension, lower-cased, or the feature's name.
    public var name: String
    /// What turns its bytes into rows.
    public var decoder: any Decoder
    /// Whether samples may lack it; a sample without a field that is not optional is a defect.
    public var isOptional: Bool
    /// Name of the column in the batch: the field's, or `FIELD/PART` for a decoder that takes out a part.
    public var column: String
    /// What the device makes of a column of `uint8` images; nil: it arrives as it was decoded.
    public var normalization: DeviceNormalization?

    /// A request for field `name`, delivered as column `column` (nil: the field's name, and the part's).
    public init(
        _ name: String, _ decoder: any Decoder, isOptional: Bool = false, as column: String? = nil
    ) {
        self.name = name
        self.decoder = decoder
        self.isOptional = isOptional
        self.column = column ?? decoder.part.map { "\(name)/\($0)" } ?? name
    }
}

/// Everything that decides what a loader yields and how it goes about it.
///
/// The first group is the data options: with the data set, seed and epoch they determine every batch. The second
/// group changes speed and memory only.
public struct LoaderOptions: Sendable {
    /// Shards read in turn by default. Fixed: the order depends on it, so it never follows the machine.
    public static let defaultLanes = 8
    /// Batches of a window of bucketing by default.
    public static let defaultBucketWindow = Bucketing.windowSteps
    /// Samples of a shuffle block by default.
    public static let defaultShuffleBuffer = 1024
    /// Rows of a batch by default.
    public static let defaultBatchSize = 256

    /// Lanes: shards that are interleaved sample by sample.
    public var lanes = defaultLanes
    /// Order of the samples.
    public var shuffle = Shuffle.none
    /// Seed of the shuffle and of every decoder's randomness.
    public var seed: UInt64 = 0
    /// Number of epochs; nil: until the consumer stops.
    public var epochs: Int? = 1
    /// Rows of a batch.
    public var batchSize = defaultBatchSize
    /// What happens to the rest at the end of an epoch.
    public var lastBatch = LastBatch.keep
    /// Weights of several data sets, each an element of ``Dataset/shards``; nil: they are one data set.
    public var mixing: Mixing?
    /// How shards and nodes belong together.
    public var affinity = Affinity.none
    /// Nodes of the job, for an affinity to them; nil: what the launcher says.
    public var nodes: Int?
    /// Batches within which samples of like length are brought together, to save padding; nil: as they come. Indexed
    /// walk; the length is that of the sample in its shard.
    public var bucketWindow: Int?
    /// Which way the data set is walked; nil: indexed where the shuffle demands it, or where there are several ranks and
    /// every shard has an index, else streamed. What was chosen is in the report, and a resumed run keeps it.
    public var walk: Walk?
    /// What happens at the end of an epoch where the samples cannot be shared equally by the ranks.
    public var uneven = UnevenRanks.drop
    /// Which of ``worldSize`` processes this one is. Both or neither; nil: what the launcher says in the environment
    /// (`RANK` and `WORLD_SIZE`, `OMPI_COMM_WORLD_RANK` and `_SIZE`, `SLURM_PROCID` and `SLURM_NTASKS`), else a process
    /// alone.
    public var rank: Int?
    /// Processes that share the data set.
    public var worldSize: Int?
    /// Batches of each rank and epoch, for a streamed walk of several ranks without sample counts.
    public var steps: Int?
    /// Folder of the shards' indexes, where they are not beside the shards.
    public var indexFolder: String?
    /// What happens at damage.
    public var onDefect = DefectPolicy.fail
    /// Fields to decode; empty: every sample is delivered whole, all fields as raw bytes.
    public var fields: [FieldRequest] = []
    /// Whether TFRecord records are parsed as `tf.Example` or `tf.SequenceExample`, each feature a field of its name
    /// and each feature list a field `feature_lists/NAME`; else the record is one field.
    public var parsesExamples = false

    /// Decode workers; nil: one for each core of the process's affinity mask, shared with its sibling processes.
    public var workers: Int?
    /// The memory budget; nil: a quarter of the memory limit, shared with the sibling processes, at most 4 GiB.
    public var memory: ByteCount?
    /// Ready batches that wait for the consumer.
    public var prefetch = 4
    /// Batches that the consumer may hold at once.
    public var heldBatches = 4
    /// A cache on a local disk, for shards that are far away; nil: none.
    public var cache: CacheOptions?
    /// How files are read.
    public var engine = EngineRequest.auto
    /// Reads under way at once with a ring or direct reads.
    public var queueDepth = 32
    /// Whether the page cache is bypassed (O_DIRECT).
    public var direct = false
    /// Whether the order-sensitive digest of everything delivered is computed; costs CPU time.
    public var digest = false

    /// The defaults.
    public init() {}
}

/// Which I/O engine is wanted.
public enum EngineRequest: String, Hashable, Sendable, CaseIterable {
    /// `pread` by the workers for buffered local files, io_uring for direct reads where it can be had.
    case auto
    /// io_uring, or an error.
    case uring
    /// `pread`.
    case pread
}
