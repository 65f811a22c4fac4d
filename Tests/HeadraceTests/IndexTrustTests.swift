import Foundation
import Glibc
import HeadraceCore
import HeadraceFormats
import HeadraceStorage
import Testing

@testable import Headrace

/// What an indexed walk believes of indexes, and what it does not; and that it leaves nothing open.
@Suite struct IndexTrustTests {
    private static func put(_ bytes: [UInt8], _ path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    private static func walk(_ fixture: LoaderFixture) -> Dataset {
        Dataset(fixture.pattern).shuffledGlobally(seed: 3).batched(8)
    }

    private func refusal(_ dataset: Dataset, resuming state: LoaderState? = nil) -> HeadraceError? {
        do throws(HeadraceError) {
            _ = try dataset.loader(resuming: state)
            return nil
        } catch {
            return error
        }
    }

    /// Writes the index of a shard with another header, its checksums right.
    private func rewrite(_ path: String, _ change: (inout ShardIndexHeader, inout [ByteSpan]) -> Void) throws
    {
        let found = try #require(try ShardIndexer(path).find())
        var header = found.header
        var rows = found.rows
        change(&header, &rows)
        header.sampleCount = rows.count
        let output = OutputBuffer()
        ShardIndexWriter.append(header, fields: found.fields, frames: found.frames, rows: rows, to: output)
        try Self.put(unsafe Array(output.bytes), ShardIndexLayout.path(forShard: path))
    }

    /// Sizes that the shard does not have: neither a crash nor bytes of another sample.
    @Test(arguments: [1 << 62, 1 << 50, 1 << 30]) func aHeaderMayNotClaimAnotherSize(size: Int) throws {
        let fixture = try LoaderFixture(counts: [20, 20])
        let path = fixture.folder("shard1/s-000.tar")
        try rewrite(path) { header, rows in
            header.uncompressedByteCount = size
            rows[19] = ByteSpan(offset: 1 << 29, length: rows[19].length)
        }
        let error = refusal(Self.walk(fixture))
        #expect(error?.code == .indexMismatch && error?.place.shard?.contains("s-000.tar.index") == true)
    }

    /// An index that lacks samples would lose them without a word.
    @Test func anIndexWithFewerSamplesThanItsManifestIsRefused() throws {
        let fixture = try LoaderFixture(counts: [20, 20])
        let path = fixture.folder("shard1/s-000.tar")
        try rewrite(path) { _, rows in rows.removeLast() }
        let error = refusal(Self.walk(fixture))
        #expect(error?.code == .indexMismatch && error?.place.shard == path)
        #expect(error?.message.contains("19") == true && error?.message.contains("20") == true)
    }

    /// Damaged samples were left out when the index was made: a walk that is to fail at defects does not take it.
    @Test func anIndexThatLeavesDamageOutIsNotForWalksThatFail() throws {
        let fixture = try LoaderFixture(counts: [20, 20])
        let path = fixture.folder("shard1/s-000.tar")
        try rewrite(path) { header, rows in
            header.leavesOutDamage = true
            rows.remove(at: 7)
        }
        let error = refusal(Self.walk(fixture))
        #expect(error?.code == .indexMismatch && error?.message.contains("--rebuild") == true)
        let report = try drain(Self.walk(fixture).onDefect(.skip(limit: 1))).report
        #expect(report.notes.contains { $0.contains("s-000.tar") && $0.contains("leaves out damaged") })
    }

    /// The walk that was chosen once is kept, whatever would be chosen now.
    @Test func aResumedRunKeepsItsWalk() throws {
        let fixture = try LoaderFixture(counts: [40, 33])
        let dataset = Dataset(fixture.pattern).batched(4)
        let eight = try deliver(dataset.sharded(rank: 0, of: 8), limit: 1).batches
        // One rank alone would walk streamed by itself.
        let rest = try deliver(dataset, resuming: eight[0].state)
        #expect(rest.report.walk.hasPrefix("indexed"))
        #expect(rest.batches.reduce(0) { $0 + $1.keys.count } == 73 - 32)
    }

    @Test func stepsMeanAStreamedWalk() throws {
        let fixture = try LoaderFixture(counts: [40, 40])
        let two = Dataset(fixture.pattern).batched(8).sharded(rank: 0, of: 2).with { $0.steps = 3 }
        let (batches, report) = try deliver(two)
        #expect(batches.count == 3 && report.walk.hasPrefix("streamed"))
        #expect(refusal(two.shuffledGlobally(seed: 1))?.code == .usage)
        #expect(refusal(two.bucketedByLength())?.code == .usage)
    }

    /// A rank that has fewer samples than all were to deliver says so; else the others would wait for it.
    @Test(arguments: [LastBatch.keep, .drop]) func tooManyStepsAreAnError(last: LastBatch) throws {
        let fixture = try LoaderFixture(counts: [20, 20])
        for shard in 0..<2 {
            try FileManager.default.removeItem(atPath: fixture.folder("shard\(shard)/.headrace"))
        }
        let loader = try Dataset(fixture.pattern).batched(8, last: last).sharded(rank: 1, of: 2).with {
            $0.steps = 4
        }.loader()
        var rows = 0
        let error = #expect(throws: HeadraceError.self) {
            while let batch = try loader.next() { rows += batch.count }
        }
        #expect(rows == (last == .keep ? 20 : 16))
        #expect(error?.code == .usage && error?.message.contains("rank 1 of 2") == true)
    }

