import Foundation
import Glibc
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// A loader that goes on from a state delivers exactly what the other one had left.
@Suite struct ResumeTests {
    private static func dataset(_ fixture: LoaderFixture, _ shuffle: Shuffle, _ walk: Walk) -> Dataset {
        Dataset(fixture.pattern).batched(16).with {
            $0.walk = walk
            $0.shuffle = shuffle
            $0.seed = 5
            $0.parsesExamples = true
        }
    }

    /// Another number of everything that must not matter.
    private static func varied(_ dataset: Dataset, _ number: Int) -> Dataset {
        dataset.workers(1 + number % 3).with {
            $0.prefetch = 1 + number % 5
            $0.heldBatches = 1 + number % 4
            $0.queueDepth = [1, 8, 32][number % 3]
            $0.memory = [nil, .mebibytes(16)][number % 2]
            if number % 4 == 3, isRingThere { $0.engine = .uring }
        }
    }

    /// Whether io_uring can be had here.
    private static let isRingThere: Bool = {
        do throws(HeadraceError) {
            _ = try StorageAccess.local(LoaderOptions().asking(for: .uring))
            return true
        } catch {
            print("SKIPPED: io_uring: \(error.message)")
            return false
        }
    }()

    struct Way: CustomTestStringConvertible, Sendable {
        var name: String
        var walk: Walk
        var shuffle: Shuffle
        var worldSize = 1
        var uneven = UnevenRanks.drop
        var last = LastBatch.keep

        var testDescription: String { "\(name) \(walk) \(shuffle) \(worldSize) \(uneven) \(last)" }
    }

    /// At every batch of two epochs, and so across their boundary too.
    @Test(arguments: [
        Way(name: "s-%03d.tar", walk: .indexed, shuffle: .global),
        Way(name: "s-%03d.tfrecord", walk: .indexed, shuffle: .block(24)),
        Way(name: "s-%03d.tar.zst", walk: .indexed, shuffle: .none, last: .drop),
        Way(name: "s-%03d.tar.lz4", walk: .indexed, shuffle: .global, worldSize: 3, uneven: .pad),
        Way(name: "s-%03d.tar", walk: .indexed, shuffle: .block(24), worldSize: 2, uneven: .repeating),
        Way(name: "s-%03d.tar", walk: .streamed, shuffle: .none),
        Way(name: "s-%03d.tar.zst", walk: .streamed, shuffle: .buffer(20)),
        Way(name: "s-%03d.tfrecord", walk: .streamed, shuffle: .buffer(50), last: .drop),
        Way(name: "s-%03d.tar", walk: .streamed, shuffle: .buffer(20), worldSize: 2, uneven: .pad),
        Way(name: "s-%03d.tar", walk: .streamed, shuffle: .none, worldSize: 2),
    ])
    func atEveryBatch(way: Way) throws {
        let fixture = try LoaderFixture(way.name)
        let base = Self.dataset(fixture, way.shuffle, way.walk).repeated(2).sharded(
            rank: way.worldSize - 1, of: way.worldSize, uneven: way.uneven
        ).with {
            $0.lastBatch = way.last
            $0.digest = true
        }
        let (whole, report) = try deliver(base)
        try #require(whole.count >= 4 && Set(whole.map(\.epoch)) == [0, 1])
        for (number, batch) in whole.enumerated() {
            let state = try LoaderState(parsing: batch.state.encoded())
            #expect(state == batch.state)
            let (rest, ended) = try deliver(Self.varied(base, number), resuming: state)
            #expect(rest == Array(whole[(number + 1)...]), "behind batch \(number)")
            #expect(ended.digest == report.digest && ended.setDigest == report.setDigest)
            expectBalance(ended, "behind batch \(number)")
        }
        // Before the first batch, too.
        let start = try base.loader().state
        #expect(try deliver(base, resuming: start).batches == whole)
    }

