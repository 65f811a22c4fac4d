import HeadraceCore
import Testing

@testable import Headrace

@Suite struct RankShareTests {
    struct Shape {
        var samples: Int
        var block: Int?
        var world: Int
        var batch: Int
        var uneven: UnevenRanks
        var last: LastBatch

        init(_ random: inout SplitMix64, world: Int? = nil) {
            samples = Int(random.below(3) == 0 ? random.below(30) : random.below(900))
            block = random.below(2) == 0 ? nil : Int(random.below(40) + 1)
            self.world = world ?? Int(random.below(17) + 1)
            batch = Int(random.below(24) + 1)
            uneven = UnevenRanks.allCases[Int(random.below(3))]
            last = LastBatch.allCases[Int(random.below(2))]
        }

        func share() throws -> RankShare {
            try RankShare(
                sampleCount: samples, blockSize: block, worldSize: world, batchSize: batch, uneven: uneven,
                last: last)
        }
    }

    /// The rows of every rank, by step.
    private func batches(_ share: RankShare) -> [[[PlannedRow]]] {
        (0..<share.worldSize).map { rank in
            (0..<share.stepCount).map { step in
                var rows: [PlannedRow] = []
                share.append(step: step, rank: rank, to: &rows)
                return rows
            }
        }
    }

