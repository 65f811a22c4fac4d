public import HeadraceCore
internal import HeadraceFormats

/// Packs samples into shards.
///
/// ```swift
/// var options = PackOptions(output: "data/train-%06d.tar.zst")
/// options.classFromDirectory = true
/// let result = try Packer([DirectorySource("images")], options: options).run()
/// print(result.summary.readPattern)
/// ```
///
/// Everything is listed and checked before the first byte is written: bad names, duplicates and existing
/// outputs leave nothing behind. A shard appears under its name only when it is whole and on disk, the
/// manifest only when all shards are. A run that was interrupted can be resumed. The same sources and options
/// make the same bytes, with any number of workers.
public final class Packer: @unchecked Sendable {
    // Sendable: `lock` guards the engine; the rest never changes.
    private let sources: [any PackSource]
    private let settings: PackSettings
    private let lock = Lock()
    private var engine: PackEngine?
    private var isCancelled = false

    /// Throws `usage` when the options contradict each other.
    public init(_ sources: [any PackSource], options: PackOptions) throws(HeadraceError) {
        guard !sources.isEmpty else { throw HeadraceError(.usage, "there is no source to pack") }
        self.sources = sources
        settings = try PackSettings(options)
    }

    /// Lists the sources and says what would be written; writes nothing.
    ///
    /// Throws what ``run(report:)`` would throw before it writes: for outputs that exist already, or an
    /// interrupted run that cannot be resumed.
    public func plan() throws(HeadraceError) -> PackSummary {
        let plan = try makePlan()
        let folder = OutputFolder(settings.pattern)
        let noted = try PackJournal.text(at: folder.journalPath)
        if settings.resume, noted.isEmpty, let set = try folder.finishedSet() {
            // A dry run makes no temporary file: what it would take one to see is left to the run itself.
            try refuseAnother(FinishedSet(set: set, plan: plan), folder, rendersHeads: !plan.spoolsSources)
        } else {
            let earlier = noted.isEmpty ? nil : try PackJournal.contents(of: noted, folder.journalPath)
            try refuseStart(plan, PackJournal.Facts(plan), folder, noted: earlier)
        }
        try folder.checkCanBeMade()
        return try summary(of: plan)
    }

    /// Packs. `report` is called from other threads after every frame, one call at a time; it should be
    /// quick, and may call ``cancel()``.
    public func run(
        report: (@Sendable (PackProgress) -> Void)? = nil
    ) throws(HeadraceError) -> PackResult {
        let plan = try makePlan()
        var summary = try summary(of: plan)
        let folder = OutputFolder(settings.pattern)
        try folder.makeDirectories()
        let journal = try PackJournal(folder.journalPath)
        defer {
            journal.release()
            lock.withLock { engine = nil }
        }
        let kept: [PackJournal.Kept?]
        let hasReplaced: Bool
        do throws(HeadraceError) {
            if settings.resume, journal.isEmpty, let set = try folder.finishedSet() {
                try spoolSources(of: plan, in: folder)
                try refuseAnother(FinishedSet(set: set, plan: plan), folder, rendersHeads: true)
                journal.remove()
                return result(summary, set.shards, keptCount: set.shards.count, folder, wasFinished: true)
            }
            let began = Clock.sinceEpoch()
            let facts = PackJournal.Facts(plan)
            try refuseStart(plan, facts, folder, noted: journal.isEmpty ? nil : try journal.contents())
            // What can fail comes before anything is removed.
            try spoolSources(of: plan, in: folder)
            (kept, hasReplaced) = try begin(plan, facts, at: began, folder, journal)
        } catch {
            if journal.isEmpty { journal.remove() }
            throw error
        }
        let shards: [Manifest.Shard]
        let jpegs: PackJPEGCounts
        do throws(HeadraceError) {
            (shards, jpegs) = try write(plan, keeping: kept, journal, report)
        } catch {
            journal.removeUnlessUseful()
            throw hasReplaced ? error.sayingTheOldSetIsGone : error
        }
        let set = Manifest.ShardSet(
            pattern: settings.pattern.nameInManifest, format: settings.format, codec: settings.codec,
            level: settings.codec == .none ? nil : settings.level,
            frameByteCount: settings.codec == .none ? nil : settings.frameByteCount, fields: summary.fields,
            classes: plan.classes, libraries: settings.libraries,
            jpeg: settings.jpeg == .keep ? nil : settings.jpeg.rawValue, shards: shards)
        try folder.publish(set)
        journal.remove()
        // What an interrupted run had left was there when the summary was made; now it may be gone.
        if let leftovers = try? folder.leftovers() { summary.leftovers = leftovers }
        return result(summary, shards, jpegs, keptCount: kept.count { $0 != nil }, folder)
    }

