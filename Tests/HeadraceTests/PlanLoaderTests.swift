import Foundation
import HeadraceCore
import HeadraceFormats
import HeadraceStorage
import Synchronization
import Testing

@testable import Headrace

/// A plan is held against the loader that it is of: what is read, what is delivered, which walk, what is refused.
@Suite struct PlanLoaderTests {
    /// The local files, each read of which is counted.
    final class CountedStorage: Storage {
        let local: LocalStorage
        let requests = Atomic<Int>(0)
        let bytes = Atomic<Int>(0)

        init() throws { local = try LocalStorage(engine: .pread) }

        func open(_ path: String) throws(HeadraceError) -> any StorageFile { try local.open(path) }
        func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader { CountedReader(self) }

        var access: StorageAccess {
            StorageAccess(storage: self, hasFetchThread: false, reason: "counted for a test") {
                CountedReader(self)
            }
        }
    }

    final class CountedReader: Reader {
        private let reader = BlockingReader(queueDepth: 64)
        private let storage: CountedStorage

        init(_ storage: CountedStorage) { self.storage = storage }

        var queueDepth: Int { reader.queueDepth }
        var inFlight: Int { reader.inFlight }

        func submit(_ requests: [ReadRequest]) {
            storage.requests.add(requests.count, ordering: .relaxed)
            storage.bytes.add(requests.reduce(0) { $0 + $1.length }, ordering: .relaxed)
            reader.submit(requests)
        }

        func wait(minimum: Int, into completions: inout [ReadCompletion]) {
            reader.wait(minimum: minimum, into: &completions)
        }

        func wake() {}
        func close() { reader.close() }
    }

    /// Reads all ranks of `dataset` and compares what was read with its plan.
    private func expectReads(_ dataset: Dataset, worldSize: Int = 1) throws {
        let plan = try PlanSummary(PlanRequest(dataset.with { $0.worldSize = worldSize }))
        let storage = try CountedStorage()
        var dropped = 0
        var repeated = 0
        var padded = 0
        for rank in 0..<worldSize {
            let loader = try LoaderBuilder(
                dataset.with {
                    $0.rank = rank
                    $0.worldSize = worldSize
                }, .host, access: storage.access
            ).open()
            var batches = 0
            var rows = 0
            while let batch = try loader.next() {
                batches += 1
                rows += batch.count + batch.padding
            }
            let report = loader.report()
            loader.close()
            #expect(batches == plan.batchesPerRank && rows == plan.rowsPerRank, "\(dataset)")
            #expect(report.walk.hasPrefix(plan.walk.rawValue))
            dropped += report.dropped
            repeated += report.repeated
            padded += report.padded
        }
        let tail = [dropped, repeated, padded]
        #expect(tail == [plan.droppedCount, plan.repeatedCount, plan.paddedCount], "\(dataset)")
        #expect(plan.requests.plannedBatches == plan.requests.batches)
        #expect(plan.requests.count == storage.requests.load(ordering: .relaxed), "\(dataset)")
        #expect(plan.requests.readByteCount == storage.bytes.load(ordering: .relaxed), "\(dataset)")
    }

    /// Samples up to 90 kB, so that an epoch has several windows.
    private func fixture(_ name: String) throws -> LoaderFixture {
        try LoaderFixture(name, counts: [140, 57, 123, 1, 61]) { $0 * 37 % 900 * 100 }
    }

    @Test(arguments: ["s-%03d.tar", "s-%03d.tfrecord", "s-%03d.tar.zst", "s-%03d.tfrecord.lz4"])
    func indexedReadsAreThoseOfTheLoader(name: String) throws {
        let fixture = try fixture(name)
        for shuffle in [Shuffle.none, .global, .block(16)] {
            let dataset = Dataset(fixture.pattern).batched(16).with {
                $0.walk = .indexed
                $0.shuffle = shuffle
                $0.seed = 3
            }
            try expectReads(dataset)
            try expectReads(dataset.with { $0.uneven = .repeating }, worldSize: 3)
            try expectReads(
                dataset.with {
                    $0.uneven = .pad
                    $0.lastBatch = .drop
                    $0.memory = ByteCount(24 << 20)
                }, worldSize: 2)
        }
        let global = Dataset(fixture.pattern).batched(8).shuffledGlobally(seed: 1)
        try expectReads(global.bucketedByLength(window: 7), worldSize: 2)
        try expectReads(global.affineToNodes(2), worldSize: 4)
    }

    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tfrecord.lz4"])
    func streamedReadsAreThoseOfTheLoader(name: String) throws {
        let fixture = try fixture(name)
        for memory in [16 << 20, 256 << 20] {
            let dataset = Dataset(fixture.pattern).batched(16).memory(ByteCount(memory))
            let plan = try PlanSummary(PlanRequest(dataset))
            let loader = try dataset.loader()
            while try loader.next() != nil {}
            let tally = loader.engine.lock.withLock { loader.engine.tally }
            #expect(plan.walk == .streamed && plan.requests.count == tally.fetchRequests)
            // Of a compressed shard the seek table is read by itself.
            let all = try dataset.filePaths().reduce(0) { try $0 + LocalFiles.entry($1).size }
            #expect(plan.requests.readByteCount == all && tally.fetchedBytes <= all)
        }
    }

