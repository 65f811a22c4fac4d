internal import HeadraceCore

/// Writes the framing of TFRecord: length, its masked CRC-32C, data, the data's masked CRC-32C.
package enum TFRecordWriter {
    /// Bytes before a record's data.
    package static let headByteCount = 12
    /// Bytes after a record's data.
    package static let footByteCount = 4

    package static func appendHead(dataByteCount: Int, to buffer: OutputBuffer) {
        let start = buffer.count
        buffer.append(littleEndian: UInt64(dataByteCount))
        let length = unsafe UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<start + 8])
        buffer.append(littleEndian: unsafe maskedCRC32C(length))
    }

    /// Appends what closes a record whose data have this (unmasked) CRC-32C.
    package static func appendFoot(dataCRC32C: UInt32, to buffer: OutputBuffer) {
        buffer.append(littleEndian: masked(dataCRC32C))
    }

    /// Appends a whole record.
    package static func append(_ data: UnsafeRawBufferPointer, to buffer: OutputBuffer) {
        appendHead(dataByteCount: data.count, to: buffer)
        unsafe buffer.append(data)
        appendFoot(dataCRC32C: unsafe crc32c(data), to: buffer)
    }

    /// TFRecord's mask: a CRC over bytes that contain their own CRC would be weak, so it never stores a plain one.
    private static func masked(_ crc: UInt32) -> UInt32 { (crc >> 15 | crc << 17) &+ 0xa282_ead8 }
}

/// The CRC-32C of two runs of bytes one after the other, from the CRCs of each and the length of the second.
///
/// With it the pieces of one large record can be summed on several threads.
package func combinedCRC32C(_ first: UInt32, _ second: UInt32, secondByteCount: Int) -> UInt32 {
    // Appending n bytes multiplies the first remainder by x^8n modulo the polynomial (bit-reflected, x^0 = bit 31).
    func product(_ a: UInt32, _ b: UInt32) -> UInt32 {
        var (a, b, sum) = (a, b, UInt32(0))
        while a != 0 {
            if a & 0x8000_0000 != 0 { sum ^= b }
            a <<= 1
            b = b & 1 != 0 ? b >> 1 ^ 0x82F6_3B78 : b >> 1
        }
        return sum
    }
    var power: UInt32 = 0x0080_0000  // x^8
    var shift: UInt32 = 0x8000_0000  // x^0
    var remaining = secondByteCount
    while remaining > 0 {
        if remaining & 1 != 0 { shift = product(shift, power) }
        power = product(power, power)
        remaining >>= 1
    }
    return product(first, shift) ^ second
}
