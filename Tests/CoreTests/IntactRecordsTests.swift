import HeadraceCore
import Testing

/// The walk over whole, undamaged TFRecords, held against the checksums by table.
@Suite struct IntactRecordsTests {
    private static func masked(_ bytes: [UInt8]) -> UInt32 {
        let crc = bytes.withUnsafeBytes { ChecksumPath.tableCRC32C($0) }
        return (crc >> 15 | crc << 17) &+ 0xa282_ead8
    }

    private static func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    private static func record(_ payload: [UInt8]) -> [UInt8] {
        let length = littleEndian(UInt64(payload.count))
        return length + littleEndian(masked(length)) + payload + littleEndian(masked(payload))
    }

    private static func spans(_ bytes: [UInt8], longest: Int = 1 << 30, capacity: Int = 64) -> [[Int]] {
        bytes.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(of: ByteSpan.self, capacity: capacity) { spans in
                let count = intactRecords(in: bytes, longest: longest, into: spans)
                return spans[..<count].map { [$0.offset, $0.length] }
            }
        }
    }

    private static let lengths = Array(0...40) + [239, 240, 241, 263, 264, 6144, 100_003]

    @Test func everyLengthIsFound() {
        var bytes: [UInt8] = []
        var expected: [[Int]] = []
        for (index, length) in Self.lengths.enumerated() {
            expected.append([bytes.count + 12, length])
            bytes += Self.record(randomBytes(length, seed: UInt64(index)))
        }
        #expect(Self.spans(bytes) == expected)
        #expect(Self.spans(bytes, capacity: 7) == Array(expected.prefix(7)))
        #expect(Self.spans(bytes, longest: 39) == Array(expected.prefix(40)))
        for cut in [bytes.count - 1, bytes.count - 100_018, bytes.count - 100_019] {
            #expect(Self.spans(Array(bytes[..<cut])) == Array(expected.dropLast()))
        }
        #expect(Self.spans([]) == [])
    }

    @Test(arguments: [0, 1, 7, 8, 150, 300]) func anyFlippedBitEndsTheWalkBeforeIt(length: Int) {
        let first = Self.record(randomBytes(20, seed: 1))
        var bytes = first + Self.record(randomBytes(length, seed: 2)) + Self.record(randomBytes(9, seed: 3))
        for bit in first.count * 8..<(first.count + length + 16) * 8 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(Self.spans(bytes) == [[12, 20]], "bit \(bit)")
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }

    @Test func lengthsThatLeaveTheBytesAreNotFollowed() {
        for claim in [UInt64.max, 1 << 63, 1 << 62, UInt64.max - 11, 21] {
            let length = Self.littleEndian(claim)
            let bytes = length + Self.littleEndian(Self.masked(length)) + [UInt8](repeating: 0, count: 24)
            #expect(Self.spans(bytes, longest: .max) == [])
        }
    }
}
