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
            Nothing of the shards is read: sample counts come from their manifest or index. An epoch has the same \
            number of batches on every rank; what does not divide is dropped, padded or repeated, once, at its end. \
            Rank and world size also come from RANK and WORLD_SIZE, OMPI_COMM_WORLD_RANK and _SIZE, or SLURM_PROCID \
            and SLURM_NTASKS.

            Examples:
              headrace plan 'data/train-*.tar' --shuffle global --world-size 8 --rank 0 --batch 256
              headrace plan data/ --shuffle block:512 --tier object-store -j
            """)

    @Argument(help: "Paths, globs, brace patterns or directories of shards.") var shards: [String]

    @Option(
        help: ArgumentHelp(
            """
            Order: as in the shards; shards in random order and each N samples shuffled (streamed); blocks of N \
            neighbours in random order, shuffled within; or all samples (both need an index).
            """, valueName: "none|buffer:N|block:N|global"), transform: order)
    var shuffle = PlanRequest.Order.none

    @Option(
        help: ArgumentHelp(
            "Shards front to back, or samples by index (default auto: by index where the shuffle or several ranks want it).",
            valueName: "auto|streamed|indexed"), transform: walk)
    var walk: WalkChoice = .auto

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
        help: ArgumentHelp("Bytes of each node's cache: says what it would hit.", valueName: "SIZE"),
        transform: ByteCount.argument)
    var cacheLimit: ByteCount?

    @Option(
        help: ArgumentHelp(
            "Storage that the shards are on: warns where requests are too small for it.", valueName: "NAME"),
        transform: Self.tier)
    var tier: Tier?

    @OptionGroup var output: OutputFlags

    enum WalkChoice: Sendable { case auto, streamed, indexed }

    func run() throws {
        var request = PlanRequest()
        request.order = shuffle
        request.walk =
            switch walk {
            case .auto: nil
            case .streamed: .streamed
            case .indexed: .indexed
            }
        request.affinity = affinity
        request.seed = seed
        request.epochs = epochs
        request.batchSize = batch
        request.last = last
        request.uneven = uneven
        request.ranks = try ranks()
        request.nodeCount = nodes ?? request.ranks.nodeCount
        request.steps = steps
        request.cacheLimit = cacheLimit?.bytes
        request.tier = tier
        let plan = try PlanSummary(PlannedShard.list(LongWordLists.unfolded(shards)), request)
        if output.json {
            try JSONLines(schema: "headrace.plan/1").write(plan.members)
        } else {
            for line in plan.lines { try StandardOutput.writeLine(line) }
        }
        if !output.quiet {
            for warning in plan.warnings { StandardError.say("headrace: warning: \(warning)") }
        }
    }

    /// A plan is of all ranks, so the world size alone is enough.
    private func ranks() throws(HeadraceError) -> Ranks {
        try Ranks.resolve(
            rank: rank ?? worldSize.map { _ in 0 }, worldSize: worldSize,
            environment: Ranks.processEnvironment)
    }

    private static func order(_ text: String) throws -> PlanRequest.Order {
        do throws(HeadraceError) { return try PlanRequest.Order(words: text) } catch {
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

extension PlanSummary {
    fileprivate var members: [JSONMember] {
        func number(_ value: Int?) -> JSONValue { value.map { .int($0) } ?? .null }
        var members = [
            JSONMember("walk", .string(walk.rawValue)), JSONMember("shuffle", .string("\(order)")),
            JSONMember("shards", .int(shardCount)), JSONMember("bytes", .int(byteCount)),
            JSONMember("samples", number(sampleCount)), JSONMember("world_size", .int(worldSize)),
            JSONMember("nodes", .int(nodeCount)),
            JSONMember("affinity", .string(affinity.rawValue)), JSONMember("batch", .int(batchSize)),
            JSONMember("epochs", .int(epochs)), JSONMember("batches_per_rank", number(batchesPerRank)),
            JSONMember("rows_per_rank", number(rowsPerRank)), JSONMember("dropped", number(droppedCount)),
            JSONMember("padded", number(paddedCount)), JSONMember("repeated", number(repeatedCount)),
            JSONMember("least_samples", number(leastSamples)),
            JSONMember("most_samples", number(mostSamples)),
        ]
        if let requests {
            members += [
                JSONMember("requests", .int(requests.count)),
                JSONMember("mean_request_bytes", .int(requests.meanByteCount)),
                JSONMember("read_bytes", .int(requests.readByteCount)),
                JSONMember("delivered_bytes", .int(requests.deliveredByteCount)),
                JSONMember("simulated_windows", .int(requests.simulatedWindows)),
                JSONMember("windows", .int(requests.windows)),
            ]
        }
        if let cache {
            members += [
                JSONMember("cache_limit", .int(cache.limit)),
                JSONMember("node_bytes", .int(cache.nodeByteCount)),
                JSONMember("first_epoch_hits", .double(cache.firstEpochHits)),
                JSONMember("second_epoch_hits", .double(cache.secondEpochHits)),
            ]
        }
        return members + [JSONMember("warnings", .array(warnings.map { .string($0) }))]
    }

    fileprivate var lines: [String] {
        var lines = [verdict]
        let samples = sampleCount.map { counted($0, "sample") } ?? "samples without a count"
        lines.append(
            "  data      \(counted(shardCount, "shard")), \(samples), \(ByteCount(byteCount))")
        let reason = isAutomatic ? " (auto; --walk pins it)" : ""
        lines.append("  order     \(walk.rawValue) walk\(reason), shuffle \(order)")
        if let least = leastSamples, let most = mostSamples, worldSize > 1 {
            let holder = walk == .indexed ? "a node" : "a rank"
            lines.append("  shares    whole shards: \(least) to \(most) samples for \(holder)")
        }
        if let dropped = droppedCount, let padded = paddedCount, let repeated = repeatedCount {
            lines.append("  tail      \(dropped) dropped, \(padded) padded, \(repeated) repeated in an epoch")
        }
        if let requests, requests.count > 0 {
            var line =
                "  requests  \(requests.count) an epoch, mean \(ByteCount(requests.meanByteCount)); "
                + "\(ByteCount(requests.readByteCount)) read for \(ByteCount(requests.deliveredByteCount)) delivered"
            if requests.simulatedWindows < requests.windows {
                line += " (from \(requests.simulatedWindows) of \(requests.windows) windows)"
            }
            lines.append(line)
        }
        if let cache {
            lines.append(
                "  cache     \(ByteCount(cache.limit)) a node for \(ByteCount(cache.nodeByteCount)) an epoch: hits "
                    + "\(percent(cache.firstEpochHits)) of epoch 1, \(percent(cache.secondEpochHits)) of epoch 2"
            )
        }
        return lines
    }

    private var verdict: String {
        guard let batchesPerRank, let rowsPerRank else {
            return "one rank reads all there is: \(counted(shardCount, "shard")) without sample counts"
        }
        let last = rowsPerRank - (batchesPerRank - 1) * batchSize
        let size = last == batchSize || batchesPerRank == 0 ? "" : ", the last of \(last)"
        let passes = epochs > 1 ? ", in each of \(epochs) epochs" : ""
        return "\(counted(worldSize, "rank")) \(worldSize == 1 ? "makes" : "make") "
            + "\(batchesPerRank) \(batchesPerRank == 1 ? "batch" : "batches") of \(batchSize)\(size)\(passes)"
    }

    private func percent(_ share: Double) -> String {
        let tenths = Int((share * 1000).rounded())
        return "\(tenths / 10).\(tenths % 10) %"
    }
}
