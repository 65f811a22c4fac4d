internal import HeadraceCore
internal import Synchronization

/// All chunks of a loader and the budget they draw on. Chunks are made once and used again for ever.
///
/// Sendable: `lock` guards the tables; the chunks are handed over as ``Chunk`` says.
final class ChunkArena: @unchecked Sendable {
    let pool: SlabPool
    let geometry: ChunkGeometry
    private let lock = Lock()
    private var chunks: [Chunk] = []
    private var idle: [Chunk] = []
    /// What the tables of idle chunks are charged with.
    private var idleTableBytes = 0
    /// Called, without any lock, when memory comes back.
    private let onRelease: @Sendable () -> Void

    init(pool: SlabPool, geometry: ChunkGeometry, onRelease: @escaping @Sendable () -> Void) {
        self.pool = pool
        self.geometry = geometry
        self.onRelease = onRelease
        chunks.reserveCapacity(1024)
    }

    deinit {
        pool.discharge(chunks.reduce(0) { $0 + $1.tableCharge })
    }

    /// A chunk without memory, with one use.
    func takeEmpty() -> Chunk {
        let chunk = lock.withLock { () -> Chunk in
            if let chunk = idle.popLast() {
                idleTableBytes -= chunk.tableCharge
                return chunk
            }
            let chunk = Chunk(number: Int32(chunks.count))
            chunks.append(chunk)
            return chunk
        }
        chunk.uses.store(1, ordering: .relaxed)
        chunk.start = 0
        chunk.end = 0
        return chunk
    }

    /// A chunk with memory for `bytes`; nil when the budget has no room now.
    func take(atLeast bytes: Int, keeping reserve: Int = 0) -> Chunk? {
        guard let slab = takeSlab(bytes, keeping: reserve) else { return nil }
        let chunk = takeEmpty()
        chunk.slab = slab
        return chunk
    }

    /// Memory for `bytes`. What needs far less than a slab gets less: a small shard must not hold a whole slab for as long
    /// as a batch refers to it.
    func takeSlab(_ bytes: Int, keeping reserve: Int = 0) -> Slab? {
        let isOrdinary = bytes > pool.slabBytes / 4 && bytes <= pool.slabBytes
        return isOrdinary ? pool.take(keeping: reserve) : pool.takeLarge(bytes, keeping: reserve)
    }

    /// Takes back a chunk that was never used; tells nobody, so it may be called under the engine's lock.
    func putBack(_ chunk: Chunk) {
        for slab in [chunk.slab, chunk.input, chunk.scratch] {
            if let slab { pool.give(slab) }
        }
        chunk.slab = nil
        chunk.input = nil
        chunk.scratch = nil
        chunk.state = .idle
        chunk.uses.store(0, ordering: .relaxed)
        lock.withLock {
            idleTableBytes += chunk.tableCharge
            idle.append(chunk)
        }
    }

    /// Breaks the references from chunks to passes, which lead back here; nobody works on the chunks any more.
    func forgetPasses() {
        lock.withLock {
            for chunk in chunks {
                chunk.pass = nil
                chunk.planned = nil
            }
        }
    }

    /// Counts the table's memory against the budget.
    func charge(_ chunk: Chunk) {
        let bytes = chunk.table.byteCount
        guard bytes > chunk.tableCharge else { return }
        pool.charge(bytes - chunk.tableCharge)
        chunk.tableCharge = bytes
    }

    /// Lets go of one use; the last one gives the memory back.
    func release(_ chunk: Chunk) {
        guard chunk.uses.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        if let slab = chunk.slab { pool.give(slab) }
        if let input = chunk.input { pool.give(input) }
        if let scratch = chunk.scratch { pool.give(scratch) }
        chunk.slab = nil
        chunk.input = nil
        chunk.scratch = nil
        chunk.failure = nil
        chunk.state = .idle
        chunk.hasGoodPrefix = false
        lock.withLock {
            chunk.pass = nil
            chunk.planned = nil
            keepOrFreeTable(of: chunk)
            idle.append(chunk)
        }
        onRelease()
    }

    /// Tables are kept for the next use, but not beyond a share of the budget: after a shard of tiny samples they would
    /// hold memory that other rooms need.
    private func keepOrFreeTable(of chunk: Chunk) {
        if idleTableBytes + chunk.tableCharge > pool.limit / 16 {
            chunk.table = SampleTable()
            pool.discharge(chunk.tableCharge)
            chunk.tableCharge = 0
        } else {
            chunk.table.removeAll()
            idleTableBytes += chunk.tableCharge
        }
    }

    /// Gives back the memory in which frames were decompressed.
    func releaseScratch(_ chunk: Chunk) {
        guard let scratch = chunk.scratch else { return }
        chunk.scratch = nil
        pool.give(scratch)
        onRelease()
    }

    /// Gives the compressed bytes back early: they are needed no longer than until they are decompressed.
    func releaseInput(_ chunk: Chunk) {
        guard let input = chunk.input else { return }
        chunk.input = nil
        pool.give(input)
        onRelease()
    }
}
