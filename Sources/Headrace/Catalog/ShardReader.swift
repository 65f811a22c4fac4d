package import HeadraceCore
package import HeadraceFormats
internal import HeadraceStorage

/// One sample as the tools see it.
@safe package struct ShardSample {
    /// Ordinal in the shard.
    package let index: Int
    /// The shard's own key; nil where the format has none.
    package let key: String?
    /// Offset of its first byte in the uncompressed shard.
    package let offset: Int
    /// Names and payloads in the order of the shard. The payloads are good until the call returns.
    package let fields: [(name: String, payload: UnsafeRawBufferPointer)]
    /// How each payload stands for its value.
    package let encodings: [FieldEncoding]
    /// Why it cannot be delivered.
    package let defect: HeadraceError?

    /// How the payload of a field stands for its value.
    package func encoding(of name: String) -> FieldEncoding {
        unsafe fields.firstIndex { unsafe $0.name == name }.map { encodings[$0] } ?? .plain
    }
}

/// Reads one shard from front to back on the calling thread, through the same rooms as a loader: for the tools, and
/// for what a loader must know before it starts.
package final class ShardReader {
    /// Memory a reader may use unless told otherwise: enough for samples of a gigabyte.
    package static let defaultMemory = ByteCount.gibibytes(2)

    package let path: String
    /// Size of the file in bytes.
    package let fileSize: Int
    package let codec: CodecKind
    package let format: ShardFormatKind
    /// Frames of a seekable compressed shard; nil where it has no seek table.
    package let frames: [Frame]?
    let pass: ShardPass
    let arena: ChunkArena
    private let filler: ChunkFiller
    private let names: FieldNames

    /// Opens the shard and recognises it. Throws what a loader would.
    package convenience init(
        _ path: String, memory: ByteCount = defaultMemory, limits: FormatLimits = FormatLimits(),
        parsesExamples: Bool = false
    ) throws(HeadraceError) {
        try self.init(
            path, memory: memory, limits: limits, parsesExamples: parsesExamples, names: FieldNames(),
            listed: nil)
    }

    /// `listed` is what a manifest promises: a shard that keeps less ends with a defect.
    convenience init(
        _ path: String, memory: ByteCount = defaultMemory, limits: FormatLimits = FormatLimits(),
        parsesExamples: Bool = false, names: FieldNames, listed: Shard.Listed?
    ) throws(HeadraceError) {
        let geometry = ChunkGeometry(budget: memory.bytes, lanes: 1)
        let pool = try SlabPool(limit: memory.bytes, slabBytes: geometry.slabBytes)
        let storage = try LocalStorage(engine: .pread)
        let opener = ShardOpener(
            storage: storage, names: names, limits: limits, parsesExamples: parsesExamples, directories: [:])
        let size = try LocalFiles.entry(path).size
        try self.init(
            Shard(number: 0, path: path, size: size, listed: listed), opener: opener, names: names,
            arena: ChunkArena(pool: pool, geometry: geometry) {}, reader: BlockingReader())
    }

    init(
        _ shard: Shard, opener: ShardOpener, names: FieldNames, arena: ChunkArena, reader: any Reader
    ) throws(HeadraceError) {
        path = shard.path
        self.arena = arena
        self.names = names
        filler = ChunkFiller(arena: arena, reader: reader)
        pass = try opener.open(shard, epoch: 0, arena: arena, reader: reader).get()
        fileSize = shard.size
        codec = pass.layout?.codec ?? .none
        format = pass.layout?.format ?? .tar
        frames = pass.layout?.frames
    }

    deinit {
        pass.unpacker.abandon()
        filler.reader.close()
        arena.forgetPasses()
    }

    /// Where the shard's bytes went; final after ``read(_:)`` has returned.
    package var account: ShardAccount { pass.unpacker.account }

    /// Whether damage has made the rest of the shard unreadable, so far.
    var isCutShort: Bool { pass.unpacker.isDamaged }

    /// Uncompressed bytes that are lost with the rest of the shard where its codec failed; nil where it did
    /// not.
    var cutByteCount: Int? { pass.unpacker.cutByteCount }

    /// Whether the file, or its seek table, tells how many uncompressed bytes the shard has.
    var isSizeKnown: Bool { pass.layout?.uncompressedSize(fileSize: fileSize) != nil }

    /// Size of the uncompressed shard: as its file or seek table says, else what has been decompressed so far.
    package var uncompressedByteCount: Int {
        pass.layout?.uncompressedSize(fileSize: fileSize) ?? pass.unpacker.seen
    }

    /// Called for every tar member, as a listing wants them; set it before reading.
    package var onMember: ((TarMember) -> Void)? {
        get { (pass.unpacker.scanner as? TarScanner)?.onMember }
        set { (pass.unpacker.scanner as? TarScanner)?.onMember = newValue }
    }

    /// Calls `body` for each sample in order, defective ones too; `body` returns false to stop early.
    ///
    /// `isCancelled` is asked before each piece of the shard, which may hold no sample: reading stops where it says so.
    package func read(
        isCancelled: () -> Bool = { false }, _ body: (ShardSample) throws(HeadraceError) -> Bool
    ) throws(HeadraceError) {
        try readChunks(isCancelled: isCancelled) { (chunk) throws(HeadraceError) in
            for (index, sample) in chunk.table.samples.enumerated() {
                var fields: [(name: String, payload: UnsafeRawBufferPointer)] = unsafe []
                var encodings: [FieldEncoding] = []
                for place in Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount) {
                    let field = chunk.table.fields[place]
                    let payload = unsafe UnsafeRawBufferPointer(
                        start: chunk.view.base! + field.offset, count: field.length)
                    unsafe fields.append((name: names.name(of: field.name), payload: payload))
                    encodings.append(field.encoding)
                }
                let defect =
                    sample.defect < 0 ? nil : chunk.table.defects[Int(sample.defect)].placed(shard: path)
                let sample = unsafe ShardSample(
                    index: chunk.firstOrdinal + index,
                    key: sample.keyLength > 0 ? chunk.table.key(of: sample) : nil,
                    offset: sample.offset, fields: fields, encodings: encodings, defect: defect)
                guard try body(sample) else { return false }
            }
            return true
        }
    }

    /// Calls `body` for each unpacked chunk in order, until it returns false.
    func readChunks(
        isCancelled: () -> Bool = { false }, _ body: (Chunk) throws(HeadraceError) -> Bool
    ) throws(HeadraceError) {
        for index in 0..<pass.chunks.count {
            if isCancelled() { return }
            let input = try take(index)
            if pass.directory.isEmpty {
                guard try unpack(input, isLast: index == pass.chunks.count - 1, body) else { return }
            } else {
                _ = filler.fill(input)
                pass.unpacker.number(input)
                defer { arena.release(input) }
                guard try body(input) else { return }
            }
        }
    }

    private func unpack(
        _ input: Chunk, isLast: Bool, _ body: (Chunk) throws(HeadraceError) -> Bool
    ) throws(HeadraceError) -> Bool {
        _ = filler.fill(input)
        return try unpackFilled(input, isLast: isLast, body)
    }

    /// Unpacks a chunk whose bytes are there, and lets go of it; false when nothing more is to be read.
    func unpackFilled(
        _ input: Chunk, isLast: Bool, _ body: (Chunk) throws(HeadraceError) -> Bool
    ) throws(HeadraceError) -> Bool {
        var taken = false
        defer { arena.release(input) }
        while true {
            switch pass.unpacker.step(input, isLast: isLast) {
            case .produced(let chunk):
                let isInput = chunk === input
                taken = taken || isInput
                defer { if !isInput { arena.release(chunk) } }
                if !isInput { chunk.pass = pass }
                guard try body(chunk) else { return false }
            case .needsInput: return true
            case .finished: return false
            case .needsMemory(let bytes):
                if bytes > 0 {
                    throw HeadraceError(
                        .budget,
                        "\(ByteCount(bytes)) more memory are needed than the reader's "
                            + "\(ByteCount(arena.pool.limit))", at: .init(shard: path))
                }
            }
        }
    }

    func take(_ index: Int) throws(HeadraceError) -> Chunk {
        let refusal = HeadraceError(
            .budget, "the memory of the reader, \(ByteCount(arena.pool.limit)), cannot hold the next piece",
            at: .init(shard: path))
        let chunk: Chunk
        if pass.chunks.isStream {
            chunk = arena.takeEmpty()
        } else {
            let bytes = pass.chunks.outputBytes(index, size: fileSize, geometry: arena.geometry)
            guard let taken = arena.take(atLeast: bytes) else { throw refusal }
            chunk = taken
        }
        chunk.prepare(pass, index)
        if pass.chunks.needsInput {
            chunk.input = arena.takeSlab(pass.chunks.inputBytes(index, size: fileSize))
            guard chunk.input != nil else {
                arena.release(chunk)
                throw refusal
            }
        }
        return chunk
    }
}
