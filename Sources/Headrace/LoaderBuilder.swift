internal import HeadraceCompute
internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats
internal import HeadraceStorage

/// Opens a loader: everything that can be refused is refused here, before a thread is started.
struct LoaderBuilder {
    /// Shards whose first samples are looked at to learn the fields' shapes.
    static let probedShards = 8
    /// Bytes a shard spends on a field besides its payload: a header, and padding up to the next block.
    static let fieldOverheadBytes = 768

    /// More address space than a process has; budgets beyond it are slips of the pen.
    static let largestMemory = 1 << 47

    let dataset: Dataset
    let device: ComputeDevice
    let options: LoaderOptions
    /// Reads in place of the local files' own engine; nil: as the options say.
    let access: StorageAccess?
    /// Where to go on from.
    let state: LoaderState?
    /// A driver library in place of the system's.
    let driver: String?

    init(
        _ dataset: Dataset, _ device: ComputeDevice, access: StorageAccess? = nil,
        resuming state: LoaderState? = nil, driver: String? = nil
    ) {
        self.driver = driver
        self.state = state
        self.access = access
        self.dataset = dataset
        self.device = device
        options = dataset.options
    }

    func open() throws(HeadraceError) -> Loader {
        let openedAt = Clock.now()
        let cpuAtOpen = Clock.processCPU()
        let ioAtOpen = ProcessIO.now()
        try checkOptions()
        let cuda = try cudaDevice()
        let names = FieldNames()
        let catalog = try Catalog(dataset.shards, isMixture: options.mixing != nil, names: names)
        if options.direct && !catalog.directories.isEmpty {
            throw HeadraceError(
                .usage, "direct reads are for shards; a directory of files is read through the page cache")
        }
        let workers = options.workers ?? Machine.current.defaultWorkers
        let budget = options.memory?.bytes ?? Machine.current.defaultBudget
        let base = if let access { access } else { try StorageAccess.local(options) }
        let access = try base.cached(options, budget: budget)
        let choosing = Clock.now()
        let choice = try chooseWalk(catalog, workers: workers, budget: budget)
        let choosingNanoseconds = Clock.now() - choosing
        let beginning = try startingPosition(catalog, choice)
        let lanes = choice.walk == .indexed ? 0 : min(options.lanes, catalog.shards.count)
        var geometry = ChunkGeometry(budget: budget, lanes: max(1, lanes))
        var pool = try SlabPool(limit: budget, slabBytes: geometry.slabBytes)
        let opener = ShardOpener(
            storage: access.storage, names: names, limits: FormatLimits(),
            parsesExamples: options.parsesExamples,
            directories: catalog.directories)
        // What is known to be needed is checked first: a pool too small to look at a shard says less about it.
        try checkBudget(
            pool, geometry, laneBytes: opener.laneBytes(geometry), lanes: lanes, Probe(), samples: nil)
        let probe = try probe(catalog, opener, names, pool, geometry, access.probeReader)
        if choice.walk == .streamed {
            try checkBudget(
                pool, geometry, laneBytes: opener.laneBytes(geometry), lanes: lanes, probe,
                samples: catalog.listedSampleCount)
        }
        // Smaller where headers are looked at in what was just read. A codec that turns up later works with these, too.
        if choice.walk == .indexed || (!access.hasFetchThread && opener.hasOnlyPlainShards) {
            geometry = geometry.halved()
            pool = try SlabPool(limit: budget, slabBytes: geometry.slabBytes)
        }
        let slots = makeSlots(probe.columns, pool)
        let engine = Engine(
            options: options, catalog: catalog, columns: probe.columns, pool: pool, geometry: geometry,
            slots: slots, names: names, openers: opener, backend: try backend(cuda, pool),
            workerCount: workers,
            ringDepth: access.hasFetchThread ? options.queueDepth : nil, laneBytes: opener.laneBytes(geometry)
        )
        engine.cache = access.cache
        try setOff(engine, choice, beginning, access, probe)
        let opening = LoaderOpening(
            engineReason: access.reason, walk: "\(choice.walk.rawValue): \(choice.reason)",
            indexNanoseconds: choosingNanoseconds,
            isDirect: options.direct, workers: workers, budget: budget,
            geometry: geometry, lanes: lanes, openedAt: openedAt, openNanoseconds: Clock.now() - openedAt,
            cpuAtOpen: cpuAtOpen, ioAtOpen: ioAtOpen, notes: catalog.notes + choice.notes)
        return Loader(
            engine: engine, opening: opening, threads: try start(engine, access, workers))
    }

