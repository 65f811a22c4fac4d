import HeadraceCore
import HeadraceTiers
import Testing

@testable import Headrace

/// What a plan says of shards of which nothing but indexes is there. That it is what a loader does is tested with real
/// ones.
@Suite struct PlanSummaryTests {
    /// Samples of 100 kB, read one by one: as many requests as samples, and no byte too many.
    @Test func aShuffleReadsSampleBySample() throws {
        let plan = try SparseShards(40, samples: 100).plan { $0.shuffle = .global }
        #expect(plan.walk == .indexed && plan.batchesPerRank == 250 && plan.droppedCount == 0)
        // 8 MiB of batches of 1.6 MB.
        #expect(plan.requests.windowSteps == 5)
        #expect(plan.requests.batches == 250 && plan.requests.plannedBatches == 250)
        // A few neighbours meet in a window by chance.
        #expect((3800...4000).contains(plan.requests.count))
        #expect(
            plan.requests.readByteCount == 400_000_000 && plan.requests.deliveredByteCount == 400_000_000)
    }

    /// Blocks of 10 neighbours are read as one.
    @Test func blocksAreReadAsOne() throws {
        let requests = try SparseShards(40, samples: 100).plan { $0.shuffle = .block(10) }.requests
        #expect((400..<700).contains(requests.count) && requests.meanByteCount > 600_000)
        #expect(requests.readByteCount == requests.deliveredByteCount)
    }

    /// A sample of a compressed shard costs its frame, once a window.
    @Test func framesAreReadWhole() throws {
        let requests = try SparseShards(40, samples: 100, frames: 10).plan { $0.shuffle = .global }.requests
        #expect(requests.deliveredByteCount == 400_000_000)
        #expect(requests.readByteCount > 6 * 400_000_000 && requests.readByteCount <= 10 * 400_000_000)
    }

    /// Few large samples and many small ones: each is read as it is, not as the mean.
    @Test func lengthsAreThoseOfTheIndex() throws {
        // One of a hundred has 5 MB and is five reads, the others lie apart and are one each.
        let shards = try SparseShards(10, samples: 1000, lengths: { $0 % 100 == 50 ? 5_000_000 : 10_000 })
        let requests = try shards.plan { $0.shuffle = .global }.requests
        #expect(requests.deliveredByteCount == 10 * shards.byteCount)
        #expect((10_200...10_400).contains(requests.count), "\(requests.count)")
    }

    /// More memory makes larger windows of blocks, and less makes smaller ones of anything.
    @Test func windowsFollowTheMemory() throws {
        let shards = try SparseShards(40, samples: 100)
        func requests(_ memory: Int, _ shuffle: Shuffle) throws -> PlanSummary.Requests {
            try shards.plan {
                $0.shuffle = shuffle
                $0.memory = ByteCount(memory)
            }.requests
        }
        #expect(try requests(1 << 30, .global).windowSteps == 5)
        #expect(try requests(1 << 30, .block(400)).windowSteps == 25)
        let small = try requests(48 << 20, .block(400))
        #expect(small.windowSteps < 5)
        #expect(small.count > (try requests(1 << 30, .block(400)).count))
        let error = #expect(throws: HeadraceError.self) { try requests(1 << 20, .global) }
        #expect(error?.code == .budget)
    }

    /// Parts of a long epoch give nearly what all of it gives.
    @Test func longEpochsAreEstimated() throws {
        let shards = try SparseShards(400, samples: 2000, sampleBytes: 5000)
        let requests = try shards.plan { $0.shuffle = .block(8) }.requests
        #expect(requests.batches == 50_000 && requests.plannedBatches < 5000)
        let share = Double(try #require(requests.deliveredByteCount)) / 4e9
        #expect((0.97...1.03).contains(share), "\(share)")
        // 100,000 blocks, each one or two reads.
        #expect((90_000...110_000).contains(requests.count), "\(requests.count)")
    }

    /// A billion samples for a thousand ranks, and also brought together by length.
    @Test func aBillionSamples() throws {
        let shards = try SparseShards(1000, samples: 1_000_000, sampleBytes: 1000)
        func plan(_ bucketWindow: Int?) throws -> PlanSummary {
            try shards.plan {
                $0.shuffle = .global
                $0.worldSize = 1024
                $0.batchSize = 4
                // Too little to keep a table of rows: they are read one by one.
                $0.memory = ByteCount(64 << 20)
                $0.bucketWindow = bucketWindow
            }
        }
        let whole = try plan(nil)
        #expect(whole.batchesPerRank == 244_141 && whole.rowsPerRank == 976_562)
        #expect(whole.droppedCount == 512)
        #expect(whole.requests.plannedBatches == RequestSimulation.sampledRows / 4)
        #expect((990_000_000...1_000_000_000).contains(whole.requests.count))
        #expect(try plan(1000).requests.plannedBatches <= RequestSimulation.sampledRows / 4)
    }

    /// A mixture can have more bytes than can be counted.
    @Test func anEpochBeyondAllBounds() throws {
        let large = try SparseShards(1, samples: 1000)
        let small = try SparseShards(1, samples: 1)
        var options = LoaderOptions()
        options.shuffle = .global
        options.mixing = Mixing(weights: [1, (1 << 31) - 1], until: .all)
        let plan = try PlanSummary(
            PlanRequest(Dataset(shards: [large.pattern, small.pattern], options: options)))
        #expect(plan.dataSets[1].deliveredCount > 2_000_000_000_000 && plan.droppedCount == 0)
        #expect(plan.requests.count > 0)
        #expect(plan.repeatedCount == plan.dataSets[1].deliveredCount - 1)
    }

    @Test(arguments: UnevenRanks.allCases) func theTailIsToldApart(uneven: UnevenRanks) throws {
        let plan = try SparseShards(10, samples: 100).plan {
            $0.uneven = uneven
            $0.lastBatch = .drop
            $0.worldSize = 7
        }
        let tail = [plan.droppedCount, plan.paddedCount, plan.repeatedCount]
        #expect(tail == (uneven == .drop ? [104, 0, 0] : uneven == .pad ? [0, 8, 0] : [0, 0, 8]))
        #expect(plan.batchesPerRank == (uneven == .drop ? 8 : 9))
        #expect(plan.warnings.isEmpty == (uneven != .drop))
    }

    /// Worked out by hand: 4 nodes, 400 MB, caches of 60 MB.
    @Test func cacheHits() throws {
        let shards = try SparseShards(40, samples: 100)
        func cache(_ limit: Int, _ nodes: Int, _ affinity: Affinity, _ shuffle: Shuffle) throws -> NodeCache {
            try #require(
                try shards.plan(cacheLimit: limit) {
                    $0.shuffle = shuffle
                    $0.worldSize = 8
                    $0.nodes = nodes
                    $0.affinity = affinity
                }.cache)
        }
        let random = try cache(60_000_000, 4, .none, .global)
        #expect(random.nodeByteCount == 100_000_000 && random.firstEpochHits == 0)
        #expect(abs(random.secondEpochHits - 0.15) < 1e-9)
        #expect(abs(try cache(60_000_000, 4, .node, .global).secondEpochHits - 0.6) < 1e-9)
        #expect(try cache(1 << 40, 4, .node, .global).secondEpochHits == 1)
        // A node keeps no more than it has read.
        #expect(try cache(1 << 40, 4, .none, .global).secondEpochHits == 0.25)
        #expect(try cache(100_000_000, 1, .none, .global).secondEpochHits == 0.25)
        // What is not shuffled is the same in each epoch.
        #expect(try cache(50_000_000, 4, .none, .none).secondEpochHits == 0.5)
    }

    @Test func slowStorageIsWarnedOf() throws {
        let shards = try SparseShards(40, samples: 100)
        func warnings(_ shuffle: Shuffle, _ tier: Tier) throws -> [String] {
            let dataset = Dataset(shards.pattern).batched(16).with { $0.shuffle = shuffle }
            return try PlanSummary(PlanRequest(dataset, tier: tier)).warnings
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
        let shards = try SparseShards(10, samples: 100)
        func plan(_ nodes: Int?) throws -> PlanSummary {
            try shards.plan {
                $0.shuffle = .global
                $0.affinity = .node
                $0.worldSize = 8
                $0.nodes = nodes
            }
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
        let counts = (0..<30).map { _ in 100 + Int(random.below(100)) }
        let fixture = try LoaderFixture(counts: counts) { _ in 1 }
        func warnings(_ steps: Int?) throws -> [String] {
            try PlanSummary(
                PlanRequest(
                    Dataset(fixture.pattern).batched(1).shuffled(seed: 0, buffer: 8).repeated(40).with {
                        $0.steps = steps
                        $0.worldSize = 4
                    })
            ).warnings
        }
        #expect(try warnings(nil).contains { $0.contains("epochs differ") })
        #expect(try warnings(500).contains { $0.contains("epochs differ") } == false)
    }

    @Test func nothingToDeliverIsSaid() throws {
        let plan = try SparseShards(1, samples: 3).plan { $0.worldSize = 8 }
        #expect(plan.batchesPerRank == 0 && plan.droppedCount == 3 && plan.requests.count == 0)
        #expect(plan.warnings.contains { $0.contains("no batch") })
    }

    @Test(arguments: [
        "", "buffer", "buffer:", "buffer:0", "block:-1", "block:1e3", "globals", "block:99999999999999999999",
    ])
    func noShuffle(words: String) {
        #expect(throws: HeadraceError.self) { try Shuffle(planWords: words) }
    }
}
