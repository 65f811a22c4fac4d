import Foundation
import HeadraceCore
import Testing

@testable import Headrace

@Suite struct LoaderLifetimeTests {
    @Test func droppingEarlyAtAnyPointFreesEverything() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst", counts: [300, 300])
        for engine in [EngineRequest.pread, .auto] {
            for taken in [0, 1, 2, 5, 17] {
                weak var engineObject: Engine?
                do {
                    let loader = try Dataset(fixture.pattern).shuffled(seed: 1, buffer: 64).batched(8)
                        .repeated(nil)
                        .workers(2).with { $0.engine = engine }.loader()
                    engineObject = loader.engine
                    for _ in 0..<taken { _ = try loader.next() }
                }
                #expect(engineObject == nil, "\(taken)")
            }
        }
    }

    @Test func heldBatchesOutliveTheLoader() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [100])
        var held: Batch?
        do {
            let loader = try Dataset(fixture.pattern).batched(10).loader()
            held = try loader.next()
        }
        let batch = try #require(held)
        let bytes = try batch["bin"]
        for (row, key) in batch.keys.enumerated() {
            #expect(bytes.bytes(ofRow: row) == fixture.payloads[key])
        }
    }

    @Test func holdingTooManyBatchesThrowsAtOnceAndRecovers() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [100])
        let loader = try Dataset(fixture.pattern).batched(10).with { $0.heldBatches = 2 }.loader()
        var held = [try loader.next(), try loader.next()]
        let error = #expect(throws: HeadraceError.self) { try loader.next() }
        #expect(error?.code == .heldBatches)
        #expect(error?.message.contains("2 batches") == true)
        held.removeAll()
        var rest = 0
        while let batch = try loader.next() { rest += batch.count }
        #expect(rest == 80)
    }

    @Test func tensorsKeepTheirBatch() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [100])
        let loader = try Dataset(fixture.pattern).batched(10).with { $0.heldBatches = 1 }.loader()
        var tensor: Tensor? = try loader.next()?["bin"]
        #expect(tensor?.count == 10)
        #expect(throws: HeadraceError.self) { try loader.next() }
        tensor = nil
        #expect(try loader.next()?.count == 10)
    }

    @Test func asyncIterationYieldsTheSame() async throws {
        let fixture = try LoaderFixture("s-%03d.tfrecord.zst", counts: [50, 70])
        let dataset = Dataset(fixture.pattern).shuffled(seed: 9, buffer: 20).batched(7).with {
            $0.parsesExamples = true
        }
        var keys: [String] = []
        for try await batch in try dataset.loader() { keys += batch.keys }
        #expect(keys == (try drain(dataset).keys))
    }

    /// The consumer waits first, the workers get stuck later: it must be told.
    @Test func aTaskThatWaitsIsToldWhenMemoryRunsOut() async throws {
        // The first samples are small, so opening estimates too little.
        let fixture = try LoaderFixture("s-%03d.tar", counts: [400]) { $0 < 60 ? 10 : 60_000 }
        let dataset = Dataset(fixture.pattern).batched(300).memory(.mebibytes(8)).with { $0.heldBatches = 1 }
        let error = await #expect(throws: HeadraceError.self) {
            for try await _ in try dataset.loader() {}
        }
        #expect(error?.code == .budget)
    }

    @Test func manySmallShardsDoNotTakeASlabEach() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst", counts: Array(repeating: 2, count: 120)) { _ in 2000
        }
        let (keys, report) = try drain(
            Dataset(fixture.pattern).shuffled(seed: 1, buffer: 200).batched(64).memory(.mebibytes(64)))
        #expect(keys.count == 240)
        #expect(report.peakBytes < 32 << 20)
    }

    // Threads of our own in these two: a concurrent loop of Dispatch's runs one turn after the other where there is
    // one core. The limit is for what hangs, not for what is slow.
    @Test(.timeLimit(.minutes(10))) func severalThreadsMayTakeBatchesAndAllSeeTheEnd() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst", counts: [300, 200])
        for _ in 0..<20 {
            let loader = try Dataset(fixture.pattern).batched(7).workers(3).with { $0.heldBatches = 8 }
                .loader()
            let lock = Lock()
            nonisolated(unsafe) var taken: [String] = []
            let takers = try (0..<3).map { number in
                try HeadraceCore.Thread(name: "taker-\(number)") {
                    while let batch = try? loader.next() {
                        lock.withLock { taken += batch.keys }
                    }
                }
            }
            for taker in takers { taker.join() }
            #expect(taken.sorted() == fixture.keys.flatMap { $0 }.sorted())
        }
    }

    @Test(.timeLimit(.minutes(10))) func closingWhileAnotherThreadReadsEndsBoth() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [300])
        for round in 0..<20 {
            let loader = try Dataset(fixture.pattern).batched(3).repeated(nil).loader()
            let reader = try HeadraceCore.Thread(name: "reader") { while (try? loader.next()) != nil {} }
            usleep(UInt32(500 * round))
            loader.close()
            reader.join()
            #expect(try loader.next() == nil)
        }
    }

    @Test func cancellingATaskEndsItsIteration() async throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [50])
        let loader = try Dataset(fixture.pattern).batched(10).repeated(nil).loader()
        let (started, starter) = AsyncStream<Void>.makeStream()
        let task = Task {
            var count = 0
            for try await _ in loader {
                count += 1
                starter.yield()
                // Where the pool has one thread, a loader that always has a batch ready would keep it.
                await Task.yield()
            }
            return count
        }
        for await _ in started { break }
        task.cancel()
        #expect(try await task.value > 0)
    }

    @Test func budgetThatCannotHoldTheOptionsIsRefusedWithTheFigure() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [100, 100]) { _ in 50_000 }
        let error = #expect(throws: HeadraceError.self) {
            try Dataset(fixture.pattern).shuffled(seed: 1, buffer: 1000).memory(.mebibytes(16)).loader()
        }
        #expect(error?.code == .budget)
        #expect(error?.message.contains("needed") == true)
    }

    @Test func memoryStaysInTheBudgetOverEpochs() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst", counts: [400, 400, 400]) { 2000 + $0 % 5000 }
        let loader = try Dataset(fixture.pattern).shuffled(seed: 1, buffer: 256).batched(16).repeated(10)
            .memory(.mebibytes(24)).loader()
        var batches = 0
        while try loader.next() != nil { batches += 1 }
        #expect(batches == 750)
        #expect(loader.report().peakBytes <= 24 << 20)
    }

    @Test func nonsenseOptionsAreUsageErrors() throws {
        let fixture = try LoaderFixture(counts: [3])
        let changes: [(inout LoaderOptions) -> Void] = [
            { $0.batchSize = 0 }, { $0.lanes = 0 }, { $0.epochs = 0 }, { $0.workers = 0 },
            { $0.queueDepth = 0 },
            { $0.prefetch = 0 }, { $0.heldBatches = 0 }, { $0.shuffle = .buffer(0) },
        ]
        for change in changes {
            let error = #expect(throws: HeadraceError.self) {
                try Dataset(fixture.pattern).with(change).loader()
            }
            #expect(error?.code == .usage)
        }
    }

    @Test func directoryGivesTheSamplesThatPackingItGives() throws {
        let folder = TemporaryFolder()
        for index in 0..<50 {
            try folder.write("src/d\(index % 3)/f\(index).txt", LoaderFixture.bytes(index * 31, seed: index))
            try folder.write("src/d\(index % 3)/f\(index).cls", Array("\(index)".utf8))
        }
        try folder.write("src/big.bin", LoaderFixture.bytes(6_000_000, seed: 1))
        _ = try Packer([DirectorySource(folder("src"))], options: PackOptions(output: folder("p.tar.zst")))
            .run()
        let options: (inout LoaderOptions) -> Void = { $0.digest = true }
        let direct = try drain(Dataset(folder("src")).batched(8).with(options))
        let packed = try drain(Dataset(folder("p.tar.zst")).batched(8).with(options))
        #expect(direct.keys == packed.keys)
        #expect(direct.keys.count == 51)
        #expect(direct.report.digest == packed.report.digest)
    }
}