    private func result(
        _ summary: PackSummary, _ shards: [Manifest.Shard], _ jpegs: PackJPEGCounts? = nil, keptCount: Int,
        _ folder: OutputFolder, wasFinished: Bool = false
    ) -> PackResult {
        var summary = summary
        // JPEGs that are written anew have other sizes than were planned with.
        summary.uncompressedByteCount = shards.reduce(0) { $0 + $1.uncompressedByteCount }
        return PackResult(
            summary: summary,
            shards: shards.map {
                PackedShard(
                    name: $0.name, sampleCount: $0.sampleCount, byteCount: $0.byteCount,
                    uncompressedByteCount: $0.uncompressedByteCount, sha256: $0.sha256 ?? "")
            }, jpegs: jpegs, keptShardCount: keptCount, wasFinished: wasFinished,
            manifestPath: folder.manifestPath)
    }

    /// Throws unless the finished set is what this run would make.
    private func refuseAnother(
        _ finished: FinishedSet, _ folder: OutputFolder, rendersHeads: Bool
    ) throws(HeadraceError) {
        let difference = try finished.difference(rendersHeads: rendersHeads) {
            lock.withLock { isCancelled }
        }
        guard let difference else { return }
        throw HeadraceError(
            .exists,
            "the output is a finished set, and not for certain the one that this run would make: \(difference); "
                + "choose another name, or use the sources and options of the set; --overwrite would replace it",
            at: .init(shard: folder.manifestPath))
    }

    /// Throws what keeps the run from beginning, as far as it shows without a change to anything. `noted` is
    /// what an interrupted run left.
    private func refuseStart(
        _ plan: PackPlan, _ facts: PackJournal.Facts, _ folder: OutputFolder, noted: PackJournal.Contents?
    ) throws(HeadraceError) {
        if settings.resume, let noted {
            try refuseOther(noted, facts, plan, folder.journalPath)
            return try folder.refuseStrangers(among: plan)
        }
        let isReplacing = try folder.check(overwrite: settings.overwrite, isInterrupted: noted != nil)
        if isReplacing { try plan.inventory.checkSourcesAreThere() }
    }

    /// Makes the folder ready, and says which shards of an interrupted run can stay, and whether others were
    /// removed to make room.
    private func begin(
        _ plan: PackPlan, _ facts: PackJournal.Facts, at began: Int, _ folder: OutputFolder,
        _ journal: PackJournal
    ) throws(HeadraceError) -> (kept: [PackJournal.Kept?], hasReplaced: Bool) {
        guard settings.resume, !journal.isEmpty else {
            let hasReplaced = try folder.prepare(
                overwrite: settings.overwrite, isInterrupted: !journal.isEmpty)
            do throws(HeadraceError) {
                try journal.begin(facts, at: began)
            } catch {
                throw hasReplaced ? error.sayingTheOldSetIsGone : error
            }
            return (Array(repeating: nil, count: plan.shards.count), hasReplaced)
        }
        let earlier = try journal.contents()
        let kept = try folder.keep(earlier.entries, of: plan, processes: earlier.processes) {
            self.lock.withLock { self.isCancelled }
        }
        try journal.goOn(keeping: kept.count { $0 != nil })
        return (kept, false)
    }

    /// Throws unless an interrupted run would have written the same.
    private func refuseOther(
        _ earlier: PackJournal.Contents, _ facts: PackJournal.Facts, _ plan: PackPlan, _ path: String
    ) throws(HeadraceError) {
        func changed() -> String? { earlier.began.flatMap { plan.inventory.sourceChanged(after: $0) } }
        guard let difference = earlier.facts.difference(from: facts, changed: changed()) else { return }
        throw HeadraceError(
            .exists,
            "the interrupted run cannot be resumed: \(difference); use the same sources and options, or start "
                + "over with --overwrite", at: .init(shard: path))
    }

