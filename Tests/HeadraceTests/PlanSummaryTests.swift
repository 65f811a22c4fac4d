import HeadraceCore
import HeadraceTiers
import Testing

@testable import Headrace

@Suite struct PlanSummaryTests {
    private static func shards(_ count: Int, bytes: Int = 10_000_000, samples: Int? = 100, frames: Int = 0)
        -> [PlannedShard]
    {
        (0..<count).map {
            PlannedShard(path: "\($0).tar", byteCount: bytes, sampleCount: samples, frameCount: frames)
        }
    }

    private static func request(_ change: (inout PlanRequest) throws -> Void) rethrows -> PlanRequest {
        var request = PlanRequest()
        request.batchSize = 16
        try change(&request)
        return request
    }

    /// Samples of 100 kB, read one by one: as many requests as samples, and no byte too many.
    @Test func aShuffleReadsSampleBySample() throws {
        let plan = try PlanSummary(Self.shards(40), Self.request { $0.order = .global })
        #expect(plan.walk == .indexed && plan.batchesPerRank == 250 && plan.droppedCount == 0)
        let requests = try #require(plan.requests)
        #expect(requests.windows == 16 && requests.simulatedWindows == 16)
        // A few neighbours meet in a window by chance.
        #expect((3500...4000).contains(requests.count))
        #expect(requests.readByteCount == 400_000_000 && requests.deliveredByteCount == 400_000_000)
    }

    /// Blocks of 10 neighbours are read as one.
    @Test func blocksAreReadAsOne() throws {
        let plan = try PlanSummary(Self.shards(40), Self.request { $0.order = .block(10) })
        let requests = try #require(plan.requests)
        #expect(requests.count < 600 && requests.meanByteCount > 600_000)
        #expect(requests.readByteCount == requests.deliveredByteCount)
    }

    /// A sample of a compressed shard costs its frame, once a window.
    @Test func framesAreReadWhole() throws {
        let plan = try PlanSummary(Self.shards(40, frames: 10), Self.request { $0.order = .global })
        let requests = try #require(plan.requests)
        #expect(requests.deliveredByteCount == 400_000_000)
        #expect(requests.readByteCount > 4 * requests.deliveredByteCount)
        #expect(requests.readByteCount < 10 * requests.deliveredByteCount)
    }

    /// A sample of the windows gives nearly what all of them give.
    @Test func longEpochsAreEstimated() throws {
        let shards = Self.shards(200, samples: 400)
        let plan = try PlanSummary(shards, Self.request { $0.order = .block(8) })
        let requests = try #require(plan.requests)
        #expect(requests.windows == 313 && requests.simulatedWindows == PlanSummary.simulatedWindows)
        let share = Double(requests.deliveredByteCount) / 2e9
        #expect((0.97...1.03).contains(share), "\(share)")
        // 10,000 blocks, each one or two reads.
        #expect((9_000...13_000).contains(requests.count))
    }

    /// A billion samples for a thousand ranks are planned from 64 windows.
    @Test func aBillionSamples() throws {
        let shards = Self.shards(10_000, bytes: 1 << 40, samples: 100_000)
        let plan = try PlanSummary(
            shards,
            Self.request {
                $0.order = .global
                $0.ranks = try Ranks(rank: 0, worldSize: 1024)
                $0.batchSize = 4
            })
        #expect(plan.batchesPerRank == 244_141 && plan.rowsPerRank == 976_562 && plan.droppedCount == 512)
        #expect(plan.requests?.simulatedWindows == 64)
    }

