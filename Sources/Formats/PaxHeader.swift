/// What the extended headers before one member say about it. Places in the scanned bytes, so that a shard with a
/// PAX header before every member (as Python's tarfile writes them) costs no allocation.
struct TarAttributes {
    /// Name from a PAX `path` record; empty when there is none.
    var path = 0..<0
    /// Name of a sparse member, which PAX puts aside so that old readers show another.
    var sparseName = 0..<0
    /// Name from a GNU long-name header.
    var longName = 0..<0
    /// Payload bytes from a PAX `size` record, or -1.
    var size = -1
    var isSparse = false
    /// Extended headers seen before the member.
    var headerCount = 0
}

/// PAX records that apply to all members that follow. Rare, hence copied.
struct TarGlobalAttributes {
    var path: [UInt8] = []
    var size = -1
    var isSparse = false

    /// Without these records the members behind them would be read otherwise. (A comment, as git archive writes one,
    /// decides nothing.)
    var decidesMembers: Bool { !path.isEmpty || size >= 0 || isSparse }
}

/// The records of a PAX extended header: `LENGTH KEY=VALUE\n`, LENGTH counting the whole record.
enum PaxHeader {
    /// Longest number of digits that a record length can have without overflow.
    private static let maxDigits = 18

    /// Reads the records in `range` of `bytes`; returns what is wrong with the first bad one and where.
    static func parse(
        _ bytes: RawSpan, _ range: Range<Int>, into attributes: inout TarAttributes
    ) -> (offset: Int, problem: String)? {
        var offset = range.lowerBound
        while offset < range.upperBound {
            // Solaris and a few others fill the rest of the block with NULs and count them into the size.
            if bytes.byte(offset) == 0, bytes.isZero(from: offset, to: range.upperBound) { return nil }
            let start = offset
            var length = 0
            while offset < range.upperBound, case let digit = bytes.byte(offset) &- 0x30, digit <= 9 {
                guard offset - start < maxDigits else {
                    return (start, "its record length has too many digits")
                }
                length = length * 10 + Int(digit)
                offset += 1
            }
            guard offset > start, offset < range.upperBound, bytes.byte(offset) == 0x20 else {
                return (start, "a record does not begin with its length and a space")
            }
            offset += 1
            // The shortest value is empty: one digit or more, space, one key byte, "=", newline.
            guard length >= offset - start + 2, length <= range.upperBound - start else {
                return (start, "a record claims \(length) bytes, \(range.upperBound - start) are left")
            }
            let end = start + length
            guard bytes.byte(end - 1) == 0x0A else { return (start, "a record does not end in a newline") }
            var equals = offset
            while equals < end - 1, bytes.byte(equals) != UInt8(ascii: "=") { equals += 1 }
            guard equals < end - 1 else { return (start, "a record has no '='") }
            if let problem = apply(bytes, key: offset..<equals, value: equals + 1..<end - 1, to: &attributes)
            {
                return (start, problem)
            }
            offset = end
        }
        return nil
    }

    /// Takes over one record; a later one of the same key wins, an empty value takes the record back.
    private static func apply(
        _ bytes: RawSpan, key: Range<Int>, value: Range<Int>, to attributes: inout TarAttributes
    ) -> String? {
        switch bytes.byte(key.lowerBound) {
        case UInt8(ascii: "p") where isEqual(bytes, key, "path"):
            attributes.path = value
        case UInt8(ascii: "s") where isEqual(bytes, key, "size"):
            if value.isEmpty {
                attributes.size = -1
            } else {
                let size = decimal(bytes, value)
                guard size >= 0 else { return "the size record is no number below 2^63" }
                attributes.size = size
            }
        case UInt8(ascii: "G") where hasPrefix(bytes, key, "GNU.sparse."):
            attributes.isSparse = true
            if isEqual(bytes, key, "GNU.sparse.name") { attributes.sparseName = value }
        case UInt8(ascii: "S") where isEqual(bytes, key, "SUN.holesdata"):
            attributes.isSparse = true
        default:
            break
        }
        return nil
    }

    /// A decimal number, or -1.
    private static func decimal(_ bytes: RawSpan, _ range: Range<Int>) -> Int {
        var value = 0
        for offset in range {
            let digit = bytes.byte(offset) &- 0x30
            guard digit <= 9 else { return -1 }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = scaled.addingReportingOverflow(Int(digit))
            guard !overflow, !carry else { return -1 }
            value = sum
        }
        return value
    }

    private static func isEqual(_ bytes: RawSpan, _ range: Range<Int>, _ text: StaticString) -> Bool {
        range.count == text.utf8CodeUnitCount && hasPrefix(bytes, range, text)
    }

    private static func hasPrefix(_ bytes: RawSpan, _ range: Range<Int>, _ text: StaticString) -> Bool {
        range.count >= text.utf8CodeUnitCount && bytes.hasText(text, at: range.lowerBound)
    }
}