    private func write(
        _ plan: PackPlan, keeping kept: [PackJournal.Kept?], _ journal: PackJournal,
        _ report: (@Sendable (PackProgress) -> Void)?
    ) throws(HeadraceError) -> ([Manifest.Shard], PackJPEGCounts) {
        let engine = PackEngine(plan, keeping: kept, journal: journal, report: report)
        lock.lock()
        self.engine = engine
        if isCancelled { engine.cancel() }
        lock.unlock()
        return try engine.run()
    }

    /// Makes ``run(report:)`` end soon with the error `cancelled`. Shards that are finished stay, unfinished
    /// ones are removed, and there is no manifest. May be called from any thread.
    public func cancel() {
        lock.lock()
        isCancelled = true
        engine?.cancel()
        lock.unlock()
    }

    private func makePlan() throws(HeadraceError) -> PackPlan {
        try OutputFolder(settings.pattern).refuseToLie(in: sources.flatMap(\.folders))
        var inventory = PackInventory(
            format: settings.format, onDefect: settings.onDefect, byteLimit: settings.inventoryByteCount
        ) { [self] in lock.withLock { isCancelled } }
        for source in sources { try source.addSamples(to: &inventory) }
        try inventory.check()
        let classes = settings.classFromDirectory ? inventory.addClasses() : nil
        inventory.refuseDuplicateKeys()
        try inventory.check()
        try refuseOwnShards(inventory)
        try inventory.arrange(settings.order)
        return try PackPlan(inventory, classes: classes, settings: settings)
    }

    /// Gives sources that are read from front to back alone ranges where their samples come in another order.
    private func spoolSources(of plan: PackPlan, in folder: OutputFolder) throws(HeadraceError) {
        guard plan.spoolsSources else { return }
        let spool = try Spool(in: folder.path)
        for bytes in plan.inventory.compressedSources {
            try bytes.spool(to: spool) { lock.withLock { isCancelled } }
        }
        for rows in plan.inventory.columnArrays {
            try rows.spool(to: spool) { lock.withLock { isCancelled } }
        }
    }

    /// Earlier shards of this very pattern among the files to be packed are a slip: they would be packed into
    /// themselves, or removed before they are read. Files are compared, not paths: one file has many paths.
    private func refuseOwnShards(_ inventory: PackInventory) throws(HeadraceError) {
        let own = Set(try OutputFolder(settings.pattern).ownFiles().compactMap { FileIdentity($0) })
        guard !own.isEmpty else { return }
        for path in inventory.sourcePaths {
            guard let identity = FileIdentity(path), own.contains(identity) else { continue }
            throw HeadraceError(
                .usage,
                "an earlier shard of the output lies among the files to be packed; write to another folder",
                at: .init(shard: path))
        }
    }

    private func summary(of plan: PackPlan) throws(HeadraceError) -> PackSummary {
        PackSummary(
            readPattern: settings.pattern.readPattern(count: plan.shards.count),
            format: settings.format == .tar ? .tar : .tfrecord,
            codec: PackCodec.allCases.first { $0.kind == settings.codec } ?? .none,
            shardCount: plan.shards.count, sampleCount: plan.inventory.samples.count,
            payloadByteCount: plan.payloadByteCount,
            uncompressedByteCount: plan.shards.reduce(0) { $0 + $1.byteCount },
            jpeg: settings.jpeg,
            fields: plan.fieldNames(of: 0..<plan.inventory.samples.count), classes: plan.classes,
            renamedFields: plan.inventory.renamedFields, spoolsSources: plan.spoolsSources,
            ignored: plan.inventory.ignored, ignoredExamples: plan.inventory.ignoredExamples,
            sourceBytes: plan.inventory.sourceBytes, unreadableRests: plan.inventory.unreadableRests,
            leftovers: try OutputFolder(settings.pattern).leftovers())
    }
}

extension HeadraceError {
    /// The same, for a run that has removed shards to make room for its own.
    var sayingTheOldSetIsGone: HeadraceError {
        var error = self
        error.message += "; the shards of this name that were there before are gone (--overwrite)"
        return error
    }
}