    @Test(arguments: 1...17) func theRanksTogetherAreThePlan(world: Int) throws {
        var random = SplitMix64(UInt64(world))
        for _ in 0..<60 {
            let shape = Shape(&random, world: world)
            let share = try shape.share()
            let ranks = batches(share)
            // The same number of batches, and of rows in each step, on every rank.
            for rank in ranks { #expect(rank.map(\.count) == ranks[0].map(\.count)) }
            #expect(ranks[0].dropLast().allSatisfy { $0.count == shape.batch })
            #expect(ranks[0].allSatisfy { !$0.isEmpty })
            let rows = ranks.joined().joined()
            let places = rows.filter { !$0.isPadding && !$0.isRepeat }.map(\.place).sorted()
            #expect(Set(places).count == places.count, "\(shape): a place comes twice")
            #expect(places.allSatisfy { (0..<shape.samples).contains($0) })
            #expect(places.count + share.droppedCount == shape.samples, "\(shape)")
            #expect(rows.count - places.count == share.surplusCount)
            check(shape, share, rows.filter { $0.isPadding }.count, rows.filter(\.isRepeat).map(\.place))
        }
    }

    private func check(_ shape: Shape, _ share: RankShare, _ padding: Int, _ repeats: [Int]) {
        let unit = shape.last == .keep ? shape.world : shape.world * shape.batch
        switch shape.uneven {
        case .drop:
            #expect(share.droppedCount == shape.samples % unit && padding == 0 && repeats.isEmpty)
        case .pad:
            #expect(share.droppedCount == 0 && repeats.isEmpty)
            #expect(padding == (unit - shape.samples % unit) % unit)
        case .repeating:
            #expect(share.droppedCount == 0 && padding == 0)
            let surplus = (unit - shape.samples % unit) % unit
            #expect(repeats.sorted() == (0..<surplus).map { $0 % max(1, shape.samples) }.sorted())
        }
        if shape.last == .drop { #expect(share.rowsPerRank % shape.batch == 0) }
    }

    /// The rule of the global position, word for word, wherever there are whole batches.
    @Test func placesFollowTheGlobalPosition() throws {
        var random = SplitMix64(4)
        for _ in 0..<100 {
            var shape = Shape(&random)
            shape.block = nil
            let share = try shape.share()
            for step in 0..<share.stepCount where share.rowCount(ofStep: step) == shape.batch {
                for rank in 0..<shape.world {
                    for row in 0..<shape.batch {
                        let place = (step * shape.world + rank) * shape.batch + row
                        guard place < shape.samples else { continue }
                        #expect(share.row(step: step, rank: rank, row: row).place == place)
                    }
                }
            }
        }
    }

    /// Whole blocks are dealt: but for the tail, a block's places all go to one rank, in their order.
    @Test func aBlockGoesToOneRank() throws {
        let (samples, block, world) = (10_007, 64, 5)
        let share = try RankShare(
            sampleCount: samples, blockSize: block, worldSize: world, batchSize: 24, uneven: .drop,
            last: .keep)
        var ranks: [Int: Set<Int>] = [:]
        for (rank, steps) in batches(share).enumerated() {
            let places = steps.joined().map(\.place).filter { $0 >= 0 }
            for place in places { ranks[place / block, default: []].insert(rank) }
            #expect(places == places.sorted())
        }
        let whole = samples / block / world * world
        #expect((0..<whole).allSatisfy { ranks[$0]?.count == 1 })
        #expect(ranks.filter { $0.value.count > 1 }.count <= world)
    }

    /// Batches of one rank never straddle what others read: contiguous rows make few reads.
    @Test func aloneItIsTheEpochItself() throws {
        for block in [nil, 16] {
            let share = try RankShare(
                sampleCount: 1000, blockSize: block, worldSize: 1, batchSize: 300, uneven: .drop, last: .keep)
            #expect(batches(share)[0].joined().map(\.place) == Array(0..<1000))
            #expect(share.stepCount == 4 && share.rowCount(ofStep: 3) == 100)
            let dropped = try RankShare(
                sampleCount: 1000, blockSize: block, worldSize: 1, batchSize: 300, uneven: .drop, last: .drop)
            #expect(dropped.stepCount == 3 && dropped.droppedCount == 100)
        }
    }

    /// A few shares worked out by hand.
    @Test func theTailByHand() throws {
        func share(_ uneven: UnevenRanks, _ last: LastBatch) throws -> RankShare {
            try RankShare(
                sampleCount: 10, blockSize: nil, worldSize: 2, batchSize: 3, uneven: uneven, last: last)
        }
        func places(_ share: RankShare) -> [[[Int]]] { batches(share).map { $0.map { $0.map(\.place) } } }
        // Six places in the first step, four in the second: two each, nobody loses anything.
        #expect(try places(share(.drop, .keep)) == [[[0, 1, 2], [6, 7]], [[3, 4, 5], [8, 9]]])
        #expect(try places(share(.drop, .drop)) == [[[0, 1, 2]], [[3, 4, 5]]])
        #expect(try places(share(.pad, .keep)) == [[[0, 1, 2], [6, 7]], [[3, 4, 5], [8, 9]]])
        #expect(try places(share(.pad, .drop)) == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, -1, -1]]])
        #expect(
            try places(share(.repeating, .drop)) == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 0, 1]]])
    }

    @Test func emptyAndTinyEpochs() throws {
        for uneven in UnevenRanks.allCases {
            let none = try RankShare(
                sampleCount: 0, blockSize: nil, worldSize: 3, batchSize: 4, uneven: uneven, last: .drop)
            #expect(none.stepCount == 0 && none.droppedCount == 0 && none.surplusCount == 0)
        }
        let one = try RankShare(
            sampleCount: 1, blockSize: 8, worldSize: 3, batchSize: 4, uneven: .repeating, last: .drop)
        #expect(one.stepCount == 1)
        #expect(batches(one).joined().joined().allSatisfy { $0.place == 0 })
    }

    @Test func hugeEpochsAreEnteredAnywhere() throws {
        let share = try RankShare(
            sampleCount: 1 << 56, blockSize: 4096, worldSize: 100_000, batchSize: 512, uneven: .pad,
            last: .keep)
        var rows: [PlannedRow] = []
        share.append(step: share.stepCount - 1, rank: 99_999, to: &rows)
        share.append(step: share.stepCount / 2, rank: 1, to: &rows)
        #expect(rows.allSatisfy { $0.place < 1 << 56 })
    }

    @Test(
        arguments: [
            (-1, 1, 1, nil), (1, 0, 1, nil), (1, 1, 0, nil), (1, 1, 1, 0), (1, -1, 1, nil),
            (Int.max, 1, 1, nil), (1, Int.max, 1, nil), (1, 1, Int.max, nil), (1, 1, 1, Int.max),
        ] as [(Int, Int, Int, Int?)])
    func nonsenseIsRefused(samples: Int, world: Int, batch: Int, block: Int?) {
        #expect(throws: HeadraceError.self) {
            try RankShare(
                sampleCount: samples, blockSize: block, worldSize: world, batchSize: batch, uneven: .drop,
                last: .keep)
        }
    }
}
