internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Opens shards: recognises codec and format by content, finds the frames of seekable ones, cuts them into chunks.
///
/// Sendable: `lock` guards the cache of layouts.
final class ShardOpener: @unchecked Sendable {
    private let storage: any Storage
    private let names: FieldNames
    private let limits: FormatLimits
    private let parsesExamples: Bool
    private let directories: [Int: [FileSample]]
    private let lock = Lock()
    private var layouts: [Int: ShardLayout] = [:]

    init(
        storage: any Storage, names: FieldNames, limits: FormatLimits, parsesExamples: Bool,
        directories: [Int: [FileSample]]
    ) {
        self.storage = storage
        self.names = names
        self.limits = limits
        self.parsesExamples = parsesExamples
        self.directories = directories
    }

    /// A pass over `shard` from its start.
    func open(
        _ shard: Shard, epoch: Int, arena: ChunkArena, reader: any Reader
    ) -> Result<ShardPass, HeadraceError> {
        do throws(HeadraceError) {
            if let samples = directories[shard.number] {
                return .success(try directoryPass(shard, samples, epoch, arena))
            }
            let file = try storage.open(shard.path)
            guard file.size == shard.size else {
                throw HeadraceError(
                    .fileChanged,
                    "the shard had \(shard.size) bytes when the loader was opened and has \(file.size) now",
                    at: .init(shard: shard.path))
            }
            let layout = try layout(of: file, shard: shard, reader: reader)
            let total = layout.uncompressedSize(fileSize: file.size)
            let chunks = ChunkCutting(
                size: file.size, codec: layout.codec, frames: layout.frames, geometry: arena.geometry)
            try checkFrames(chunks, shard, arena)
            let decompressor = chunks.isStream ? try layout.codec.makeStreamDecompressor(limits: limits) : nil
            let unpacker = ShardUnpacker(
                scanner: makeScanner(layout.format), decompressor: decompressor, arena: arena, total: total,
                shard: shard)
            return .success(
                ShardPass(
                    shard: shard, file: file, layout: layout, chunks: chunks, unpacker: unpacker, epoch: epoch
                ))
        } catch {
            return .failure(error.placed(shard: shard.path))
        }
    }

    /// The most memory that one chunk of the shards looked at so far takes, compressed and not, and what a lane must
    /// have to go on: that, and the slab that holds its open sample.
    func laneBytes(_ geometry: ChunkGeometry) -> Int {
        var most = (ChunkGeometry.slabsPerLane - 1) * geometry.slabBytes
        for layout in lock.withLock({ Array(layouts.values) }) {
            guard let frames = layout.frames, !frames.isEmpty else { continue }
            let chunks = ChunkCutting(size: 0, codec: layout.codec, frames: frames, geometry: geometry)
            for index in 0..<chunks.count { most = max(most, Self.memory(of: chunks, index, geometry)) }
        }
        return most + geometry.slabBytes
    }

    /// Whether all shards looked at so far are read as they are, without a codec.
    var hasOnlyPlainShards: Bool {
        lock.withLock { !layouts.isEmpty && layouts.values.allSatisfy { $0.codec == .none } }
    }

    private static func memory(of chunks: ChunkCutting, _ index: Int, _ geometry: ChunkGeometry) -> Int {
        [chunks.outputBytes(index, size: 0, geometry: geometry), chunks.inputBytes(index, size: 0)].reduce(0)
        { sum, bytes in
            sum + (bytes <= geometry.slabBytes ? geometry.slabBytes : SlabPool.sizeClass(bytes))
        }
    }

    /// Refuses a shard with a frame that can never be held, before any of it is read.
    private func checkFrames(_ chunks: ChunkCutting, _ shard: Shard, _ arena: ChunkArena)
        throws(HeadraceError)
    {
        guard case .frames(let runs) = chunks else { return }
        for index in runs.indices {
            let needed = Self.memory(of: chunks, index, arena.geometry)
            guard needed <= arena.pool.limit else {
                throw HeadraceError(
                    .budget,
                    "a frame needs \(ByteCount(needed)) of memory at once, more than the budget of "
                        + "\(ByteCount(arena.pool.limit)); only a reader with a larger memory budget can take it",
                    at: .init(shard: shard.path, offset: nil))
            }
        }
    }

    /// A pass that has nothing but the failure to open its shard.
    func failedPass(_ shard: Shard, epoch: Int, arena: ChunkArena) -> ShardPass {
        ShardPass(
            shard: shard, file: nil, layout: nil, chunks: .pieces(count: 1, bytes: 0, isStream: false),
            unpacker: emptyUnpacker(shard, arena),
            epoch: epoch)
    }

    func makeScanner(_ format: ShardFormatKind) -> any ShardScanner {
        format.makeScanner(names: names, limits: limits, examples: parsesExamples)
    }

    /// What the shard is; looked at once, and again only when its size has changed.
    func layout(of file: any StorageFile, shard: Shard, reader: any Reader) throws(HeadraceError)
        -> ShardLayout
    {
        if let known = lock.withLock({ layouts[shard.number] }) { return known }
        let layout = try ShardProbe(reader: reader).layout(of: file, limits: limits)
        lock.withLock { layouts[shard.number] = layout }
        return layout
    }

    private func directoryPass(
        _ shard: Shard, _ samples: [FileSample], _ epoch: Int, _ arena: ChunkArena
    ) throws(HeadraceError) -> ShardPass {
        var runs: [ChunkCutting.FileRun] = []
        if samples.isEmpty { runs.append(.init(samples: 0..<0, length: 0)) }
        for (index, sample) in samples.enumerated() {
            let bytes = sample.byteCount
            guard SlabPool.sizeClass(bytes) <= arena.pool.limit else {
                throw HeadraceError(
                    .budget,
                    "the sample has \(ByteCount(bytes)), more than the memory budget of "
                        + "\(ByteCount(arena.pool.limit))",
                    at: .init(shard: shard.path, key: String(decoding: sample.key, as: UTF8.self)))
            }
            if let last = runs.last, last.length + bytes <= arena.geometry.chunkBytes {
                runs[runs.count - 1] = .init(
                    samples: last.samples.lowerBound..<index + 1, length: last.length + bytes)
            } else {
                runs.append(.init(samples: index..<index + 1, length: bytes))
            }
        }
        return ShardPass(
            shard: shard, file: nil, layout: nil, chunks: .files(runs), unpacker: emptyUnpacker(shard, arena),
            epoch: epoch,
            directory: samples)
    }

    private func emptyUnpacker(_ shard: Shard, _ arena: ChunkArena) -> ShardUnpacker {
        ShardUnpacker(scanner: NoScanner(), decompressor: nil, arena: arena, total: 0, shard: shard)
    }
}

/// Finds nothing: for what needs no format.
private final class NoScanner: ShardScanner {
    let account = ShardAccount()

    func scan(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, isLast: Bool, total: Int?,
        into table: inout SampleTable
    ) -> ScanOutcome {
        ScanOutcome(consumed: bytes.count)
    }

    func scanAlone(
        _ samples: ArraySlice<PlacedSample>, in base: UnsafeRawPointer, into table: inout SampleTable
    ) -> Int { 0 }
}
