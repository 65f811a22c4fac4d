import Foundation
import HeadraceCore
import Testing

@testable import HeadraceFormats

@Suite struct ShardIndexTests {
    private static let counts = [1024, 2048, 512, 1 << 20]
    private static let frames = [
        SeekTableRow(compressedByteCount: 900, byteCount: 3584, checksum: 1),
        SeekTableRow(compressedByteCount: 5000, byteCount: 1 << 20, checksum: 0xFFFF_FFFF),
    ]
    private static let header = ShardIndexHeader(
        format: .tar, codec: .zstd, shardByteCount: 6000, uncompressedByteCount: 3584 + 1 << 20 + 1024,
        sampleCount: 4, headCRC32C: 11, tailCRC32C: 12)

    private static func bytes(_ header: ShardIndexHeader = header, frames: [SeekTableRow] = frames) -> [UInt8]
    {
        var header = header
        header.uncompressedByteCount = frames.reduce(0) { $0 + Int($1.byteCount) }
        let output = OutputBuffer()
        ShardIndexWriter.append(
            header, fields: ["cls", "größe"], frames: frames, sampleByteCounts: counts[...], to: output)
        return output.copy()
    }

    private static func read(_ bytes: [UInt8]) throws -> ShardIndex {
        let path = WriterOracle.temporaryPath("index")
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try ShardIndex.read(path)
    }

    @Test func whatWasWrittenComesBack() throws {
        let index = try Self.read(Self.bytes())
        #expect(index.header.sampleCount == 4 && index.header.codec == .zstd && index.header.format == .tar)
        #expect(index.header.headCRC32C == 11 && index.header.tailCRC32C == 12)
        #expect(index.fields == ["cls", "größe"])
        #expect(index.frames.map(\.compressedOffset) == [0, 900] && index.frames.map(\.offset) == [0, 3584])
        #expect(try index.row(2) == ShardIndexRow(offset: 3072, length: 512))
        var rows: [ShardIndexRow] = []
        try index.rows(0..<4, into: &rows)
        #expect(rows.map(\.length) == Self.counts)
        try index.verifyChecksum()
        try index.check(shardByteCount: 6000, headCRC32C: 11, tailCRC32C: 12)
        #expect(throws: HeadraceError.self) { try index.row(4) }
        #expect(throws: HeadraceError.self) { try index.row(-1) }
    }

