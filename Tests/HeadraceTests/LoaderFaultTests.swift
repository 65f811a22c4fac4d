import Foundation
import HeadraceCore
import Testing

@testable import Headrace

@Suite struct LoaderFaultTests {
    /// A tar of three shards in which the payload of one sample's `cls` is no number.
    private func withBadNumber() throws -> LoaderFixture {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [20, 20, 20])
        let path = fixture.folder("shard1/s-000.tar")
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let place = try #require(bytes.firstRange(of: Array("k1-5.cls".utf8))).lowerBound
        bytes[place + 512] = UInt8(ascii: "x")
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return fixture
    }

    @Test func failsAfterAllBatchesBeforeTheFault() throws {
        let fixture = try withBadNumber()
        for workers in [1, 2, 4] {
            let dataset = Dataset(fixture.pattern).decoding("cls", with: .integer).batched(4).workers(workers)
            let loader = try dataset.with { $0.lanes = 1 }.loader()
            var delivered = 0
            let error = #expect(throws: HeadraceError.self) {
                while let batch = try loader.next() { delivered += batch.count }
            }
            #expect(delivered == 24)
            #expect(error?.code == .badValue)
            #expect(error?.place.key == "k1-5")
            #expect(error?.place.field == "cls")
            #expect(error?.place.shard?.hasSuffix("shard1/s-000.tar") == true)
            #expect(throws: HeadraceError.self) { try loader.next() }
        }
    }

    @Test func skipsClosingUpRowsWithoutChangingTheBatches() throws {
        let fixture = try withBadNumber()
        let dataset = Dataset(fixture.pattern).decoding("cls", with: .integer).batched(4)
            .onDefect(.skip(limit: 1)).with { $0.lanes = 1 }
        let loader = try dataset.loader()
        var counts: [Int] = []
        var numbers: [Int64] = []
        while let batch = try loader.next() {
            counts.append(batch.count)
            numbers += try batch["cls"].elements(as: Int64.self)
        }
        #expect(counts == (0..<15).map { $0 == 6 ? 3 : 4 })
        #expect(numbers == (0..<60).filter { $0 != 25 }.map(Int64.init))
        let report = loader.report()
        #expect(report.skipped == 1)
        #expect(report.defects.map(\.place.key) == ["k1-5"])
        #expect(report.found == report.samples + report.skipped + report.dropped)

        let strict = try dataset.onDefect(.skip(limit: 0)).loader()
        let error = #expect(throws: HeadraceError.self) { while try strict.next() != nil {} }
        #expect(error?.code == .tooManyDefects)
    }

    @Test func damagedHeaderEndsTheShardLoudly() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [20, 20])
        let path = fixture.folder("shard0/s-000.tar")
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let place = try #require(bytes.firstRange(of: Array("k0-9.bin".utf8))).lowerBound
        bytes[place] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let base = Dataset(fixture.pattern).batched(1).with { $0.lanes = 1 }
        let loader = try base.loader()
        var keys: [String] = []
        let error = #expect(throws: HeadraceError.self) {
            while let batch = try loader.next() { keys += batch.keys }
        }
        #expect(error?.code == .badHeader)
        #expect(error?.place.offset == place)
        #expect(keys == Array(fixture.keys[0][..<9]))
        // Skipping goes on with the next shard, and says what was lost.
        let (skipped, report) = try drain(base.onDefect(.skip(limit: 11)))
        #expect(skipped == Array(fixture.keys[0][..<9]) + fixture.keys[1])
        // The manifest knows how many samples went with the header: they count against the limit.
        #expect(report.skipped == 11)
        #expect(report.bytesLost > 0)
        let strict = try base.onDefect(.skip(limit: 10)).loader()
        let tooMany = #expect(throws: HeadraceError.self) { while try strict.next() != nil {} }
        #expect(tooMany?.code == .tooManyDefects)
    }

    @Test func truncatedShardsSayWhere() throws {
        for name in ["s-%03d.tar", "s-%03d.tar.zst", "s-%03d.tar.lz4", "s-%03d.tfrecord"] {
            let fixture = try LoaderFixture(name, counts: [30])
            let path = fixture.pattern.replacingOccurrences(of: "{0..0}", with: "0")
            let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            try bytes.prefix((bytes.count * 2 / 3) | 1).write(to: URL(fileURLWithPath: path))
            let loader = try Dataset(path).batched(1).with { $0.parsesExamples = true }.loader()
            var keys: [String] = []
            let error = #expect(throws: HeadraceError.self) {
                while let batch = try loader.next() { keys += batch.keys }
            }
            #expect(error?.code == .truncated, "\(name): \(String(describing: error))")
            #expect(error?.place.offset != nil)
            #expect(keys == Array(fixture.keys[0].prefix(keys.count)))
            #expect(keys.count > 10)
        }
    }

    @Test func tarCutBetweenMembersIsCaughtByItsManifest() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [30, 5])
        let path = fixture.folder("shard0/s-000.tar")
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let cut = try #require(bytes.firstRange(of: Array("k0-20.bin".utf8))).lowerBound
        try Data(bytes[..<cut]).write(to: URL(fileURLWithPath: path))
        let dataset = Dataset(fixture.pattern).batched(1).with { $0.lanes = 1 }
        let loader = try dataset.loader()
        var keys: [String] = []
        let error = #expect(throws: HeadraceError.self) {
            while let batch = try loader.next() { keys += batch.keys }
        }
        #expect(error?.code == .indexMismatch)
        #expect(keys == Array(fixture.keys[0][..<20]))
        // Without a manifest nothing tells that it was ever longer: tar's end marker is often left out.
        try FileManager.default.removeItem(atPath: fixture.folder("shard0/.headrace"))
        let (all, report) = try drain(dataset)
        #expect(all == Array(fixture.keys[0][..<20]) + fixture.keys[1])
        #expect(report.ignored["missingEndOfArchive"] == 1)
    }

    /// Many chunks behind which the manifest speaks up, with a consumer that lets the lane run full: every sample must
    /// still come once.
    @Test func aCutShardWithManyChunksLosesNothingElse() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [600]) { _ in 9000 }
        let path = fixture.folder("shard0/s-000.tar")
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let cut = try #require(bytes.firstRange(of: Array("k0-400.bin".utf8))).lowerBound
        try Data(bytes[..<cut]).write(to: URL(fileURLWithPath: path))
        for workers in [1, 2, 4] {
            for memory in [2, 4, 64] {
                let dataset = Dataset(path).batched(8).onDefect(.skip(limit: 600)).memory(.mebibytes(memory))
                    .workers(workers).repeated(3).with { $0.prefetch = 1 }
                let loader = try dataset.loader()
                var keys: [String] = []
                while let batch = try loader.next() {
                    if keys.count % 160 == 0 { usleep(2000) }
                    keys += batch.keys
                }
                #expect(keys == (0..<3).flatMap { _ in fixture.keys[0][..<400] }, "\(workers) \(memory)")
                #expect(loader.report().skipped == 600)
            }
        }
    }

    @Test func droppingTheLastBatchHidesNoDefect() throws {
        let fixture = try LoaderFixture("s-%03d.tar", counts: [30])
        let path = fixture.folder("shard0/s-000.tar")
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let cut = try #require(bytes.firstRange(of: Array("k0-20.bin".utf8))).lowerBound
        try Data(bytes[..<cut]).write(to: URL(fileURLWithPath: path))
        let base = Dataset(path).batched(256, last: .drop)
        let error = #expect(throws: HeadraceError.self) { try base.loader().next() }
        #expect(error?.code == .indexMismatch)
        let report = try drain(base.onDefect(.skip(limit: 10))).report
        #expect(report.dropped == 20 && report.skipped == 10 && report.samples == 0)
    }

    /// Frames share a chunk as the budget allows; what is delivered of a damaged shard must not depend on it.
    @Test func goodFramesBeforeABadOneAreDeliveredWhateverTheBudget() throws {
        let fixture = try LoaderFixture("s-%03d.tar.zst", counts: [400]) { _ in 3000 }
        let path = fixture.folder("shard0/s-000.tar.zst")
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        bytes[bytes.count * 55 / 100] ^= 4
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        var digests: Set<String> = []
        for memory in [4, 16, 256] {
            for workers in [1, 4] {
                let dataset = Dataset(path).batched(8).onDefect(.skip(limit: 400)).memory(.mebibytes(memory))
                    .workers(workers).with { $0.digest = true }
                let report = try drain(dataset).report
                #expect(report.samples > 150 && report.skipped + report.samples == 400)
                digests.insert(report.digest ?? "")
            }
        }
        #expect(digests.count == 1)
    }

    @Test func emptyDirectoriesAreRefused() throws {
        let folder = TemporaryFolder()
        try folder.write("src/.hidden/x.txt", [1])
        let error = #expect(throws: HeadraceError.self) { try Dataset(folder("src")).loader() }
        #expect(error?.code == .notFound)
    }

    @Test func missingShardsAreListedAtOpen() throws {
        let fixture = try LoaderFixture(counts: [5, 5])
        let pattern = fixture.pattern.replacingOccurrences(of: "{0..1}", with: "{0..4}")
        let error = #expect(throws: HeadraceError.self) { try Dataset(pattern).loader() }
        #expect(error?.code == .notFound)
        for missing in 2...4 { #expect(error?.message.contains("shard\(missing)/s-000.tar") == true) }
    }

    @Test func shardThatVanishesAfterOpeningIsAnError() throws {
        let fixture = try LoaderFixture(counts: [2000, 2000, 2000]) { _ in 3000 }
        let loader = try Dataset(fixture.pattern).batched(10).memory(.mebibytes(8)).with {
            $0.lanes = 1
            $0.prefetch = 1
        }.loader()
        _ = try loader.next()
        try FileManager.default.removeItem(atPath: fixture.folder("shard2/s-000.tar"))
        var delivered = 10
        let error = #expect(throws: HeadraceError.self) {
            while let batch = try loader.next() { delivered += batch.count }
        }
        #expect(error?.code == .notFound)
        #expect(delivered == 4000)
    }

    @Test func shardThatShrinksWhileReadIsAnError() throws {
        let fixture = try LoaderFixture(counts: [4000]) { _ in 3000 }
        let path = fixture.folder("shard0/s-000.tar")
        let loader = try Dataset(path).batched(10).memory(.mebibytes(8)).with { $0.prefetch = 1 }.loader()
        _ = try loader.next()
        let half = try FileManager.default.attributesOfItem(atPath: path)[.size] as! Int / 2
        #expect(truncate(path, half) == 0)
        let error = #expect(throws: HeadraceError.self) { while try loader.next() != nil {} }
        #expect(error?.code == .fileChanged)
    }

    @Test func missingFieldIsADefectUnlessOptional() throws {
        let folder = TemporaryFolder()
        let samples = (0..<10).map { index in
            let number = ("cls", Array("\(index)".utf8))
            return (
                "k\(index)", index == 4 ? [("txt", Array("a".utf8))] : [number, ("txt", Array("b".utf8))]
            )
        }
        _ = try Packer([ListSource(samples: samples)], options: PackOptions(output: folder("s.tar"))).run()
        let base = Dataset(folder("s.tar")).batched(5).decoding("txt", with: .text)
        let strict = try base.decoding("cls", with: .integer).loader()
        let error = #expect(throws: HeadraceError.self) { while try strict.next() != nil {} }
        #expect(error?.code == .missingField)
        #expect(error?.place.key == "k4")
        let lenient = try base.decoding("cls", with: .integer, optional: true).loader()
        let first = try #require(try lenient.next())
        #expect(try first["cls"].elements(as: Int64.self) == [0, 1, 2, 3, 0])
        #expect(try first["txt"].strings == ["b", "b", "b", "b", "a"])
        let unknown = #expect(throws: HeadraceError.self) {
            try base.decoding("jpg", with: .integer).loader().next()
        }
        #expect(unknown?.code == .missingField)
    }
}
