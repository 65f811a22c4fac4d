internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Plans the reads of an epoch by the planner that the loader reads with, all of it or evenly spaced parts, to tell how
/// many requests it makes.
struct RequestSimulation {
    /// Rows that are planned of an epoch that has more.
    static let sampledRows = 1 << 16
    /// Up to so many rows all of the epoch is planned.
    static let exactRows = 1 << 18
    /// Parts of a longer epoch are at least so many, unless one alone has ``sampledRows``.
    private static let leastParts = 4

    private let source: IndexedSource
    private var settings: IndexedOrder.Settings

    init(_ source: IndexedSource, _ settings: IndexedOrder.Settings) {
        self.source = source
        self.settings = settings
    }

    /// The reads of the first epoch of all ranks, which make `stepCount` steps of `rowsPerRank` rows each.
    mutating func run(stepCount: Int, rowsPerRank: Int) throws(HeadraceError) -> PlanSummary.Requests {
        let worldSize = settings.ranks.worldSize
        var requests = PlanSummary.Requests(
            deliveredByteCount: 0, windowSteps: settings.windowSteps, batches: stepCount * worldSize)
        // Windows of bucketing are arranged whole.
        let partSteps = min(max(1, stepCount), max(settings.windowSteps, settings.bucketSteps ?? 0))
        let partsPerRank = (stepCount + partSteps - 1) / partSteps
        let parts = partsPerRank * worldSize
        let chosen = chosenParts(of: parts, partSteps: partSteps, rows: rowsPerRank * worldSize)
        var plannedRows = 0
        var current: (rank: Int, planner: WindowPlanner)?
        for index in 0..<chosen {
            // Evenly spaced over the ranks, and within each.
            let part = Int(
                UInt64(chosen).dividingFullWidth(UInt64(index).multipliedFullWidth(by: UInt64(parts)))
                    .quotient)
            let (rank, place) = part.quotientAndRemainder(dividingBy: partsPerRank)
            if current?.rank != rank { current = (rank, try planner(rank, current?.planner)) }
            guard let planner = current?.planner else { continue }
            let start = place * partSteps
            plannedRows += try plan(start..<min(stepCount, start + partSteps), planner, &requests)
        }
        requests.extrapolate(Double(rowsPerRank * worldSize) / Double(max(1, plannedRows)))
        return requests
    }

    private func chosenParts(of parts: Int, partSteps: Int, rows: Int) -> Int {
        guard rows > Self.exactRows else { return parts }
        let partRows = partSteps * settings.batchSize
        let least = partRows < Self.sampledRows ? Self.leastParts : 1
        return min(parts, max(least, Self.sampledRows / partRows))
    }

    private mutating func planner(
        _ rank: Int, _ known: WindowPlanner?
    ) throws(HeadraceError) -> WindowPlanner {
        settings.ranks = try Ranks(rank: rank, worldSize: settings.ranks.worldSize)
        let start = EpochPosition(
            startOf: 0, worldSize: settings.ranks.worldSize, batchSize: settings.batchSize)
        let epoch = try IndexedEpoch(source, settings, start)
        guard let known else {
            return WindowPlanner(
                source, epoch, alignment: settings.alignment, windowBytes: settings.windowBytes)
        }
        known.restart(epoch)
        return known
    }

    /// Adds the reads of these steps, window by window; returns their rows.
    private func plan(
        _ steps: Range<Int>, _ planner: WindowPlanner, _ requests: inout PlanSummary.Requests
    ) throws(HeadraceError) -> Int {
        var next = steps.lowerBound
        var rows = 0
        var delivered = requests.deliveredByteCount ?? 0
        while next < steps.upperBound {
            let window = planner.plan(next..<min(steps.upperBound, next + settings.windowSteps))
            for chunk in window.chunks {
                if let failure = chunk.failures.first { throw failure.error }
                for fetch in chunk.fetches {
                    requests.count +=
                        (fetch.length + ChunkGeometry.requestBytes - 1) / ChunkGeometry.requestBytes
                    requests.readByteCount += fetch.length
                }
                delivered += chunk.samples.reduce(0) { $0 + $1.length }
            }
            requests.plannedBatches += window.steps.count
            rows += window.rows.count
            next = window.steps.upperBound
        }
        requests.deliveredByteCount = delivered
        return rows
    }
}

extension PlanSummary.Requests {
    /// From the rows that were planned to all there are, `factor` times as many.
    fileprivate mutating func extrapolate(_ factor: Double) {
        guard plannedBatches < batches, plannedBatches > 0 else { return }
        // An epoch may have more places than bytes can be counted.
        func scaled(_ value: Int) -> Int { Int(exactly: (Double(value) * factor).rounded()) ?? Int.max }
        count = scaled(count)
        readByteCount = scaled(readByteCount)
        deliveredByteCount = deliveredByteCount.map(scaled)
    }
}

/// Files of which nothing but the size is wanted: the planner's reads are counted, not done.
struct ListedFiles: Storage {
    private let sizes: [String: Int]

    init(_ catalog: Catalog) {
        sizes = Dictionary(catalog.shards.map { ($0.path, $0.size) }, uniquingKeysWith: { first, _ in first })
    }

    func open(_ path: String) throws(HeadraceError) -> any StorageFile {
        guard let size = sizes[path] else {
            throw HeadraceError(.notFound, "this is no shard of the data set", at: .init(shard: path))
        }
        return File(path, size)
    }

    func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader {
        throw HeadraceError(.unsupported, "a plan reads no shards")
    }

    private final class File: StorageFile {
        let path: String
        let size: Int
        let alignment = 1

        init(_ path: String, _ size: Int) {
            self.path = path
            self.size = size
        }

        func checkUnchanged() {}
    }
}
