import HeadraceCore
import Testing

@testable import Headrace

@Suite struct ShardShareTests {
    private static func request(
        _ world: Int, batch: Int = 4, _ uneven: UnevenRanks = .drop, _ last: LastBatch = .keep,
        steps: Int? = nil,
        shuffled: Bool = true, epoch: Int = 0, nodes: Nodes? = nil
    ) -> ShardShare.Request {
        ShardShare.Request(
            worldSize: world, batchSize: batch, uneven: uneven, last: last, steps: steps,
            isShuffled: shuffled,
            seed: 6, epoch: epoch, nodes: nodes)
    }

    @Test(arguments: 1...17) func everyShardIsDealtOnce(world: Int) throws {
        var random = SplitMix64(UInt64(world))
        for _ in 0..<20 {
            let counts = (0..<Int(random.below(40)) + world).map { _ in Int(random.below(100)) + 1 }
            for (uneven, last) in UnevenRanks.allCases.flatMap({ u in LastBatch.allCases.map { (u, $0) } }) {
                let share = try ShardShare(counts: counts, sizes: counts, Self.request(world, uneven, last))
                #expect(share.shards.joined().sorted() == Array(counts.indices))
                let samples = try #require(share.samples)
                let rows = try #require(share.rowsPerRank)
                let dropped = try #require(share.droppedCount)
                let surplus = try #require(share.surplusCount)
                #expect(samples == share.shards.map { $0.reduce(0) { $0 + counts[$1] } })
                #expect(samples.reduce(0, +) - dropped + surplus == world * rows)
                #expect(uneven == .drop ? surplus == 0 : dropped == 0)
                if last == .drop { #expect(rows % 4 == 0) }
            }
        }
    }

    /// From an implementation in Python of the definition: part of saved states.
    @Test func golden() throws {
        let loads = (0..<12).map { $0 * 37 % 50 + 10 }
        let plain = ShardDeal(loads: loads, shares: 3, key: nil)
        #expect(plain.shards == [[0, 2, 4, 6], [3, 7, 8, 9], [1, 5, 10, 11]])
        let shuffled = ShardDeal(loads: loads, shares: 3, key: 99)
        #expect(shuffled.shards == [[11, 4, 10, 2], [8, 7, 3, 9], [0, 5, 6, 1]])
        let share = try ShardShare(counts: loads, sizes: loads, Self.request(3, epoch: 2))
        #expect(share.shards == [[4, 10, 11, 2], [1, 5, 6, 0], [7, 3, 9, 8]])
    }

    /// Longest first is within a third of the best deal: no rank has more than 4/3 of the best, which is at least the
    /// mean and the largest shard.
    @Test func dealsAreEven() {
        var random = SplitMix64(3)
        for _ in 0..<200 {
            let loads = (0..<Int(random.below(60) + 1)).map { _ in Int(random.below(1000)) }
            let shares = Int(random.below(9) + 1)
            for key in [nil, 5] as [UInt64?] {
                let deal = ShardDeal(loads: loads, shares: shares, key: key)
                #expect(deal.shards.joined().sorted() == Array(loads.indices))
                let largest = loads.sorted(by: >)
                // Two of the shares + 1 largest shards are in one share: that, too, is a bound from below.
                let pair = largest.count > shares ? largest[shares - 1] + largest[shares] : 0
                let best = max(loads.reduce(0, +) / shares, largest.first ?? 0, pair)
                let slack = key == nil ? 1 : 1 + (largest.first ?? 0) / 8
                #expect(Double(deal.loads.max() ?? 0) <= Double(best) * 4 / 3 + Double(slack))
            }
        }
    }

    @Test func equalShardsAreDealtEqually() throws {
        let counts = [Int](repeating: 10, count: 12)
        let share = try ShardShare(counts: counts, sizes: counts, Self.request(4, .drop, .keep))
        #expect(share.samples == [30, 30, 30, 30] && share.droppedCount == 0 && share.stepCount == 8)
        let plain = try ShardShare(counts: counts, sizes: counts, Self.request(4, shuffled: false))
        #expect(plain.shards == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]])
    }

    @Test func epochsDealOtherwiseUnlessNodesKeepTheirs() throws {
        let counts = (0..<24).map { 10 + $0 % 3 }
        let nodes = try Nodes(count: 2, worldSize: 6)
        var deals: Set<[[Int]]> = []
        var kept: Set<[Set<Int>]> = []
        var within: Set<[[Int]]> = []
        for epoch in 0..<10 {
            deals.insert(try ShardShare(counts: counts, sizes: counts, Self.request(6, epoch: epoch)).shards)
            let share = try ShardShare(
                counts: counts, sizes: counts, Self.request(6, epoch: epoch, nodes: nodes))
            #expect(share.shards.joined().sorted() == Array(counts.indices))
            within.insert(share.shards)
            kept.insert([Set(share.shards[0..<3].joined()), Set(share.shards[3..<6].joined())])
        }
        #expect(deals.count == 10 && within.count == 10 && kept.count == 1)
    }

    /// Shards that differ by little are dealt together with others in each epoch, and nearly as evenly.
    @Test func nearlyEqualShardsMeetOthers() {
        var random = SplitMix64(8)
        let loads = (0..<64).map { _ in 9_990 + Int(random.below(20)) }
        var groups: Set<Set<Int>> = []
        for key in 0..<20 as Range<UInt64> {
            let deal = ShardDeal(loads: loads, shares: 8, key: key)
            groups.formUnion(deal.shards.map(Set.init))
            #expect((deal.loads.max() ?? 0) - (deal.loads.min() ?? 0) < 60)
        }
        #expect(groups.count > 150)
    }

    @Test func withoutCountsTheStepsMustBeGiven() throws {
        let counts: [Int?] = [10, nil, 10, 10]
        let sizes = [5, 6, 7, 8]
        let error = #expect(throws: HeadraceError.self) {
            try ShardShare(counts: counts, sizes: sizes, Self.request(2))
        }
        #expect(error?.code == .usage && error?.message.contains("headrace index") == true)
        let given = try ShardShare(counts: counts, sizes: sizes, Self.request(2, steps: 3))
        #expect(given.stepCount == 3 && given.rowsPerRank == 12 && given.samples == nil)
        let alone = try ShardShare(counts: counts, sizes: sizes, Self.request(1))
        #expect(alone.stepCount == nil && alone.shards[0].sorted() == [0, 1, 2, 3])
    }

