public import HeadraceCompute
public import HeadraceCore
public import HeadraceDecode

/// A data set and how it is to be read: a value, cheap to copy, print and compare. Nothing is opened until
/// ``loader(on:)``.
///
/// ```swift
/// let loader = try Dataset("data/train-{000000..000012}.tar.zst")
///     .shuffled(seed: 42)
///     .decoding("npy", with: .npy)
///     .decoding("cls", with: .integer)
///     .batched(256)
///     .loader(on: .host)
/// for try await batch in loader { try train(batch["npy"], batch["cls"]) }
/// ```
public struct Dataset: Sendable, CustomStringConvertible {
    /// Paths, globs and brace patterns of shards, or directories of files.
    public let shards: [String]
    /// How the data set is read.
    public var options: LoaderOptions

    /// The data set of these shards. Patterns are expanded when a loader is opened.
    public init(_ shards: String..., options: LoaderOptions = LoaderOptions()) {
        self.init(shards: shards, options: options)
    }

    /// The data set of these shards.
    public init(shards: [String], options: LoaderOptions = LoaderOptions()) {
        self.shards = shards
        self.options = options
    }

    /// Shards in random order, then each `buffer` consecutive samples permuted; another order every epoch.
    public func shuffled(seed: UInt64, buffer: Int = LoaderOptions.defaultShuffleBuffer) -> Dataset {
        with {
            $0.seed = seed
            $0.shuffle = .buffer(buffer)
        }
    }

    /// A random permutation of all samples, another one every epoch. Needs the shards' indexes (`headrace index`; shards
    /// that `headrace pack` wrote have them).
    public func shuffledGlobally(seed: UInt64) -> Dataset {
        with {
            $0.seed = seed
            $0.shuffle = .global
        }
    }

    /// Blocks of `block` neighbours in random order, each permuted within: reads as large as a block for storage that
    /// wants them. Needs the shards' indexes.
    public func shuffled(seed: UInt64, block: Int) -> Dataset {
        with {
            $0.seed = seed
            $0.shuffle = .block(block)
        }
    }

    /// Several data sets in one loader, by weights; each is a path, a folder or a pattern. See ``Mixing``.
    ///
    /// ```swift
    /// Dataset.mixing([("books/*.tar", weight: 3), ("web/*.tar", weight: 1)], until: .all)
    /// ```
    public static func mixing(
        _ parts: [(shards: String, weight: Int)], until end: MixtureEnd = .firstExhausted,
        options: LoaderOptions = LoaderOptions()
    ) -> Dataset {
        Dataset(shards: parts.map(\.shards), options: options).with {
            $0.mixing = Mixing(weights: parts.map(\.weight), until: end)
        }
    }

    /// Batches of samples of like length, so that padding costs little: the samples of `window` consecutive batches
    /// are sorted by their length in the shard, cut into batches, and the batches come in random order. Needs the
    /// shards' indexes.
    public func bucketedByLength(window: Int = LoaderOptions.defaultBucketWindow) -> Dataset {
        with { $0.bucketWindow = window }
    }

    /// Deals the shards to `nodes` nodes once for the whole run, and shuffles within them, so that a node's cache
    /// serves every epoch but the first. nil: as many nodes as the launcher says.
    public func affineToNodes(_ nodes: Int? = nil) -> Dataset {
        with {
            $0.affinity = .node
            $0.nodes = nodes
        }
    }

    /// The share of process `rank` of `worldSize`, instead of the one that the launcher's environment tells.
    public func sharded(rank: Int, of worldSize: Int, uneven: UnevenRanks = .drop) -> Dataset {
        with {
            $0.rank = rank
            $0.worldSize = worldSize
            $0.uneven = uneven
        }
    }