    @Test func theWalkIsFoundOrHeld() throws {
        let counted = Self.shards(4)
        let uncounted = Self.shards(4, samples: nil)
        let two = try Ranks(rank: 0, worldSize: 2)
        #expect(try PlanSummary(counted, Self.request { $0.ranks = two }).walk == .indexed)
        #expect(try PlanSummary(counted, Self.request { _ in }).walk == .streamed)
        #expect(try PlanSummary(uncounted, Self.request { _ in }).walk == .streamed)
        #expect(try PlanSummary(counted, Self.request { $0.order = .buffer(9) }).walk == .streamed)
        #expect(try PlanSummary(counted, Self.request { _ in }).isAutomatic)
        #expect(try PlanSummary(counted, Self.request { $0.order = .global }).isAutomatic == false)
        #expect(try PlanSummary(counted, Self.request { $0.walk = .streamed }).isAutomatic == false)
        for (shards, order, walk, words) in [
            (counted, PlanRequest.Order.global, Walk.streamed, "--walk says streamed"),
            (counted, .buffer(4), .indexed, "--walk says indexed"),
            (uncounted, .block(4), .indexed, "headrace index"),
            (uncounted, .none, .indexed, "headrace index"),
        ] {
            let error = #expect(throws: HeadraceError.self) {
                try PlanSummary(
                    shards,
                    Self.request {
                        $0.order = order
                        $0.walk = walk
                    })
            }
            #expect(error?.code == .usage && error?.message.contains(words) == true)
        }
    }

    @Test(arguments: UnevenRanks.allCases) func theTailIsToldApart(uneven: UnevenRanks) throws {
        let plan = try PlanSummary(
            Self.shards(10),
            Self.request {
                $0.uneven = uneven
                $0.last = .drop
                $0.ranks = try Ranks(rank: 0, worldSize: 7)
            })
        let tail = [plan.droppedCount, plan.paddedCount, plan.repeatedCount]
        #expect(tail == (uneven == .drop ? [104, 0, 0] : uneven == .pad ? [0, 8, 0] : [0, 0, 8]))
        #expect(plan.batchesPerRank == (uneven == .drop ? 8 : 9))
        #expect(plan.warnings.isEmpty == (uneven != .drop))
    }

    /// Worked out by hand: 4 nodes, 400 MB, caches of 60 MB.
    @Test func cacheHits() throws {
        func cache(_ limit: Int, _ nodes: Int, _ affinity: Affinity) throws -> PlanSummary.Cache? {
            try PlanSummary(
                Self.shards(40),
                Self.request {
                    $0.ranks = try Ranks(rank: 0, worldSize: 8)
                    $0.nodeCount = nodes
                    $0.affinity = affinity
                    $0.cacheLimit = limit
                }
            ).cache
        }
        let random = try #require(try cache(60_000_000, 4, .none))
        #expect(random.nodeByteCount == 100_000_000 && random.firstEpochHits == 0)
        #expect(random.secondEpochHits == 0.15)
        #expect(try cache(60_000_000, 4, .node)?.secondEpochHits == 0.6)
        #expect(try cache(1 << 40, 4, .node)?.secondEpochHits == 1)
        // A node keeps no more than it has read.
        #expect(try cache(1 << 40, 4, .none)?.secondEpochHits == 0.25)
        #expect(try cache(100_000_000, 1, .none)?.secondEpochHits == 0.25)
    }

    @Test func slowStorageIsWarnedOf() throws {
        func warnings(_ order: PlanRequest.Order, _ tier: Tier) throws -> [String] {
            try PlanSummary(
                Self.shards(40),
                Self.request {
                    $0.order = order
                    $0.tier = tier
                }
            ).warnings
        }
        for tier in [Tier.objectStore, .hardDisk] {
            let words = try warnings(.global, tier)
            #expect(words.count == 1 && words[0].contains("\(tier.name) is walked by sample"))
            #expect(words.first?.contains("block:N") == true)
            #expect(try warnings(.block(100), tier).isEmpty)
            #expect(try warnings(.buffer(100), tier).isEmpty)
        }
        #expect(try warnings(.global, .nvmeGen4).isEmpty)
    }

    @Test func affinityDealsShardsToNodes() throws {
        func plan(_ nodes: Int?) throws -> PlanSummary {
            try PlanSummary(
                Self.shards(10),
                Self.request {
                    $0.order = .global
                    $0.affinity = .node
                    $0.ranks = try Ranks(rank: 0, worldSize: 8)
                    $0.nodeCount = nodes
                })
        }
        #expect(throws: HeadraceError.self) { try plan(nil) }
        #expect(throws: HeadraceError.self) { try plan(3) }
        let four = try plan(4)
        #expect(four.leastSamples == 200 && four.mostSamples == 300 && four.droppedCount == 200)
        #expect(four.rowsPerRank == 100)
        #expect(four.warnings.first?.contains("smaller shards") == true)
        #expect(try plan(2).droppedCount == 0)
    }

    /// Shards of many sizes, dealt anew: epochs differ in their number of steps, unless it is given.
    @Test func epochsThatDifferAreSaid() throws {
        var random = SplitMix64(4)
        let shards = (0..<30).map { _ in
            PlannedShard(path: "x", byteCount: 1000, sampleCount: 100 + Int(random.below(100)))
        }
        func plan(_ steps: Int?) throws -> PlanSummary {
            try PlanSummary(
                shards,
                Self.request {
                    $0.order = .buffer(8)
                    $0.batchSize = 1
                    $0.epochs = 40
                    $0.steps = steps
                    $0.ranks = try Ranks(rank: 0, worldSize: 4)
                })
        }
        #expect(try plan(nil).warnings.contains { $0.contains("epochs differ") })
        #expect(try plan(500).warnings.contains { $0.contains("epochs differ") } == false)
    }

    @Test func nothingToDeliverIsSaid() throws {
        let plan = try PlanSummary(
            Self.shards(1, samples: 3), Self.request { $0.ranks = try Ranks(rank: 0, worldSize: 8) })
        #expect(plan.batchesPerRank == 0 && plan.droppedCount == 3)
        #expect(plan.warnings.contains { $0.contains("no batch") })
        let empty = try PlanSummary(Self.shards(2, bytes: 0, samples: 0), Self.request { $0.order = .global })
        #expect(empty.batchesPerRank == 0 && empty.requests?.count == 0 && empty.warnings.isEmpty)
    }

    @Test(arguments: [
        "", "buffer", "buffer:", "buffer:0", "block:-1", "block:1e3", "globals", "block:9999999999999999999",
    ])
    func noShuffle(words: String) {
        #expect(throws: HeadraceError.self) { try PlanRequest.Order(words: words) }
    }

    @Test func extentsCoverTheFile() {
        for (samples, frames) in [(1, 0), (7, 0), (1000, 0), (7, 3), (1000, 13), (3, 50)] {
            let shard = PlannedShard(path: "x", byteCount: 12_345, sampleCount: samples, frameCount: frames)
            let extents = (0..<samples).map { shard.extent(ofSample: $0) }
            #expect(extents.first?.lowerBound == 0 && extents.last?.upperBound == 12_345)
            for (left, right) in zip(extents, extents.dropFirst()) {
                #expect(right.lowerBound <= left.upperBound && left.lowerBound <= right.lowerBound)
            }
            #expect((0..<samples).reduce(0) { $0 + shard.byteCount(ofSample: $1) } == 12_345)
        }
    }
}
