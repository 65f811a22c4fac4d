internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceFormats

/// `headrace index`
struct Index: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes an index for each shard: how many samples it has, and where they are.",
        discussion: """
            With indexes a loader can shuffle globally, deal equal shares to ranks and resume anywhere. Any \
            shard that is read can be indexed; those that 'headrace pack' wrote have their index already. Of \
            plain shards only the headers are read, compressed ones are decompressed once. Shards are never \
            changed: an index is .headrace/SHARD.index beside its shard, and the manifest there lists the \
            shard; with -o both go to another folder, for shards that lie where nothing can be written.

            An index that fits its shard is kept, one that does not is an error until --rebuild replaces it.

            Examples:
              headrace index 'data/part-{000..146}.tar'
              headrace index /mnt/readonly/train/ -o ~/train-index
              headrace index 'data/*.tar' --export dali
            """)

    @Argument(help: "Paths, globs, brace patterns or directories of shards.") var shards: [String]
    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp(
            "Folder for the indexes, instead of .headrace/ beside the shards.", valueName: "dir"))
    var output: String?
    @Option(help: "Also write the index of another loader: dali (SHARD.idx) or wids (shardindex.json).")
    var export: ForeignIndex?
    @Flag(help: "Replace indexes that do not fit their shards.") var rebuild = false
    @Option(
        help: ArgumentHelp("Damaged samples: fail, or skip to leave them out.", valueName: "fail|skip"))
    var onDefect = OnDefect.fail
    @Flag(help: "Read each shard whole and enter its SHA-256 into the manifest.") var sha256 = false
    @Option(help: "Threads (one a core).") var workers: Int?
    @OptionGroup var words: OutputFlags

    enum OnDefect: String, ExpressibleByArgument { case fail, skip }
    enum ForeignIndex: String, ExpressibleByArgument { case dali, wids }

    func validate() throws {
        if let workers, workers < 1 { throw ValidationError("--workers must be 1 or more.") }
        if output == "" { throw ValidationError("-o needs the name of a folder.") }
    }

    func run() throws {
        let paths = try ShardFiles.list(LongWordLists.unfolded(shards))
        let job = IndexJob(self)
        try job.store.refuseClashes(paths)
        let budget = ShardBudget(shardCount: paths.count, workers: workers)
        let spare = max(1, (workers ?? affinityCoreCount()) / budget.workers)
        let progress = ShardProgress("index", paths: paths, isQuiet: words.quiet)
        var summary = IndexSummary(isJSON: words.json, isQuiet: words.quiet, shardCount: paths.count)
        try ShardWork.run(paths.count, workers: budget.workers) { index -> IndexOutcome in
            defer { progress.finish(index) }
            func outcome(_ memory: ByteCount) -> IndexOutcome {
                job.run(paths[index], memory: memory, workers: spare) { progress.advance(index, to: $0) }
            }
            let shared = outcome(budget.memory)
            guard shared.error?.code == .budget else { return shared }
            return budget.alone(outcome)
        } consume: { _, outcome in
            try summary.add(outcome)
        }
        progress.close()
        try finish(job, &summary)
        try summary.print()
        try Interrupt.check()
        try summary.check()
    }

    /// The manifest, and what tells of all shards together.
    private func finish(_ job: IndexJob, _ summary: inout IndexSummary) throws {
        do throws(HeadraceError) {
            try job.store.enter(summary.listings, replaces: rebuild)
        } catch {
            summary.fail(error)
        }
        guard export == .wids, !Interrupt.isRequested else { return }
        guard !summary.hasFailed else {
            return StandardError.say("headrace: shardindex.json was not written: it would lack shards")
        }
        do throws(HeadraceError) {
            summary.exported += try job.exporter.writeWids(summary.widsEntries)
        } catch {
            summary.fail(error)
        }
    }
}

/// What became of one shard.
private struct IndexOutcome: Sendable {
    enum State: String {
        /// There was none.
        case written
        /// It was there, and fits.
        case kept
        /// It was there, and did not fit.
        case rebuilt
        case failed
        /// The user did not want to wait.
        case interrupted
    }

    let shard: String
    let index: String
    var state = State.failed
    var header: ShardIndexHeader?
    var frameCount: Int?
    var leftOut: [HeadraceError] = []
    var leftOutCount = 0
    /// Nil where the shard was not gone through.
    var returningKeyCount: Int?
    var listing: IndexStore.Listing?
    var dali: String?
    var wids: WidsIndex.Shard?
    var error: HeadraceError?
}

