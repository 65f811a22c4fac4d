internal import Glibc
internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// The formats that shards are written in.
public enum PackFormat: String, Sendable, CaseIterable {
    /// POSIX tar, one member a field, as WebDataset reads it.
    case tar
    /// TFRecord, one `tf.Example` a sample.
    case tfrecord

    var kind: ShardFormatKind {
        switch self {
        case .tar: .tar
        case .tfrecord: .tfrecord
        }
    }
}

/// The codecs that shards are written with.
public enum PackCodec: String, Sendable, CaseIterable {
    /// Plain bytes.
    case none
    /// Independent zstd frames, closed by a seek table.
    case zstd
    /// Independent LZ4 frames, closed by a seek table: larger than zstd's, and faster to read.
    case lz4

    var kind: CodecKind {
        switch self {
        case .none: .none
        case .zstd: .zstd
        case .lz4: .lz4
        }
    }
}

/// What becomes of fields that are JPEGs.
public enum PackJPEG: String, Sendable, CaseIterable {
    /// They stay byte for byte what they are.
    case keep
    /// They are written anew without any loss, so that decoding a crop takes little more than the crop: baseline, with
    /// restart markers every few blocks. Any reader of JPEGs reads them.
    case cropReady = "crop-ready"
}

/// When a shard is full.
public enum ShardLimit: Sendable, Hashable {
    /// Before the sample that would take its uncompressed bytes beyond this.
    case bytes(Int)
    /// After this many samples.
    case samples(Int)
}

/// What a ``Packer`` makes of its sources, and how.
///
/// Everything that decides about the bytes written is here; `workers` and `inventoryByteCount` do not.
public struct PackOptions: Sendable {
    /// 256 MiB: large enough that opening a shard costs nothing beside reading it, small enough that 64 ranks
    /// can share a data set of 16 GiB and that a lost shard is soon written again.
    public static let defaultShardByteCount = 256 << 20
    /// 2 MiB: text and tokens compress within 3 % of one endless stream (1 MiB: 5 %, 4 MiB: 1.4 %), and one
    /// sample read at random costs no more than that to decompress.
    public static let defaultFrameByteCount = 2 << 20
    /// Frame sizes that make sense: below, ratios collapse; above, a frame is no longer a small unit of work.
    public static let frameByteCounts = 16 << 10...1 << 30
    /// 4 GiB: some 30 million samples of one field. Beyond, it is more likely that a file claims what it does
    /// not hold, such as rows of one byte, than that somebody means it, and memory of the machine is at
    /// stake.
    public static let defaultInventoryByteCount = 4 << 30
    /// 256 MiB: with ``PackJPEG/cropReady`` samples are held in memory whole, and JPEGs of larger ones stay what they
    /// are.
    public static let largestRewrittenSample = 256 << 20
    /// Threads beyond this only wait for each other's writes.
    public static let largestWorkerCount = 256

    /// Path of the shards with one `%d` or `%06d` for their number (`data/train-%06d.tar.zst`), or of one
    /// single shard. Its ending says format and codec.
    public var output: String
    /// Needed where the name does not end in `.tar` or `.tfrecord`; must not contradict the name.
    public var format: PackFormat?
    /// Codec where the name does not say format and codec; must not contradict the name.
    public var codec: PackCodec?
    /// Level of the codec; nil for its default (zstd: 3, lz4: 1).
    public var level: Int?
    /// When a shard is full; nil for ``defaultShardByteCount`` bytes.
    public var shardLimit: ShardLimit?
    /// Uncompressed bytes of a frame at most; nil for ``defaultFrameByteCount``. Only with a codec.
    public var frameByteCount: Int?
    /// Threads; nil for one a processor.
    public var workers: Int?
    /// Bytes of memory that the list of all samples may take; nil for ``defaultInventoryByteCount``. Counted
    /// is what is in the list: while it grows and is put in order, up to three times as much is in use.
    public var inventoryByteCount: Int?
    /// Adds the field `cls`: the number of the sample's top directory among all of them in bytewise order.
    public var classFromDirectory = false
    /// Replaces whatever shards of this pattern exist.
    public var overwrite = false
    /// Continues an interrupted run of the same sources and options; starts one where there is none.
    public var resume = false
    /// The order of the samples.
    public var order = PackOrder.asFound
    /// What to do with damaged samples of a source.
    public var onDefect = DefectPolicy.fail
    /// What becomes of JPEGs: fields whose names end in `jpg` or `jpeg`, and values of a `tf.Example` that begin as
    /// JPEGs do.
    ///
    /// With ``PackJPEG/cropReady`` shards and frames are cut by the sizes that samples have in their sources, so that
    /// nothing is rewritten twice: shards can be a little larger or smaller than the limit.
    public var jpeg = PackJPEG.keep

    /// Options that pack to `output`; all others have their defaults.
    public init(output: String) {
        self.output = output
    }
}

/// Options after every default and contradiction is settled.
struct PackSettings: Sendable {
    let pattern: OutputPattern
    let format: ShardFormatKind
    let codec: CodecKind
    let level: Int
    let shardLimit: ShardLimit
    let frameByteCount: Int
    let workers: Int
    let inventoryByteCount: Int
    let classFromDirectory: Bool
    let overwrite: Bool
    let resume: Bool
    let order: PackOrder
    let onDefect: DefectPolicy
    let jpeg: PackJPEG

