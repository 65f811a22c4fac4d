import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Writes TFRecord shards, right or wrong.
struct TFRecordBuilder {
    var bytes: [UInt8] = []

    mutating func add(_ data: [UInt8]) {
        let length = littleEndian(UInt64(data.count))
        bytes += length + littleEndian(length.withUnsafeBytes { maskedCRC32C($0) })
        bytes += data + littleEndian(data.withUnsafeBytes { maskedCRC32C($0) })
    }

    /// A header with a good CRC that claims `length` bytes.
    mutating func claim(_ length: UInt64) {
        let header = littleEndian(length)
        bytes += header + littleEndian(header.withUnsafeBytes { maskedCRC32C($0) })
    }
}

func littleEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

/// Damage in TFRecord shards.
struct TFRecordFaultTests {
    private static var shard: TFRecordBuilder {
        var shard = TFRecordBuilder()
        for index in 0..<8 { shard.add([UInt8](repeating: UInt8(index), count: index * 37)) }
        return shard
    }

    /// Offsets of the records of ``shard``, and its end.
    private static let starts = (0...8).map { count in (0..<count).reduce(0) { $0 + 16 + $1 * 37 } }

    @Test func everyFlippedBitIsFound() {
        let good = Self.shard.bytes
        #expect(good.count == Self.starts[8])
        for bit in 0..<good.count * 8 {
            var bytes = good
            bytes[bit / 8] ^= 1 << (bit % 8)
            let names = FieldNames()
            let shard = feed(bytes, to: TFRecordScanner(names: names), names: names, .whole)
            let record = Self.starts.lastIndex { $0 <= bit / 8 }!
            let inHeader = bit / 8 - Self.starts[record] < 12
            #expect(shard.defects.map(\.code) == [inHeader ? .badHeader : .checksumMismatch], "bit \(bit)")
            #expect(shard.defects.first?.place.offset == Self.starts[record], "bit \(bit)")
            // A bad length ends the shard; bad data is one defective record.
            #expect(shard.samples.count == (inHeader ? record + 1 : 8), "bit \(bit)")
            #expect(
                shard.samples.enumerated().allSatisfy { ($0.element.defect != nil) == ($0.offset == record) })
        }
    }

    @Test func everyCutIsFound() {
        let good = Self.shard.bytes
        for cut in 0..<good.count {
            let shard = scanEveryWay(Array(good[..<cut]), .tfrecord)
            let whole = Self.starts.lastIndex { $0 <= cut }!
            let isBoundary = Self.starts[whole] == cut
            #expect(shard.samples.filter { $0.defect == nil }.count == whole, "cut at \(cut)")
            #expect(shard.defects.map(\.code) == (isBoundary ? [] : [.truncated]), "cut at \(cut)")
            if !isBoundary { #expect(shard.defects.first?.place.offset == Self.starts[whole]) }
        }
    }

    @Test func absurdLengthsAreRefusedWithoutAllocation() {
        for length: UInt64 in [1 << 20, 1 << 34, 1 << 62, 1 << 63, .max, .max - 15] {
            for total in [nil, 1000] {
                var builder = TFRecordBuilder()
                builder.add([1, 2, 3])
                let start = builder.bytes.count
                builder.claim(length)
                builder.bytes += [UInt8](repeating: 0, count: 1000 - builder.bytes.count)
                var table = SampleTable()
                let scanner = TFRecordScanner(names: FieldNames())
                let outcome = builder.bytes.withUnsafeBytes {
                    scanner.scan($0, at: 0, isLast: total != nil, total: total, into: &table)
                }
                if total == nil, length <= UInt64(FormatLimits().memberBytes) {
                    #expect(outcome.needed == Int(length) + 16)
                } else {
                    #expect(outcome.isEnded)
                    let isLimit = length > UInt64(FormatLimits().memberBytes)
                    #expect(table.defects.map(\.code) == [isLimit ? .limitExceeded : .truncated], "\(length)")
                    #expect(table.defects[0].place.offset == start)
                }
            }
        }
    }
}
