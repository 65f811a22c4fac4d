import HeadraceCore
import Testing

@testable import Headrace

@Suite struct LoaderOrderTests {
    @Test(arguments: [
        "s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tar.lz4", "s-%03d.tfrecord", "s-%03d.tfrecord.zst",
        "s-%03d.tfrecord.lz4",
    ])
    func deliversLanesInTurn(name: String) throws {
        let fixture = try LoaderFixture(name)
        for lanes in [1, 2, 3, 8] {
            let dataset = Dataset(fixture.pattern).batched(16).with {
                $0.lanes = lanes
                $0.parsesExamples = true
            }
            #expect(try drain(dataset).keys == fixture.expectedOrder(lanes: lanes))
        }
    }

    @Test func payloadsAreThoseThatWerePacked() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst")
        let loader = try Dataset(fixture.pattern).decoding("cls", with: .integer).decoding("bin", with: .raw)
            .batched(10).loader()
        var seen = 0
        while let batch = try loader.next() {
            let numbers = try batch["cls"].elements(as: Int64.self)
            let bytes = try batch["bin"]
            #expect(try batch["cls"].shape == [batch.count])
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

    @Test func digestDoesNotDependOnHowItIsRead() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst", counts: [40, 7, 23, 161, 1])
        let base = Dataset(fixture.pattern).shuffled(seed: 7, buffer: 32).batched(16).repeated(2).with {
            $0.digest = true
        }
        let reference = try drain(base.workers(1)).report.digest
        #expect(reference != nil)
        for workers in [1, 2, 4] {
            for engine in EngineRequest.allCases {
                for depth in [1, 4, 32] {
                    let variant = base.workers(workers).with {
                        $0.engine = engine
                        $0.queueDepth = depth
                        $0.prefetch = depth
                    }
                    do {
                        #expect(
                            try drain(variant).report.digest == reference, "\(workers) \(engine) \(depth)")
                    } catch let error as HeadraceError where error.code == .ringRefused {
                        print("SKIPPED: io_uring: \(error.message)")
                    }
                }
            }
        }
        for memory in [4, 16, 64] {
            #expect(try drain(base.memory(.mebibytes(memory))).report.digest == reference)
        }
    }

    /// Past the page cache: whole blocks are read, whatever the sizes of shards and frames.
    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tar.lz4", "s-%03d.tfrecord"])
    func directReadsDeliverTheSame(name: String) throws {
        let sizes = [1, 700, 4096, 8191, 1_300_000, 12, 5_000_000, 513]
        let fixture = try LoaderFixture(name, counts: [30, 8, 3]) { sizes[$0 % sizes.count] }
        let base = Dataset(fixture.pattern).batched(4).with {
            $0.parsesExamples = true
            $0.digest = true
        }
        let reference = try drain(base).report.digest
        for engine in EngineRequest.allCases {
            for depth in [1, 32] {
                let direct = base.with {
                    $0.direct = true
                    $0.engine = engine
                    $0.queueDepth = depth
                }
                do {
                    let report = try drain(direct).report
                    #expect(report.digest == reference, "\(engine) \(depth)")
                    #expect(report.isDirect)
                } catch let error as HeadraceError
                    where error.code == .ringRefused || error.code == .directRefused
                {
                    print("SKIPPED: direct reads: \(error.message)")
                }
            }
        }
    }

    @Test func digestIsThatOfKeysNamesAndPayloadsInOrder() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [5, 3])
        var ordered = OrderedDigest()
        var set = SetDigest()
        for key in fixture.expectedOrder(lanes: 8) {
            var sample = Array(key.utf8).withUnsafeBytes { SampleDigest(key: $0) }
            let parts = key.dropFirst().split(separator: "-").map { Int($0)! }
            let number = fixture.keys[..<parts[0]].reduce(0) { $0 + $1.count } + parts[1]
            for (name, payload) in [("bin", fixture.payloads[key]!), ("cls", Array("\(number)".utf8))] {
                Array(name.utf8).withUnsafeBytes { name in
                    payload.withUnsafeBytes { sample.add(name: name, payload: $0) }
                }
            }
            ordered.add(sample.value)
            set.add(sample.value)
        }
        let report = try drain(Dataset(fixture.pattern).batched(3).with { $0.digest = true }).report
        #expect(report.digest == ordered.hexadecimal)
        #expect(report.setDigest == set.hexadecimal)
        // Fields that are not asked for do not count.
        let part = try drain(Dataset(fixture.pattern).decoding("cls", with: .raw).with { $0.digest = true })
            .report
        #expect(part.digest != report.digest)
    }

    @Test func shufflingPermutesEachEpochAnew() throws {
        let fixture = try LoaderFixture()
        let dataset = Dataset(fixture.pattern).shuffled(seed: 3, buffer: 50).batched(8).repeated(2)
        let keys = try drain(dataset).keys
        let all = fixture.keys.flatMap { $0 }.sorted()
        let (first, second) = (Array(keys[..<all.count]), Array(keys[all.count...]))
        #expect(first.sorted() == all)
        #expect(second.sorted() == all)
        #expect(first != second)
        #expect(first != fixture.expectedOrder(lanes: 8))
        #expect(try drain(dataset).keys == keys)
        #expect(try drain(dataset.shuffled(seed: 4, buffer: 50)).keys != keys)
    }

    @Test func batchesOfAnEpochAreFullButForTheLast() throws {
        let fixture = try LoaderFixture(counts: [10, 10, 5])
        for last in LastBatch.allCases {
            let loader = try Dataset(fixture.pattern).batched(8, last: last).repeated(2).loader()
            var counts: [[Int]] = [[], []]
            while let batch = try loader.next() {
                #expect(batch.index == counts[batch.epoch].count)
                counts[batch.epoch].append(batch.count)
            }
            #expect(counts == Array(repeating: last == .keep ? [8, 8, 8, 1] : [8, 8, 8], count: 2))
            let report = loader.report()
            #expect(report.found == report.samples + report.skipped + report.dropped)
            #expect(report.dropped == (last == .keep ? 0 : 2))
        }
    }

    @Test func samplesOfEverySizeComeWhole() throws {
        // Larger than the head room, than a chunk, and than several chunks, in every order.
        let sizes = [10, 5_000_000, 300_000, 0, 700_000, 12_000_000, 1, 4_200_000, 600_000, 100, 9_000_000]
        for name in ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tfrecord.lz4", "s-%03d.tfrecord"] {
            let fixture = try LoaderFixture(name, counts: [sizes.count]) { sizes[$0] }
            for memory in [48, 256] {
                let loader = try Dataset(fixture.pattern).batched(2).memory(.mebibytes(memory)).with {
                    $0.parsesExamples = true
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
                #expect(keys == fixture.keys[0], "\(name) \(memory)")
                #expect(loader.report().peakBytes <= memory << 20)
            }
        }
    }
}
