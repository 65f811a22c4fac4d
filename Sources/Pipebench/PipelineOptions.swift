internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCompute
internal import HeadraceCore

/// The flags that say how a data set is read, shared by all commands that run the loader.
struct PipelineOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            Order of the samples: as in the shards; shards in random order and each N samples shuffled (streamed walk); \
            blocks of N neighbours in random order, shuffled within; or all samples (indexed walk).
            """, valueName: "none|buffer:N|block:N|global"),
        transform: Shuffle.argument)
    var shuffle = Shuffle.none

    @Option(
        help: ArgumentHelp(
            "Shards front to back, or samples by index (default: by index where the shuffle or several ranks want it).",
            valueName: "streamed|indexed"),
        transform: Walk.argument)
    var walk: Walk?

    @Option(
        help: ArgumentHelp(
            "Mix: each SHARDS argument is a data set of its own, and these are their weights, in order. Indexed walk.",
            valueName: "W,W,..."),
        transform: Mixing.argument)
    var mix: Mixing?

    @Option(
        help: ArgumentHelp(
            "When an epoch of a mixture ends: before the first data set runs out, or when all of each was delivered.",
            valueName: "first-exhausted|all"),
        transform: MixtureEnd.argument)
    var mixUntil: MixtureEnd?

    @Option(
        help: ArgumentHelp(
            "Bring samples of like length together: those of so many consecutive batches are sorted and cut anew.",
            valueName: "BATCHES"))
    var bucketWindow: Int?

    @Option(
        help: ArgumentHelp(
            "Deal shards to nodes once for the whole run, so that a node's cache serves every later epoch.",
            valueName: "none|node"), transform: Affinity.argument)
    var affinity = Affinity.none

    @Option(help: "Nodes of the job, for an affinity to them (default: what the launcher says).")
    var nodes: Int?

    @Option(help: ArgumentHelp("Folder of the shards' indexes, if not beside them.", valueName: "DIR"))
    var index: String?

    @Option(
        help: ArgumentHelp(
            "What makes ranks equal at the end of an epoch: leave out, add rows without a sample, or deliver again.",
            valueName: "drop|pad|repeat"),
        transform: UnevenRanks.argument)
    var uneven = UnevenRanks.drop

    @Option(help: "This process among those of the job, from 0 (default: what the launcher says).")
    var rank: Int?

    @Option(help: "Processes of the job.") var worldSize: Int?

    @Option(help: "Batches of each rank, for a streamed walk of several ranks over shards without counts.")
    var steps: Int?

    @Option(help: "Seed of the shuffle: the same seed gives the same order, on any machine.")
    var seed: UInt64 = 0

    @Option(help: "Passes over the data.")
    var epochs = 1

    @Option(help: "Samples of a batch.")
    var batch = LoaderOptions.defaultBatchSize

    @Option(
        help: ArgumentHelp(
            "The samples at the end of an epoch that fill no batch: a smaller batch, or left out and counted.",
            valueName: "keep|drop"),
        transform: LastBatch.argument)
    var last = LastBatch.keep

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            """
            Decode a field; may be repeated. Without it samples are delivered whole, as raw bytes. A part of a \
            field is the column FIELD/PART: an array of an .npz, or the value at a path into a JSON text. \
            Tokens are u16 or u32, [N] of them in each row or any number. Features of a tf.Example: int64 or float \
            for one number, [3] or [28,28] for a list of that shape, [] for any length; :N is the default of an \
            absent feature.
            """,
            valueName:
                "FIELD=raw|int|text|tokens:u16[N]|json|json:PATH[:TYPE]|npy|npz|npz:NAME,...|int64[SHAPE][:N]|float[SHAPE][:N]|bytes[]"
        ),
        transform: DecodeArgument.argument)
    var decode: [DecodeArgument] = []

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Decode a field that holds a decimal number, as FIELD=int does.", valueName: "FIELD"))
    var integer: [String] = []

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Decode a field that holds images, JPEG or PNG; may be repeated. They are read as --transform says.",
            valueName: "FIELD"))
    var image: [String] = []

    @OptionGroup var imageFlags: ImageFlags

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            """
            Fill the rows of a decoded column up to one length (a longer row is a defect), so that they are one \
            tensor; may be repeated.
            """, valueName: "COLUMN=LENGTH[:FILL]"),
        transform: PadArgument.argument)
    var pad: [PadArgument] = []

    @Flag(
        help: ArgumentHelp(
            """
            Parse the records of TFRecord shards as tf.Example or tf.SequenceExample: each feature is a field, each \
            feature list the field feature_lists/NAME.
            """))
    var example = false

    @Option(help: "Shards read in turn. Part of the order, so it never follows the machine.")
    var lanes = LoaderOptions.defaultLanes

    @Option(
        help: ArgumentHelp(
            """
            Where batches go: they stay on the host, or columns of a fixed shape (--decode) are copied to a CUDA device \
            through page-locked memory while the next are decoded.
            """, valueName: "host|cuda:N"),
        transform: ComputeDevice.argument)
    var device = ComputeDevice.host

    @Option(help: "Threads that unpack and decode (default: one for each core). Never changes the result.")
    var workers: Int?

    @Option(
        help: ArgumentHelp(
            "Memory for all that the loader holds (default: a quarter of the limit, at most 4 GiB).",
            valueName: "SIZE"),
        transform: ByteCount.argument)
    var memory: ByteCount?

    @Option(help: ArgumentHelp("Ready batches that wait for the consumer.", valueName: "BATCHES"))
    var prefetch = LoaderOptions().prefetch

    @Option(
        help: ArgumentHelp(
            "Damaged samples: stop at the first, or leave out and count up to N of them or P percent.",
            valueName: "fail|skip[:N|:P%]"),
        transform: DefectPolicy.argument)
    var onDefect = DefectPolicy.fail

    @OptionGroup var cacheFlags: CacheFlags

    @Option(
        help: ArgumentHelp(
            "Bytes a second that may be written to the cache; reads beyond that pass it by.",
            valueName: "SIZE"),
        transform: ByteCount.argument)
    var cacheWriteRate: ByteCount?

    @Option(
        help: ArgumentHelp(
            "How files are read (default: pread for buffered reads, io_uring for direct ones).",
            valueName: "uring|pread"),
        transform: EngineRequest.argument)
    var engine = EngineRequest.auto

    @Option(help: "Reads under way at once with io_uring or direct reads.")
    var queueDepth = LoaderOptions().queueDepth

    @Flag(help: "Bypass the page cache (O_DIRECT); where the file system refuses that, the run fails.")
    var direct = false

    @Option(
        help: ArgumentHelp(
            "Before each run: leave the page cache as it is, drop these files from it, or read them into it.",
            valueName: "keep|cold|warm"),
        transform: PageCacheState.argument)
    var pageCache = PageCacheState.keep

    mutating func validate() throws {
        if mixUntil != nil && mix == nil {
            throw ValidationError("--mix-until is for a mixture; --mix gives its weights")
        }
        let columns = fields.map(\.column)
        if let unknown = pad.first(where: { !columns.contains($0.column) }) {
            throw ValidationError(
                "--pad names '\(unknown.column)', which is no decoded column; add --decode "
                    + "\(unknown.column)=KIND")
        }
        if nodes != nil && affinity == .none {
            throw ValidationError("--nodes is for an affinity to them; add --affinity node")
        }
        if direct && pageCache == .warm {
            throw ValidationError(
                "--direct reads past the page cache: --page-cache warm would have no effect")
        }
        try cacheFlags.check(needsDirectory: true)
        _ = try cacheFlags.policy(CachePolicy.self)
        if cacheWriteRate != nil && cacheFlags.cache == nil {
            throw ValidationError("--cache-write-rate is for a cache; --cache DIR says where it is")
        }
        do throws(HeadraceError) { _ = try imageRequests() } catch { throw ValidationError(error.message) }
    }

    private func imageRequests() throws(HeadraceError) -> [FieldRequest] {
        try FieldRequest.images(
            image, transform: imageFlags.transform, dtype: imageFlags.dtype, layout: imageFlags.layout)
    }

    private var fields: [FieldRequest] {
        decode.flatMap(\.fields) + integer.map { FieldRequest($0, .integer) }
    }

    /// What the loader is asked for. Ranges are checked where the loader is opened.
    func loaderOptions() throws(HeadraceError) -> LoaderOptions {
        var options = LoaderOptions()
        options.lanes = lanes
        options.shuffle = shuffle
        options.walk = walk
        options.mixing = mix.map { Mixing(weights: $0.weights, until: mixUntil ?? $0.end) }
        options.bucketWindow = bucketWindow
        options.affinity = affinity
        options.nodes = nodes
        options.indexFolder = index
        options.uneven = uneven
        options.rank = rank
        options.worldSize = worldSize
        options.steps = steps
        options.seed = seed
        options.epochs = epochs
        options.batchSize = batch
        options.lastBatch = last
        options.onDefect = onDefect
        options.fields = fields + (try imageRequests())
        for padding in pad {
            for index in options.fields.indices where options.fields[index].column == padding.column {
                let decoder = options.fields[index].decoder
                options.fields[index].decoder = decoder.padded(to: padding.length, with: padding.fill)
            }
        }
        options.parsesExamples = example
        options.workers = workers
        options.memory = memory
        options.prefetch = prefetch
        options.engine = engine
        if let cache = cacheFlags.cache, let limit = cacheFlags.cacheLimit {
            options.cache = CacheOptions(
                at: cache, limit: limit, policy: CachePolicy(rawValue: cacheFlags.cachePolicy) ?? .noEvict)
            options.cache?.writeRate = cacheWriteRate
        }
        options.queueDepth = queueDepth
        options.direct = direct
        return options
    }
}