    /// Mixtures: what each data set delivers, repeats and leaves out, by the keys that came.
    @Test(arguments: MixtureEnd.allCases, UnevenRanks.allCases)
    func mixturesAreThoseOfTheLoader(end: MixtureEnd, uneven: UnevenRanks) throws {
        let fixture = try MixedLoaderTests.MixedFixture([[50, 31], [60], [9, 1, 30]])
        for (weights, worldSize) in [([3, 1, 1], 1), ([1, 10, 2], 3), ([7, 7, 7], 2)] {
            let dataset = fixture.dataset(weights, until: end).with {
                $0.uneven = uneven
                $0.lastBatch = .drop
            }
            try expectReads(dataset, worldSize: worldSize)
            let plan = try PlanSummary(PlanRequest(dataset.with { $0.worldSize = worldSize }))
            var seen: [[String: Int]] = [[:], [:], [:]]
            for rank in 0..<worldSize {
                for key in try drain(dataset.sharded(rank: rank, of: worldSize, uneven: uneven)).keys {
                    seen[Int(String(key.dropFirst().prefix(1)))!][key, default: 0] += 1
                }
            }
            for (index, part) in plan.dataSets.enumerated() {
                let delivered = seen[index].values.reduce(0, +)
                #expect(part.sampleCount == fixture.samples[index] && part.weight == weights[index])
                #expect(part.deliveredCount == delivered, "\(end) \(uneven) \(weights) \(index)")
                #expect(part.repeatedCount == delivered - seen[index].count)
                #expect(part.leftOutCount == fixture.samples[index] - seen[index].count)
            }
        }
    }

    // MARK: What is walked and what is refused

