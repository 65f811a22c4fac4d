import Foundation
import HeadraceCore
import HeadraceStorage
import Testing

@testable import Headrace

/// A loader with a cache delivers what it delivers without, and reads the shards once.
@Suite struct CachedLoaderTests {
    private static let walks: [Shuffle] = [.none, .buffer(16), .block(8), .global]

    /// The loader's result with reads by the workers, or by a thread of its own.
    private func read(
        _ dataset: Dataset, _ storage: PlanLoaderTests.CountedStorage, hasFetchThread: Bool = false
    ) throws -> LoaderReport {
        let access = StorageAccess(
            storage: storage, hasFetchThread: hasFetchThread, reason: "counted for a test"
        ) { PlanLoaderTests.CountedReader(storage) }
        let loader = try LoaderBuilder(dataset, .host, access: access).open()
        while try loader.next() != nil {}
        loader.close()
        return loader.report()
    }

    @Test(arguments: walks, [false, true])
    func theSameIsDelivered(shuffle: Shuffle, hasFetchThread: Bool) throws {
        let fixture = try LoaderFixture()
        let cache = TemporaryFolder()
        let plain = Dataset(fixture.pattern).batched(16).repeated(2).with {
            $0.shuffle = shuffle
            $0.seed = 5
            $0.digest = true
        }
        let cached = plain.cached(at: cache("c"), limit: .gigabytes(1))
        let expected = try drain(plain).report
        let sizes = try ShardPattern.resolve([fixture.pattern]).reduce(0) {
            try $0 + LocalFiles.entry($1).size
        }
        let storage = try PlanLoaderTests.CountedStorage()
        let first = try read(cached, storage, hasFetchThread: hasFetchThread)
        #expect(first.digest == expected.digest)
        #expect(first.setDigest == expected.setDigest)
        // Each byte once, in two epochs: the look at the shards before the start brought the first ones.
        #expect(storage.bytes.load(ordering: .relaxed) == sizes)
        #expect(first.cache?.filledBytes == sizes)
        #expect(first.cache?.refetchedBytes == 0)
        #expect(first.cache?.passed.isEmpty == true)
        #expect(first.epochOrigins.map(\.epoch) == [0, 1])
        #expect(first.epochOrigins[1].origins.localBytes == 0)
        #expect(first.epochOrigins[1].hitRate == 1)
        #expect(first.epochOrigins[1].origins.cache == expected.epochOrigins[1].origins.localBytes)
        // The next run, and one with other workers, read no more of the shards.
        let second = try read(cached.workers(3), storage, hasFetchThread: !hasFetchThread)
        #expect(second.digest == expected.digest)
        #expect(storage.bytes.load(ordering: .relaxed) == sizes)
        #expect(second.cache?.hitRate == 1)
        #expect(second.origins.localBytes == 0)
        #expect(second.deviceBytes == nil || second.deviceBytes == 0)
    }

    @Test func compressedShardsAreKeptAsTheyAre() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst")
        let cache = TemporaryFolder()
        let plain = Dataset(fixture.pattern).batched(8).repeated(2).with { $0.digest = true }
        let cached = plain.cached(at: cache("c"), limit: .gigabytes(1))
        #expect(try drain(cached).report.digest == drain(plain).report.digest)
        #expect(try drain(cached).report.cache?.hitRate == 1)
    }

    @Test func aCacheWithoutRoomIsNoHindrance() throws {
        let fixture = try LoaderFixture()
        let cache = TemporaryFolder()
        let plain = Dataset(fixture.pattern).batched(8).with { $0.digest = true }
        let report = try drain(plain.cached(at: cache("c"), limit: .bytes(0))).report
        #expect(report.digest == (try drain(plain).report.digest))
        #expect(report.cache?.hits == 0)
        #expect(report.cache?.passed.map(\.reason) == ["limit"])
        #expect(report.notes.filter { $0.contains("passed the cache") }.count == 1)
    }

    @Test func aShardThatWasReplacedIsReadAnew() throws {
        let fixture = try LoaderFixture(counts: [30])
        let other = try LoaderFixture(counts: [30]) { $0 * 11 % 400 }
        let cache = TemporaryFolder()
        let cached = Dataset(fixture.pattern).batched(8).with { $0.digest = true }
            .cached(at: cache("c"), limit: .gigabytes(1))
        let path = try ShardPattern.resolve([fixture.pattern])[0]
        let before = try drain(cached).report
        let source = try ShardPattern.resolve([other.pattern])[0]
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: source, toPath: path)
        try? FileManager.default.removeItem(
            atPath: URL(fileURLWithPath: path).deletingLastPathComponent().path + "/.headrace")
        let after = try drain(cached).report
        #expect(
            after.digest
                == (try drain(Dataset(other.pattern).batched(8).with { $0.digest = true }).report.digest))
        #expect(after.digest != before.digest)
    }

    @Test func whatMakesNoSenseIsRefused() throws {
        let fixture = try LoaderFixture(counts: [30])
        let cache = TemporaryFolder()
        try cache.write("data/other.txt", [1])
        let dataset = Dataset(fixture.pattern).batched(8)
        func error(_ dataset: Dataset) -> HeadraceError? {
            #expect(throws: HeadraceError.self) { try dataset.loader().close() }
        }
        #expect(error(dataset.cached(at: cache("data"), limit: .gigabytes(1)))?.code == .usage)
        let direct = dataset.cached(at: cache("c"), limit: .gigabytes(1)).with { $0.direct = true }
        #expect(error(direct)?.code == .usage)
        // A block on its way has to fit into the budget as well.
        let small = dataset.cached(at: cache("c"), limit: .gigabytes(1)).memory(.mebibytes(4))
        #expect(error(small)?.code == .budget)
        #expect(try FileManager.default.contentsOfDirectory(atPath: cache("data")) == ["other.txt"])
    }

    /// The clairvoyant knows the plan: blocks of other data make room for those that are to come, and of these as many are
    /// hit as there is room for.
    @Test func theClairvoyantKnowsThePlan() throws {
        let fixture = try LoaderFixture(counts: [Int](repeating: 4, count: 24)) { _ in 700 }
        let other = try LoaderFixture(counts: [Int](repeating: 4, count: 12)) { _ in 700 }
        let cache = TemporaryFolder()
        let shardBytes = try LocalFiles.entry(try ShardPattern.resolve([fixture.pattern])[0]).size
        // Room for half of the shards; the trailers of the blocks are 48 bytes each.
        let limit = ByteCount(12 * (shardBytes + 48))
        func report(_ pattern: String, _ policy: CachePolicy, epochs: Int) throws -> LoaderReport {
            let dataset = Dataset(pattern).batched(4).repeated(epochs).workers(1)
                .cached(at: cache("c"), limit: limit, policy: policy).with {
                    $0.lanes = 1
                    $0.shuffle = .buffer(8)
                    $0.seed = 3
                }
            return try drain(dataset).report
        }
        _ = try report(other.pattern, .noEvict, epochs: 1)
        let kept = try report(fixture.pattern, .noEvict, epochs: 3)
        #expect(kept.cache?.hits == 0 && kept.cache?.evictedBlocks == 0)
        let foreseen = try report(fixture.pattern, .clairvoyant, epochs: 4)
        #expect(foreseen.cache?.evictedBlocks ?? 0 >= 12)
        for epoch in foreseen.epochOrigins.dropFirst() { #expect(abs(epoch.hitRate - 0.5) < 0.05) }
    }
}
