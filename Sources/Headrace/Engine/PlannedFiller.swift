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
        let fetches = plan.fetches
        var start = 0
        while start < fetches.count {
            let shard = fetches[start].file
            let end = fetches[start...].firstIndex { $0.file != shard } ?? fetches.count
            // Whatever goes wrong is told by the reads that are submitted.
            let file = try? source.file(shard)
            while start < end {
                if let file { start += unsafe reader.readNow(file, fetches[start..<end], into: base) }
                guard start < end else { break }
                left.insert(start)
                start += 1
            }
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
            let shard = plan.fetches.first?.file
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
        chunk.start = 0
        chunk.end = plan.outputBytes
        chunk.origins = plan.origins
        var table = SampleTable()
        swap(&table, &chunk.table)
        if damage.isEmpty && plan.failures.isEmpty && plan.fetchFailures.isEmpty {
            scan(plan, plan.samples.indices, chunk, into: &table)
        } else {
            let failures = Dictionary(plan.failures.map { ($0.sample, $0.error) }) { first, _ in first }
            for index in plan.samples.indices {
                if let error = failures[index] ?? failure(of: index, plan, damage) {
                    table.appendDefect(error, offset: plan.samples[index].offset)
                } else {
                    scan(plan, index..<index + 1, chunk, into: &table)
                }
            }
        }
        swap(&table, &chunk.table)
        arena.charge(chunk)
    }

    private func failure(of index: Int, _ plan: PlannedChunk, _ damage: [Damage]) -> HeadraceError? {
        if let error = plan.fetchFailures[plan.fetchOfSample[index]] { return error }
        let sample = plan.samples[index]
        let bytes = sample.offset..<sample.offset + sample.length
        return damage.first { $0.bytes.overlaps(bytes) }?.error
    }

    /// Finds the samples `range`, which are all there, a run of one shard at a time.
    private func scan(
        _ plan: PlannedChunk, _ range: Range<Int>, _ chunk: Chunk, into table: inout SampleTable
    ) {
        guard let slab = chunk.slab else { return }
        let samples = plan.samples
        let origins = plan.origins
        var start = range.lowerBound
        while start < range.upperBound {
            let shard = origins[start].shard
            let end = origins[start..<range.upperBound].firstIndex { $0.shard != shard } ?? range.upperBound
            let scanner = scanner(ofShard: Int(shard))
            while start < end {
                start += unsafe scanner.scanAlone(samples[start..<end], in: slab.base, into: &table)
                guard start < end else { break }
                refuse(samples[start], of: shard, rowsBefore: start, in: &table)
                start += 1
            }
        }
    }

    /// The index has one sample where none or several were found.
    private func refuse(
        _ sample: PlacedSample, of shard: Int32, rowsBefore before: Int, in table: inout SampleTable
    ) {
        let found = table.samples.count - before
        table.removeSamples(from: before)
        table.appendDefect(
            HeadraceError(
                .indexMismatch,
                "the index says that one sample is here, and there are \(found): the shard was changed, or the index is "
                    + "wrong ('headrace index --rebuild' makes it anew)",
                at: .init(shard: catalog.shards[Int(shard)].path)), offset: sample.offset)
    }

    /// The scanner of a shard, made at its first use.
    private func scanner(ofShard shard: Int) -> any ShardScanner {
        let format = rows[shard].format
        let scanner = scanners[format] ?? openers.makeScanner(format)
        scanners[format] = scanner
        return scanner
    }
}