    @Test func impossibleStepsAreRefused() throws {
        let counts = [10, 10]
        for (steps, uneven) in [(3, UnevenRanks.drop), (0, .pad), (-1, .pad), (Int.max, .pad)] {
            #expect(throws: HeadraceError.self) {
                try ShardShare(counts: counts, sizes: counts, Self.request(2, uneven, steps: steps))
            }
        }
        let fewer = try ShardShare(counts: counts, sizes: counts, Self.request(2, .drop, steps: 2))
        #expect(fewer.droppedCount == 4)
        let more = try ShardShare(counts: counts, sizes: counts, Self.request(2, .pad, steps: 3))
        #expect(more.surplusCount == 4)
    }

    @Test func moreRanksThanShards() throws {
        for uneven in [UnevenRanks.drop, .repeating] {
            let error = #expect(throws: HeadraceError.self) {
                try ShardShare(counts: [5, 5], sizes: [5, 5], Self.request(3, uneven))
            }
            #expect(error?.message.contains("more shards") == true)
        }
        let padded = try ShardShare(counts: [5, 5], sizes: [5, 5], Self.request(3, .pad))
        #expect(padded.surplusCount == 5 && padded.stepCount == 2)
    }

    @Test func nodesShuffleTheirOwn() throws {
        var random = SplitMix64(17)
        for _ in 0..<60 {
            let nodes = try Nodes(count: Int(random.below(4) + 1), worldSize: 12)
            let counts = (0..<Int(random.below(20)) + 4).map { _ in Int(random.below(50) + 1) }
            let uneven = UnevenRanks.allCases[Int(random.below(3))]
            let block = random.below(2) == 0 ? nil : 5
            let share = try NodeShare(
                counts: counts, blockSize: block, nodes: nodes, batchSize: 3, uneven: uneven, last: .keep,
                seed: 2)
            #expect(share.shards.joined().sorted() == Array(counts.indices))
            var delivered = 0
            var surplus = 0
            for node in 0..<nodes.count {
                let rows = try self.rows(share.share(ofNode: node), share.stepCount)
                let places = rows.filter { $0.place >= 0 && !$0.isRepeat }.map(\.place)
                #expect(Set(places).count == places.count)
                #expect(places.allSatisfy { $0 < share.samples[node] })
                delivered += places.count
                surplus += rows.count - places.count
            }
            #expect(delivered + share.droppedCount == counts.reduce(0, +) && surplus == share.surplusCount)
        }
    }

    private func rows(_ share: RankShare, _ steps: Int) throws -> [PlannedRow] {
        #expect(share.stepCount == steps)
        var rows: [PlannedRow] = []
        for step in 0..<steps {
            for rank in 0..<share.worldSize { share.append(step: step, rank: rank, to: &rows) }
        }
        return rows
    }

    @Test func nodesMustDivideTheWorld() throws {
        #expect(throws: HeadraceError.self) { try Nodes(count: 3, worldSize: 8) }
        #expect(throws: HeadraceError.self) { try Nodes(count: 0, worldSize: 8) }
        #expect(try Nodes(count: 2, worldSize: 8).node(ofRank: 4) == 1)
        #expect(throws: HeadraceError.self) {
            try NodeShare(
                counts: [5], blockSize: nil, nodes: Nodes(count: 2, worldSize: 2), batchSize: 1,
                uneven: .drop,
                last: .keep, seed: 0)
        }
    }
}
