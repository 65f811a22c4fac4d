import HeadraceCore
import Testing

@testable import Headrace

/// What an indexed walk must deliver, from the plan's own functions and the keys that were packed.
struct WalkOracle {
    let keys: [[String]]
    let numbers: SampleNumbers
    var order: SampleOrder
    var seed: UInt64

    init(_ fixture: LoaderFixture, _ shuffle: Shuffle, seed: UInt64) throws {
        try self.init(keys: fixture.keys, shuffle, seed: seed)
    }

    init(keys: [[String]], _ shuffle: Shuffle, seed: UInt64) throws {
        self.keys = keys
        numbers = try SampleNumbers(counts: keys.map(\.count))
        order =
            switch shuffle {
            case .none, .buffer: .catalog
            case .block(let size): .block(size)
            case .global: .global
            }
        self.seed = seed
    }

    /// Keys of each batch of `rank` in an epoch, and how many rows it is padded with.
    func batches(epoch: Int, rank: Int, of share: RankShare) -> [(keys: [String], padding: Int)] {
        var walk = EpochWalk(numbers, order: order, seed: seed, epoch: epoch)
        return (0..<share.stepCount).map { step in
            var rows: [PlannedRow] = []
            share.append(step: step, rank: rank, to: &rows)
            let found = rows.filter { !$0.isPadding }.map { row -> String in
                let sample = walk.sample(at: row.place)
                return keys[sample.shard][sample.ordinal]
            }
            return (found, rows.count - found.count)
        }
    }

    func share(
        worldSize: Int, batchSize: Int, uneven: UnevenRanks = .drop, last: LastBatch = .keep
    ) throws -> RankShare {
        var blockSize: Int?
        if case .block(let size) = order { blockSize = size }
        return try RankShare(
            sampleCount: numbers.count, blockSize: blockSize, worldSize: worldSize, batchSize: batchSize,
            uneven: uneven, last: last)
    }
}

/// A delivered batch, its memory let go.
struct DeliveredBatch: Equatable {
    var epoch: Int
    var index: Int
    var keys: [String]
    var padding: Int
    var state: LoaderState

    init(_ batch: Batch) throws {
        epoch = batch.epoch
        index = batch.index
        keys = batch.keys
        padding = batch.padding
        state = try #require(batch.state)
    }
}

/// The batches of a loader, to its end or `limit` of them, and the report.
func deliver(
    _ dataset: Dataset, resuming state: LoaderState? = nil, limit: Int = Int.max
) throws -> (batches: [DeliveredBatch], report: LoaderReport) {
    let loader = try dataset.loader(resuming: state)
    defer { loader.close() }
    var batches: [DeliveredBatch] = []
    while batches.count < limit, let batch = try loader.next() {
        batches.append(try DeliveredBatch(batch))
    }
    if let last = batches.last { #expect(loader.state == last.state) }
    if limit == Int.max { loader.close() }
    return (batches, loader.report())
}

/// Samples found = delivered + skipped + dropped.
func expectBalance(_ report: LoaderReport, _ comment: Comment? = nil) {
    #expect(report.found == report.samples + report.skipped + report.dropped, comment)
}
