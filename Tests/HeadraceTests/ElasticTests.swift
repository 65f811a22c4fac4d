import HeadraceCore
import Testing

@testable import Headrace

/// Changes of the world and batch size in mid-epoch.
@Suite struct ElasticTests {
    struct Run {
        var delivered: [Int] = []
        var padding = 0
        var repeats = 0
        var position: EpochPosition
        var dropped = 0
        var isOver = false
    }

    private let samples: Int
    private let seed = SplitMix64(21)

    init() { samples = 5000 }

    private func share(
        _ position: EpochPosition, _ samples: Int, _ block: Int?, _ uneven: UnevenRanks,
        _ last: LastBatch = .keep
    ) throws -> RankShare {
        try RankShare(
            sampleCount: samples, blockSize: block, segments: position.segments, uneven: uneven, last: last)
    }

    /// Runs `steps` steps (nil: all) of all ranks from where `run` is.
    private func go(
        _ run: inout Run, _ steps: Int?, samples: Int, block: Int?, uneven: UnevenRanks,
        last: LastBatch = .keep
    ) throws {
        let share = try share(run.position, samples, block, uneven, last)
        var rows: [PlannedRow] = []
        var step = run.position.nextStep
        let end = steps.map { min(share.stepCount, step + $0) } ?? share.stepCount
        while step < end {
            for rank in 0..<share.worldSize { share.append(step: step, rank: rank, to: &rows) }
            run.position = run.position.after(step: step, of: share)
            step += 1
        }
        run.delivered += rows.filter { !$0.isPadding && !$0.isRepeat }.map(\.place)
        run.padding += rows.filter(\.isPadding).count
        run.repeats += rows.filter(\.isRepeat).count
        run.isOver = step == share.stepCount
        if run.isOver { run.dropped = share.droppedCount }
    }

    @Test(arguments: [nil, 1, 7, 64, 100, 6000] as [Int?], UnevenRanks.allCases)
    func eightThreeFive(block: Int?, uneven: UnevenRanks) throws {
        for stops in [(3, 11), (1, 1), (0, 5), (20, 3), (13, 0)] {
            var run = Run(position: EpochPosition(startOf: 4, worldSize: 8, batchSize: 16))
            try go(&run, stops.0, samples: samples, block: block, uneven: uneven)
            run.position = run.position.continued(worldSize: 3, batchSize: 16)
            try go(&run, stops.1, samples: samples, block: block, uneven: uneven)
            run.position = run.position.continued(worldSize: 5, batchSize: 24)
            try go(&run, nil, samples: samples, block: block, uneven: uneven)
            #expect(run.isOver)
            #expect(Set(run.delivered).count == run.delivered.count, "something came twice")
            #expect(run.delivered.count + run.dropped == samples)
            #expect(run.dropped < 5 && run.padding < 5 && run.repeats < 5)
            #expect(run.position == EpochPosition(startOf: 5, worldSize: 5, batchSize: 24))
        }
    }

    /// Any number of changes at any steps to any sizes.
    @Test func manyChangesAtRandom() throws {
        var random = SplitMix64(31)
        for _ in 0..<150 {
            let samples = Int(random.below(3000))
            let block = random.below(3) == 0 ? nil : Int(random.below(60) + 1)
            let uneven = UnevenRanks.allCases[Int(random.below(3))]
            let last = LastBatch.allCases[Int(random.below(2))]
            var run = Run(position: EpochPosition(startOf: 0, worldSize: 4, batchSize: 8))
            while !run.isOver {
                run.position = run.position.continued(
                    worldSize: Int(random.below(9) + 1), batchSize: Int(random.below(20) + 1))
                try go(&run, Int(random.below(6)), samples: samples, block: block, uneven: uneven, last: last)
            }
            #expect(Set(run.delivered).count == run.delivered.count)
            #expect(run.delivered.count + run.dropped == samples)
            #expect(run.padding == 0 || uneven == .pad)
            #expect(run.repeats == 0 || uneven == .repeating)
        }
    }