    /// Delivers field `name`, decoded; fields that are not asked for are left out. Samples without the field are
    /// defects unless it is optional.
    ///
    /// The column has the name of the field, or `FIELD/PART` where the decoder takes out a part of it (one array of
    /// an .npz, one value of a JSON text); `column` gives it another.
    public func decoding(
        _ name: String, with decoder: some Decoder, optional: Bool = false, as column: String? = nil
    ) -> Dataset {
        with { $0.fields.append(FieldRequest(name, decoder, isOptional: optional, as: column)) }
    }

    /// Splits the records of TFRecord shards into the features of the tf.Example or tf.SequenceExample in them: each
    /// feature is a field of its name, each feature list a field `feature_lists/NAME`.
    public func parsingExamples() -> Dataset { with { $0.parsesExamples = true } }

    /// Batches of `size` rows.
    public func batched(_ size: Int, last: LastBatch = .keep) -> Dataset {
        with {
            $0.batchSize = size
            $0.lastBatch = last
        }
    }

    /// `epochs` passes over the data; nil: without end.
    public func repeated(_ epochs: Int?) -> Dataset { with { $0.epochs = epochs } }

    /// What to do with damaged samples.
    public func onDefect(_ policy: DefectPolicy) -> Dataset { with { $0.onDefect = policy } }

    /// The memory budget for everything that the loader holds.
    public func memory(_ budget: ByteCount) -> Dataset { with { $0.memory = budget } }

    /// The number of decode workers. It changes speed, never what is yielded.
    public func workers(_ count: Int) -> Dataset { with { $0.workers = count } }

    /// Any other option.
    public func with(_ change: (inout LoaderOptions) -> Void) -> Dataset {
        var copy = self
        change(&copy.options)
        return copy
    }

    /// Opens the data set: lists the shards, reads the first sample, takes memory and starts the threads.
    ///
    /// Throws `usage` for options that make no sense, `notFound` with all missing shards, `budget` with the bytes
    /// needed when the memory budget is too small, and what recognising the first shard throws.
    ///
    /// - Parameter state: of a loader of the same data and options, which this one goes on from: its first batch is the
    ///   one behind those that had been delivered. A state that does not fit is refused with the difference named.
    public func loader(
        on device: ComputeDevice = .host, resuming state: LoaderState? = nil
    ) throws(HeadraceError) -> Loader {
        try LoaderBuilder(self, device, resuming: state).open()
    }

    /// The shards and the options that decide the order.
    public var description: String {
        var text = "Dataset(\(shards.joined(separator: " "))"
        switch options.shuffle {
        case .none: break
        case .buffer(let size): text += ", shuffle buffer \(size), seed \(options.seed)"
        case .block(let size): text += ", shuffle block \(size), seed \(options.seed)"
        case .global: text += ", global shuffle, seed \(options.seed)"
        }
        if let mixing = options.mixing { text += ", mixed \(mixing)" }
        for field in options.fields { text += ", \(field.column)\(field.isOptional ? "?" : "")" }
        return text + ", batch \(options.batchSize))"
    }
}

extension Dataset: Equatable {
    /// Whether both yield the same batches from the same files: the data options are compared, decoders by type.
    public static func == (left: Dataset, right: Dataset) -> Bool {
        left.shards == right.shards && left.options.dataKey == right.options.dataKey
    }
}

extension LoaderOptions {
    /// The data options as text: two loaders over the same data with equal keys yield the same.
    var dataKey: String {
        let decoded = fields.map { "\($0.column)=\($0.name)\($0.isOptional ? "?" : "")=\($0.decoder)" }
        return
            "walk \(walk?.rawValue ?? "auto"), lanes \(lanes), shuffle \(shuffle), seed \(seed), epochs \(epochs.map(String.init) ?? "-"), "
            + "batch \(batchSize) \(lastBatch), defects \(onDefect), fields \(decoded), examples \(parsesExamples), mixing \(mixing.map(String.init(describing:)) ?? "-"), "
            + "affinity \(affinity) \(nodes ?? 0), bucket \(bucketWindow ?? 0)"
    }
}
