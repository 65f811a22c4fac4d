internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Rooms 4 and 5 of an indexed walk, for one worker: a chunk's reads, its frames, and its samples one by one.
final class PlannedFiller {
    private let arena: ChunkArena
    private let openers: ShardOpener
    private let catalog: Catalog
    private let reader: any Reader
    private var scanners: [ShardFormatKind: any ShardScanner] = [:]
    private var lastScanned: (shard: Int, scanner: (any ShardScanner)?) = (-1, nil)
    private var decompressors: [CodecKind: any FrameDecompressor] = [:]
    private let rows: [ShardRows]
    private let source: IndexedSource
    private var completions: [ReadCompletion] = []

    init(arena: ChunkArena, openers: ShardOpener, source: IndexedSource, reader: any Reader) {
        self.arena = arena
        self.openers = openers
        catalog = source.catalog
        rows = source.rows
        self.source = source
        self.reader = reader
    }

    /// Brings the chunk's samples into its memory and its table. What fails becomes a defect of the samples it concerns.
    func fill(_ chunk: Chunk, _ plan: PlannedChunk) -> ChunkFiller.Fetched {
        var fetched = ChunkFiller.Fetched()
        if !chunk.isFetched {
            let began = Clock.now()
            let cpu = Clock.threadCPU()
            read(chunk, plan)
            fetched.fetchWall = Clock.now() - began
            fetched.fetchCPU = Clock.threadCPU() - cpu
            fetched.bytes = plan.fetches.reduce(0) { $0 + $1.length }
            fetched.requests = plan.fetches.count
            fetched.sources = reader.takeSources()
        }
        let damage = decompress(chunk, plan)
        find(chunk, plan, damage)
        return fetched
    }

    // MARK: Reading

    private func read(_ chunk: Chunk, _ plan: PlannedChunk) {
        let left = readNow(chunk, plan)
        guard !left.isEmpty else { return }
        plan.prepareRequests(into: chunk, source, ticket: 0, part: left)
        completions.removeAll(keepingCapacity: true)
        reader.submit(plan.requests)
        reader.wait(minimum: plan.requests.count, into: &completions)
        for completion in completions { plan.settle(completion) }
        plan.finishReading()
    }

    /// Reads what can be read at once; returns the fetches that are left.
    private func readNow(_ chunk: Chunk, _ plan: PlannedChunk) -> Set<Int> {
        var left: Set<Int> = []
        guard let target = plan.target(chunk) else { return left }
        let base = unsafe target.base
        var open: (shard: Int32, file: (any StorageFile)?) = (-1, nil)
        for (number, fetch) in plan.fetches.enumerated() {
            if open.shard != fetch.shard { open = (fetch.shard, try? source.file(fetch.shard)) }
            // Whatever goes wrong is told by the reads that are submitted.
            let isRead =
                open.file.map {
                    unsafe reader.readNow(
                        $0, offset: fetch.offset, length: fetch.length, into: base + fetch.place)
                } ?? false
            if !isRead { left.insert(number) }
        }
        return left
    }

    // MARK: Frames

    /// Bytes of the uncompressed shard that could not be had, and why.
    private struct Damage {
        var bytes: Range<Int>
        var error: HeadraceError
    }

    /// Decompresses the frames, each for itself; returns the damage.
    private func decompress(_ chunk: Chunk, _ plan: PlannedChunk) -> [Damage] {
        guard !plan.frames.isEmpty else { return [] }
        defer {
            arena.releaseScratch(chunk)
            arena.releaseInput(chunk)
        }
        guard plan.fetchFailures.isEmpty, let input = chunk.input, let slab = chunk.slab,
            let shard = plan.fetches.first?.shard
        else { return [] }
        let target = chunk.scratch ?? slab
        var damage: [Damage] = []
        var source = unsafe input.base + plan.frameLead
        var place = unsafe target.base
        for frame in plan.frames {
            do throws(HeadraceError) {
                try unsafe decompressor(rows[Int(shard)].codec).decompress(
                    frame, UnsafeRawBufferPointer(start: source, count: frame.compressedLength),
                    into: UnsafeMutableRawBufferPointer(start: place, count: frame.length))
            } catch {
                damage.append(
                    Damage(
                        bytes: frame.offset..<frame.offset + frame.length,
                        error: error.placed(shard: catalog.shards[Int(shard)].path)))
            }
            unsafe source += frame.compressedLength
            unsafe place += frame.length
        }
        if let scratch = chunk.scratch {
            for sample in plan.samples {
                let from = sample.offset - plan.frames[0].offset
                unsafe (slab.base + sample.place).copyMemory(
                    from: scratch.base + from, byteCount: sample.length)
            }
        }
        return damage
    }

    private func decompressor(_ codec: CodecKind) throws(HeadraceError) -> any FrameDecompressor {
        if let known = decompressors[codec] { return known }
        let made = try codec.makeFrameDecompressor()
        decompressors[codec] = made
        return made
    }

    // MARK: Samples

    private func find(_ chunk: Chunk, _ plan: PlannedChunk, _ damage: [Damage]) {
        chunk.table.removeAll()
        chunk.origins.removeAll(keepingCapacity: true)
        chunk.start = 0
        chunk.end = plan.outputBytes
        for sample in plan.samples { chunk.origins.append(sample.origin) }
        let failures = Dictionary(plan.failures.map { ($0.sample, $0.error) }) { first, _ in first }
        let isWhole = damage.isEmpty && plan.failures.isEmpty && plan.fetchFailures.isEmpty
        for (index, sample) in plan.samples.enumerated() {
            if !isWhole, let error = failures[index] ?? failure(of: sample, plan, damage) {
                chunk.table.appendDefect(error, offset: sample.offset)
                continue
            }
            scan(sample, of: chunk)
        }
        arena.charge(chunk)
    }

    private func failure(
        of sample: PlannedChunk.Sample, _ plan: PlannedChunk, _ damage: [Damage]
    ) -> HeadraceError? {
        if let error = plan.fetchFailures[sample.fetch] { return error }
        let bytes = sample.offset..<sample.offset + sample.length
        return damage.first { $0.bytes.overlaps(bytes) }?.error
    }

    private func scan(_ sample: PlannedChunk.Sample, of chunk: Chunk) {
        guard let slab = chunk.slab else { return }
        let shard = Int(sample.origin.shard)
        let scanner = scanner(ofShard: shard)
        let before = chunk.table.samples.count
        let bytes = unsafe UnsafeRawBufferPointer(start: slab.base + sample.place, count: sample.length)
        unsafe scanner.scanAlone(bytes, at: sample.offset, shift: sample.place, into: &chunk.table)
        guard chunk.table.samples.count != before + 1 else { return }
        let found = chunk.table.samples.count - before
        chunk.table.removeSamples(from: before)
        chunk.table.appendDefect(
            HeadraceError(
                .indexMismatch,
                "the index says that one sample is here, and there are \(found): the shard was changed, or the index is "
                    + "wrong ('headrace index --rebuild' makes it anew)",
                at: .init(shard: catalog.shards[shard].path)), offset: sample.offset)
    }

    /// The scanner of a shard, made at its first use; the last one is used again without a look at the shard.
    @inline(__always)
    private func scanner(ofShard shard: Int) -> any ShardScanner {
        if shard == lastScanned.shard, let scanner = lastScanned.scanner { return scanner }
        let format = rows[shard].format
        let scanner = scanners[format] ?? openers.makeScanner(format)
        scanners[format] = scanner
        lastScanned = (shard, scanner)
        return scanner
    }
}
