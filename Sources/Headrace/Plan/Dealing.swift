internal import HeadraceCore

/// How a list of places is dealt to ranks: which place is row σ of rank r.
///
/// The front of the list is dealt in blocks of N: σ is in block (σ / N) × W + r. What is left when there are fewer
/// than W whole blocks is dealt in batches, (step × W + rank) × B + row. In an order without blocks N is B, and the
/// first rule is the second one.
struct Dealing: Sendable {
    /// Places of the list.
    let count: Int
    /// Places at its front that are whole blocks.
    private let alignedCount: Int
    private let blockSize: Int
    let worldSize: Int
    let batchSize: Int
    /// Rows of each rank.
    let rowsPerRank: Int
    /// Rows of each rank that come in blocks.
    private let blockRows: Int

    init(
        count: Int, alignedCount: Int, blockSize: Int?, worldSize: Int, batchSize: Int, rowsPerRank: Int
    ) {
        self.count = count
        self.alignedCount = alignedCount
        self.blockSize = blockSize ?? batchSize
        self.worldSize = worldSize
        self.batchSize = batchSize
        self.rowsPerRank = rowsPerRank
        blockRows = alignedCount / self.blockSize / worldSize * self.blockSize
    }

    /// The place in the list; at or beyond `count` there is none.
    func place(rank: Int, row: Int) -> Int {
        if row < blockRows {
            let (turn, index) = row.quotientAndRemainder(dividingBy: blockSize)
            return (turn * worldSize + rank) * blockSize + index
        }
        // The batch in which the blocks end is completed first, so that what is dealt up to the end of any step is a
        // front part of the list.
        let tail = row - blockRows
        let tailRows = rowsPerRank - blockRows
        let first = min(tailRows, (batchSize - blockRows % batchSize) % batchSize)
        let front = blockRows * worldSize
        if tail < first { return front + rank * first + tail }
        let index = (tail - first) % batchSize
        let start = tail - index
        let width = min(batchSize, tailRows - start)
        return front + worldSize * start + rank * width + index
    }

    /// What is left of the list after so many rows of every rank, which end a step.
    func rest(afterRows rows: Int) -> Rest {
        let (turn, index) = rows.quotientAndRemainder(dividingBy: blockSize)
        guard rows < blockRows, index > 0 else {
            let dealt = rows * worldSize
            return Rest(
                count: count - dealt, alignedCount: max(0, alignedCount - dealt), start: dealt,
                pieceStart: 0, pieceStride: 0, pieceLength: 0, contiguousCount: count - dealt)
        }
        // In the middle of a turn: whole blocks first, then what the turn has left of each block.
        let start = (turn + 1) * worldSize * blockSize
        return Rest(
            count: count - rows * worldSize, alignedCount: alignedCount - start, start: start,
            pieceStart: turn * worldSize * blockSize + index, pieceStride: blockSize,
            pieceLength: blockSize - index, contiguousCount: count - start)
    }

    /// What is left of a list when the dealing changes, as a list of its own.
    struct Rest: Sendable {
        let count: Int
        /// Places at the front that are whole blocks.
        let alignedCount: Int
        fileprivate let start: Int
        fileprivate let pieceStart: Int
        fileprivate let pieceStride: Int
        fileprivate let pieceLength: Int
        fileprivate let contiguousCount: Int

        /// The place in the list before the change.
        func placeBefore(_ place: Int) -> Int {
            guard place >= contiguousCount else { return start + place }
            let (piece, index) = (place - contiguousCount).quotientAndRemainder(dividingBy: pieceLength)
            return pieceStart + piece * pieceStride + index
        }
    }
}
