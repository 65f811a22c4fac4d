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
    private var requests: [ReadRequest] = []
    private var completions: [ReadCompletion] = []

    init(arena: ChunkArena, openers: ShardOpener, source: IndexedSource, reader: any Reader) {
        self.arena = arena
        self.openers = openers
        catalog = source.catalog
        rows = source.rows
        self.reader = reader
    }

    /// Brings the chunk's samples into its memory and its table. What fails becomes a defect of the samples it concerns.
    func fill(_ chunk: Chunk, _ plan: PlannedChunk) -> ChunkFiller.Fetched {
        var fetched = ChunkFiller.Fetched()
        if !chunk.isFetched {
            let began = Clock.now()
            let cpu = Clock.threadCPU()
            do throws(HeadraceError) {
                try read(chunk, plan)
            } catch {
                chunk.failure = error
            }
            fetched.fetchWall = Clock.now() - began
            fetched.fetchCPU = Clock.threadCPU() - cpu
            fetched.bytes = plan.fetches.reduce(0) { $0 + $1.length }
            fetched.requests = plan.fetches.count
        }
        let intact = decompress(chunk, plan)
        find(chunk, plan, intact: intact)
        return fetched
    }

    // MARK: Reading

    private func read(_ chunk: Chunk, _ plan: PlannedChunk) throws(HeadraceError) {
        let all = plan.requests(into: chunk, ticket: nil)
        var next = 0
        while next < all.count {
            let end = min(all.count, next + reader.queueDepth)
            requests.removeAll(keepingCapacity: true)
            requests.append(contentsOf: all[next..<end])
            completions.removeAll(keepingCapacity: true)
            reader.submit(requests)
            reader.wait(minimum: requests.count, into: &completions)
            for completion in completions {
                let request = all[Int(completion.ticket)]
                let count = try completion.result.get()
                guard count >= min(request.length, request.file.size - request.offset) else {
                    throw HeadraceError(
                        .fileChanged, "the file ended early while it was read; it must not be changed",
                        at: .init(shard: request.file.path, offset: request.offset + count))
                }
            }
            next = end
        }
    }

    // MARK: Frames

    /// Decompresses the frames; returns up to where, in the uncompressed shard, bytes are good.
    private func decompress(_ chunk: Chunk, _ plan: PlannedChunk) -> Int {
        guard !plan.frames.isEmpty else { return Int.max }
        defer {
            arena.releaseScratch(chunk)
            arena.releaseInput(chunk)
        }
        guard chunk.failure == nil, let input = chunk.input, let slab = chunk.slab,
            let shard = plan.fetches.first?.shard
        else { return -1 }
        let target = chunk.scratch ?? slab
        var good = plan.frames[0].offset
        var source = unsafe input.base + plan.frameLead
        var place = unsafe target.base
        do throws(HeadraceError) {
            let decompressor = try decompressor(rows[Int(shard)].codec)
            for frame in plan.frames {
                try unsafe decompressor.decompress(
                    frame, UnsafeRawBufferPointer(start: source, count: frame.compressedLength),
                    into: UnsafeMutableRawBufferPointer(start: place, count: frame.length))
                unsafe source += frame.compressedLength
                unsafe place += frame.length
                good += frame.length
            }
        } catch {
            chunk.failure = error.placed(shard: catalog.shards[Int(shard)].path)
        }
        if let scratch = chunk.scratch {
            for sample in plan.samples where sample.offset + sample.length <= good {
                let from = sample.offset - plan.frames[0].offset
                unsafe (slab.base + sample.place).copyMemory(
                    from: scratch.base + from, byteCount: sample.length)
            }
        }
        return good
    }

    private func decompressor(_ codec: CodecKind) throws(HeadraceError) -> any FrameDecompressor {
        if let known = decompressors[codec] { return known }
        let made = try codec.makeFrameDecompressor()
        decompressors[codec] = made
        return made
    }

    // MARK: Samples

    private func find(_ chunk: Chunk, _ plan: PlannedChunk, intact: Int) {
        chunk.table.removeAll()
        chunk.origins.removeAll(keepingCapacity: true)
        chunk.start = 0
        chunk.end = plan.outputBytes
        var failures: [Int: HeadraceError] = [:]
        for (sample, error) in plan.failures { failures[sample] = error }
        for (index, sample) in plan.samples.enumerated() {
            chunk.origins.append(sample.origin)
            if let error = failures[index] ?? (sample.offset + sample.length > intact ? chunk.failure : nil)
                ?? (plan.frames.isEmpty ? chunk.failure : nil)
            {
                chunk.table.appendDefect(error, offset: sample.offset)
                continue
            }
            scan(sample, of: chunk)
        }
        arena.charge(chunk)
    }

    private func scan(_ sample: PlannedChunk.Sample, of chunk: Chunk) {
        guard let slab = chunk.slab else { return }
        let shard = Int(sample.origin.shard)
        let scanner = scanner(rows[shard].format)
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

    private func scanner(_ format: ShardFormatKind) -> any ShardScanner {
        if let known = scanners[format] { return known }
        let made = openers.makeScanner(format)
        scanners[format] = made
        return made
    }
}

extension PlannedChunk {
    /// The reads, each with its place among them as ticket, or all with `ticket`.
    func requests(into chunk: Chunk, ticket: UInt64?) -> [ReadRequest] {
        guard let target = frames.isEmpty ? chunk.slab : chunk.input else { return [] }
        var requests: [ReadRequest] = []
        requests.reserveCapacity(fetches.count)
        for fetch in fetches {
            guard let file = files[fetch.shard] else { continue }
            var done = 0
            while done < fetch.length {
                let length = min(ChunkGeometry.requestBytes, fetch.length - done)
                unsafe requests.append(
                    ReadRequest(
                        ticket: ticket ?? UInt64(requests.count), file: file, offset: fetch.offset + done,
                        length: length,
                        destination: target.base + fetch.place + done, slab: target))
                done += length
            }
        }
        return requests
    }
}