    /// The device, where it is not the host; what is missing is said before anything is read.
    private func cudaDevice() throws(HeadraceError) -> CUDADevice? {
        switch device {
        case .host:
            if let field = options.fields.first(where: { $0.normalization != nil }) {
                throw HeadraceError(
                    .usage,
                    "column '\(field.column)' is to be normalised on the device, but batches go to the host; let its "
                        + "decoder normalise it")
            }
            return nil
        case .cuda(let ordinal):
            return try CUDADevice(ordinal, driver: try CUDADriver(path: driver))
        }
    }

    private func backend(_ cuda: CUDADevice?, _ pool: SlabPool) throws(HeadraceError) -> any ComputeBackend {
        guard let cuda else { return HostBackend(pool: pool) }
        return try CUDABackend(cuda, pool: pool)
    }

    /// Where the loader begins: with the first epoch, or where the state says.
    private func startingPosition(
        _ catalog: Catalog, _ choice: WalkChoice
    ) throws(HeadraceError) -> (position: EpochPosition, base: StateBase) {
        let shards = zip(catalog.shards, choice.counts).map {
            DataFingerprint.Shard(name: $0.name, byteCount: $0.size, sampleCount: $1)
        }
        let words = stateOptions(choice, catalog)
        let ranks = choice.ranks
        var position = EpochPosition(startOf: 0, worldSize: ranks.worldSize, batchSize: options.batchSize)
        if let state {
            position = try state.resumed(
                by: LoaderState.Loader(
                    walk: choice.walk, shards: shards, options: words, worldSize: ranks.worldSize,
                    batchSize: options.batchSize, isElastic: isElastic(choice, state)))
        }
        let base = StateBase(
            walk: choice.walk, data: DataFingerprint(shards), options: words, ranks: ranks, start: position,
            carried: state?.carried(rank: ranks.rank, worldSize: ranks.worldSize))
        return (position, base)
    }

    /// Whether the epoch can go on with other sizes: what a window of bucketing has left belongs to its ranks.
    private func isElastic(_ choice: WalkChoice, _ state: LoaderState) -> Bool {
        guard choice.walk == .indexed, choice.nodes == nil else { return false }
        guard let window = options.bucketWindow, window > 0 else { return true }
        return state.position.nextStep % window == 0
    }

    /// Gives the engine its order, before its threads start.
    private func setOff(
        _ engine: Engine, _ choice: WalkChoice, _ start: (position: EpochPosition, base: StateBase),
        _ access: StorageAccess, _ probe: Probe
    ) throws(HeadraceError) {
        engine.stateBase = start.base
        // At the start of an epoch the one before is still to be judged.
        engine.delivery.epoch = max(0, start.position.epoch - (start.position.position == 0 ? 1 : 0))
        if let carried = start.base.carried {
            engine.delivery.skips = carried.skips
            engine.delivery.digest = carried.digest ?? OrderedDigest()
            engine.delivery.setDigest = carried.setDigest ?? SetDigest()
        }
        if let rows = choice.rows {
            try setOffIndexed(engine, rows, choice, start.position, access, probe)
        } else {
            try setOffStreamed(engine, choice, start.position)
        }
        if let epochs = options.epochs, start.position.epoch >= epochs {
            engine.endBeforeItBegins()
        }
    }

    private func setOffIndexed(
        _ engine: Engine, _ rows: [ShardRows], _ choice: WalkChoice, _ position: EpochPosition,
        _ access: StorageAccess, _ probe: Probe
    ) throws(HeadraceError) {
        var settings = indexedSettings(choice, choice.ranks)
        let pool = engine.arena.pool
        // Indexes know what the first samples only suggest; what lies between samples is read with them.
        let count = rows.reduce(0) { $0 + $1.sampleCount }
        let bytes = rows.reduce(0.0) { $0 + Double($1.uncompressedByteCount) }
        let sampleBytes = count == 0 ? 0 : Int((bytes / Double(count)).rounded(.up))
        let window = try windowSize(
            budget: pool.limit, slabBytes: pool.slabBytes, fixedBytes: slotBytes(probe, pool) + rowTableBytes,
            sampleBytes: sampleBytes,
            overheadBytes: overheadBytes(sampleBytes, rows, alignment: settings.alignment),
            heldBatches: options.heldBatches, blockSize: settings.blockSize)
        pool.charge(bucketBytes)
        settings.windowSteps = window.steps
        settings.windowBytes = window.bytes
        let source = try IndexedSource(engine.catalog, rows, storage: access.storage)
        let indexed = try IndexedOrder(source, settings, position: position, supply: engine)
        engine.walk(indexed, windowsAhead: window.ahead)
    }

