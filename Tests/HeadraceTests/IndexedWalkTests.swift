import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// What an indexed walk delivers is what the plan says, whatever reads it.
@Suite struct IndexedWalkTests {
    static let orders: [Shuffle] = [.none, .global, .block(16)]

    private func indexed(_ pattern: String, _ shuffle: Shuffle, seed: UInt64 = 5) -> Dataset {
        Dataset(pattern).with {
            $0.walk = .indexed
            $0.shuffle = shuffle
            $0.seed = seed
            $0.parsesExamples = true
        }
    }

    @Test(arguments: [
        "s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tar.lz4", "s-%03d.tfrecord", "s-%03d.tfrecord.zst",
        "s-%03d.tfrecord.lz4",
    ])
    func deliversThePlan(name: String) throws {
        let fixture = try LoaderFixture(name)
        for shuffle in Self.orders {
            let oracle = try WalkOracle(fixture, shuffle, seed: 5)
            let ways: [(Int, UnevenRanks, LastBatch)] = [
                (1, .drop, .keep), (3, .drop, .keep), (2, .pad, .keep), (2, .repeating, .drop),
            ]
            for (worldSize, uneven, last) in ways {
                try expectPlan(
                    indexed(fixture.pattern, shuffle).batched(7, last: last).repeated(2), oracle,
                    worldSize: worldSize, uneven: uneven)
            }
        }
    }

    /// Every rank of every world size, with every way to end an epoch.
    @Test(arguments: orders)
    func everyRankGetsItsPart(shuffle: Shuffle) throws {
        let fixture = try LoaderFixture(counts: [20, 7, 11, 33, 1])
        let oracle = try WalkOracle(fixture, shuffle, seed: 5)
        for worldSize in 1...5 {
            for uneven in UnevenRanks.allCases {
                for last in LastBatch.allCases {
                    try expectPlan(
                        indexed(fixture.pattern, shuffle).batched(4, last: last), oracle,
                        worldSize: worldSize, uneven: uneven)
                }
            }
        }
    }

    /// Holds what all ranks deliver against the plan, batch by batch, and the accounts against each other.
    private func expectPlan(
        _ dataset: Dataset, _ oracle: WalkOracle, worldSize: Int, uneven: UnevenRanks
    ) throws {
        let last = dataset.options.lastBatch
        let epochs = try #require(dataset.options.epochs)
        let share = try oracle.share(
            worldSize: worldSize, batchSize: dataset.options.batchSize, uneven: uneven, last: last)
        let what: Comment = "\(dataset) \(worldSize) \(uneven) \(last)"
        var seen = [[String: Int]](repeating: [:], count: epochs)
        var dropped = 0
        var repeated = 0
        var padded = 0
        for rank in 0..<worldSize {
            let (batches, report) = try deliver(dataset.sharded(rank: rank, of: worldSize, uneven: uneven))
            for epoch in 0..<epochs {
                let expected = oracle.batches(epoch: epoch, rank: rank, of: share)
                let found = batches.filter { $0.epoch == epoch }
                #expect(found.map(\.keys) == expected.map(\.keys), what)
                #expect(found.map(\.padding) == expected.map(\.padding), what)
                #expect(found.map(\.index) == Array(0..<share.stepCount), what)
                for key in found.flatMap(\.keys) { seen[epoch][key, default: 0] += 1 }
            }
            expectBalance(report, what)
            #expect(report.walk.hasPrefix("indexed"))
            dropped += report.dropped
            repeated += report.repeated
            padded += report.padded
        }
        // In the data set = unique delivered + dropped, and what was delivered besides is accounted for.
        let unique = seen.reduce(0) { $0 + $1.count }
        let delivered = seen.reduce(0) { $0 + $1.values.reduce(0, +) }
        #expect(oracle.numbers.count * epochs == unique + dropped, what)
        #expect(delivered == unique + repeated, what)
        #expect(repeated + padded == share.surplusCount * epochs, what)
    }

