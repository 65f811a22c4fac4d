/// A place in one serialized protobuf message; never moves beyond the message's end.
///
/// Formats finds messages and Decode reads what they hold: neither may import the other, and both are on the hot
/// path, hence here and inlinable.
@usableFromInline package struct ProtobufCursor {
    /// Wire types of protobuf; groups (3 and 4) are refused.
    @usableFromInline package enum Wire {
        @inlinable package static var varint: Int { 0 }
        @inlinable package static var fixed64: Int { 1 }
        @inlinable package static var lengthDelimited: Int { 2 }
        @inlinable package static var fixed32: Int { 5 }
    }

    @usableFromInline package var position: Int
    @usableFromInline let end: Int

    @inlinable package init(_ range: Range<Int>) {
        self.init(position: range.lowerBound, end: range.upperBound)
    }

    @inlinable init(position: Int, end: Int) {
        self.position = position
        self.end = end
    }

    @inlinable package var isAtEnd: Bool { position >= end }

    /// A base-128 number of at most ten bytes; what exceeds 64 bits is dropped, as protobuf does.
    @inlinable @inline(__always)
    package mutating func varint(_ bytes: RawSpan) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < end, shift < 70 {
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: position, as: UInt8.self)
            position += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    /// Number and wire type of the field that begins here.
    @inlinable @inline(__always)
    package mutating func tag(_ bytes: RawSpan) -> (field: UInt64, wire: Int)? {
        let start = position
        guard let tag = varint(bytes), tag >> 3 > 0, tag >> 32 == 0, position - start <= 5 else { return nil }
        return (tag >> 3, Int(tag & 7))
    }

    /// The body of a length-delimited field. Lengths have at most five bytes, as tags do: a longer one might lose
    /// its upper bits.
    @inlinable @inline(__always)
    package mutating func span(_ bytes: RawSpan) -> Range<Int>? {
        let before = position
        guard let length = varint(bytes), length <= UInt64(end - position), position - before <= 5 else {
            return nil
        }
        let start = position
        position += Int(length)
        return start..<position
    }

    /// Passes over a field; false where it is cut, or is a group (which no message that we read ever had).
    @inlinable
    package mutating func skip(_ bytes: RawSpan, _ wire: Int) -> Bool {
        switch wire {
        case Wire.varint: return varint(bytes) != nil
        case Wire.lengthDelimited: return span(bytes) != nil
        case Wire.fixed64, Wire.fixed32:
            let count = wire == Wire.fixed64 ? 8 : 4
            guard end - position >= count else { return false }
            position += count
            return true
        default: return false
        }
    }
}
