/// Samples of one shuffle block: numbered, and not all dealt to batches yet.
@safe final class RowBlock {
    /// Room for all rows of a block; those up to `count` are there.
    let rows: UnsafeMutablePointer<RowReference>
    var count = 0
    /// Rows that were dealt, in permuted order.
    var dealt = 0
    var order: [UInt32] = []
    /// The chunks the rows lie in, one use held of each.
    var chunks: [Chunk] = []
    var number: UInt64 = 0

    init(capacity: Int) { unsafe rows = .allocate(capacity: capacity) }

    deinit { unsafe rows.deallocate() }
}