    /// Both refuse with the same words, or both walk the same way.
    private func expectAgreement(_ dataset: Dataset, _ refusal: HeadraceError.Code?, _ what: Comment) throws {
        var loaderError: HeadraceError?
        var planError: HeadraceError?
        var walks: [String] = []
        do throws(HeadraceError) {
            let loader = try dataset.loader()
            walks.append(loader.report().walk)
            loader.close()
        } catch { loaderError = error }
        do throws(HeadraceError) {
            let plan = try PlanSummary(PlanRequest(dataset))
            walks.append("\(plan.walk.rawValue): \(plan.walkReason)")
        } catch { planError = error }
        #expect(loaderError?.code == refusal && planError?.code == refusal, what)
        if planError?.code != .usage {
            #expect(
                planError?.message == loaderError?.message && planError?.place == loaderError?.place, what)
        }
        #expect(Set(walks).count == (refusal == nil ? 1 : 0), what)
    }

    /// Options of the second of two ranks, and how both refuse them.
    private static let cases: [(HeadraceError.Code?, @Sendable (inout LoaderOptions) -> Void)] = [
        (nil, { _ in }),
        (
            nil,
            {
                $0.worldSize = 1; $0.rank = 0
            }
        ),
        (nil, { $0.shuffle = .buffer(9) }),
        (
            nil,
            {
                $0.walk = .streamed; $0.uneven = .pad
            }
        ),
        (
            .usage,
            {
                $0.walk = .streamed; $0.uneven = .repeating
            }
        ),
        (
            nil,
            {
                $0.walk = .streamed; $0.uneven = .repeating; $0.worldSize = 1; $0.rank = 0
            }
        ),
        (
            .usage,
            {
                $0.walk = .streamed; $0.shuffle = .global
            }
        ),
        (
            .usage,
            {
                $0.walk = .indexed; $0.shuffle = .buffer(4)
            }
        ),
        (
            .usage,
            {
                $0.walk = .indexed; $0.steps = 3
            }
        ),
        (
            nil,
            {
                $0.walk = .streamed; $0.steps = 3
            }
        ),
        (
            .usage,
            {
                $0.walk = .streamed; $0.steps = 3000
            }
        ),
        (
            .usage,
            {
                $0.walk = .streamed; $0.worldSize = 9
            }
        ),
        (.usage, { $0.mixing = Mixing(weights: [1, 2]) }),
        (
            .usage,
            {
                $0.mixing = Mixing(weights: [1]); $0.affinity = .node; $0.nodes = 1
            }
        ),
        (
            .usage,
            {
                $0.mixing = Mixing(weights: [1]); $0.walk = .streamed
            }
        ),
        (nil, { $0.mixing = Mixing(weights: [1]) }),
        (.usage, { $0.bucketWindow = 0 }),
        (.usage, { $0.bucketWindow = 1 << 30 }),
        (
            .usage,
            {
                $0.bucketWindow = 4; $0.shuffle = .buffer(4)
            }
        ),
        (nil, { $0.bucketWindow = 4 }),
        (.usage, { $0.affinity = .node }),
        (
            .usage,
            {
                $0.affinity = .node; $0.nodes = 3
            }
        ),
        (
            nil,
            {
                $0.affinity = .node; $0.nodes = 2
            }
        ),
        (.usage, { $0.shuffle = .block(1 << 40) }),
        (.usage, { $0.shuffle = .buffer(1 << 29) }),
        (.usage, { $0.batchSize = 0 }),
        (.usage, { $0.batchSize = 1 << 25 }),
        (.usage, { $0.epochs = 0 }),
        (.usage, { $0.memory = ByteCount(0) }),
        (.usage, { $0.memory = ByteCount(1 << 50) }),
        (
            .usage,
            {
                $0.rank = nil; $0.worldSize = nil; $0.rank = 4
            }
        ),
    ]

    @Test func optionsAreJudgedAsTheLoaderDoes() throws {
        let fixture = try LoaderFixture()
        let two = Dataset(fixture.pattern).batched(4).sharded(rank: 1, of: 2)
        for (number, one) in Self.cases.enumerated() {
            try expectAgreement(two.with(one.1), one.0, "case \(number)")
        }
    }

    /// A manifest with counts is no index.
    @Test func countsAloneAreNoIndex() throws {
        let fixture = try LoaderFixture()
        for shard in fixture.keys.indices {
            let index = fixture.folder("shard\(shard)/.headrace/s-000.tar.index")
            try FileManager.default.removeItem(atPath: index)
        }
        let two = Dataset(fixture.pattern).batched(4).sharded(rank: 0, of: 2)
        try expectAgreement(two, nil, "auto")
        let plan = try PlanSummary(PlanRequest(two))
        #expect(plan.walk == .streamed && plan.isAutomatic && plan.sampleCount == 132)
        #expect(plan.batchesPerRank == 16 && plan.walkReason.contains("headrace index"))
        try expectAgreement(two.shuffledGlobally(seed: 1), .notFound, "global")
        try expectAgreement(two.with { $0.walk = .indexed }, .notFound, "indexed")
        try expectAgreement(two.with { $0.walk = .streamed }, nil, "streamed")
    }

    /// A manifest is enough for who streams: neither indexes nor the shards' bytes are looked at.
    @Test func streamingNeedsCountsAlone() throws {
        let fixture = try LoaderFixture()
        for shard in fixture.keys.indices {
            try FileManager.default.removeItem(
                atPath: fixture.folder("shard\(shard)/.headrace/s-000.tar.index"))
            // Bytes that are no shard; the loader would stumble, and the plan has no reason to look.
            let path = fixture.folder("shard\(shard)/s-000.tar")
            let size = try LocalFiles.entry(path).size
            try fixture.folder.write("shard\(shard)/s-000.tar", [UInt8](repeating: 0x55, count: size))
        }
        for worldSize in [1, 2] {
            let plan = try PlanSummary(
                PlanRequest(
                    Dataset(fixture.pattern).batched(4).with {
                        $0.worldSize = worldSize
                        $0.walk = .streamed
                    }))
            #expect(plan.sampleCount == 132 && plan.batchesPerRank == (worldSize == 1 ? 33 : 16))
        }
    }

    /// The index of a plain gzip file tells counts, and cannot be walked by.
    @Test func whatCannotSeekIsStreamed() throws {
        let fixture = try LoaderFixture(counts: [20, 20])
        for shard in 0..<2 {
            let path = fixture.folder("shard\(shard)/s-000.tar")
            guard try run("gzip", [path]) != nil else { return }
            let found = try #require(try ShardIndexer(path + ".gz").find())
            try IndexStore(folder: nil).write(found, forShard: path + ".gz")
        }
        let two = Dataset(fixture.pattern + ".gz").batched(4).sharded(rank: 0, of: 2)
        try expectAgreement(two.shuffledGlobally(seed: 1), .unsupported, "global")
        let error = #expect(throws: HeadraceError.self) {
            try PlanSummary(PlanRequest(two.shuffledGlobally(seed: 1)))
        }
        #expect(error?.message.contains("headrace pack") == true)
        try expectAgreement(two, nil, "auto")
        let plan = try PlanSummary(PlanRequest(two))
        #expect(plan.walk == .streamed && plan.rowsPerRank == 20)
        // One rank asks for no index; its plan counts by what there is.
        #expect(try PlanSummary(PlanRequest(Dataset(fixture.pattern + ".gz"))).sampleCount == 40)
    }

    /// Indexes in a folder of their own, DALI's beside the shards, and the counts of wids.
    @Test func everyIndexIsFound() throws {
        let fixture = try LoaderFixture(counts: [20, 7])
        let shards = (0..<2).map { fixture.folder("shard\($0)/s-000.tar") }
        var found: [FoundIndex] = []
        for (number, path) in shards.enumerated() {
            try FileManager.default.removeItem(atPath: fixture.folder("shard\(number)/.headrace"))
            var indexer = ShardIndexer(path)
            indexer.keepsMembers = true
            found.append(try #require(try indexer.find()))
        }
        let two = Dataset(fixture.pattern).batched(4).sharded(rank: 0, of: 2)
        try expectAgreement(two, .usage, "nothing")
        let entries = try zip(shards, found).map { shard, index in
            try #require(
                try IndexExport(folder: nil, replaces: false).widsEntry(index, forShard: shard) { false })
        }
        for (entry, shard) in zip(entries, shards) {
            _ = try IndexExport(folder: nil, replaces: true).writeWids([(shard: shard, entry: entry)])
        }
        try expectAgreement(two, nil, "wids")
        #expect(try PlanSummary(PlanRequest(two)).sampleCount == 27)
        try expectAgreement(two.shuffledGlobally(seed: 0), .notFound, "wids, global")
        for (shard, index) in zip(shards, found) {
            _ = try IndexExport(folder: nil, replaces: false).writeDALI(index, forShard: shard)
        }
        try expectAgreement(two.shuffledGlobally(seed: 0), nil, "dali")
        #expect(try PlanSummary(PlanRequest(two)).walk == .indexed)
    }

    @Test func anIndexFolderIsLookedInto() throws {
        let fixture = try LoaderFixture("a-%03d.tar", counts: [20])
        let shard = fixture.folder("shard0/a-000.tar")
        try FileManager.default.moveItem(
            atPath: fixture.folder("shard0/.headrace"), toPath: fixture.folder("elsewhere"))
        let dataset = Dataset(shard).batched(4).shuffledGlobally(seed: 0)
        try expectAgreement(dataset, .notFound, "nowhere")
        try expectAgreement(dataset.with { $0.indexFolder = fixture.folder("elsewhere") }, nil, "elsewhere")
    }

    /// An index that leaves damaged samples out is used by who says that defects are to be skipped.
    @Test func whatAnIndexLeavesOutIsSaid() throws {
        let fixture = try LoaderFixture(counts: [20])
        let shard = fixture.folder("shard0/s-000.tar")
        var found = try #require(try ShardIndexer(shard).find())
        found = FoundIndex(
            header: ShardIndexHeader(
                format: .tar, codec: .none, shardByteCount: found.header.shardByteCount,
                uncompressedByteCount: found.header.uncompressedByteCount, sampleCount: 20,
                headCRC32C: found.header.headCRC32C, tailCRC32C: found.header.tailCRC32C,
                leavesOutDamage: true),
            fields: found.fields, frames: [], rows: found.rows, leftOut: [], leftOutCount: 1,
            returningKeyCount: 0, members: nil, ignored: [:])
        try IndexStore(folder: nil).write(found, forShard: shard)
        let dataset = Dataset(shard).batched(4).shuffledGlobally(seed: 0)
        try expectAgreement(dataset, .indexMismatch, "fail")
        let skipping = dataset.onDefect(.skip(limit: 5))
        try expectAgreement(skipping, nil, "skip")
        let warnings = try PlanSummary(PlanRequest(skipping)).warnings
        #expect(warnings.contains { $0.contains("leaves out damaged samples") })
    }
}
