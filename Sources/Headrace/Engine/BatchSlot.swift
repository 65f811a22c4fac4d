internal import HeadraceCompute
internal import HeadraceCore
internal import HeadraceDecode

/// A requested field with its layout, fixed at open.
struct Column: Sendable {
    /// Name of the column.
    let name: String
    /// Name of the field that it is decoded from.
    let field: String
    let decoder: any Decoder
    /// Samples may lack the field.
    let isOptional: Bool
    let readsFeatures: Bool
    /// Nothing is left to do but to hand out the field's place.
    let isRaw: Bool
    /// An earlier column is decoded from the same field: its bytes are counted there.
    let isRepeated: Bool
    let layout: ColumnLayout

    init(_ request: FieldRequest, _ layout: ColumnLayout, isRepeated: Bool) {
        name = request.column
        field = request.name
        decoder = request.decoder
        isOptional = request.isOptional || request.decoder.fillsAbsentRows
        readsFeatures = request.decoder.readsFeatures
        isRaw = request.decoder is RawDecoder
        self.isRepeated = isRepeated
        self.layout = layout
    }
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
    /// Rows may be among those that a scanner found damaged.
    private(set) var hasScannerDefects = false
    /// Memory of each column while workers fill it; nil for spans, and before the slot is equipped.
    var staging: [StagingMemory?]
    /// Where each column is while the consumer has the batch.
    var placements: [Placement?]
    /// Not a batch: defective rows of the samples that were left out at the end of an epoch.
    var isRemainder = false
    /// Rows without a sample that only make ranks equal: they are behind those of ``count``, and nowhere in memory.
    var padding = 0
    /// Rows that the epoch delivers elsewhere, too.
    var repeated = 0
    /// Where a loader goes on that has delivered this batch; nil in a streamed walk.
    var position: EpochPosition?
    /// Digests of everything delivered up to this batch, where they are computed.
    var digests: (ordered: OrderedDigest, set: SetDigest)?
    /// Samples left out up to this batch.
    var skips = LoaderState.Skips()
    /// Runs of rows that are not decoded yet.
    var pendingRuns = 0
    var defects: [(row: Int, error: HeadraceError)] = []
    /// Payload bytes of the deliverable rows, undecoded.
    var payloadBytes = 0
    /// Defective rows per shard number, for the accounts.
    private let columns: [Column]

    init(capacity: Int, columns: [Column], hasHashes: Bool) {
        self.capacity = capacity
        self.columns = columns
        staging = columns.map { _ in nil }
        placements = columns.map { _ in nil }
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

    /// Takes another chunk that rows lie in; the caller has added the use.
    func list(_ chunk: Chunk) {
        chunks.append(chunk)
        unsafe views.append(chunk.view)
        hasScannerDefects = hasScannerDefects || !chunk.table.defects.isEmpty
    }

    /// Keeps only rows that a scanner has found damaged; returns how many others there were.
    func keepDefectiveRows() -> Int {
        var kept = 0
        for row in 0..<count {
            let reference = unsafe rows[row]
            let sample = unsafe views[Int(reference.chunk)].samples![Int(reference.sample)]
            guard sample.defect >= 0 else { continue }
            unsafe rows[kept] = reference
            kept += 1
        }
        defer { count = kept }
        return count - kept
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
        for (column, memory) in zip(columns, staging) {
            guard let memory else { continue }
            let bytes = column.layout.rowBytes
            unsafe (memory.base + target * bytes).copyMemory(
                from: memory.base + row * bytes, byteCount: bytes)
        }
    }

    /// Takes memory for the columns from the back end; false when it has no room now.
    func equip(_ backend: any ComputeBackend) throws(HeadraceError) -> Bool {
        for (index, column) in columns.enumerated() where staging[index] == nil {
            let bytes = column.layout.rowBytes * capacity
            guard bytes > 0 else { continue }
            guard let memory = try backend.allocateStaging(bytes, keeping: 0) else { return false }
            staging[index] = memory
        }
        return true
    }

    /// Hands the columns to the back end and waits until they have arrived.
    func place(_ backend: any ComputeBackend) throws(HeadraceError) {
        for (index, column) in columns.enumerated() {
            guard let memory = staging[index] else { continue }
            staging[index] = nil
            placements[index] = try backend.place(memory, byteCount: column.layout.rowBytes * count)
        }
        for placement in placements {
            if let placement { try backend.wait(for: placement) }
        }
    }

    /// Gives the columns' memory back.
    func unplace(_ backend: any ComputeBackend) {
        for index in columns.indices {
            if let placement = placements[index] { backend.release(placement) }
            placements[index] = nil
        }
    }

    /// Forgets everything but the memory. The caller has let go of the chunks.
    func reset() {
        count = 0
        chunks.removeAll(keepingCapacity: true)
        unsafe views.removeAll(keepingCapacity: true)
        pendingRuns = 0
        padding = 0
        repeated = 0
        position = nil
        digests = nil
        isRemainder = false
        hasScannerDefects = false
        defects.removeAll(keepingCapacity: true)
        payloadBytes = 0
    }
}