    /// 200 places of three epochs of 5,000 samples, half of them in either order, and the two batches behind each.
    @Test(arguments: [Shuffle.global, .block(64)]) func atRandomPlaces(shuffle: Shuffle) throws {
        let fixture = try LoaderFixture(counts: [1500, 900, 2000, 600]) { $0 % 5 }
        let base = Self.dataset(fixture, shuffle, .indexed).batched(25).repeated(3)
        let whole = try deliver(base).batches
        try #require(whole.count == 600)
        var random = SplitMix64(shuffle == .global ? 2026 : 2027)
        for number in 0..<100 {
            let place = Int(random.below(UInt64(whole.count)))
            let (next, _) = try deliver(
                Self.varied(base, number), resuming: whole[place].state, limit: 2)
            #expect(next == Array(whole[(place + 1)...].prefix(2)), "behind batch \(place)")
        }
    }

    /// A job of 8 ranks goes on with 3 and then with 5: the epoch's samples are delivered once each.
    @Test(arguments: [Shuffle.global, .block(16), .none], UnevenRanks.allCases)
    func acrossWorldSizes(shuffle: Shuffle, uneven: UnevenRanks) throws {
        let fixture = try LoaderFixture(counts: [140, 77, 203, 61, 1])
        let all = fixture.keys.flatMap { $0 }
        let base = Self.dataset(fixture, shuffle, .indexed).batched(8)
        var seen: [String: Int] = [:]
        var state: LoaderState?
        var repeated = 0
        var dropped = 0
        let runs: [(Int, Int)] = [(8, 2), (3, 4), (5, Int.max)]
        for (worldSize, steps) in runs {
            var states: [LoaderState] = []
            var shapes: Set<[Int]> = []
            for rank in 0..<worldSize {
                let (batches, report) = try deliver(
                    base.sharded(rank: rank, of: worldSize, uneven: uneven).workers(1 + rank % 2),
                    resuming: state, limit: steps)
                for key in batches.flatMap(\.keys) { seen[key, default: 0] += 1 }
                shapes.insert(batches.map { $0.keys.count + $0.padding })
                states.append(try #require(batches.last?.state))
                guard steps == Int.max else { continue }
                expectBalance(report)
                dropped += report.dropped
                repeated += report.repeated
            }
            #expect(shapes.count == 1, "\(shapes)")
            // The state of any rank resumes them all.
            #expect(states.allSatisfy { $0.agrees(with: states[0]) })
            state = try LoaderState(parsing: states[worldSize / 2].encoded())
        }
        #expect(state?.position.epoch == 1 && state?.position.position == 0)
        let twice = seen.values.reduce(0) { $0 + $1 - 1 }
        #expect(twice == repeated && (uneven == .repeating || twice == 0))
        #expect(seen.count + dropped == all.count && (uneven == .drop || dropped == 0))
        #expect(dropped < 5)
        #expect(Set(seen.keys).isSubset(of: Set(all)))
    }

    /// The epoch behind a change of the world size is that of a job that always had the new one.
    @Test func theNextEpochKnowsNothingOfTheChange() throws {
        let fixture = try LoaderFixture(counts: [140, 77])
        let base = Self.dataset(fixture, .global, .indexed).batched(8).repeated(2)
        let first = try deliver(base.sharded(rank: 1, of: 4), limit: 2).batches
        for rank in 0..<2 {
            let changed = try deliver(base.sharded(rank: rank, of: 2), resuming: first[1].state).batches
            let always = try deliver(base.sharded(rank: rank, of: 2)).batches
            func secondEpoch(_ batches: [DeliveredBatch]) -> [[String]] {
                batches.filter { $0.epoch == 1 }.map(\.keys)
            }
            #expect(secondEpoch(changed) == secondEpoch(always))
            #expect(secondEpoch(always).count == 14)
        }
    }

    /// Another batch size is another dealing of what is left.
    @Test func theBatchSizeMayChangeInAnIndexedWalk() throws {
        let fixture = try LoaderFixture()
        let base = Self.dataset(fixture, .global, .indexed)
        let before = try deliver(base.batched(16), limit: 3).batches
        let behind = try deliver(base.batched(5), resuming: before[2].state).batches
        let keys = (before + behind).flatMap(\.keys)
        #expect(keys == (try drain(base.batched(7)).keys))
    }

    /// The same shards somewhere else, by another pattern, with counts known or not.
    @Test func theStateIsPortable() throws {
        let fixture = try LoaderFixture()
        let base = Self.dataset(fixture, .global, .indexed)
        let whole = try deliver(base).batches
        let moved = TemporaryFolder()
        for shard in 0..<5 {
            let from = fixture.folder("shard\(shard)")
            try FileManager.default.copyItem(atPath: from, toPath: moved("other\(shard)"))
        }
        let elsewhere = Dataset(moved("other{0..4}/s-000.tar"), options: base.options)
        #expect(try deliver(elsewhere, resuming: whole[3].state).batches == Array(whole[4...]))
    }

    // MARK: The state of a batch

    /// What was read ahead is in no state, and states do not change when more is delivered.
    @Test(arguments: [Walk.indexed, .streamed]) func prefetchedBatchesAreNotCounted(walk: Walk) throws {
        let fixture = try LoaderFixture()
        let base = Self.dataset(fixture, walk == .indexed ? .global : .buffer(20), walk)
        let whole = try deliver(base).batches
        let loader = try base.with {
            $0.prefetch = 8
            $0.heldBatches = 8
        }.loader()
        var held: [Batch] = []
        for number in 0..<5 {
            held.append(try #require(try loader.next()))
            #expect(loader.state == whole[number].state)
        }
        #expect(held.map(\.state) == whole.prefix(5).map(\.state))
        loader.close()
        #expect(held.map(\.state) == whole.prefix(5).map(\.state))
        #expect(loader.state == whole[4].state)
    }

    @Test func aFinishedRunHasNothingLeftUntilThereAreMoreEpochs() throws {
        let fixture = try LoaderFixture()
        for walk in Walk.allCases {
            let base = Self.dataset(fixture, walk == .indexed ? .global : .buffer(20), walk)
            let two = try deliver(base.repeated(2)).batches
            let one = try deliver(base.repeated(1)).batches
            let end = try #require(one.last?.state)
            #expect(try deliver(base.repeated(1), resuming: end).batches.isEmpty)
            #expect(try deliver(base.repeated(2), resuming: end).batches == Array(two[one.count...]))
        }
    }

    // MARK: Refusals

    private func refusal(_ dataset: Dataset, _ state: LoaderState) -> String {
        do throws(HeadraceError) {
            _ = try dataset.loader(resuming: state)
            return "accepted"
        } catch {
            return error.code == .usage ? error.message : "another error: \(error)"
        }
    }

    @Test func whatDiffersIsNamed() throws {
        let fixture = try LoaderFixture()
        let indexed = Self.dataset(fixture, .global, .indexed)
        let streamed = Self.dataset(fixture, .buffer(20), .streamed)
        let byIndex = try deliver(indexed, limit: 2).batches[1].state
        let byStream = try deliver(streamed, limit: 2).batches[1].state
        let others = try LoaderFixture(counts: [40, 7, 23, 61, 2])
        func expect(_ words: [String], _ dataset: Dataset, _ state: LoaderState) {
            let message = refusal(dataset, state)
            for word in words { #expect(message.contains(word), "\(message)") }
        }
        expect(["'seed' was 5 and is 6"], indexed.with { $0.seed = 6 }, byIndex)
        expect(["'seed' was 5 and is 6"], streamed.with { $0.seed = 6 }, byStream)
        expect(["'shuffle' was global and is block:8"], indexed.with { $0.shuffle = .block(8) }, byIndex)
        expect(
            ["'shuffle' was buffer:20 and is buffer:21"], streamed.shuffled(seed: 5, buffer: 21), byStream)
        expect(["'last' was keep and is drop"], indexed.with { $0.lastBatch = .drop }, byIndex)
        expect(["'decode'", "cls"], indexed.decoding("cls", with: .integer), byIndex)
        expect(["'on_defect' was fail and is skip:1"], indexed.onDefect(.skip(limit: 1)), byIndex)
        expect(["'lanes' was 8 and is 2"], streamed.with { $0.lanes = 2 }, byStream)
        expect(["batches of 16", "batches of 8"], streamed.batched(8), byStream)
        expect(["2 ranks", "headrace index"], streamed.sharded(rank: 0, of: 2), byStream)
        expect(["indexed walk", "streamed"], streamed, byIndex)
        expect(["streamed walk", "indexed"], indexed, byStream)
        expect(["shard 4"], Self.dataset(others, .global, .indexed), byIndex)
        expect(["shard 4"], Self.dataset(others, .buffer(20), .streamed), byStream)
    }

    // MARK: A process that dies

    /// A process of its own that saves its state with every batch is killed at some moment: what it had delivered by
    /// its last state and what a second run delivers from there is the plan, nothing lost and nothing twice.
    @Test(arguments: [Walk.indexed, .streamed]) func afterAKill(walk: Walk) async throws {
        let fixture = try LoaderFixture(counts: [140, 77, 203, 61, 1])
        let pattern = fixture.pattern
        let folder = TemporaryFolder()
        let logged = folder("log")
        let killer = Task.detached {
            // The child may be killed at any time once it has delivered something.
            while true {
                let log = (try? String(contentsOfFile: logged, encoding: .utf8)) ?? ""
                let lines = log.split(separator: "\n", omittingEmptySubsequences: false)
                if lines.count > 12, let first = lines.first, let process = Int32(first) {
                    kill(process, SIGKILL)
                    return
                }
                usleep(300)
            }
        }
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [pattern = pattern as String, path = folder.path as String, name = walk.rawValue as String] in
            try Self.trainUntilKilled(pattern, Walk(rawValue: name) ?? .indexed, folder: path)
        }
        _ = await killer.value
        let state = try LoaderState(
            parsing: [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder("state")))))
        let log = try String(contentsOfFile: logged, encoding: .utf8)
        var lines: [[String]] = []
        for line in log.split(separator: "\n").dropFirst() {
            lines.append(line.split(separator: " ").map { String($0) })
        }
        let base = Self.endless(pattern, walk)
        let whole = try deliver(base.repeated(state.position.epoch + 2)).batches
        let done = try #require(whole.firstIndex { $0.state == state }) + 1
        // A batch is written down before the state behind it: of the last one there may be no state.
        #expect(lines.count >= done && lines.count <= done + 1)
        let before = Array(lines.prefix(done))
        let behind = try deliver(
            base.repeated(state.position.epoch + 2), resuming: state
        ).batches.map(\.keys)
        #expect(before + behind == whole.map(\.keys))
    }

    private static func endless(_ pattern: String, _ walk: Walk) -> Dataset {
        Dataset(pattern).batched(16).repeated(nil).with {
            $0.walk = walk
            $0.shuffle = walk == .indexed ? .global : .buffer(50)
            $0.seed = 9
        }
    }

    /// What a training loop does: a step, a line that says so, and the state.
    private static func trainUntilKilled(_ pattern: String, _ walk: Walk, folder: String) throws {
        let log = open("\(folder)/log", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        func append(_ line: String) {
            let bytes = Array((line + "\n").utf8)
            _ = unsafe bytes.withUnsafeBytes { unsafe write(log, $0.baseAddress!, $0.count) }
        }
        append("\(getpid())")
        let loader = try endless(pattern, walk).loader()
        while let batch = try loader.next(), let state = batch.state {
            append(batch.keys.joined(separator: " "))
            try Data(state.encoded()).write(
                to: URL(fileURLWithPath: "\(folder)/state"), options: .atomic)
        }
    }
}

extension LoaderOptions {
    fileprivate func asking(for engine: EngineRequest) -> LoaderOptions {
        var options = self
        options.engine = engine
        return options
    }
}
