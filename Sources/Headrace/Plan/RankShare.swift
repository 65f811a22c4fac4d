package import HeadraceCore

/// One row of a planned batch.
package struct PlannedRow: Sendable, Hashable {
    /// Place in the epoch's order; -1 for padding.
    package var place: Int
    /// Whether the epoch delivers this place elsewhere, too: a row that only makes the ranks equal.
    package var isRepeat: Bool

    package static let padding = PlannedRow(place: -1, isRepeat: false)
    package var isPadding: Bool { place < 0 }
}

/// Which places of an epoch's order each rank gets in each step: known before anything is read, the same number of
/// batches for every rank, and every place once but for the tail's account.
///
/// Without blocks, place = (step × W + rank) × B + row. With `block:N` whole blocks are dealt, so that a block is read
/// by one rank; see ``Dealing``. In the last step all ranks have equally many rows, perhaps fewer than B.
///
/// **Change of the world size in mid-epoch.** An epoch is a list of segments, each dealt to its own number of ranks and
/// rows. What a segment leaves is a list in closed form, and the next segment deals that list: so the places of the
/// epoch are delivered once each whatever the sizes were, a look-up costs as many steps as there were changes, and the
/// state is a few numbers.
package struct RankShare: Sendable {
    /// A part of an epoch with one world and batch size.
    package struct Segment: Sendable, Hashable {
        /// Rows that all ranks together got before it.
        package var start: Int
        package var worldSize: Int
        package var batchSize: Int

        package init(start: Int, worldSize: Int, batchSize: Int) {
            self.start = start
            self.worldSize = worldSize
            self.batchSize = batchSize
        }
    }

    /// Places of the epoch.
    package let sampleCount: Int
    package let uneven: UnevenRanks
    /// The last of them is the one that goes on.
    package let segments: [Segment]
    private var rests: [Dealing.Rest] = []
    private let dealing: Dealing

    /// - Parameters:
    ///   - blockSize: of `block:N`; nil for other orders.
    ///   - segments: from the epoch's start; see ``EpochPosition``.
    ///   - rowsPerRank: rows of each rank where they must match those of other shares (nodes with data of their own);
    ///     nil: what this share's samples give.
    package init(
        sampleCount: Int, blockSize: Int?, segments: [Segment], uneven: UnevenRanks, last: LastBatch,
        rowsPerRank: Int? = nil
    ) throws(HeadraceError) {
        try PlanLimits.check(sampleCount, 0...PlanLimits.sampleCount, "the number of samples")
        if let blockSize { try PlanLimits.check(blockSize, 1...PlanLimits.blockSize, "the size of a block") }
        try Self.check(segments)
        self.sampleCount = sampleCount
        self.uneven = uneven
        self.segments = segments
        var count = sampleCount
        var aligned = blockSize.map { sampleCount / $0 * $0 } ?? sampleCount
        var current: Dealing?
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            let rows = uneven.rowsPerRank(
                shares: [count], ranksEach: segment.worldSize, batchSize: segment.batchSize, last: last)
            let dealing = Dealing(
                count: count, alignedCount: aligned, blockSize: blockSize, worldSize: segment.worldSize,
                batchSize: segment.batchSize, rowsPerRank: isLast ? rowsPerRank ?? rows : rows)
            current = dealing
            guard !isLast else { break }
            let dealt = (segments[index + 1].start - segment.start) / segment.worldSize
            guard dealt <= rows, dealt * segment.worldSize <= count else {
                throw HeadraceError(
                    .usage,
                    "a segment of the epoch ends at \(segments[index + 1].start), and the data set has fewer "
                        + "samples: this is not the state of this data set")
            }
            let rest = dealing.rest(afterRows: dealt)
            rests.append(rest)
            count = rest.count
            aligned = rest.alignedCount
        }
        guard let current else { throw HeadraceError(.usage, "an epoch has one segment or more") }
        dealing = current
    }

    /// The share of a whole epoch with one world size.
    package init(
        sampleCount: Int, blockSize: Int?, worldSize: Int, batchSize: Int, uneven: UnevenRanks,
        last: LastBatch,
        rowsPerRank: Int? = nil
    ) throws(HeadraceError) {
        try self.init(
            sampleCount: sampleCount, blockSize: blockSize,
            segments: [Segment(start: 0, worldSize: worldSize, batchSize: batchSize)], uneven: uneven,
            last: last,
            rowsPerRank: rowsPerRank)
    }

    /// Throws where a list of segments is none that ``EpochPosition`` makes.
    static func check(_ segments: [Segment]) throws(HeadraceError) {
        try PlanLimits.check(
            segments.count, 1...PlanLimits.segmentCount, "the number of segments of an epoch")
        for (index, segment) in segments.enumerated() {
            try PlanLimits.check(segment.worldSize, 1...PlanLimits.worldSize, "the world size")
            try PlanLimits.check(segment.batchSize, 1...PlanLimits.batchSize, "the batch size")
            guard index > 0 else {
                try PlanLimits.check(segment.start, 0...0, "the start of an epoch's first segment")
                continue
            }
            let before = segments[index - 1]
            try PlanLimits.check(
                segment.start, before.start...PlanLimits.sampleCount, "the start of segment \(index)")
            guard (segment.start - before.start) % (before.worldSize * before.batchSize) == 0 else {
                throw HeadraceError(
                    .usage,
                    "segment \(index) starts at \(segment.start), which is not the end of a step of "
                        + "\(before.worldSize) ranks with \(before.batchSize) rows each")
            }
        }
    }

    package var worldSize: Int { dealing.worldSize }
    package var batchSize: Int { dealing.batchSize }

    /// Rows of each rank in the current segment.
    package var rowsPerRank: Int { dealing.rowsPerRank }

    /// Batches of each rank in the current segment: the same for all.
    package var stepCount: Int { (rowsPerRank + batchSize - 1) / batchSize }

    /// Rows of the batch of every rank in `step`, which counts from the start of the current segment.
    package func rowCount(ofStep step: Int) -> Int { max(0, min(batchSize, rowsPerRank - step * batchSize)) }

    /// Places that this segment leaves out.
    package var droppedCount: Int { max(0, dealing.count - worldSize * rowsPerRank) }

    /// Calls `body` with each place that this segment leaves out.
    package func forEachDropped(_ body: (Int) -> Void) {
        guard droppedCount > 0 else { return }
        for index in dealing.count - droppedCount..<dealing.count {
            var place = index
            for rest in rests.reversed() { place = rest.placeBefore(place) }
            body(place)
        }
    }

    /// Rows that stand for no place of their own: padding, or repeats.
    package var surplusCount: Int { max(0, worldSize * rowsPerRank - dealing.count) }

    /// Row `row` of the batch of `rank` in `step`.
    package func row(step: Int, rank: Int, row: Int) -> PlannedRow {
        var place = dealing.place(rank: rank, row: step * batchSize + row)
        guard place < dealing.count else {
            guard uneven == .repeating, sampleCount > 0 else { return .padding }
            return PlannedRow(place: (place - dealing.count) % sampleCount, isRepeat: true)
        }
        for rest in rests.reversed() { place = rest.placeBefore(place) }
        return PlannedRow(place: place, isRepeat: false)
    }

    /// Puts the batch of `rank` in `step` behind those in `rows`.
    package func append(step: Int, rank: Int, to rows: inout [PlannedRow]) {
        precondition(rank >= 0 && rank < worldSize && step >= 0, "a rank is below the world size")
        let count = rowCount(ofStep: step)
        rows.reserveCapacity(rows.count + count)
        for index in 0..<count { rows.append(row(step: step, rank: rank, row: index)) }
    }
}
