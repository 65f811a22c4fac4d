internal import HeadraceCore
internal import HeadraceDecode

/// A requested field with its layout, fixed at open.
struct Column: Sendable {
    let name: String
    let decoder: any Decoder
    let isOptional: Bool
    let layout: ColumnLayout
}

/// The room for one batch: row references, the fixed-size columns' memory, and what befell its rows. Made at open,
/// used again for ever.
///
/// A slot belongs to the sequencer while it is filled, then its runs of rows to one worker each, then to the
/// consumer.
///
/// Sendable: it has one owner at a time, and the engine's lock hands it over.
@safe final class BatchSlot: @unchecked Sendable {
    let capacity: Int
    /// Place of the batch in the order of the whole loader.
    var sequence = 0
    var epoch = 0
    /// Place of the batch in its epoch.
    var indexInEpoch = 0
    /// Rows assigned; after ``closeUp()``, rows that are deliverable.
    var count = 0
    /// Rows of samples, capacity `capacity`.
    let rows: UnsafeMutablePointer<RowReference>
    let hashes: UnsafeMutablePointer<UInt64>?
    /// The chunks the rows lie in, one use held of each.
    var chunks: [Chunk] = []
    var views: [ChunkView] = unsafe []
    /// Memory of each column; nil for spans.
    let storage: [Slab?]
    /// Runs of rows that are not decoded yet.
    var pendingRuns = 0
    var defects: [(row: Int, error: HeadraceError)] = []
    /// Payload bytes of the deliverable rows, undecoded.
    var payloadBytes = 0
    /// Defective rows per shard number, for the accounts.
    private let columns: [Column]

    init(capacity: Int, columns: [Column], storage: [Slab?], hasHashes: Bool) {
        self.capacity = capacity
        self.columns = columns
        self.storage = storage
        unsafe rows = .allocate(capacity: capacity)
        if hasHashes {
            unsafe hashes = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity)
        } else {
            unsafe hashes = nil
        }
    }

    deinit {
        unsafe rows.deallocate()
        unsafe hashes?.deallocate()
    }

    /// Removes the defective rows, so that the good ones are consecutive and keep their order.
    func closeUp() {
        guard !defects.isEmpty else { return }
        defects.sort { $0.row < $1.row }
        var next = 0
        var target = 0
        for row in 0..<count {
            if next < defects.count, defects[next].row == row {
                while next < defects.count, defects[next].row == row { next += 1 }
                continue
            }
            if target != row { move(row, to: target) }
            target += 1
        }
        count = target
    }

    private func move(_ row: Int, to target: Int) {
        unsafe rows[target] = rows[row]
        if let hashes = unsafe hashes { unsafe hashes[target] = hashes[row] }
        for (column, slab) in zip(columns, storage) {
            guard let slab else { continue }
            let bytes = column.layout.rowBytes
            unsafe (slab.base + target * bytes).copyMemory(from: slab.base + row * bytes, byteCount: bytes)
        }
    }

    /// Forgets everything but the memory. The caller has let go of the chunks.
    func reset() {
        count = 0
        chunks.removeAll(keepingCapacity: true)
        unsafe views.removeAll(keepingCapacity: true)
        pendingRuns = 0
        defects.removeAll(keepingCapacity: true)
        payloadBytes = 0
    }
}
