/// How WebDataset reads a member's name: a key and a field, or a reason to pass the member over.
package enum WebDatasetName {
    /// The key is the first `keyLength` bytes; the field's name is all that follows the dot after it.
    case field(keyLength: Int)
    /// First path component `__name__`: facts about the shard, no sample.
    case meta
    /// The base name begins with a dot: editors' and macOS' files, which a key must not swallow.
    case hidden
    /// No dot in the base name.
    case unmatched

    /// Key = directory and base name up to the base name's first dot.
    @inline(__always)
    package init(_ name: RawSpan) {
        let length = name.byteCount
        if length >= 4, name.byte(0) == UInt8(ascii: "_"), name.byte(1) == UInt8(ascii: "_"),
            Self.isMeta(name)
        {
            self = .meta
            return
        }
        var base = length
        while base > 0, name.byte(base - 1) != UInt8(ascii: "/") { base -= 1 }
        if base < length, name.byte(base) == UInt8(ascii: ".") {
            self = .hidden
            return
        }
        var dot = base
        while dot < length, name.byte(dot) != UInt8(ascii: ".") { dot += 1 }
        guard dot < length, base < 3 || !Self.isCutByNewline(name, base) else {
            self = .unmatched
            return
        }
        self = .field(keyLength: dot)
    }

    /// The reference's pattern, `(?:.*/|)[^.]+`, lets `.*` cross no newline: directories with a dot in their name must
    /// come before the name's first newline.
    private static func isCutByNewline(_ name: RawSpan, _ base: Int) -> Bool {
        var lastDot = base - 1
        while lastDot >= 0, name.byte(lastDot) != UInt8(ascii: ".") { lastDot -= 1 }
        guard lastDot >= 0 else { return false }
        for index in 0..<base {
            if name.byte(index) == 0x0A { return true }
            if index > lastDot, name.byte(index) == UInt8(ascii: "/") { return false }
        }
        return false
    }

    private static func isMeta(_ name: RawSpan) -> Bool {
        var end = 0
        while end < name.byteCount, name.byte(end) != UInt8(ascii: "/") { end += 1 }
        return end >= 4 && name.byte(end - 1) == UInt8(ascii: "_") && name.byte(end - 2) == UInt8(ascii: "_")
    }

    /// The field name as samples carry it: lower case, as WebDataset does (keys keep theirs).
    package static func lowercased(_ name: [UInt8]) -> [UInt8] {
        if name.allSatisfy({ $0 < 0x80 }) {
            return name.map { $0 >= 0x41 && $0 <= 0x5A ? $0 + 0x20 : $0 }
        }
        // A name that is no UTF-8 keeps its bytes: replacing some would join names that differ.
        guard let text = String(validating: name, as: UTF8.self) else { return name }
        return Array(text.lowercased().utf8)
    }

    /// Names that a sample uses for itself; WebDataset refuses a member that would overwrite them.
    package static func isReserved(_ field: RawSpan) -> Bool {
        isEqual(field, "__key__") || isEqual(field, "__url__")
    }

    private static func isEqual(_ field: RawSpan, _ text: StaticString) -> Bool {
        guard field.byteCount == text.utf8CodeUnitCount else { return false }
        for index in 0..<field.byteCount {
            // The reserved names are lower case, and members are compared after lowering.
            let byte = field.byte(index)
            let lowered = byte >= 0x41 && byte <= 0x5A ? byte + 0x20 : byte
            if unsafe lowered != text.utf8Start[index] { return false }
        }
        return true
    }
}