    @Test func anotherShardIsToldApart() throws {
        let index = try Self.read(Self.bytes())
        for (size, head, tail) in [(5999, 11, 12), (6000, 10, 12), (6000, 11, 13)] as [(Int, UInt32, UInt32)]
        {
            let error = #expect(throws: HeadraceError.self) {
                try index.check(shardByteCount: size, headCRC32C: head, tailCRC32C: tail)
            }
            #expect(error?.code == .indexMismatch)
        }
    }

    @Test func everyFlippedByteIsNoticed() throws {
        let good = Self.bytes()
        for offset in good.indices {
            var bad = good
            bad[offset] ^= 0x41
            let error = #expect(throws: HeadraceError.self, "byte \(offset)") {
                let index = try Self.read(bad)
                try index.verifyChecksum()
            }
            #expect(error?.code == .indexMismatch)
        }
    }

    @Test func everyCutIsNoticed() throws {
        let good = Self.bytes()
        for count in 0..<good.count {
            #expect(throws: HeadraceError.self, "cut at \(count)") { try Self.read(Array(good[..<count])) }
        }
        #expect(throws: HeadraceError.self) { try Self.read(good + [0]) }
    }

    /// Claims with valid checksums, as whoever means harm would make them: refused without the memory they ask for.
    @Test func claimsAreHeldAgainstTheFile() throws {
        let fields: [(offset: Int, width: Int)] = [(16, 8), (24, 8), (32, 8), (48, 4), (52, 4)]
        let values: [UInt64] = [0, 3, 5, 1 << 31, 1 << 60, .max, .max / 16, UInt64(Int.max), 0xFFFF_FFFF]
        for field in fields where field.offset != 16 {
            for value in values {
                var bytes = Self.bytes()
                for byte in 0..<field.width {
                    bytes[field.offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte))
                }
                Self.sealHeader(&bytes)
                let error = #expect(throws: HeadraceError.self, "\(value) at \(field.offset)") {
                    let index = try Self.read(bytes)
                    for row in 0..<index.header.sampleCount { _ = try index.row(row) }
                }
                #expect(error?.code == .indexMismatch)
            }
        }
    }

    @Test func rowsBeyondTheShardAreRefused() throws {
        for value in [UInt64.max, 1 << 63, UInt64(Self.header.uncompressedByteCount) + 1] {
            var bytes = Self.bytes()
            let row = bytes.count - 4 - 16
            for byte in 0..<8 { bytes[row + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
            let index = try Self.read(bytes)
            let error = #expect(throws: HeadraceError.self) { try index.row(3) }
            #expect(error?.code == .indexMismatch)
        }
    }

    /// Rows that are each inside the shard, and wrong together or for their format.
    @Test func rowsThatCannotBeAreRefused() throws {
        func code(_ rows: [(Int, Int)], _ format: ShardFormatKind, reading range: Range<Int>) throws
            -> String?
        {
            let output = OutputBuffer()
            let header = ShardIndexHeader(
                format: format, codec: .none, shardByteCount: 10240, uncompressedByteCount: 10240,
                sampleCount: rows.count, headCRC32C: 0, tailCRC32C: 0)
            let spans = rows.map { ByteSpan(offset: $0.0, length: $0.1) }
            ShardIndexWriter.append(header, fields: [], frames: [Frame](), rows: spans, to: output)
            let index = try Self.read(output.copy())
            var found: [ShardIndexRow] = []
            do {
                try index.rows(range, into: &found)
            } catch {
                return error.code.name
            }
            #expect(found == rows[range].map { ShardIndexRow(offset: $0.0, length: $0.1) })
            return nil
        }
        let good = [(512, 1024), (2048, 512), (2560, 1024)]
        #expect(try code(good, .tar, reading: 0..<3) == nil)
        #expect(try code(good, .tar, reading: 1..<2) == nil)
        #expect(try code([(0, 20), (20, 16)], .tfrecord, reading: 0..<2) == nil)
        let mismatch = "indexMismatch"
        // Overlap, wrong order, twice the same: seen from either neighbour.
        for rows in [[(512, 1024), (1024, 512)], [(2048, 512), (512, 512)], [(512, 512), (512, 512)]] {
            for range in [0..<2, 0..<1, 1..<2] {
                #expect(try code(rows, .tar, reading: range) == mismatch, "\(rows) \(range)")
            }
        }
        for row in [(512, 0), (0, 1 << 40), (10240, 512), (513, 512), (512, 513), (9728, 1024)] {
            #expect(try code([row], .tar, reading: 0..<1) == mismatch, "\(row)")
        }
        #expect(try code([(0, 15)], .tfrecord, reading: 0..<1) == mismatch)
    }

    @Test func framesWithoutChecksumsAndDamageLeftOutComeBack() throws {
        var header = Self.header
        header.uncompressedByteCount = 2048
        header.sampleCount = 1
        header.leavesOutDamage = true
        let frame = Frame(compressedOffset: 0, compressedLength: 77, offset: 0, length: 2048, checksum: nil)
        let output = OutputBuffer()
        ShardIndexWriter.append(
            header, fields: [], frames: [frame], rows: [ByteSpan(offset: 512, length: 1024)], to: output)
        let index = try Self.read(output.copy())
        #expect(index.frames == [frame] && index.header == header && index.fields.isEmpty)
        #expect(try index.row(0) == ShardIndexRow(offset: 512, length: 1024))
    }

    @Test func aThousandMillionSamplesAreHeldAgainstTheFile() throws {
        var bytes = Self.bytes()
        for (byte, value) in littleEndian(UInt64(1_000_000_000)).enumerated() { bytes[32 + byte] = value }
        Self.sealHeader(&bytes)
        let error = #expect(throws: HeadraceError.self) { try Self.read(bytes) }
        #expect(error?.code == .indexMismatch)
        #expect(error?.message.contains("1000000000") == true)
    }

    @Test func anIndexThatIsOpenedForEachReadNoticesAnother() throws {
        let path = WriterOracle.temporaryPath("index")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(Self.bytes()).write(to: URL(fileURLWithPath: path))
        let index = try ShardIndex.read(path, keepsOpen: false)
        #expect(try index.row(1).length == 2048)
        try FileManager.default.removeItem(atPath: path)
        try Data(Self.bytes() + [0]).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: HeadraceError.self) { try index.row(1) }
        #expect(error?.code == .fileChanged)
    }

    private static func sealHeader(_ bytes: inout [UInt8]) {
        let crc = bytes[..<60].withUnsafeBytes { crc32c($0) }
        for byte in 0..<4 { bytes[60 + byte] = UInt8(truncatingIfNeeded: crc >> UInt32(8 * byte)) }
    }

    @Test func pathsStandBesideTheShard() {
        #expect(ShardIndexLayout.path(forShard: "a/b/x.tar") == "a/b/.headrace/x.tar.index")
        #expect(ShardIndexLayout.path(forShard: "x.tar") == ".headrace/x.tar.index")
        #expect(ShardIndexLayout.manifestPath(forShard: "/x.tar") == "/.headrace/manifest.json")
    }
}