/// Indexes one shard after the other, on any thread.
private struct IndexJob: Sendable {
    let store: IndexStore
    let exporter: IndexExport
    private let export: Index.ForeignIndex?
    private let rebuilds: Bool
    private let skips: Bool
    private let hashes: Bool

    init(_ command: Index) {
        store = IndexStore(folder: command.output)
        exporter = IndexExport(folder: command.output, replaces: command.rebuild)
        export = command.export
        rebuilds = command.rebuild
        skips = command.onDefect == .skip
        hashes = command.sha256
    }

    func run(
        _ shard: String, memory: ByteCount, workers: Int, report: @escaping @Sendable (Int) -> Void
    ) -> IndexOutcome {
        var outcome = IndexOutcome(shard: shard, index: store.path(ofShard: shard))
        do throws(HeadraceError) {
            let present = try store.present(forShard: shard)
            if case .stale(let reason) = present, !rebuilds { throw reason }
            if case .current = present, export == nil {
                try keep(&outcome)
            } else {
                var indexer = ShardIndexer(shard)
                indexer.memory = memory
                indexer.workers = workers
                indexer.leavesOutDamage = skips
                indexer.keepsMembers = export == .dali
                indexer.isCancelled = { Interrupt.isRequested }
                indexer.report = report
                guard let found = try indexer.find() else {
                    outcome.state = .interrupted
                    return outcome
                }
                try take(found, present, &outcome)
            }
            if hashes, outcome.leftOutCount == 0, outcome.listing != nil {
                guard let sum = try ShardSum.sha256(shard, isCancelled: { Interrupt.isRequested }) else {
                    outcome.state = .interrupted
                    return outcome
                }
                outcome.listing?.entry.sha256 = sum
            }
        } catch {
            outcome.state = .failed
            outcome.listing = nil
            outcome.error = error.placed(shard: shard)
        }
        return outcome
    }

    private func keep(_ outcome: inout IndexOutcome) throws(HeadraceError) {
        let (header, frameCount, listing) = try store.kept(ofShard: outcome.shard)
        guard skips || !header.leavesOutDamage else {
            throw HeadraceError(
                .indexMismatch,
                "the index that is there leaves out damaged samples, as --on-defect skip made it: ask for that again, or "
                    + "have it made anew (--rebuild)", at: .init(shard: outcome.shard))
        }
        outcome.state = .kept
        outcome.header = header
        outcome.frameCount = frameCount
        if !header.leavesOutDamage { outcome.listing = listing }
    }

    private func take(
        _ found: FoundIndex, _ present: IndexStore.Present, _ outcome: inout IndexOutcome
    ) throws(HeadraceError) {
        let shard = outcome.shard
        outcome.header = found.header
        outcome.frameCount = found.frames.isEmpty ? nil : found.frames.count
        outcome.leftOut = found.leftOut
        outcome.leftOutCount = found.leftOutCount
        outcome.returningKeyCount = found.returningKeyCount
        switch present {
        case .current: outcome.state = .kept
        case .nothing: outcome.state = .written
        case .stale: outcome.state = .rebuilt
        }
        if outcome.state != .kept { try store.write(found, forShard: shard) }
        if found.leftOutCount == 0 {
            outcome.listing = IndexStore.Listing(
                shard: shard, found.header, fields: found.fields, sha256: nil)
        }
        switch export {
        case .dali: outcome.dali = try exporter.writeDALI(found, forShard: shard)
        case .wids:
            outcome.wids = try exporter.widsEntry(found, forShard: shard) { Interrupt.isRequested }
        case nil: break
        }
    }
}

/// What was done so far: a line a shard for scripts, the sum first for people.
private struct IndexSummary {
    private let isJSON: Bool
    private let isQuiet: Bool
    private let shardCount: Int
    private let lines = JSONLines(schema: "headrace.index/1")
    private var counts: [IndexOutcome.State: Int] = [:]
    private var sampleCount = 0
    private var leftOutCount = 0
    private var withoutFrames: [String] = []
    private var report = DefectReport()
    private(set) var listings: [IndexStore.Listing] = []
    private(set) var widsEntries: [(shard: String, entry: WidsIndex.Shard)] = []
    var exported: [String] = []

