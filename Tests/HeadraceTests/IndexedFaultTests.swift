import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Damage, indexes that lie and shards that change under an indexed walk: refused or accounted for, never a crash.
@Suite struct IndexedFaultTests {
    private static func read(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    private static func write(_ bytes: [UInt8], _ path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    private static func walk(_ fixture: LoaderFixture, _ shuffle: Shuffle = .global) -> Dataset {
        Dataset(fixture.pattern).batched(4).with {
            $0.walk = .indexed
            $0.shuffle = shuffle
            $0.seed = 5
            $0.parsesExamples = true
        }
    }

    /// Shards so large that their middle is not in the sampled checksum: damage there shows when it is read.
    private static func largeShards(_ name: String, damageAt key: String, after distance: Int) throws
        -> LoaderFixture
    {
        let fixture = try LoaderFixture(name, counts: [60, 60, 60]) { 6000 + $0 % 50 }
        let ending = fixture.pattern.split(separator: "/").last!
        let path = fixture.folder("shard1/\(ending)")
        var bytes = try read(path)
        let place = try #require(bytes.firstRange(of: Array(key.utf8))).lowerBound
        let sampled = ShardIndexLayout.sampledByteCount
        try #require((sampled..<bytes.count - sampled - 8000).contains(place))
        bytes[place + distance] ^= 0x55
        try write(bytes, path)
        return fixture
    }

    /// A changed byte, and what the loader must say of it.
    fileprivate struct Fault: Sendable {
        var name: String
        /// Bytes near which one is changed: a member's name, or the key in a record.
        var what: String
        /// From their first to the byte that is changed.
        var distance: Int
        var code: HeadraceError.Code
        var key: String?

        static let all = [
            // The payload of a number, which the decoder refuses.
            Fault(name: "s-%03d.tar", what: "k1-30.cls", distance: 512, code: .badValue, key: "k1-30"),
            // A record whose checksum is wrong, and so its key is not known.
            Fault(
                name: "s-%03d.tfrecord", what: "k1-30", distance: -9, code: .checksumMismatch, key: nil),
        ]
    }

    @Test(arguments: Fault.all) fileprivate func aDamagedSampleIsADefectInItsPlace(fault: Fault) throws {
        let fixture = try Self.largeShards(fault.name, damageAt: fault.what, after: fault.distance)
        for shuffle in IndexedWalkTests.orders {
            let dataset = Self.walk(fixture, shuffle).decoding("cls", with: .integer)
            let oracle = try WalkOracle(fixture, shuffle, seed: 5)
            let plan = oracle.batches(
                epoch: 0, rank: 0, of: try oracle.share(worldSize: 1, batchSize: 4)
            ).map(\.keys)
            let faulty = try #require(plan.firstIndex { $0.contains("k1-30") })
            for workers in [1, 2] {
                let loader = try dataset.workers(workers).loader()
                var keys: [[String]] = []
                let error = #expect(throws: HeadraceError.self) {
                    while let batch = try loader.next() { keys.append(batch.keys) }
                }
                #expect(keys == Array(plan[..<faulty]))
                #expect(error?.code == fault.code)
                #expect(error?.place.shard?.contains("shard1/s-000") == true)
                #expect(error?.place.offset != nil)
                #expect(error?.place.key == fault.key)
            }
            let (batches, report) = try deliver(dataset.onDefect(.skip(limit: 1)))
            #expect(batches.map(\.keys) == plan.map { $0.filter { $0 != "k1-30" } })
            #expect(report.skipped == 1 && report.defects.map(\.code) == [fault.code])
            expectBalance(report)
            let strict = try dataset.onDefect(.skip(limit: 0)).loader()
            let limit = #expect(throws: HeadraceError.self) { while try strict.next() != nil {} }
            #expect(limit?.code == .tooManyDefects)
        }
    }

    /// A frame that cannot be decompressed takes its samples with it, and no others.
    @Test(arguments: ["s-%03d.tar.zst", "s-%03d.tar.lz4", "s-%03d.tfrecord.zst"])
    func aDamagedFrameIsADefectOfItsSamples(name: String) throws {
        // Bytes that do not compress, so that the middle of the file is not in the sampled checksum.
        let fixture = try LoaderFixture(name, counts: [20, 400, 20]) { 900 + $0 % 50 }
        let path = fixture.folder("shard1/\(fixture.pattern.split(separator: "/").last!)")
        var bytes = try Self.read(path)
        let index = try ShardIndex.read(ShardIndexLayout.path(forShard: path))
        let frame = index.frames[index.frames.count / 2]
        var rows: [ShardIndexRow] = []
        try index.rows(0..<400, into: &rows)
        let end = frame.offset + frame.length
        let lost = rows.indices.filter { index -> Bool in
            let row = rows[index]
            return row.offset < end && row.offset + row.length > frame.offset
        }
        let middle = frame.compressedOffset + frame.compressedLength / 2
        let sampled = ShardIndexLayout.sampledByteCount
        try #require((sampled..<bytes.count - sampled - 16).contains(middle))
        for place in middle..<middle + 16 { bytes[place] ^= 0x55 }
        try Self.write(bytes, path)
        for shuffle in IndexedWalkTests.orders {
            let dataset = Self.walk(fixture, shuffle).onDefect(.skip(limit: 100))
            let (batches, report) = try deliver(dataset)
            let expected = fixture.keys.flatMap { $0 }.filter { key in
                !lost.contains { key == "k1-\($0)" }
            }
            #expect(batches.flatMap(\.keys).sorted() == expected.sorted(), "\(shuffle)")
            #expect(report.skipped == lost.count && report.skipped > 0)
            #expect(report.defects.allSatisfy { $0.place.shard == path && $0.place.offset != nil })
            expectBalance(report)
        }
    }

    /// Rows that lie about their shard, with all checksums right: whatever they say, each sample is delivered, or is a
    /// defect, or the index is refused; and what is delivered is a sample of the shard.
    @Test(arguments: ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tfrecord"])
    func rowsThatLieNeverCrash(name: String) throws {
        let fixture = try LoaderFixture(name, counts: [40, 20])
        let path = fixture.folder("shard0/\(fixture.pattern.split(separator: "/").last!)")
        let found = try #require(try ShardIndexer(path).find())
        let known = Set(fixture.keys.flatMap { $0 })
        var random = SplitMix64(11)
        var defects = 0
        var refusals = 0
        for round in 0..<60 {
            var rows = found.rows
            let at = Int(random.below(38)) + 1
            let unit = found.header.format == .tar ? 512 : 1
            let step = (Int(random.below(4)) + 1) * unit
            switch round % 6 {
            case 0: rows[at] = ByteSpan(offset: rows[at].offset + step, length: rows[at].length - step)
            case 1: rows[at] = ByteSpan(offset: rows[at].offset, length: max(1, rows[at].length - step))
            case 2: rows.swapAt(at, at - 1)
            case 3:
                rows[at] = ByteSpan(
                    offset: rows[at].offset, length: rows[at].length + rows[at + 1].length)
                rows.remove(at: at + 1)
            case 4: rows[39] = ByteSpan(offset: rows[39].offset, length: rows[39].length + (1 << 40))
            default:
                let end = found.header.uncompressedByteCount
                var places: [Int] = []
                for _ in 0..<40 { places.append(Int(random.below(UInt64(end))) / unit * unit) }
                places.sort()
                let ends = places.dropFirst() + [end]
                rows = zip(places, ends).map { ByteSpan(offset: $0, length: $1 - $0) }
            }
            var header = found.header
            header.sampleCount = rows.count
            let output = OutputBuffer()
            ShardIndexWriter.append(
                header, fields: found.fields, frames: found.frames, rows: rows, to: output)
            let bytes = unsafe Array(output.bytes)
            try Self.write(bytes, ShardIndexLayout.path(forShard: path))
            do {
                // The manifest knows the count of samples: it is not what is tested here.
                try? FileManager.default.removeItem(atPath: ShardIndexLayout.manifestPath(forShard: path))
                let (batches, report) = try deliver(
                    Self.walk(fixture).parsingExamples().onDefect(.skip(limit: 1000)).workers(1))
                let keys = batches.flatMap(\.keys)
                #expect(keys.allSatisfy { known.contains($0) })
                #expect(Set(keys).count == keys.count, "no sample comes twice")
                #expect(report.found == rows.count + 20)
                expectBalance(report)
                defects += report.skipped
            } catch let error as HeadraceError {
                #expect(error.code == .indexMismatch, "\(round): \(error)")
                refusals += 1
            }
        }
        #expect(defects > 0, "\(defects) defects, \(refusals) refusals")
    }

    /// An index whose table was damaged behind its header: known as soon as it is read, and read once.
    @Test func aDamagedTableOfRowsIsADefectOfItsShard() throws {
        let fixture = try LoaderFixture(counts: [30, 30, 30])
        let path = ShardIndexLayout.path(forShard: fixture.folder("shard1/s-000.tar"))
        var bytes = try Self.read(path)
        bytes[bytes.count - 100] ^= 1
        try Self.write(bytes, path)
        let (batches, report) = try deliver(Self.walk(fixture).onDefect(.skip(limit: 30)))
        let good = (fixture.keys[0] + fixture.keys[2]).sorted()
        #expect(batches.flatMap(\.keys).sorted() == good)
        #expect(report.skipped == 30)
        #expect(report.defects.allSatisfy { $0.code == .indexMismatch && $0.message.contains("--rebuild") })
        expectBalance(report)
        let failing = try Self.walk(fixture).loader()
        let error = #expect(throws: HeadraceError.self) { while try failing.next() != nil {} }
        #expect(error?.code == .indexMismatch)
    }

    /// However far the loader had read when the shard was changed, the run does not end as if nothing had happened.
    @Test(arguments: [EngineRequest.pread, .uring], [false, true])
    func aShardThatChangesUnderTheWalkIsAnError(engine: EngineRequest, isCut: Bool) throws {
        let fixture = try LoaderFixture(counts: [60, 60]) { 20_000 + $0 }
        let path = fixture.folder("shard1/s-000.tar")
        let dataset = Self.walk(fixture).memory(.mebibytes(16)).with {
            $0.engine = engine
            $0.prefetch = 1
            $0.heldBatches = 1
        }
        guard let loader = try openUnlessRefused(dataset) else { return }
        #expect(try loader.next() != nil)
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        if isCut {
            try handle.truncate(atOffset: 10_240)
        } else {
            try handle.seekToEnd()
            try handle.write(contentsOf: Data(count: 10_240))
        }
        try handle.close()
        let error = #expect(throws: HeadraceError.self) { while try loader.next() != nil {} }
        #expect(error?.code == .fileChanged)
        #expect(error?.place.shard == path)
        #expect(throws: HeadraceError.self) { try loader.next() }
    }

    private func openUnlessRefused(_ dataset: Dataset) throws -> Loader? {
        do {
            return try dataset.loader()
        } catch {
            guard error.code == .ringRefused else { throw error }
            print("SKIPPED: io_uring: \(error.message)")
            return nil
        }
    }

    /// A shard that vanished or became another one before its first read.
    @Test func aShardThatIsNotWhatItWasIsAnErrorInItsTurn() throws {
        let fixture = try LoaderFixture(counts: [400, 10]) { 3000 + $0 % 50 }
        let path = fixture.folder("shard1/s-000.tar")
        let loader = try Self.walk(fixture, .none).memory(.mebibytes(4)).with {
            $0.prefetch = 1
            $0.heldBatches = 1
        }.loader()
        try FileManager.default.removeItem(atPath: path)
        var delivered = 0
        do {
            while let batch = try loader.next() { delivered += batch.count }
            // It was open already: the file is read whole although it has no name any more.
            #expect(delivered == 410)
        } catch {
            #expect(error.code == .notFound && error.place.shard == path)
            #expect(delivered == 400)
        }
    }

    // MARK: Refusals

    private func refusal(_ dataset: Dataset) -> HeadraceError? {
        do throws(HeadraceError) {
            _ = try dataset.loader()
            return nil
        } catch {
            return error
        }
    }

    @Test func whatAnIndexedWalkLacksIsNamed() throws {
        let fixture = try LoaderFixture(counts: [5, 5])
        let second = fixture.folder("shard1/s-000.tar")
        try FileManager.default.removeItem(atPath: ShardIndexLayout.path(forShard: second))
        for shuffle in IndexedWalkTests.orders {
            let error = refusal(Self.walk(fixture, shuffle))
            #expect(error?.code == .notFound && error?.place.shard == second)
            #expect(error?.message.contains("headrace index") == true)
        }
        // One rank that asks for nothing of the kind is not held up.
        #expect(try drain(Dataset(fixture.pattern)).keys.count == 10)
        #expect(try drain(Dataset(fixture.pattern)).report.walk.hasPrefix("streamed"))
    }

    @Test func aPlainGzipSaysWhyAndWhatHelps() throws {
        let fixture = try LoaderFixture(counts: [5])
        let path = fixture.folder("shard0/s-000.tar")
        guard let made = try run("gzip", ["-k", path]) else { return }
        try #require(made.status == 0)
        let found = try #require(try ShardIndexer(path + ".gz").find())
        try IndexStore(folder: nil).write(found, forShard: path + ".gz")
        let dataset = Dataset(path + ".gz")
        let error = refusal(dataset.shuffledGlobally(seed: 1))
        #expect(error?.code == .unsupported && error?.message.contains("headrace pack") == true)
        #expect(error?.message.contains("gzip") == true)
        #expect(error?.place.shard == path + ".gz")
        #expect(try drain(dataset).keys == fixture.keys[0])
    }

    @Test func whatCannotBeTogetherIsUsage() throws {
        let fixture = try LoaderFixture(counts: [5, 5])
        let folder = TemporaryFolder()
        try folder.write("a.bin", [1])
        try folder.write("b.bin", [2])
        let base = Dataset(fixture.pattern)
        func expect(_ word: String, _ dataset: Dataset) {
            let error = refusal(dataset)
            #expect(error?.code == .usage, "\(dataset): \(String(describing: error))")
            #expect(error?.message.contains(word) == true, "\(dataset): \(String(describing: error))")
        }
        expect("headrace pack", Dataset(folder.path).shuffledGlobally(seed: 1))
        expect("streamed", base.shuffled(seed: 1, buffer: 8).with { $0.walk = .indexed })
        expect("indexed", base.shuffledGlobally(seed: 1).with { $0.walk = .streamed })
        expect("steps", base.shuffledGlobally(seed: 1).with { $0.steps = 3 })
        expect("block", base.shuffled(seed: 1, block: 0))
        expect("world size", base.with { $0.rank = 1 })
        expect("rank 2 of 2", base.sharded(rank: 2, of: 2))
        expect("rank -1", base.sharded(rank: -1, of: 2))
        expect("world size", base.sharded(rank: 0, of: 0))
    }
}