    @Test func epochsDifferAndSeedsDiffer() throws {
        let fixture = try LoaderFixture()
        let all = fixture.keys.flatMap { $0 }
        for shuffle in [Shuffle.global, .block(16)] {
            let dataset = indexed(fixture.pattern, shuffle).batched(10).repeated(3)
            let keys = try drain(dataset).keys
            var epochs: [[String]] = []
            for epoch in 0..<3 { epochs.append(Array(keys.dropFirst(epoch * all.count).prefix(all.count))) }
            #expect(epochs.allSatisfy { $0.sorted() == all.sorted() })
            #expect(Set(epochs).count == 3)
            #expect(try drain(dataset).keys == keys)
            #expect(try drain(dataset.with { $0.seed = 6 }).keys != keys)
        }
        #expect(try drain(indexed(fixture.pattern, .none).batched(10)).keys == all)
    }

    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tfrecord.lz4"])
    func payloadsAreThoseThatWerePacked(name: String) throws {
        let fixture = try LoaderFixture(name)
        let loader = try indexed(fixture.pattern, .global).decoding("cls", with: .integer)
            .decoding("bin", with: .raw).batched(10).loader()
        var seen = 0
        while let batch = try loader.next() {
            let numbers = try batch["cls"].elements(as: Int64.self)
            let bytes = try batch["bin"]
            for (row, key) in batch.keys.enumerated() {
                #expect(bytes.bytes(ofRow: row) == fixture.payloads[key])
                let parts = key.dropFirst().split(separator: "-").map { Int($0)! }
                let before = fixture.keys[..<parts[0]].reduce(0) { $0 + $1.count }
                #expect(numbers[row] == Int64(before + parts[1]))
                seen += 1
            }
        }
        #expect(seen == fixture.payloads.count)
    }

