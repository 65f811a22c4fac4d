import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// What several ranks get of a streamed walk, and how the walk is chosen for them.
@Suite struct RankLoaderTests {
    /// Whole shards for each rank, equally many rows for all, whatever the shards are.
    @Test(arguments: [1, 2, 3, 5]) func streamedRanksMakeEquallyManyBatches(worldSize: Int) throws {
        let fixture = try LoaderFixture(counts: [40, 7, 23, 31, 12, 9, 28])
        let counts = fixture.keys.map(\.count)
        let ways: [(Shuffle, UnevenRanks, LastBatch)] = [
            (.none, .drop, .keep), (.buffer(20), .drop, .drop), (.none, .pad, .keep),
            (.buffer(20), .pad, .drop),
        ]
        // One rank alone is not made equal to others: of it, only `last` decides.
        for (shuffle, uneven, last) in ways where worldSize > 1 || uneven == .drop {
            let dataset = Dataset(fixture.pattern).batched(8, last: last).repeated(2).with {
                $0.walk = .streamed
                $0.shuffle = shuffle
            }
            var delivered = [[String]](repeating: [], count: 2)
            var shapes: Set<[Int]> = []
            var dropped = 0
            var padded = 0
            for rank in 0..<worldSize {
                let (batches, report) = try deliver(
                    dataset.sharded(rank: rank, of: worldSize, uneven: uneven))
                shapes.insert(batches.map { $0.keys.count + $0.padding })
                let half = Array(0..<batches.count / 2)
                #expect(batches.map(\.index) == half + half)
                for epoch in 0..<2 {
                    delivered[epoch] += batches.filter { $0.epoch == epoch }.flatMap(\.keys)
                }
                expectBalance(report)
                dropped += report.dropped
                padded += report.padded
            }
            #expect(shapes.count == 1, "\(shuffle) \(uneven) \(last): \(shapes)")
            var expectedDrop = 0
            var expectedPadding = 0
            for epoch in 0..<2 {
                #expect(Set(delivered[epoch]).count == delivered[epoch].count)
                let share = try ShardShare(
                    counts: counts, sizes: counts,
                    ShardShare.Request(
                        worldSize: worldSize, batchSize: 8, uneven: uneven, last: last,
                        isShuffled: shuffle != .none, seed: 0, epoch: epoch))
                let leftOut = try #require(share.droppedCount)
                expectedDrop += leftOut
                expectedPadding += try #require(share.surplusCount)
                #expect(delivered[epoch].count == 150 - leftOut)
            }
            #expect(dropped == expectedDrop && padded == expectedPadding)
            #expect(dropped == 300 - delivered[0].count - delivered[1].count)
        }
    }

    /// A share that is read in order is its shards in lanes.
    @Test func aRankReadsItsShardsAsAStreamedWalkDoes() throws {
        let fixture = try LoaderFixture(counts: [40, 7, 23, 31])
        let counts = fixture.keys.map(\.count)
        let share = try ShardShare(
            counts: counts, sizes: counts,
            ShardShare.Request(
                worldSize: 2, batchSize: 8, uneven: .drop, last: .keep, isShuffled: false, seed: 0, epoch: 0))
        for rank in 0..<2 {
            let keys = try drain(
                Dataset(fixture.pattern).batched(8).sharded(rank: rank, of: 2).with {
                    $0.walk = .streamed
                    $0.lanes = 1
                }
            ).keys
            let expected = share.shards[rank].flatMap { fixture.keys[$0] }
            #expect(keys == Array(expected.prefix(keys.count)) && keys.count == share.rowsPerRank)
        }
    }

    @Test func withoutCountsTheStepsMustBeGiven() throws {
        let fixture = try LoaderFixture(counts: [20, 20, 20, 20])
        for shard in 0..<4 {
            try FileManager.default.removeItem(atPath: fixture.folder("shard\(shard)/.headrace"))
        }
        let dataset = Dataset(fixture.pattern).batched(8)
        let error = #expect(throws: HeadraceError.self) { try dataset.sharded(rank: 0, of: 2).loader() }
        #expect(error?.code == .usage && error?.message.contains("headrace index") == true)
        var keys: [String] = []
        for rank in 0..<2 {
            let (batches, report) = try deliver(
                dataset.sharded(rank: rank, of: 2).with { $0.steps = 4 })
            #expect(batches.map(\.keys.count) == [8, 8, 8, 8])
            expectBalance(report)
            #expect(report.dropped == 8)
            keys += batches.flatMap(\.keys)
        }
        #expect(Set(keys).count == 64)
    }

    /// The walk is chosen by what is there, and the report says which and why.
    @Test func severalRanksWalkByTheIndexWhereThereIsOne() throws {
        let fixture = try LoaderFixture(counts: [20, 20])
        let dataset = Dataset(fixture.pattern).batched(8)
        #expect(try drain(dataset).report.walk.hasPrefix("streamed: "))
        #expect(try drain(dataset.sharded(rank: 0, of: 2)).report.walk.hasPrefix("indexed: "))
        #expect(try drain(dataset.shuffled(seed: 1, block: 4)).report.walk.hasPrefix("indexed: "))
        try FileManager.default.removeItem(
            atPath: ShardIndexLayout.path(forShard: fixture.folder("shard1/s-000.tar")))
        // The manifest still counts its samples.
        let report = try drain(dataset.sharded(rank: 0, of: 2)).report
        #expect(report.walk.hasPrefix("streamed: ") && report.walk.contains("no index"), "\(report.walk)")
    }

    /// Known before the first read, and the same for all ranks.
    @Test func theNumberOfBatchesIsKnownAtOnce() throws {
        let fixture = try LoaderFixture(counts: [20, 13])
        for rank in 0..<3 {
            for uneven in UnevenRanks.allCases {
                let loader = try Dataset(fixture.pattern).shuffledGlobally(seed: 1).batched(4)
                    .sharded(rank: rank, of: 3, uneven: uneven).loader()
                #expect(loader.batchesPerEpoch == 3)
            }
        }
    }

    @Test func indexesMayLieInAFolderOfTheirOwn() throws {
        let fixture = try LoaderFixture(counts: [20])
        let folder = TemporaryFolder()
        let shard = fixture.folder("shard0/s-000.tar")
        let index = ShardIndexLayout.path(forShard: shard)
        try folder.write("s-000.tar.index", [UInt8](try Data(contentsOf: URL(fileURLWithPath: index))))
        try FileManager.default.removeItem(atPath: index)
        let dataset = Dataset(shard).shuffledGlobally(seed: 1)
        #expect(throws: HeadraceError.self) { try dataset.loader() }
        #expect(
            try drain(dataset.with { $0.indexFolder = folder.path }).keys.sorted() == fixture.keys[0].sorted()
        )
    }
}
