internal import HeadraceCore

/// Plans and merges the reads of some windows of an epoch, to tell how many requests all of it makes.
struct RequestSimulation {
    private let shards: [PlannedShard]
    private var merger = ReadMerger()
    private var rows: [PlannedRow] = []
    private var planned: [PlannedRead] = []

    /// One rank's part of the epoch.
    struct Rank {
        var share: RankShare
        /// Within the share.
        var number: Int
        var walk: EpochWalk
        /// Catalog numbers of the walk's shards; nil: the same.
        var shards: [Int]?
    }

    init(_ shards: [PlannedShard]) { self.shards = shards }

    /// Simulates the windows of all ranks, or a sample of them.
    mutating func run(
        worldSize: Int, stepCount: Int, _ rank: (Int) throws(HeadraceError) -> Rank
    ) throws(HeadraceError) -> PlanSummary.Requests {
        let perRank = (stepCount + PlanSummary.windowSteps - 1) / PlanSummary.windowSteps
        let windows = perRank * worldSize
        let simulated = min(windows, PlanSummary.simulatedWindows)
        var requests = PlanSummary.Requests(
            count: 0, readByteCount: 0, deliveredByteCount: 0, simulatedWindows: simulated, windows: windows)
        var current: (number: Int, rank: Rank)?
        for index in 0..<simulated {
            // Evenly spaced over the ranks, and within each.
            let window = Int(
                UInt64(simulated).dividingFullWidth(
                    UInt64(index).multipliedFullWidth(by: UInt64(windows))
                ).quotient)
            let number = window / perRank
            if current?.number != number { current = (number, try rank(number)) }
            guard var rank = current?.rank else { continue }
            let delivered = merge(&rank, window % perRank)
            current?.rank = rank
            requests.count += merger.reads.count
            requests.readByteCount += merger.readByteCount
            requests.deliveredByteCount += delivered
        }
        if simulated < windows { scale(&requests, Double(windows) / Double(simulated)) }
        return requests
    }

    /// Merges the reads of one window; returns the bytes that it delivers.
    private mutating func merge(_ rank: inout Rank, _ window: Int) -> Int {
        var delivered = 0
        rows.removeAll(keepingCapacity: true)
        planned.removeAll(keepingCapacity: true)
        let first = window * PlanSummary.windowSteps
        for step in first..<min(rank.share.stepCount, first + PlanSummary.windowSteps) {
            rank.share.append(step: step, rank: rank.number, to: &rows)
        }
        for row in rows where !row.isPadding {
            let sample = rank.walk.sample(at: row.place)
            let shard = rank.shards?[sample.shard] ?? sample.shard
            delivered += shards[shard].byteCount(ofSample: sample.ordinal)
            let extent = shards[shard].extent(ofSample: sample.ordinal)
            planned.append(
                PlannedRead(
                    file: Int32(shard), offset: extent.lowerBound, length: extent.count,
                    row: Int32(planned.count)))
        }
        merger.merge(planned)
        return delivered
    }

    private func scale(_ requests: inout PlanSummary.Requests, _ factor: Double) {
        requests.count = Int((Double(requests.count) * factor).rounded())
        requests.readByteCount = Int((Double(requests.readByteCount) * factor).rounded())
        requests.deliveredByteCount = Int((Double(requests.deliveredByteCount) * factor).rounded())
    }
}
