internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceTiers

/// `headrace plan`
struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Says what a training job will read: batches of every rank, what equal ranks cost, requests.",
        discussion: """
            No sample is read: counts and places come from the shards' manifests and indexes. Walk, windows and reads are \
            those of a buffered loader with the same flags that decodes nothing, and what it would refuse is refused. \
            An epoch has the same number of batches on every rank; what does not divide is dropped, padded or repeated, once, at its end. \
            Rank and world size also come from RANK and WORLD_SIZE, OMPI_COMM_WORLD_RANK and _SIZE, or SLURM_PROCID \
            and SLURM_NTASKS.

            Examples:
              headrace plan 'data/train-*.tar' --shuffle global --world-size 8 --rank 0 --batch 256
              headrace plan data/ --shuffle block:512 --tier object-store -j
              headrace plan 'books/*.tar' 'web/*.tar' --mix 3,1 --shuffle global
            """)

    @Argument(help: "Paths, globs, brace patterns or directories of shards.") var shards: [String]

    @Option(
        help: ArgumentHelp(
            """
            Order: as in the shards; shards in random order and each N samples shuffled (streamed); blocks of N \
            neighbours in random order, shuffled within; or all samples (both need an index).
            """, valueName: "none|buffer:N|block:N|global"), transform: order)
    var shuffle = Shuffle.none

    @Option(
        help: ArgumentHelp(
            "Shards front to back, or samples by index (default auto: by index where the shuffle or several ranks want it).",
            valueName: "auto|streamed|indexed"), transform: walk)
    var walk: WalkChoice = .auto

    @Option(
        help: ArgumentHelp(
            "Mix: each SHARDS argument is a data set of its own, and these are their weights, in order. Indexed walk.",
            valueName: "W,W,..."), transform: mixing)
    var mix: Mixing?

    @Option(
        help: ArgumentHelp(
            "When an epoch of a mixture ends: before the first data set runs out, or when all of each was delivered.",
            valueName: "first-exhausted|all"), transform: choice(MixtureEnd.self))
    var mixUntil: MixtureEnd?

    @Option(
        help: ArgumentHelp(
            "Bring samples of like length together: those of so many consecutive batches are sorted and cut anew.",
            valueName: "BATCHES"))
    var bucketWindow: Int?

    @Option(
        help: ArgumentHelp(
            "Deal shards to nodes once for the whole run, so that a node's cache serves every later epoch.",
            valueName: "none|node"), transform: choice(Affinity.self))
    var affinity = Affinity.none

    @Option(help: "Seed of the shuffle.") var seed: UInt64 = 0
    @Option(help: "Passes over the data.") var epochs = 1
    @Option(help: "Samples of a batch, of each rank.") var batch = LoaderOptions.defaultBatchSize

    @Option(
        help: ArgumentHelp(
            "The end of an epoch: equally many samples for every rank, the last batch perhaps smaller; or whole batches.",
            valueName: "keep|drop"), transform: choice(LastBatch.self))
    var last = LastBatch.keep

    @Option(
        help: ArgumentHelp(
            "What makes ranks equal: leave out, add empty rows that are marked, or deliver again.",
            valueName: "drop|pad|repeat"), transform: choice(UnevenRanks.self))
    var uneven = UnevenRanks.drop

    @Option(help: "This process among those of the job, from 0.") var rank: Int?
    @Option(help: "Processes of the job.") var worldSize: Int?
    @Option(help: "Nodes of the job (default: what the launcher says, else 1).") var nodes: Int?

    @Option(help: "Batches of each rank, for a streamed walk of shards without counts.") var steps: Int?

    @Option(
        help: ArgumentHelp(
            "Damaged samples, as a loader is told: an index that leaves some out is refused by fail.",
            valueName: "fail|skip[:N|:P%]"), transform: defects)
    var onDefect = DefectPolicy.fail

    @Option(help: ArgumentHelp("Folder of the shards' indexes, if not beside them.", valueName: "DIR"))
    var index: String?

    @Option(
        help: ArgumentHelp(
            "Memory of each loader, which limits the windows that are read together (default: as a loader takes here).",
            valueName: "SIZE"),
        transform: ByteCount.argument)
    var memory: ByteCount?

    @OptionGroup var cacheFlags: CacheFlags

    @Option(
        help: ArgumentHelp(
            "Storage that the shards are on: warns where requests are too small for it.", valueName: "NAME"),
        transform: Self.tier)
    var tier: Tier?

    @OptionGroup var output: OutputFlags

    enum WalkChoice: Sendable { case auto, streamed, indexed }

    mutating func validate() throws {
        if mixUntil != nil && mix == nil {
            throw ValidationError("--mix-until is for a mixture; --mix gives its weights")
        }
        // Without a directory: what would be hit by a cache of that size on each node.
        try cacheFlags.check(needsDirectory: false)
        _ = try cacheFlags.policy(CachePolicy.self)
    }

    func run() throws {
        let dataset = Dataset(shards: LongWordLists.unfolded(shards), options: loaderOptions)
        var request = PlanRequest(dataset, cacheLimit: cacheFlags.cacheLimit?.bytes, tier: tier)
        request.cachePolicy = try cacheFlags.policy(CachePolicy.self)
        request.cacheDirectory = cacheFlags.cache
        let plan = try PlanSummary(request)
        if output.json {
            try JSONLines(schema: "headrace.plan/1").write(plan.members)
        } else {
            for line in plan.lines { try StandardOutput.writeLine(line) }
        }
        if !output.quiet {
            for warning in plan.warnings { StandardError.say("headrace: warning: \(warning)") }
        }
    }

    private var loaderOptions: LoaderOptions {
        var options = LoaderOptions()
        options.shuffle = shuffle
        options.walk =
            switch walk {
            case .auto: nil
            case .streamed: .streamed
            case .indexed: .indexed
            }
        options.mixing = mix.map { Mixing(weights: $0.weights, until: mixUntil ?? $0.end) }
        options.bucketWindow = bucketWindow
        options.affinity = affinity
        options.seed = seed
        options.epochs = epochs
        options.batchSize = batch
        options.lastBatch = last
        options.uneven = uneven
        options.onDefect = onDefect
        options.rank = rank
        options.worldSize = worldSize
        options.nodes = nodes
        options.steps = steps
        options.indexFolder = index
        options.memory = memory
        return options
    }

    private static func order(_ text: String) throws -> Shuffle {
        do throws(HeadraceError) { return try Shuffle(planWords: text) } catch {
            throw ValidationError(error.message)
        }
    }

    private static func mixing(_ text: String) throws -> Mixing {
        do throws(HeadraceError) { return try Mixing(words: text) } catch {
            throw ValidationError(error.message)
        }
    }

    private static func defects(_ text: String) throws -> DefectPolicy {
        do throws(HeadraceError) { return try DefectPolicy(words: text) } catch {
            throw ValidationError(error.message)
        }
    }

    private static func walk(_ text: String) throws -> WalkChoice {
        switch text {
        case "auto": return .auto
        case "streamed": return .streamed
        case "indexed": return .indexed
        default: throw ValidationError("'\(text)' is none of auto, streamed, indexed")
        }
    }

    private static func tier(_ text: String) throws -> Tier {
        if let tier = Tier.preset(text) { return tier }
        let names = Tier.presets.map(\.name).joined(separator: ", ")
        throw ValidationError("'\(text)' is none of \(names)")
    }

    private static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
        _ type: Value.Type
    ) -> @Sendable (String) throws -> Value where Value.RawValue == String {
        { text in
            if let value = Value(rawValue: text) { return value }
            throw ValidationError(
                "'\(text)' is none of \(Value.allCases.map(\.rawValue).joined(separator: ", "))")
        }
    }
}