    /// Shards that others wrote, with names that take several headers, and an index that we made of them.
    @Test(arguments: ["gnu", "pax", "ustar"])
    func shardsOfOthersAreWalkedByTheirIndex(format: String) throws {
        let folder = TemporaryFolder()
        var keys: [[String]] = []
        for shard in 0..<3 {
            var names: [String] = []
            for index in 0..<30 {
                // The longest names do not fit into one header.
                let padding = String(repeating: "n", count: format == "ustar" ? index * 2 : index * 4)
                let key = "d\(shard)/\(padding)\(100 + index)"
                try folder.write("\(shard)/\(key).bin", LoaderFixture.bytes(index * 31, seed: index))
                try folder.write("\(shard)/\(key).txt", Array("\(index)".utf8))
                names += ["\(key).bin", "\(key).txt"]
            }
            keys.append((0..<30).map { String(names[2 * $0].dropLast(4)) })
            let path = folder("x\(shard).tar")
            guard
                let made = try run(
                    "tar", ["--format=\(format)", "-C", folder("\(shard)"), "-cf", path] + names)
            else { return }
            try #require(made.status == 0)
            let found = try #require(try ShardIndexer(path).find())
            try IndexStore(folder: nil).write(found, forShard: path)
        }
        for shuffle in Self.orders {
            let oracle = try WalkOracle(keys: keys, shuffle, seed: 5)
            try expectPlan(
                indexed(folder("x{0..2}.tar"), shuffle).batched(8), oracle, worldSize: 2, uneven: .pad)
        }
    }

    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tar.lz4", "s-%03d.tfrecord"])
    func digestDoesNotDependOnHowItIsRead(name: String) throws {
        let sizes = [1, 700, 4096, 8191, 130_000, 12, 513, 50_000]
        let fixture = try LoaderFixture(name, counts: [40, 7, 1, 61]) { sizes[$0 % sizes.count] }
        for shuffle in Self.orders {
            let base = indexed(fixture.pattern, shuffle).batched(16).repeated(2).with { $0.digest = true }
            let reference = try drain(base.workers(1)).report
            #expect(reference.digest != nil)
            let streamed = try drain(
                base.with {
                    $0.walk = .streamed
                    $0.shuffle = .none
                }
            ).report
            #expect(reference.setDigest == streamed.setDigest)
            for (workers, depth) in [(1, 4), (2, 1), (4, 32)] {
                for engine in EngineRequest.allCases {
                    for direct in [false, true] {
                        let variant = base.workers(workers).with {
                            $0.engine = engine
                            $0.queueDepth = depth
                            $0.prefetch = depth
                            $0.direct = direct
                        }
                        do {
                            let report = try drain(variant).report
                            #expect(
                                report.digest == reference.digest,
                                "\(workers) \(engine) \(depth) direct \(direct)")
                            expectBalance(report)
                        } catch let error as HeadraceError
                            where error.code == .ringRefused || error.code == .directRefused
                        {
                            print("SKIPPED: \(engine), direct \(direct): \(error.message)")
                        }
                    }
                }
            }
        }
    }

    /// From plenty down to too little: the same batches, or a refusal at opening that names the bytes; never an end in
    /// the middle.
    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst"])
    func smallBudgetsDeliverTheSameOrAreRefused(name: String) throws {
        let fixture = try LoaderFixture(name, counts: [40, 7, 23, 161, 1]) { 2000 + $0 * 37 % 900 }
        let base = indexed(fixture.pattern, .global).batched(16).workers(2).with {
            $0.digest = true
            $0.prefetch = 2
            $0.heldBatches = 2
        }
        let reference = try drain(base).report.digest
        var accepted = 0
        var refused = 0
        for kibibytes in [65536, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 4] {
            let loader: Loader
            do {
                loader = try base.memory(.kibibytes(kibibytes)).loader()
            } catch {
                #expect(error.code == .budget && error.message.contains("memory"), "\(error)")
                #expect(kibibytes < 128 || error.message.contains("needed"), "\(error)")
                refused += 1
                continue
            }
            #expect(refused == 0, "a smaller budget than one that was refused")
            while try loader.next() != nil {}
            let report = loader.report()
            #expect(report.digest == reference, "\(kibibytes) KiB")
            #expect(report.peakBytes <= kibibytes << 10, "\(kibibytes) KiB")
            accepted += 1
        }
        #expect(accepted >= 2 && refused >= 2, "\(accepted) \(refused)")
    }

    /// A consumer that holds as many batches as it may, in a budget that was accepted, is never left without memory; be
    /// the samples behind the first ones a thousand times as large.
    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst"], [10_000, 200_000])
    func heldBatchesHaveTheirMemory(name: String, larger: Int) throws {
        let fixture = try LoaderFixture(name, counts: [40, 100]) { $0 < 40 ? 3000 : larger }
        for (mebibytes, held) in [(64, 4), (32, 4), (24, 2), (16, 1)] {
            let dataset = indexed(fixture.pattern, .global).batched(4).memory(.mebibytes(mebibytes)).with {
                $0.heldBatches = held
                $0.prefetch = 2
            }
            let loader = try dataset.loader()
            var inHand: [Batch] = []
            var count = 0
            while let batch = try loader.next() {
                count += batch.count
                inHand.append(batch)
                // The oldest stays, those behind it come and go.
                if inHand.count == held { inHand.remove(at: held > 1 ? 1 : 0) }
            }
            #expect(count == 140, "\(mebibytes) MiB, \(held) held")
        }
    }

    /// Large samples that lie together behind many small ones: the mean of all says nothing of them.
    @Test func aWindowEndsByTheBytesOfItsSamples() throws {
        let fixture = try LoaderFixture(counts: [1000, 40]) { $0 < 1000 ? 10 : 500_000 }
        let dataset = indexed(fixture.pattern, .none).batched(4).memory(.mebibytes(16)).with {
            $0.heldBatches = 1
            $0.prefetch = 1
        }
        let (keys, report) = try drain(dataset)
        #expect(keys == fixture.keys.flatMap { $0 })
        #expect(report.peakBytes <= 16 << 20)
    }

    /// Samples that are larger than chunks, and unlike those that opening looked at.
    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tfrecord"])
    func samplesOfEverySizeComeWhole(name: String) throws {
        let sizes = [10, 5_000_000, 300_000, 0, 700_000, 12_000_000, 1, 4_200_000, 600_000, 100, 9_000_000]
        let fixture = try LoaderFixture(name, counts: [sizes.count]) { sizes[$0] }
        let ways: [(Int, Shuffle)] = [(48, .global), (64, .block(3)), (256, .global), (48, .none)]
        for (memory, shuffle) in ways {
            let loader = try indexed(fixture.pattern, shuffle).batched(2).memory(.mebibytes(memory)).with {
                $0.prefetch = 1
                $0.heldBatches = 1
            }.loader()
            var keys: [String] = []
            while let batch = try loader.next() {
                let bytes = try batch["bin"]
                for (row, key) in batch.keys.enumerated() {
                    #expect(bytes.bytes(ofRow: row) == fixture.payloads[key])
                }
                keys += batch.keys
            }
            #expect(keys.sorted() == fixture.keys[0].sorted(), "\(name) \(memory)")
            #expect(loader.report().peakBytes <= memory << 20)
        }
    }

    /// Fewer samples than ranks, none at all, one: a loader that has nothing to deliver ends.
    @Test func smallDataSetsEnd() throws {
        for counts in [[1], [1, 1], [7]] {
            let fixture = try LoaderFixture(counts: counts)
            for uneven in UnevenRanks.allCases {
                try expectPlan(
                    indexed(fixture.pattern, .global).batched(4).repeated(3),
                    try WalkOracle(fixture, .global, seed: 5), worldSize: 3, uneven: uneven)
            }
        }
    }

    @Test func anEndlessWalkOfNothingIsRefused() throws {
        let fixture = try LoaderFixture(counts: [2])
        let loader = try indexed(fixture.pattern, .global).batched(4).repeated(nil).sharded(rank: 0, of: 3)
            .loader()
        let error = #expect(throws: HeadraceError.self) { while try loader.next() != nil {} }
        #expect(error?.code == .usage)
    }
}