    /// What a sample of an indexed walk takes besides its bytes, at most.
    func overheadBytes(_ sampleBytes: Int, _ rows: [ShardRows], alignment: Int) -> Int {
        let tables =
            MemoryLayout<SampleRecord>.stride + 4 * MemoryLayout<FieldRecord>.stride
            + MemoryLayout<SampleOrigin>.stride
            + (MemoryLayout<PlacedSample>.stride + MemoryLayout<SampleOrigin>.stride + 4) + 64
        // Frames are kept whole where their samples are half of them; else only the samples are.
        guard rows.allSatisfy({ $0.codec == .none }) else { return tables + sampleBytes }
        // Gaps are read along only between samples that lie close together.
        let gap = min(ReadMerger.defaultLargestGap, 8 * sampleBytes)
        return tables + max(gap, alignment > 1 ? 2 * alignment : 64)
    }

    private func setOffStreamed(
        _ engine: Engine, _ choice: WalkChoice, _ position: EpochPosition
    ) throws(HeadraceError) {
        if choice.ranks.worldSize > 1 || options.steps != nil {
            guard options.uneven != .repeating else {
                throw HeadraceError(
                    .usage,
                    "repeating samples is for the indexed walk ('headrace index' makes the index); a streamed one can drop "
                        + "or pad")
            }
            let request = ShardShare.Request(
                worldSize: choice.ranks.worldSize, batchSize: options.batchSize, uneven: options.uneven,
                last: options.lastBatch, steps: options.steps, isShuffled: options.shuffle != .none,
                seed: options.seed, epoch: position.epoch, nodes: choice.nodes)
            let dealing = ShardDealing(
                counts: choice.counts, sizes: engine.catalog.shards.map(\.size), request: request,
                rank: choice.ranks.rank)
            let share = try dealing.share(epoch: position.epoch)
            if let steps = share.stepCount, position.nextStep > steps {
                throw HeadraceError(
                    .usage,
                    "the state is behind step \(position.nextStep) of an epoch of \(steps): it is none of this loader"
                )
            }
            engine.dealing = dealing
        }
        engine.resumedEpoch = position.epoch
        engine.resumedSteps = position.nextStep
        engine.startEpoch(position.epoch)
    }

    private func checkOptions() throws(HeadraceError) {
        func demand(_ isFine: Bool, _ message: String) throws(HeadraceError) {
            guard isFine else { throw HeadraceError(.usage, message) }
        }
        try demand(options.lanes >= 1, "at least one lane is needed")
        try demand(
            options.batchSize >= 1 && options.batchSize <= 1 << 24, "the batch size must be 1 to 16777216")
        try demand(options.epochs ?? 1 >= 1, "at least one epoch is needed")
        try demand((1...4096).contains(options.prefetch), "1 to 4096 batches can be prefetched")
        try demand((1...4096).contains(options.heldBatches), "the consumer may hold 1 to 4096 batches")
        try demand(
            options.cache?.writeRate?.bytes ?? 1 > 0, "the write rate of a cache is 1 byte a second or more")
        try demand((1...4096).contains(options.queueDepth), "the queue depth must be 1 to 4096")
        try demand((1...1024).contains(options.workers ?? 1), "the number of workers must be 1 to 1024")
        if let window = options.bucketWindow {
            try demand(
                window >= 1 && window <= PlanLimits.bucketRows / options.batchSize,
                "a window of bucketing must be 1 batch or more, and at most \(PlanLimits.bucketRows) samples")
        }
        if let mixing = options.mixing {
            try demand(
                mixing.weights.count == dataset.shards.count,
                "there are \(mixing.weights.count) weights for \(dataset.shards.count) data sets; each path, folder or "
                    + "pattern is one data set (a pattern that the shell has expanded is several)")
        }
        if case .block(let size) = options.shuffle {
            try demand(
                (1...PlanLimits.blockSize).contains(size),
                "a shuffle block must hold 1 to \(PlanLimits.blockSize) samples")
        }
        if case .buffer(let size) = options.shuffle {
            try demand((1...1 << 28).contains(size), "the shuffle buffer must hold 1 to 268435456 samples")
        }
        try demand(
            (1...Self.largestMemory).contains(options.memory?.bytes ?? 1),
            "the memory budget must be 1 byte to \(ByteCount(Self.largestMemory))")
        var names: Set<String> = []
        for field in options.fields {
            try demand(
                names.insert(field.column).inserted,
                "two columns are called '\(field.column)'; give one another name")
        }
    }