    init(_ options: PackOptions) throws(HeadraceError) {
        pattern = try OutputPattern(options.output)
        (format, codec) = try Self.formatAndCodec(pattern.ending, options)
        level = try Self.level(options, codec)
        if codec == .none, options.frameByteCount != nil {
            throw HeadraceError(
                .usage, "a frame size makes no sense without a codec; name the output .zst or .lz4")
        }
        frameByteCount = options.frameByteCount ?? PackOptions.defaultFrameByteCount
        guard PackOptions.frameByteCounts.contains(frameByteCount) else {
            throw HeadraceError(
                .usage,
                "a frame of \(frameByteCount) bytes is refused: frames have "
                    + "\(PackOptions.frameByteCounts.lowerBound) to \(PackOptions.frameByteCounts.upperBound) bytes"
            )
        }
        if pattern.isSingle, options.shardLimit != nil {
            throw HeadraceError(
                .usage,
                "'\(options.output)' names one file, which no shard limit can cut; put %06d in the name")
        }
        shardLimit =
            pattern.isSingle ? .bytes(.max) : options.shardLimit ?? .bytes(PackOptions.defaultShardByteCount)
        switch shardLimit {
        case .bytes(let limit), .samples(let limit):
            guard limit > 0 else { throw HeadraceError(.usage, "a shard must have room for something") }
        }
        workers =
            options.workers
            ?? min(PackOptions.largestWorkerCount, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        guard (1...PackOptions.largestWorkerCount).contains(workers) else {
            throw HeadraceError(
                .usage, "\(workers) workers are refused: 1 to \(PackOptions.largestWorkerCount)")
        }
        inventoryByteCount = options.inventoryByteCount ?? PackOptions.defaultInventoryByteCount
        guard inventoryByteCount > 0 else {
            throw HeadraceError(.usage, "the list of samples must have room for something")
        }
        classFromDirectory = options.classFromDirectory
        overwrite = options.overwrite
        resume = options.resume
        guard !overwrite || !resume else {
            throw HeadraceError(.usage, "to resume a run and to replace its shards exclude each other")
        }
        order = options.order
        onDefect = options.onDefect
        jpeg = options.jpeg
        guard jpeg == .keep || CropReadyWriter.libraryVersion != nil else {
            throw HeadraceError(
                .usage,
                "JPEGs cannot be rewritten: this Headrace was built without its package trait Images")
        }
    }

    private static func level(_ options: PackOptions, _ codec: CodecKind) throws(HeadraceError) -> Int {
        guard let levels = codec.levels else {
            guard options.level == nil else {
                throw HeadraceError(
                    .usage, "a level makes no sense without a codec; name the output .zst or .lz4")
            }
            return 0
        }
        guard let level = options.level else { return levels.standard }
        guard levels.range.contains(level), level != 0 else {
            throw HeadraceError(
                .usage,
                "\(codec.rawValue) has no level \(level): 1 to \(levels.range.upperBound), or negative ones "
                    + "down to \(levels.range.lowerBound)")
        }
        return level
    }

    /// What the name says wins over nothing and tolerates no contradiction.
    private static func formatAndCodec(
        _ ending: String, _ options: PackOptions
    ) throws(HeadraceError) -> (ShardFormatKind, CodecKind) {
        var words = ending.lowercased().split(separator: ".", omittingEmptySubsequences: false).map(
            String.init)
        var namedCodec: PackCodec?
        switch words.last {
        case "zst", "zstd":
            namedCodec = .zstd
            words.removeLast()
        case "lz4":
            namedCodec = .lz4
            words.removeLast()
        case "gz", "tgz", "bz2", "xz":
            throw HeadraceError(
                .usage,
                "shards ending in .\(words.last!) are not written, having no frames to read in parallel; "
                    + "use .zst or .lz4")
        default: break
        }
        var namedFormat: PackFormat?
        switch words.last {
        case "tar": namedFormat = .tar
        case "tfrecord", "tfrecords", "tfr": namedFormat = .tfrecord
        default: break
        }
        // A name that ends in .tar says as clearly that there is no codec as .tar.zst says that there is one.
        if namedFormat != nil, namedCodec == nil { namedCodec = PackCodec.none }
        if let asked = options.format, let namedFormat, asked != namedFormat {
            throw HeadraceError(
                .usage,
                "the output is named .\(namedFormat.rawValue), the format asked for is \(asked.rawValue)")
        }
        if let asked = options.codec, let namedCodec, asked != namedCodec {
            throw HeadraceError(
                .usage,
                "the output's name says codec \(namedCodec.rawValue), the codec asked for is \(asked.rawValue)"
            )
        }
        guard let format = namedFormat ?? options.format else {
            throw HeadraceError(
                .usage,
                "'\(options.output)' does not say a format: end it in .tar, .tar.zst, .tfrecord, "
                    + ".tfrecord.lz4 or the like, or give the format")
        }
        return (format.kind, (namedCodec ?? options.codec ?? .none).kind)
    }
}