    /// What is left of an epoch may be less than a row for each of more ranks: the next epoch begins.
    @Test func aRemainderTooSmallForTheRanksIsNoEnd() throws {
        let fixture = try LoaderFixture(counts: [17])
        let dataset = Dataset(fixture.pattern).shuffledGlobally(seed: 1).batched(8).repeated(nil)
        let state = try deliver(dataset, limit: 2).batches[1].state
        let (batches, _) = try deliver(dataset.sharded(rank: 0, of: 4), resuming: state, limit: 2)
        #expect(batches.map(\.epoch) == [1, 2] && batches[0].keys.count == 4)
    }

    /// A state behind the epoch's end is none of this data.
    @Test func aPositionBehindTheEndIsRefused() throws {
        let fixture = try LoaderFixture(counts: [40])
        for walk in Walk.allCases {
            let dataset = Dataset(fixture.pattern).batched(8).with {
                $0.walk = walk
                $0.steps = walk == .streamed ? 5 : nil
            }
            var state = try dataset.loader().state
            state.position.position = 8 * 7
            #expect(refusal(dataset, resuming: state)?.code == .usage)
        }
    }

    /// The limit of skips counts on where a run is resumed.
    @Test func limitsOfSkipsGoOn() throws {
        let fixture = try LoaderFixture("s-%03d.tfrecord", counts: [60]) { _ in 400 }
        let path = fixture.folder("shard0/s-000.tfrecord")
        let index = try ShardIndex.read(ShardIndexLayout.path(forShard: path))
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        for sample in [3, 50] { bytes[try index.row(sample).offset + 150] ^= 0xFF }
        try Self.put(bytes, path)
        let dataset = Dataset(path).batched(8).with { $0.walk = .streamed }
        let first = try deliver(dataset.onDefect(.skip(limit: 1)), limit: 2).batches
        let loader = try dataset.onDefect(.skip(limit: 1)).loader(resuming: first[1].state)
        let error = #expect(throws: HeadraceError.self) { while try loader.next() != nil {} }
        #expect(error?.code == .tooManyDefects)
        #expect(first[1].state.local?.skips.total == 1)
    }

    /// A share of skips is judged by what was skipped before the run was resumed, too.
    @Test func sharesOfSkipsGoOn() throws {
        let fixture = try LoaderFixture("s-%03d.tfrecord", counts: [60]) { _ in 400 }
        let path = fixture.folder("shard0/s-000.tfrecord")
        let index = try ShardIndex.read(ShardIndexLayout.path(forShard: path))
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        for sample in 1..<9 { bytes[try index.row(sample).offset + 150] ^= 0xFF }
        try Self.put(bytes, path)
        let dataset = Dataset(path).batched(20).onDefect(.skipShare(0.1)).with { $0.walk = .streamed }
        // 8 of 60 are too many; of the 40 behind the first batch none is damaged.
        let first = try deliver(dataset, limit: 1).batches
        let loader = try dataset.loader(resuming: first[0].state)
        let error = #expect(throws: HeadraceError.self) { while try loader.next() != nil {} }
        #expect(error?.code == .tooManyDefects)
    }