    // MARK: First samples

    private struct Probe {
        var columns: [Column] = []
        /// Mean bytes of a sample in its shard, headers included; an estimate from the first chunks.
        var sampleBytes = 0
    }

    /// Reads the first samples, to learn the layouts of the columns and what a sample weighs.
    private func probe(
        _ catalog: Catalog, _ opener: ShardOpener, _ names: FieldNames, _ pool: SlabPool,
        _ geometry: ChunkGeometry, _ makeReader: () -> any Reader
    ) throws(HeadraceError) -> Probe {
        var layouts = [ColumnLayout?](repeating: nil, count: options.fields.count)
        var samples = 0
        var bytes = 0
        var failures: [HeadraceError?] = layouts.map { _ in nil }
        for shard in catalog.shards.prefix(Self.probedShards) {
            if samples > 0 && !layouts.contains(nil) { break }
            let arena = ChunkArena(pool: pool, geometry: geometry) {}
            let reader = makeReader()
            let shardReader: ShardReader
            do throws(HeadraceError) {
                shardReader = try ShardReader(
                    shard, opener: opener, names: names, arena: arena, reader: reader)
            } catch {
                // Shown in its place by the loader itself, after what precedes it.
                continue
            }
            try shardReader.readChunks { (chunk) throws(HeadraceError) in
                for sample in chunk.table.samples where sample.defect < 0 {
                    // Damaged samples claim what they like; good ones tell what a sample weighs.
                    samples += 1
                    bytes += Self.weight(of: sample, in: chunk.table)
                }
                for sample in chunk.table.samples where sample.defect < 0 {
                    learn(sample, chunk, names, &layouts, &failures)
                    if !layouts.contains(nil) { break }
                }
                return samples == 0 || layouts.contains(nil)
            }
        }
        var probe = Probe()
        probe.sampleBytes = samples == 0 ? 0 : bytes / samples
        for (index, field) in options.fields.enumerated() {
            let empty = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
            guard let layout = unsafe layouts[index] ?? (try? field.decoder.column(for: empty)) else {
                throw failures[index]
                    ?? HeadraceError(
                        .missingField,
                        "no sample of the first shards has field '\(field.name)'; they have: "
                            + names.all.sorted().joined(separator: ", "))
            }
            let isRepeated = options.fields[..<index].contains { $0.name == field.name }
            probe.columns.append(try Column(field, layout, isRepeated: isRepeated))
        }
        return probe
    }

