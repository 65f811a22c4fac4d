internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage
internal import Synchronization

/// How slabs are divided: head room in front, so that a record cut by the end of one chunk can be moved before
/// the start of the next, then the chunk itself.
struct ChunkGeometry: Sendable, Equatable {
    /// Bytes of a shard that one ordinary chunk covers; a multiple of ``pageBytes``.
    let chunkBytes: Int
    /// Room before a chunk for the sample that its predecessor could not finish.
    let headroomBytes: Int

    static let pageBytes = 4096
    /// One read of the kernel's; a chunk is fetched in pieces of this size, several at once.
    static let requestBytes = 1 << 20

    /// A chunk is aligned in the file and in memory, so a direct read may run over its end by up to a page.
    var slabBytes: Int { headroomBytes + chunkBytes + Self.pageBytes }

    /// Slabs a lane needs to go on whatever the others do: the one that holds its open sample, the one that is
    /// being filled, and one for compressed input.
    static let slabsPerLane = 3

    /// The largest of a few sizes of which `lanes` lanes use no more than a quarter of `budget`.
    init(budget: Int, lanes: Int) {
        var chunk = 2 << 20
        while chunk > 64 << 10, (chunk + chunk / 8) * Self.slabsPerLane * lanes > budget / 4 { chunk /= 2 }
        chunkBytes = chunk
        headroomBytes = max(32 << 10, chunk / 8)
    }

    /// For plain shards that workers read by themselves: of half the size, so that the headers are still in the
    /// processor's caches when they are looked at, with the same room for a cut sample.
    func halved() -> ChunkGeometry {
        ChunkGeometry(chunkBytes: max(64 << 10, chunkBytes / 2), headroomBytes: headroomBytes)
    }

    private init(chunkBytes: Int, headroomBytes: Int) {
        self.chunkBytes = chunkBytes
        self.headroomBytes = headroomBytes
    }
}

/// One piece of a shard on its way through the rooms: its memory, and what was found in it.
///
/// A chunk belongs to one room at a time; the engine's lock hands it over. Once it is unpacked nobody writes to it
/// until the last user has let go, so batches read it without a lock.
///
/// Sendable: owned by one room at a time as described, `uses` is atomic.
final class Chunk: @unchecked Sendable {
    enum State {
        case idle
        /// Memory is granted, nobody reads yet.
        case admitted
        /// A worker or the ring fills it.
        case filling
        /// Fetched by the ring; its frames still have to be decompressed by a worker.
        case fetched
        /// Its bytes are there.
        case filled
    }

    /// Place in the engine's table of chunks; rows name their chunk by it.
    let number: Int32
    var state = State.idle
    var pass: ShardPass?
    /// Which chunk of its pass.
    var index = 0

    /// Uncompressed bytes: `slab.base + start ..< slab.base + end`.
    var slab: Slab?
    var start = 0
    var end = 0
    /// Compressed bytes, while they are needed.
    var input: Slab?
    /// Where frames are decompressed of which only some samples are kept.
    var scratch: Slab?
    var inputStart = 0
    var inputEnd = 0
    /// Reads of the ring that have not come back, and what those that have brought.
    var pendingReads = 0
    var readBytes = 0
    /// The file's bytes are there; frames among them may still be compressed.
    var isFetched = false

    /// What an indexed walk reads into it.
    var planned: PlannedChunk?
    /// Where each sample of the table comes from, in an indexed walk; else they follow each other in the shard.
    var origins: [SampleOrigin] = []

    var table = SampleTable()
    /// Place, in the uncompressed shard, of the byte at ``start`` when the table was made.
    var shardOffset = 0
    /// What the table's memory was charged to the budget with.
    var tableCharge = 0
    /// Ordinal, in its shard, of the first sample of the table.
    var firstOrdinal = 0
    /// The read or codec failure of this chunk, shown when its turn comes.
    var failure: HeadraceError?
    /// The bytes up to ``end`` are good in spite of the failure, which is in what would have followed them.
    var hasGoodPrefix = false

    /// Rooms and batches that still need the memory. At zero the chunk is recycled.
    let uses = Atomic<Int>(0)

    init(number: Int32) { self.number = number }

    /// Becomes chunk `index` of `pass`; its memory is granted.
    func prepare(_ pass: ShardPass, _ index: Int) {
        self.pass = pass
        self.index = index
        isFetched = false
        pendingReads = 0
        readBytes = 0
        state = .admitted
    }

    /// Becomes a chunk of an indexed walk; its memory is granted.
    func prepare(_ plan: PlannedChunk) {
        planned = plan
        isFetched = false
        pendingReads = 0
        readBytes = 0
        state = .admitted
    }

    var count: Int { end - start }

    /// What batches need to find samples, taken once the table is complete.
    var view: ChunkView {
        let samples = unsafe table.samples.withUnsafeBufferPointer { pointer in pointer.baseAddress }
        let fields = unsafe table.fields.withUnsafeBufferPointer { pointer in pointer.baseAddress }
        let keys = unsafe table.keys.withUnsafeBufferPointer { pointer in pointer.baseAddress }
        let origins = unsafe origins.withUnsafeBufferPointer { pointer in
            planned == nil ? nil : pointer.baseAddress
        }
        var base: UnsafeRawPointer?
        if let slab { unsafe base = UnsafeRawPointer(slab.base + start) }
        return unsafe ChunkView(
            base: base, samples: samples, fields: fields, keys: keys, origins: origins,
            firstShard: Int32(pass?.shard.number ?? 0), firstOrdinal: firstOrdinal)
    }
}

/// Positions in a chunk that is unpacked and not recycled yet.
///
/// The pointers into the table's arrays stay good because nobody changes the table until the chunk's last use is
/// let go, and a view is kept only by those who hold a use.
@unsafe struct ChunkView {
    /// The bytes that were given to the scanner; field offsets count from here.
    var base: UnsafeRawPointer?
    var samples: UnsafePointer<SampleRecord>?
    var fields: UnsafePointer<FieldRecord>?
    var keys: UnsafePointer<UInt8>?
    /// Of each sample, where they do not follow each other in one shard.
    var origins: UnsafePointer<SampleOrigin>?
    private var firstShard: Int32
    private var firstOrdinal: Int

    init(
        base: UnsafeRawPointer?, samples: UnsafePointer<SampleRecord>?, fields: UnsafePointer<FieldRecord>?,
        keys: UnsafePointer<UInt8>?, origins: UnsafePointer<SampleOrigin>?, firstShard: Int32,
        firstOrdinal: Int
    ) {
        unsafe self.base = base
        unsafe self.samples = samples
        unsafe self.fields = fields
        unsafe self.keys = keys
        unsafe self.origins = origins
        unsafe self.firstShard = firstShard
        unsafe self.firstOrdinal = firstOrdinal
    }

    /// Where sample `index` of the table comes from.
    @inline(__always)
    func origin(of index: Int) -> SampleOrigin {
        if let origins = unsafe origins { return unsafe origins[index] }
        return unsafe SampleOrigin(shard: firstShard, ordinal: firstOrdinal + index)
    }
}

/// One row of a batch or of the shuffle buffer: a sample by its place.
struct RowReference {
    /// Number of the chunk; in a batch, its place in the batch's list of chunks.
    var chunk: Int32
    /// Index in the chunk's table.
    var sample: Int32
}
