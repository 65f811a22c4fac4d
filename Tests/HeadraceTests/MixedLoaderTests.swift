import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// Several data sets in one loader, by weights.
@Suite struct MixedLoaderTests {
    /// Three data sets of unlike sizes, each in a pattern of its own; keys begin with the data set's name.
    struct MixedFixture {
        let folder = TemporaryFolder()
        var patterns: [String] = []
        var counts: [[Int]] = []

        init(_ counts: [[Int]], suffix: String = "tar") throws {
            self.counts = counts
            for (dataSet, shards) in counts.enumerated() {
                for (shard, count) in shards.enumerated() {
                    let samples = (0..<count).map { index in
                        (
                            "d\(dataSet)-\(shard)-\(index)",
                            [("bin", LoaderFixture.bytes(1 + index % 50, seed: index))]
                        )
                    }
                    _ = try Packer(
                        [ListSource(samples: samples)],
                        options: PackOptions(output: folder("d\(dataSet)/s\(shard)-%03d.\(suffix)"))
                    ).run()
                }
                patterns.append(folder("d\(dataSet)/s*.\(suffix)"))
            }
        }

        var samples: [Int] { counts.map { $0.reduce(0, +) } }

        func dataset(_ weights: [Int], until end: MixtureEnd) -> Dataset {
            Dataset.mixing(Array(zip(patterns, weights)).map { (shards: $0.0, weight: $0.1) }, until: end)
                .shuffledGlobally(seed: 9).batched(16)
        }
    }

    private static func dataSet(of key: String) -> Int { Int(String(key.dropFirst().prefix(1)))! }

    /// At every place of the epoch a data set has had its share of the places so far, up to less than two of them.
    @Test(arguments: MixtureEnd.allCases, [[3, 1, 1], [1, 10, 2], [7, 7, 7]])
    func proportionsAreExactAllTheWay(end: MixtureEnd, weights: [Int]) throws {
        let fixture = try MixedFixture([[50, 31], [60], [9, 1, 30]])
        let (keys, report) = try drain(fixture.dataset(weights, until: end))
        var had = [0, 0, 0]
        for (place, key) in keys.enumerated() {
            had[Self.dataSet(of: key)] += 1
            for index in 0..<3 {
                let share = Double((place + 1) * weights[index]) / Double(weights.reduce(0, +))
                #expect(abs(Double(had[index]) - share) < 2)
            }
        }
        let unique = Set(keys).count
        switch end {
        case .all:
            #expect(unique == fixture.samples.reduce(0, +))
            #expect(report.repeated == keys.count - unique && report.dropped == 0)
        case .firstExhausted:
            #expect(unique == keys.count && report.repeated == 0)
            #expect(report.dropped == fixture.samples.reduce(0, +) - keys.count)
            // One more round would need a sample that some data set does not have.
            #expect(zip(had, fixture.samples).contains { $0 + 1 >= $1 })
        }
        expectBalance(report)
    }

    /// A data set that is walked a second time comes in another order.
    @Test func aSecondPassIsAnotherOrder() throws {
        let fixture = try MixedFixture([[200], [25]])
        let keys = try drain(fixture.dataset([1, 1], until: .all)).keys
        let small = keys.filter { Self.dataSet(of: $0) == 1 }
        let passes = stride(from: 0, to: small.count - 24, by: 25).map { Array(small[$0..<$0 + 25]) }
        try #require(passes.count >= 7)
        #expect(Set(passes).count == passes.count)
        #expect(Set(passes.map { Set($0) }).count == 1, "each pass has each sample once")
    }

    @Test(arguments: [1, 2, 3, 5], MixtureEnd.allCases)
    func ranksTogetherHaveTheMixture(worldSize: Int, end: MixtureEnd) throws {
        let fixture = try MixedFixture([[50, 31], [60], [39]])
        let dataset = fixture.dataset([2, 1, 1], until: end)
        let whole = try drain(dataset).keys
        var keys: [String] = []
        var counts: Set<Int> = []
        var dropped = 0
        var repeated = 0
        for rank in 0..<worldSize {
            let (part, report) = try drain(dataset.sharded(rank: rank, of: worldSize))
            keys += part
            counts.insert(part.count)
            dropped += report.dropped
            repeated += report.repeated
        }
        #expect(counts.count == 1)
        #expect(keys.sorted() == whole.prefix(keys.count).sorted())
        #expect(repeated == keys.count - Set(keys).count)
        #expect(Set(keys).count + dropped == 180)
    }

    /// Exactly, at every batch, and the digests go on.
    @Test func aMixtureResumes() throws {
        let fixture = try MixedFixture([[50], [31]], suffix: "tfrecord")
        let dataset = fixture.dataset([1, 2], until: .all).repeated(2).with { $0.digest = true }
        let (whole, report) = try deliver(dataset)
        for (number, batch) in whole.enumerated() {
            let (rest, ended) = try deliver(
                dataset.workers(1 + number % 3), resuming: LoaderState(parsing: batch.state.encoded()))
            #expect(rest == Array(whole[(number + 1)...]))
            #expect(ended.digest == report.digest)
        }
        let state = whole[2].state
        let error = #expect(throws: HeadraceError.self) {
            try fixture.dataset([1, 3], until: .all).repeated(2).with { $0.digest = true }.loader(
                resuming: state)
        }
        #expect(error?.message.contains("mix") == true, "\(error?.message ?? "")")
    }

    @Test func whatCannotBeMixedIsRefused() throws {
        let fixture = try MixedFixture([[5], [6]])
        func refusal(_ dataset: Dataset) -> HeadraceError? {
            #expect(throws: HeadraceError.self) { try dataset.loader() }
        }
        let mixed = fixture.dataset([1, 1], until: .all)
        #expect(refusal(mixed.with { $0.mixing = Mixing(weights: [1, 1, 1]) })?.code == .usage)
        #expect(refusal(mixed.with { $0.mixing = Mixing(weights: [1, 0]) })?.code == .usage)
        #expect(refusal(mixed.shuffled(seed: 1))?.message.contains("streamed") == true)
        #expect(refusal(mixed.affineToNodes(1))?.code == .usage)
        try FileManager.default.removeItem(atPath: fixture.folder("d1/.headrace"))
        #expect(refusal(mixed)?.message.contains("headrace index") == true)
    }

    @Test func weightsAsWords() throws {
        #expect(try Mixing(words: "3,1").weights == [3, 1])
        #expect(try Mixing(words: "0.7,0.25,.05").weights == [70, 25, 5])
        #expect(try Mixing(words: "2.,1").weights == [2, 1])
        for words in [
            "", "1,", "a,1", "-1,2", "1,0", "0.0,1", "1.0000000001,1", "1e3,1", "99999999999999999999,1",
        ] {
            #expect(throws: HeadraceError.self, "\(words)") { try Mixing(words: words) }
        }
    }
}
