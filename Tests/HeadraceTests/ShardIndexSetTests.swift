import Foundation
import HeadraceCore
import HeadraceFormats
import HeadraceStorage
import Testing

@testable import Headrace

/// Which indexes are found, which are trusted, and what is said of the others.
struct ShardIndexSetTests {
    private let fixture: LoaderFixture
    private let shard: String
    private let index: String
    private var folder: TemporaryFolder { fixture.folder }

    init() throws {
        fixture = try LoaderFixture("s-%03d.tar", counts: [30, 30])
        shard = fixture.folder("shard0/s-000.tar")
        index = ShardIndexLayout.path(forShard: shard)
    }

    private func open(folder: String? = nil, room: Int = 1 << 20) throws -> ShardIndexSet {
        try ShardIndexSet.open([shard], folder: folder, tableByteCount: room)
    }

    private func rows(_ set: ShardIndexSet) throws -> [ShardIndexRow] {
        guard case .found(let rows) = set.entries[0] else { throw try #require(refusal(set)) }
        var all: [ShardIndexRow] = []
        for number in 0..<rows.sampleCount { all.append(try rows.row(number)) }
        var again: [ShardIndexRow] = []
        try rows.rows(0..<rows.sampleCount, into: &again)
        #expect(all == again)
        return all
    }

    private func refusal(_ set: ShardIndexSet) -> HeadraceError? {
        if case .refused(let error) = set.entries[0] { return error }
        return nil
    }

    private func isMissing(_ set: ShardIndexSet) -> Bool {
        if case .missing = set.entries[0] { return true }
        return false
    }

    private func bytes(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    private func put(_ bytes: [UInt8], _ path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    @Test func oursIsFoundBesideItsShard() throws {
        let set = try open()
        #expect(set.sampleCounts == [30] && set.firstWithout([shard]) == nil)
        let kept = try rows(set)
        #expect(kept.count == 30)
        #expect(try rows(try open(room: 0)) == kept)
        guard case .found(let found) = set.entries[0] else { return }
        #expect(found.kind == .ours && found.isSeekable && found.frames == nil)
        #expect(throws: HeadraceError.self) { try found.row(30) }
        #expect(throws: HeadraceError.self) { try found.row(-1) }
    }

    @Test func shardsAreAnsweredInTheirOrderByAnyNumberOfThreads() throws {
        let shards = try (0..<40).map { number in
            let path = folder("many/x\(number).tar")
            try folder.write("many/x\(number).tar", try bytes(fixture.folder("shard\(number % 2)/s-000.tar")))
            if number % 3 != 0 {
                try folder.write(
                    "many/.headrace/x\(number).tar.index",
                    try bytes(ShardIndexLayout.path(forShard: fixture.folder("shard\(number % 2)/s-000.tar")))
                )
            }
            return path
        }
        for workers in [1, 4, 100] {
            let set = try ShardIndexSet.open(shards, workers: workers)
            for (number, entry) in set.entries.enumerated() {
                if case .found(let rows) = entry {
                    #expect(number % 3 != 0 && rows.path.hasSuffix("x\(number).tar.index"))
                } else {
                    #expect(number % 3 == 0)
                }
            }
            let error = try #require(set.firstWithout(shards))
            #expect(error.place.shard == shards[0] && error.message.contains("headrace index"))
        }
    }

    @Test func theIndexOfAnotherShardIsRefused() throws {
        try put(try bytes(ShardIndexLayout.path(forShard: folder("shard1/s-000.tar"))), index)
        let error = try #require(refusal(try open()))
        #expect(error.code == .indexMismatch && error.place.shard == index)
    }

    @Test(arguments: [0, 600, -1, -1024]) func aShardThatWasChangedIsNoticed(place: Int) throws {
        var shardBytes = try bytes(shard)
        shardBytes[place < 0 ? shardBytes.count + place : place] ^= 1
        try put(shardBytes, shard)
        #expect(refusal(try open())?.code == .indexMismatch)
        try put(shardBytes + [0], shard)
        #expect(refusal(try open())?.message.contains("made for a shard of") == true)
    }

    /// With the whole table in memory nothing gets through; row by row, what a neighbour contradicts is refused.
    @Test func everyFlippedByteIsRefused() throws {
        let good = try bytes(index)
        let expected = try rows(try open())
        let lastRow = good.count - 4 - 16
        for place in good.indices {
            var bad = good
            bad[place] ^= 0x42
            try put(bad, index)
            #expect(throws: HeadraceError.self, "byte \(place)") { try rows(try open()) }
            guard let found = try? rows(try open(room: 0)) else { continue }
            // Padding and trailer mean nothing here. Of the last row alone nothing says how long it is.
            #expect(found == expected || place >= lastRow, "byte \(place)")
            #expect(found.dropLast() == expected.dropLast(), "byte \(place)")
        }
        for count in stride(from: 0, to: good.count, by: 3) {
            try put(Array(good[..<count]), index)
            #expect(refusal(try open())?.code == .indexMismatch, "cut at \(count)")
        }
    }

    @Test func picklesAndStrangersAreNeverLoaded() throws {
        for content in [[0x80, 4, 0x95, 1, 2], [], Array("HRINDEX\n".utf8), Array("v1.2 1\n".utf8)]
            as [[UInt8]]
        {
            try put(content, index)
            #expect(refusal(try open())?.code == .indexMismatch)
        }
        try FileManager.default.removeItem(atPath: index)
        try FileManager.default.createDirectory(atPath: index, withIntermediateDirectories: true)
        #expect(refusal(try open())?.code == .io)
    }

    @Test func aFolderOfItsOwnComesFirst() throws {
        try folder.write("ix/s-000.tar.index", try bytes(index))
        try put([1, 2, 3], index)
        #expect(try rows(try open(folder: folder("ix/"))).count == 30)
        #expect(refusal(try open()) != nil)
        // What is not in the folder may be beside the shard.
        #expect(refusal(try open(folder: folder("nowhere"))) != nil)
        try FileManager.default.removeItem(atPath: index)
        #expect(isMissing(try open(folder: folder("nowhere"))))
    }

    @Test func aLinkHasTheIndexOfWhatItLeadsTo() throws {
        try folder.write("links/x", [])
        let link = folder("links/other.tar")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: shard)
        let set = try ShardIndexSet.open([link])
        #expect(try rows(set).count == 30)
    }

    // MARK: Others'

    private func withoutOurs() throws { try FileManager.default.removeItem(atPath: index) }

    private func dali(_ path: String) throws -> [UInt8] {
        var indexer = ShardIndexer(path)
        indexer.keepsMembers = true
        let found = try #require(try indexer.find())
        let isTar = found.header.format == .tar
        return isTar
            ? try DALIIndex.encodeTar(try #require(found.members)).copy()
            : DALIIndex.encodeRecords(found.rows).copy()
    }

    @Test(arguments: ["shard0/s-000.idx", "shard0/s-000.tar.idx"]) func dalisIndexIsRead(name: String) throws
    {
        let expected = try rows(try open())
        try folder.write(name, try dali(shard))
        guard case .found(let first) = try open().entries[0] else { throw HeadraceError(.usage, "") }
        #expect(first.kind == .ours, "ours comes first")
        try withoutOurs()
        let set = try open()
        #expect(try rows(set) == expected)
        guard case .found(let rows) = set.entries[0] else { return }
        #expect(rows.kind == .dali && rows.path == folder(name))
    }

    @Test func dalisIndexOfAnotherShardIsRefused() throws {
        try withoutOurs()
        let other = try LoaderFixture("o-%d.tar", counts: [30]) { 900 - $0 * 29 % 900 }
        try folder.write("shard0/s-000.idx", try dali(other.folder("shard0/o-0.tar")))
        #expect(refusal(try open())?.code == .indexMismatch)
        // One that ends early: the shard was appended to.
        let lines = String(decoding: try dali(shard), as: UTF8.self).split(separator: "\n")
        try folder.write(
            "shard0/s-000.idx", Array(("v1.2 29\n" + lines[1...29].joined(separator: "\n")).utf8))
        #expect(refusal(try open())?.message.contains("goes on") == true)
        try folder.write("shard0/s-000.idx", [0x80, 4, 0x95])
        #expect(refusal(try open())?.message.contains("pickle") == true)
    }

    @Test func dalisIndexPointingIntoPayloadsIsRefused() throws {
        try withoutOurs()
        // Payloads of whole blocks, so that places within them look right.
        let writer = TarWriter()
        let output = OutputBuffer()
        for key in ["a", "b"] {
            writer.appendHeader(key: key, field: "x", payloadByteCount: 2048, to: output)
            output.appendZeros(2048)
        }
        writer.appendEnd(to: output)
        try put(output.copy(), shard)
        for text in [
            "v1.2 1\nx 1024 512 a.x\n", "v1.2 2\nx 512 2048 a.x\nx 4096 512 b.x\n",
            "v1.2 1\nx 512 2048 a.x\n",
        ] {
            try folder.write("shard0/s-000.idx", Array(text.utf8))
            #expect(refusal(try open())?.code == .indexMismatch, "\(text)")
        }
        try folder.write("shard0/s-000.idx", Array("v1.2 2\nx 512 2048 a.x\nx 3072 2048 b.x\n".utf8))
        #expect(try rows(try open()).map(\.offset) == [0, 2560])
    }

    @Test func dalisIndexIsNeverThatOfACompressedShard() throws {
        let packed = try LoaderFixture("s-%03d.tar.zst", counts: [20])
        let path = packed.folder("shard0/s-000.tar.zst")
        try FileManager.default.removeItem(atPath: ShardIndexLayout.path(forShard: path))
        try packed.folder.write("shard0/s-000.idx", try dali(shard))
        #expect(isMissing(try ShardIndexSet.open([path])))
    }

    @Test func dalisIndexOfRecordsIsRead() throws {
        let records = try LoaderFixture("r-%d.tfrecord", counts: [20])
        let path = records.folder("shard0/r-0.tfrecord")
        let ours = try ShardIndexSet.open([path])
        let expected = try rows(ours)
        try FileManager.default.removeItem(atPath: ShardIndexLayout.path(forShard: path))
        let index = try dali(path)
        try records.folder.write("shard0/r-0.idx", index)
        #expect(try rows(try ShardIndexSet.open([path])) == expected)
        try records.folder.write("shard0/r-0.idx", Array(index.dropLast(5)))
        #expect(refusal(try ShardIndexSet.open([path]))?.code == .indexMismatch)
    }

    @Test func widsSaysHowManyAndNotWhere() throws {
        try withoutOurs()
        let size = try bytes(shard).count
        for (size, count) in [(size, 30), (size + 1, nil)] as [(Int, Int?)] {
            let wids = WidsIndex(
                name: "x", shards: [.init(url: "s-000.tar", sampleCount: 30, byteCount: size, md5: nil)])
            try folder.write("shard0/shardindex.json", wids.encoded())
            let set = try open()
            #expect(isMissing(set) && set.sampleCounts == [count])
        }
        try folder.write("shard0/shardindex.json", Array("[]".utf8))
        #expect(try open().sampleCounts == [nil])
    }

    /// Who keeps another loader's indexes beside the shards still means the shards by their folder.
    @Test func indexesBesideShardsAreNoSamples() throws {
        try folder.write("shard0/s-000.idx", try dali(shard))
        try folder.write("shard0/shardindex.json", WidsIndex(name: "", shards: []).encoded())
        let catalog = try Catalog([folder("shard0")], names: FieldNames())
        #expect(catalog.shards.map(\.path) == [shard] && catalog.directories.isEmpty)
        try folder.write("shard0/a.jpg", [1])
        #expect(try Catalog([folder("shard0")], names: FieldNames()).directories.count == 1)
    }
}