    init(isJSON: Bool, isQuiet: Bool, shardCount: Int) {
        self.isJSON = isJSON
        self.isQuiet = isQuiet
        self.shardCount = shardCount
    }

    var hasFailed: Bool { report.count > 0 }

    mutating func add(_ outcome: IndexOutcome) throws {
        counts[outcome.state, default: 0] += 1
        guard outcome.state != .interrupted else { return }
        report.beginShard()
        if let error = outcome.error { report.add(error) }
        if let listing = outcome.listing { listings.append(listing) }
        if let entry = outcome.wids { widsEntries.append((outcome.shard, entry)) }
        if let path = outcome.dali { exported.append(path) }
        if outcome.state != .failed, let header = outcome.header {
            sampleCount += header.sampleCount
            if header.codec != .none, outcome.frameCount == nil { withoutFrames.append(outcome.shard) }
        }
        leftOutCount += outcome.leftOutCount
        if !isQuiet {
            if let count = outcome.returningKeyCount, count > 0 {
                StandardError.say(
                    "headrace: note: \(printable(outcome.shard)): \(counted(count, "sample")) with a key that another had "
                        + "before; members of one sample that do not stand together are samples of their own, here as "
                        + "for every reader of the shard")
            }
            for defect in outcome.leftOut.prefix(shownDefects) {
                StandardError.say(
                    "headrace: left out: \(printable(defect.placed(shard: outcome.shard).description))")
            }
            let more = outcome.leftOutCount - min(shownDefects, outcome.leftOut.count)
            if more > 0 {
                StandardError.say("headrace: left out: \(counted(more, "more defect")) of this shard")
            }
        }
        if isJSON { try lines.write(outcome.json) }
    }

    mutating func fail(_ error: HeadraceError) {
        report.beginShard()
        report.add(error)
    }

    func print() throws {
        if !isJSON { try StandardOutput.writeLine(sentence) }
        guard !isQuiet else { return }
        for path in exported where !isJSON { StandardError.say("headrace: wrote \(printable(path))") }
        if let first = withoutFrames.first {
            StandardError.say(
                "headrace: note: \(counted(withoutFrames.count, "shard")) (\(printable(first))"
                    + "\(withoutFrames.count > 1 ? ", ..." : "")) must be decompressed from the front to reach a sample, so "
                    + "they can be counted but not read at random; 'headrace pack' writes shards that can")
        }
    }

    private var sentence: String {
        let done = counts.filter { $0.key != .failed && $0.key != .interrupted }.values.reduce(0, +)
        var parts: [String] = []
        for (state, words) in [
            (IndexOutcome.State.written, "written"), (.rebuilt, "made anew"), (.kept, "up to date already"),
            (.failed, "FAILED"),
        ] {
            if let count = counts[state] { parts.append("\(count) \(words)") }
        }
        if leftOutCount > 0 { parts.append("\(counted(leftOutCount, "damaged sample")) left out") }
        let list = parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))"
        let isWhole = done + (counts[.failed] ?? 0) == shardCount
        return (isWhole ? "" : "interrupted: ")
            + "\(done) of \(counted(shardCount, "shard")) indexed, \(counted(sampleCount, "sample"))\(list)"
    }

    func check() throws { try report.check() }
}

extension IndexOutcome {
    fileprivate var json: [JSONMember] {
        var members = [
            JSONMember("shard", .string(shard)), JSONMember("index", .string(index)),
            JSONMember("state", .string(state.rawValue)),
        ]
        if state != .failed, let header {
            members += [
                JSONMember("format", .string(header.format.rawValue)),
                JSONMember("codec", .string(header.codec.rawValue)),
                JSONMember("samples", .int(header.sampleCount)),
                JSONMember("bytes", .int(header.shardByteCount)),
                JSONMember("uncompressed_bytes", .int(header.uncompressedByteCount)),
                JSONMember("frames", frameCount.map { .int($0) } ?? .null),
                JSONMember("seekable", .bool(header.codec == .none || frameCount != nil)),
                JSONMember("left_out", .int(leftOutCount)),
                JSONMember("leaves_out_damage", .bool(header.leavesOutDamage)),
                JSONMember("returning_keys", returningKeyCount.map { .int($0) } ?? .null),
            ]
        }
        if let dali { members.append(JSONMember("dali", .string(dali))) }
        if let error { members.append(JSONMember("error", error.json(inShard: shard))) }
        return members
    }
}
