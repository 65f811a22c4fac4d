internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Room 4 and the parallel part of room 5, for one worker: a chunk's bytes are read, and independent frames
/// decompressed, so that even one big shard feeds all workers.
final class ChunkFiller {
    struct Fetched {
        var bytes = 0
        var requests = 0
        var fetchWall = 0
        var fetchCPU = 0
        /// From where the bytes came, and others that came along; nil: from local files.
        var sources: ByteSources?
    }

    let reader: any Reader
    private let arena: ChunkArena
    /// Of the last seekable shard's codec; shards of one data set nearly always share it.
    private var frames: (codec: CodecKind, decompressor: any FrameDecompressor)?
    private var completions: [ReadCompletion] = []
    private var requests: [ReadRequest] = []

    init(arena: ChunkArena, reader: any Reader) {
        self.arena = arena
        self.reader = reader
        completions.reserveCapacity(16)
        requests.reserveCapacity(16)
    }

    /// Brings the chunk's uncompressed bytes, or a stream's compressed ones, into its memory. What fails is left in
    /// the chunk, to be shown in its turn.
    func fill(_ chunk: Chunk) -> Fetched {
        var fetched = Fetched()
        do throws(HeadraceError) {
            if let pass = chunk.pass, case .files(let runs) = pass.chunks {
                let began = Clock.now()
                let cpu = Clock.threadCPU()
                fetched.bytes = try fillFiles(chunk, pass, runs[chunk.index])
                fetched.requests = runs[chunk.index].samples.count
                fetched.sources = reader.takeSources()
                fetched.fetchWall = Clock.now() - began
                fetched.fetchCPU = Clock.threadCPU() - cpu
                return fetched
            }
            if !chunk.isFetched {
                let began = Clock.now()
                let cpu = Clock.threadCPU()
                fetched.bytes = try read(chunk)
                fetched.requests = 1
                fetched.sources = reader.takeSources()
                fetched.fetchWall = Clock.now() - began
                fetched.fetchCPU = Clock.threadCPU() - cpu
            }
            try decompressFrames(chunk)
        } catch {
            chunk.failure = error
        }
        return fetched
    }

    private func read(_ chunk: Chunk) throws(HeadraceError) -> Int {
        guard let pass = chunk.pass, let file = pass.file else { return 0 }
        let plan = FetchPlan(chunk, pass, file, arena.geometry)
        if plan.fileBytes > 0 {
            requests.removeAll(keepingCapacity: true)
            unsafe requests.append(
                ReadRequest(
                    ticket: 0, file: file, offset: plan.offset, length: plan.length,
                    destination: plan.destination, slab: nil))
            completions.removeAll(keepingCapacity: true)
            reader.submit(requests)
            reader.wait(minimum: 1, into: &completions)
            guard let completion = completions.first else {
                throw HeadraceError(.io, "a read did not complete", at: .init(shard: file.path))
            }
            try plan.check(try completion.result.get(), file)
        }
        plan.accept(chunk)
        if chunk.index == pass.chunks.count - 1 { try file.checkUnchanged() }
        return plan.fileBytes
    }

    /// Decompresses the chunk's frames, each straight to its place behind the head room.
    private func decompressFrames(_ chunk: Chunk) throws(HeadraceError) {
        guard let pass = chunk.pass, case .frames(let runs) = pass.chunks, let input = chunk.input,
            let slab = chunk.slab, let layout = pass.layout, let all = layout.frames
        else { return }
        let run = runs[chunk.index]
        let frames = try frameDecompressor(layout.codec)
        var source = unsafe input.base + chunk.inputStart
        var target = unsafe slab.base + chunk.start
        for frame in all[run.frames] {
            do throws(HeadraceError) {
                try unsafe frames.decompress(
                    frame, UnsafeRawBufferPointer(start: source, count: frame.compressedLength),
                    into: UnsafeMutableRawBufferPointer(start: target, count: frame.length))
            } catch {
                chunk.hasGoodPrefix = true
                throw error
            }
            unsafe source += frame.compressedLength
            unsafe target += frame.length
            chunk.end += frame.length
        }
        arena.releaseInput(chunk)
    }

    private func frameDecompressor(_ codec: CodecKind) throws(HeadraceError) -> any FrameDecompressor {
        if let frames, frames.codec == codec { return frames.decompressor }
        let made = try codec.makeFrameDecompressor()
        frames = (codec, made)
        return made
    }

    /// Reads whole files, one behind the other, and notes the samples they make.
    private func fillFiles(
        _ chunk: Chunk, _ pass: ShardPass, _ run: ChunkCutting.FileRun
    ) throws(HeadraceError) -> Int {
        guard let slab = chunk.slab else { return 0 }
        chunk.start = 0
        chunk.end = 0
        chunk.table.removeAll()
        for sample in pass.directory[run.samples] {
            do throws(HeadraceError) {
                try read(sample, into: chunk, slab, pass)
            } catch {
                chunk.table.appendDefect(error, offset: 0, key: sample.key)
            }
        }
        return chunk.end
    }

    private func read(
        _ sample: FileSample, into chunk: Chunk, _ slab: Slab, _ pass: ShardPass
    ) throws(HeadraceError) {
        let firstField = Int32(chunk.table.fields.count)
        let before = chunk.end
        for field in sample.fields {
            let file = try LocalStorage(engine: .pread).open(field.path)
            guard file.size == field.size else {
                throw HeadraceError(
                    .fileChanged,
                    "the file had \(field.size) bytes when the directory was listed and has "
                        + "\(file.size) now", at: .init(shard: field.path))
            }
            if field.size > 0 {
                unsafe reader.submit([
                    ReadRequest(
                        ticket: 0, file: file, offset: 0, length: field.size,
                        destination: slab.base + chunk.end)
                ])
                completions.removeAll(keepingCapacity: true)
                reader.wait(minimum: 1, into: &completions)
                _ = try completions[0].result.get()
            }
            chunk.table.fields.append(
                FieldRecord(offset: chunk.end, length: field.size, name: field.name))
            chunk.end += field.size
        }
        chunk.table.samples.append(
            SampleRecord(
                offset: before, keyOffset: Int32(chunk.table.keys.count), keyLength: Int32(sample.key.count),
                firstField: firstField, fieldCount: Int32(sample.fields.count)))
        chunk.table.keys.append(contentsOf: sample.key)
    }
}
