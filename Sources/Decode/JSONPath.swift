internal import HeadraceCore

/// The place of one value in a JSON text: names of members and numbers of elements, one inside the other.
///
/// Written as RFC 6901 has it, `meta/sizes/0` with or without a slash in front; `~1` is a slash inside a name, `~0` a
/// tilde. Empty: the whole text.
struct JSONPath: Hashable, Sendable {
    private struct Step: Hashable, Sendable {
        var name: [UInt8]
        /// The element it means in an array; nil for what is no number.
        var index: Int?
    }

    private let steps: [Step]

    init(_ text: String) {
        var parts = text.split(separator: "/", omittingEmptySubsequences: false)
        if text.isEmpty || text.hasPrefix("/") { parts.removeFirst() }
        steps = parts.map { part in
            var name: [UInt8] = []
            var isEscape = false
            for byte in part.utf8 {
                if isEscape, byte == UInt8(ascii: "0") || byte == UInt8(ascii: "1") {
                    name[name.count - 1] = UInt8(ascii: byte == UInt8(ascii: "0") ? "~" : "/")
                    isEscape = false
                } else {
                    name.append(byte)
                    isEscape = byte == UInt8(ascii: "~")
                }
            }
            let isNumber = part.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
            return Step(
                name: name, index: isNumber && (part.first != "0" || part.count == 1) ? Int(part) : nil)
        }
    }

    /// Where the value begins in a text that ``JSONScanner/validate(_:)`` has let pass; nil when it is not there.
    func find(in bytes: UnsafeRawBufferPointer) -> Int? {
        var scanner = unsafe JSONScanner(bytes)
        scanner.skipSpace()
        for step in steps {
            switch scanner.next {
            case UInt8(ascii: "{"):
                guard scanner.enterMember(step.name) else { return nil }
            case UInt8(ascii: "["):
                guard let index = step.index, scanner.enterElement(index) else { return nil }
            default: return nil
            }
        }
        return scanner.at
    }
}

// Walks through a text that is known to be valid: nothing is checked twice.

extension JSONScanner {
    /// Moves to the value of the last member of that name; false when there is none.
    fileprivate mutating func enterMember(_ name: [UInt8]) -> Bool {
        var found: Int?
        at += 1
        skipSpace()
        while next == UInt8(ascii: "\"") {
            let isIt = skipString(comparedWith: name)
            skipSpace()
            at += 1
            skipSpace()
            if isIt { found = at }
            skipValue()
            skipSpace()
            guard next == UInt8(ascii: ",") else { break }
            at += 1
            skipSpace()
        }
        guard let found else { return false }
        at = found
        return true
    }

    fileprivate mutating func enterElement(_ index: Int) -> Bool {
        at += 1
        skipSpace()
        guard next != UInt8(ascii: "]") else { return false }
        for _ in 0..<index {
            skipValue()
            skipSpace()
            guard next == UInt8(ascii: ",") else { return false }
            at += 1
            skipSpace()
        }
        return true
    }

    /// Passes over a value and all that is in it.
    private mutating func skipValue() {
        var depth = 0
        while at < count {
            switch next {
            case UInt8(ascii: "\""): skipString()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                at += 1
                continue
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                at += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x0a, 0x0d, 0x09:
                at += 1
                continue
            default: skipToken()
            }
            if depth <= 0 { return }
        }
    }

    private mutating func skipToken() {
        while at < count {
            switch next {
            case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0x20, 0x0a, 0x0d, 0x09: return
            default: at += 1
            }
        }
    }

    private mutating func skipString() {
        at += 1
        while true {
            skipPlain()
            let byte = next
            at += byte == UInt8(ascii: "\\") ? 2 : 1
            if byte == UInt8(ascii: "\"") || at >= count { return }
        }
    }

    /// Passes over a string; whether it spells `name` once its escapes are read.
    private mutating func skipString(comparedWith name: [UInt8]) -> Bool {
        at += 1
        var matched = 0
        var isEqual = true
        func compare(_ byte: UInt8) {
            if matched < name.count, name[matched] == byte { matched += 1 } else { isEqual = false }
        }
        while at < count {
            let byte = next
            at += 1
            if byte == UInt8(ascii: "\"") { break }
            if byte != UInt8(ascii: "\\") {
                compare(byte)
            } else if let scalar = escape() {
                for unit in Unicode.UTF8.encode(scalar)! { compare(unit) }
            } else {
                isEqual = false
            }
        }
        return isEqual && matched == name.count
    }

    /// What an escape stands for; nil for half of a surrogate pair, which no name can have. `at` is behind the
    /// backslash.
    private mutating func escape() -> Unicode.Scalar? {
        let byte = next
        at += 1
        switch byte {
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): break
        default: return Unicode.Scalar(byte)
        }
        let first = fourDigits()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xdc00, at + 6 <= count, unsafe bytes[at] == UInt8(ascii: "\\"),
            unsafe bytes[at + 1] == UInt8(ascii: "u")
        else { return nil }
        let back = at
        at += 2
        let second = fourDigits()
        guard second >= 0xdc00, second < 0xe000 else {
            at = back
            return nil
        }
        return Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
    }

    private mutating func fourDigits() -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            value = value << 4 | (Self.hexadecimal(next) ?? 0)
            at += 1
        }
        return value
    }
}