    /// Two frames at one place of the file, one of which claims bytes that are nowhere.
    @Test(arguments: ["s-%03d.tar.zst", "s-%03d.tar.lz4"]) func aFrameWithoutBytesIsRefused(name: String)
        throws
    {
        let fixture = try LoaderFixture(name, counts: [60]) { 900 + $0 % 50 }
        let path = fixture.folder("shard0/\(fixture.pattern.split(separator: "/").last!)")
        let found = try #require(try ShardIndexer(path).find())
        var frames = found.frames
        try #require(frames.count > 2)
        frames.insert(
            Frame(
                compressedOffset: frames[1].compressedOffset, compressedLength: 0, offset: frames[1].offset,
                length: 4096, checksum: frames[1].checksum), at: 1)
        var header = found.header
        header.uncompressedByteCount += 4096
        let output = OutputBuffer()
        ShardIndexWriter.append(header, fields: found.fields, frames: frames, rows: found.rows, to: output)
        try Self.put(unsafe Array(output.bytes), ShardIndexLayout.path(forShard: path))
        let error = refusal(Self.walk(fixture))
        #expect(error?.code == .indexMismatch && error?.message.contains("no bytes") == true)
    }

    // MARK: Files

    /// More shards than a process may have files open at once, and neighbours in a batch from all over them.
    @Test(arguments: [EngineRequest.pread, .uring]) func manyShardsNeedFewOpenFiles(engine: EngineRequest)
        throws
    {
        let folder = TemporaryFolder()
        let samples = (0..<1400).map { ("k\($0)", [("txt", Array("\($0)".utf8))]) }
        var options = PackOptions(output: folder("s-%04d.tar"))
        options.shardLimit = .samples(1)
        _ = try Packer([ListSource(samples: samples)], options: options).run()
        let dataset = Dataset(folder("s-*.tar")).shuffledGlobally(seed: 1).batched(256).with {
            $0.engine = engine
        }
        var most = 0
        if let error = refusal(dataset) {
            try #require(error.code == .ringRefused)
            print("SKIPPED: io_uring: \(error.message)")
            return
        }
        let loader = try dataset.loader()
        var held: [Batch] = []
        var keys = 0
        while let batch = try loader.next() {
            keys += batch.count
            held.append(batch)
            if held.count == 4 { held.removeFirst() }
            // Other suites run beside this one and open files of their own.
            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter {
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
                return target?.hasPrefix(folder.path) == true
            }
            most = max(most, open.count)
        }
        #expect(keys == 1400)
        #expect(most < 1000, "\(most) files")
    }

    /// A read that fails takes its own samples along, and not those that were read together with them.
    @Test(arguments: [false, true]) func aFailingReadFailsItsSamplesOnly(hasFetchThread: Bool) throws {
        let fixture = try LoaderFixture(counts: [30, 30, 30]) { _ in 600 }
        let path = fixture.folder("shard1/s-000.tar")
        let storage = FailingStorage(local: try LocalStorage(engine: .pread), path: path)
        // All of it is one window, and read as one chunk.
        let loader = try LoaderBuilder(
            Dataset(fixture.pattern).batched(30).with { $0.walk = .indexed }, .host,
            access: StorageAccess(storage: storage, hasFetchThread: hasFetchThread, reason: "fails") {
                FailingReader(path: path)
            }
        ).open()
        #expect(try loader.next()?.keys == fixture.keys[0])
        let error = #expect(throws: HeadraceError.self) { try loader.next() }
        #expect(error?.code == .io && error?.place.shard == path)
    }
}

/// The local files, one of which cannot be read.
private struct FailingStorage: Storage {
    let local: LocalStorage
    let path: String

    func open(_ path: String) throws(HeadraceError) -> any StorageFile { try local.open(path) }
    func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader { FailingReader(path: path) }
}

private final class FailingReader: Reader {
    private let reader = BlockingReader()
    private let path: String
    private var failed: [ReadCompletion] = []

    init(path: String) { self.path = path }

    var queueDepth: Int { 8 }
    var inFlight: Int { reader.inFlight + failed.count }

    func submit(_ requests: [ReadRequest]) {
        for request in requests {
            if request.file.path == path {
                failed.append(
                    ReadCompletion(
                        ticket: request.ticket,
                        result: .failure(HeadraceError(.io, "cannot be read", at: .init(shard: path)))))
            } else {
                reader.submit([request])
            }
        }
    }

    func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        completions += failed
        failed = []
        reader.wait(minimum: 0, into: &completions)
    }

    func wake() {}
    func close() {}
}
