/// Reads of untrusted bytes, each checked against the span's end. One byte or one little-endian number at a time:
/// a layout mistake of ours then stops the process instead of reading what lies behind the slab.
extension RawSpan {
    @inline(__always)
    func byte(_ offset: Int) -> UInt8 {
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    @inline(__always)
    func littleEndian32(_ offset: Int) -> UInt32 {
        UInt32(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inline(__always)
    func littleEndian64(_ offset: Int) -> UInt64 {
        UInt64(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Whether every byte from `start` up to `end` is zero.
    func isZero(from start: Int, to end: Int) -> Bool {
        firstNonZero(from: start, to: end) == nil
    }

    /// The first byte that is not zero, from `start` up to `end`.
    func firstNonZero(from start: Int, to end: Int) -> Int? {
        var offset = start
        while offset + 8 <= end {
            if littleEndian64(offset) != 0 { break }
            offset += 8
        }
        while offset < end {
            if byte(offset) != 0 { return offset }
            offset += 1
        }
        return nil
    }

    /// Whether the bytes at `offset` are `other`.
    @inline(__always)
    func matches(_ other: [UInt8], from start: Int, count: Int, at offset: Int) -> Bool {
        var index = 0
        while index < count {
            if other[start + index] != byte(offset + index) { return false }
            index += 1
        }
        return true
    }

    /// Whether the bytes from `start` on begin with `text`.
    func hasText(_ text: StaticString, at start: Int = 0) -> Bool {
        guard byteCount - start >= text.utf8CodeUnitCount else { return false }
        for index in 0..<text.utf8CodeUnitCount {
            let expected = unsafe text.utf8Start[index]
            if byte(start + index) != expected { return false }
        }
        return true
    }

    /// A copy of the bytes from `start` up to `end`.
    func copy(from start: Int, to end: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        extracting(start..<end).append(to: &bytes)
        return bytes
    }

    func append(to bytes: inout [UInt8]) {
        unsafe withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }

    /// The bytes as text for a message; what is no UTF-8 is replaced.
    var text: String { unsafe withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) } }
}