    private static func weight(of sample: SampleRecord, in table: SampleTable) -> Int {
        let fields = table.fields[Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount)]
        return fields.reduce(0) { $0 + $1.length + fieldOverheadBytes }
    }

    private func learn(
        _ sample: SampleRecord, _ chunk: Chunk, _ names: FieldNames, _ layouts: inout [ColumnLayout?],
        _ failures: inout [HeadraceError?]
    ) {
        for (index, field) in options.fields.enumerated() where layouts[index] == nil {
            guard let number = names.known(field.name),
                let record = unsafe DecodeWorker.field(number, of: sample, in: chunk.view),
                let base = unsafe chunk.view.base
            else { continue }
            let payload = unsafe UnsafeRawBufferPointer(start: base + record.offset, count: record.length)
            do throws(HeadraceError) {
                if record.encoding != .plain, !field.decoder.readsFeatures {
                    throw unsafe featureRefusal(payload, record.encoding)
                }
                layouts[index] = try unsafe field.decoder.column(for: payload)
            } catch {
                failures[index] =
                    failures[index]
                    ?? error.placed(
                        shard: chunk.pass?.shard.path, offset: sample.offset,
                        key: chunk.table.key(of: sample),
                        field: field.name)
            }
        }
    }

    // MARK: Memory

    private var slotCount: Int { options.prefetch + options.heldBatches + 2 }

    /// Bytes that rows of batches, shuffle blocks and a cache's staging take whatever the samples are.
    private var rowTableBytes: Int {
        let staging = options.cacheStagingBytes(
            budget: options.memory?.bytes ?? Machine.current.defaultBudget)
        return staging + rowBytes
    }

    private var rowBytes: Int {
        var perRow = MemoryLayout<RowReference>.stride
        if options.digest { perRow += MemoryLayout<UInt64>.stride }
        let batches = product(slotCount * options.batchSize, perRow)
        guard case .buffer(let size) = options.shuffle else { return batches }
        return batches + product(size, 2 * MemoryLayout<RowReference>.stride + MemoryLayout<UInt32>.stride)
    }

    private func checkBudget(
        _ pool: SlabPool, _ geometry: ChunkGeometry, laneBytes: Int, lanes: Int, _ probe: Probe, samples: Int?
    ) throws(HeadraceError) {
        let slots = slotBytes(probe, pool)
        let lanesBytes = lanes == 0 ? 0 : product(lanes, laneBytes)
        var shuffleBytes = 0
        if case .buffer(let size) = options.shuffle {
            // One block is dealt to batches while the next one fills.
            shuffleBytes = product(2 * min(size, samples ?? size), probe.sampleBytes)
        }
        // Rows that are spans keep the slabs they lie in: of the batches that are held and of the one in the making.
        let hasSpans = probe.columns.isEmpty || probe.columns.contains { $0.layout.rowBytes == 0 }
        let batchRows = min(options.batchSize, samples ?? options.batchSize)
        let spanBytes = hasSpans ? product((options.heldBatches + 1) * batchRows, probe.sampleBytes) : 0
        let needed = slots + lanesBytes + shuffleBytes + spanBytes + rowTableBytes
        guard needed <= pool.limit else {
            throw HeadraceError(
                .budget,
                "the memory budget is \(ByteCount(pool.limit)), but \(ByteCount(needed)) are needed: "
                    + "\(ByteCount(lanesBytes)) for \(lanes) lanes, \(ByteCount(shuffleBytes)) for the shuffle "
                    + "buffer, \(ByteCount(slots + spanBytes + rowTableBytes)) for rows and batches, of which \(options.heldBatches) may be held"
            )
        }
    }

    /// Memory of the columns of all slots.
    private func slotBytes(_ probe: Probe, _ pool: SlabPool) -> Int {
        let rows = probe.columns.reduce(0) { sum, column in
            let bytes = product(column.layout.rowBytes, options.batchSize)
            return sum + (bytes == 0 ? 0 : bytes > pool.limit ? bytes : SlabPool.sizeClass(bytes))
        }
        return product(slotCount, rows)
    }

    /// Sizes come from options and files: a product too large for an `Int` is as good as the largest part of one.
    func product(_ left: Int, _ right: Int) -> Int {
        let (value, overflows) = left.multipliedReportingOverflow(by: right)
        return overflows || value > Int.max / 8 ? Int.max / 8 : value
    }

    private func makeSlots(_ columns: [Column], _ pool: SlabPool) -> [BatchSlot] {
        pool.charge(rowTableBytes)
        return (0..<slotCount).map { _ in
            BatchSlot(capacity: options.batchSize, columns: columns, hasHashes: options.digest)
        }
    }

    // MARK: Threads

    private func start(
        _ engine: Engine, _ access: StorageAccess, _ workers: Int
    ) throws(HeadraceError) -> [Thread] {
        var threads: [Thread] = []
        do throws(HeadraceError) {
            if access.hasFetchThread {
                let depth = options.queueDepth
                threads.append(
                    try Thread(name: "headrace-fetch") {
                        engine.serveRing(access.storage, depth: depth)
                    })
            }
            if engine.hasPlacer {
                threads.append(try Thread(name: "headrace-place") { engine.servePlacing() })
            }
            for index in 0..<workers {
                threads.append(
                    try Thread(name: "headrace-\(index)") { engine.work(reader: access.workerReader()) })
            }
        } catch {
            engine.close()
            for thread in threads { thread.join() }
            engine.discardUndelivered()
            throw error
        }
        return threads
    }
}

extension EngineRequest {
    var storageEngine: HeadraceStorage.Engine {
        switch self {
        case .auto: .auto
        case .uring: .uring
        case .pread: .pread
        }
    }
}