    /// 200 stops at random in one large epoch, each through the JSON of a state, to other sizes: the samples delivered
    /// are those of the data set, once each.
    @Test(arguments: [SampleOrder.global, .block(50)]) func twoHundredStops(order: SampleOrder) throws {
        let counts = [5000, 0, 12_345, 1, 9999, 30_000]
        let numbers = try SampleNumbers(counts: counts)
        let shards = counts.map { DataFingerprint.Shard(name: "\($0).tar", byteCount: $0, sampleCount: $0) }
        var walk = EpochWalk(numbers, order: order, seed: 1, epoch: 6)
        let block: Int? = if case .block(let size) = order { size } else { nil }
        var random = SplitMix64(77)
        var run = Run(position: EpochPosition(startOf: 6, worldSize: 8, batchSize: 8))
        var stops = 0
        while !run.isOver {
            let steps = stops < 200 ? Int(random.below(9)) : nil
            try go(&run, steps, samples: numbers.count, block: block, uneven: .drop)
            guard !run.isOver else { break }
            stops += 1
            let state = LoaderState(
                walk: .indexed, data: DataFingerprint(shards), options: [:], position: run.position)
            run.position = try LoaderState(parsing: state.encoded()).resumed(
                by: .init(
                    walk: .indexed, shards: shards, options: [:], worldSize: [8, 3, 5][stops % 3],
                    batchSize: [8, 8, 16][stops % 3], isElastic: true))
        }
        #expect(stops == 200)
        let samples = Set(run.delivered.map { walk.sample(at: $0) })
        #expect(samples.count == run.delivered.count && samples.count + run.dropped == numbers.count)
        #expect(run.dropped < 8)
    }

    /// A change to the same sizes is none, and one that delivered nothing leaves no trace.
    @Test func segmentsAreOnlyAddedForAReason() {
        var position = EpochPosition(startOf: 0, worldSize: 8, batchSize: 4)
        #expect(position.continued(worldSize: 8, batchSize: 4) == position)
        position = position.continued(worldSize: 2, batchSize: 4)
        #expect(position.segments == [.init(start: 0, worldSize: 2, batchSize: 4)])
        position.position = 80
        let other = position.continued(worldSize: 3, batchSize: 4)
        #expect(other.segments.count == 2 && other.nextStep == 0)
        #expect(other.continued(worldSize: 2, batchSize: 4) == position)
        #expect(position.nextStep == 10)
    }

    /// Resuming at every batch of a small epoch, with the same sizes, is the unbroken run.
    @Test(arguments: [nil, 10] as [Int?]) func everyStepResumes(block: Int?) throws {
        let start = EpochPosition(startOf: 0, worldSize: 3, batchSize: 4)
        var unbroken = Run(position: start)
        try go(&unbroken, nil, samples: 200, block: block, uneven: .drop)
        for stop in 0...17 {
            var run = Run(position: start)
            try go(&run, stop, samples: 200, block: block, uneven: .drop)
            try run.position.check()
            if !run.isOver { try go(&run, nil, samples: 200, block: block, uneven: .drop) }
            #expect(run.delivered == unbroken.delivered)
        }
    }

    /// In blocks, a change costs locality only for the turn it cuts: all whole blocks behind it stay whole.
    @Test func blocksStayWholeBehindAChange() throws {
        let block = 50
        var position = EpochPosition(startOf: 0, worldSize: 4, batchSize: 20)
        position.position = 4 * 20 * 6
        position = position.continued(worldSize: 3, batchSize: 20)
        let share = try share(position, samples, block, .drop)
        var owners: [Int: Set<Int>] = [:]
        var rows: [PlannedRow] = []
        for rank in 0..<3 {
            rows.removeAll()
            for step in 0..<share.stepCount { share.append(step: step, rank: rank, to: &rows) }
            for row in rows where row.place >= 0 { owners[row.place / block, default: []].insert(rank) }
        }
        // 480 rows at 4 ranks: 120 rows each, which is two turns and 20 rows of the third.
        #expect((0..<8).allSatisfy { owners[$0] == nil })
        #expect(owners.filter { $0.value.count > 1 }.count <= 4 + 3)
        #expect(owners.count == 92)
    }

    @Test(
        arguments: [
            [], [(0, 0, 1)], [(5, 1, 1)], [(0, 2, 4), (9, 2, 4)], [(0, 2, 4), (-8, 1, 1)],
            [(0, 2, 4), (1 << 60, 1, 1)],
            [(0, 2, 4), (8, 1, 1), (4, 1, 1)], [(0, 2, 4), (5008, 1, 1)], [(0, Int.max, Int.max)],
            [(0, 1 << 20, 1 << 24), (1 << 44, 1, 1)],
        ] as [[(Int, Int, Int)]])
    func impossibleSegmentsAreRefused(list: [(Int, Int, Int)]) {
        let segments = list.map { RankShare.Segment(start: $0.0, worldSize: $0.1, batchSize: $0.2) }
        #expect(throws: HeadraceError.self) {
            try RankShare(sampleCount: 5000, blockSize: nil, segments: segments, uneven: .drop, last: .keep)
        }
    }
}
