package import HeadraceCore

/// Caps on JSON in a field.
package enum JSONTextLimits {
    /// Arrays and objects inside one another.
    package static let depth = 256
}

/// Walks over a JSON text (RFC 8259) where it lies: nothing is allocated, no tree is built.
///
/// Accepted is what the grammar accepts. The RFC leaves open what a name that comes twice in one object means, and
/// half a surrogate pair: both pass, and the last of equal names counts. NaN, Infinity, a byte order mark, a comma
/// too many and whatever follows the value are no JSON.
@safe package struct JSONScanner {
    let bytes: UnsafeRawBufferPointer
    let count: Int
    package internal(set) var at = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        unsafe self.bytes = bytes
        count = bytes.count
    }

    /// Makes sure that `bytes` are one JSON text in UTF-8.
    package static func validate(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) {
        do throws(UTF8.ValidationError) {
            _ = try unsafe UTF8Span(validating: bytes.assumingMemoryBound(to: UInt8.self).span)
        } catch {
            throw HeadraceError(
                .badValue, "not valid JSON: no UTF-8 at byte \(error.byteOffsets.lowerBound) of the field")
        }
        var scanner = unsafe JSONScanner(bytes)
        try scanner.checkValue()
        scanner.skipSpace()
        guard scanner.at == scanner.count else { throw scanner.error("something follows the value") }
    }

    func error(_ what: String) -> HeadraceError {
        HeadraceError(.badValue, "not valid JSON: \(what), at byte \(at) of the field")
    }

    /// The next byte; 0 at the end, which is no byte of any token.
    @inline(__always)
    var next: UInt8 { at < count ? unsafe bytes[at] : 0 }

    @inline(__always)
    mutating func skipSpace() {
        while at < count {
            let byte = unsafe bytes[at]
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return }
            at += 1
        }
    }

    /// A stack of as many bits as there may be levels: whether each is an object.
    private struct Levels {
        private var bits = SIMD4<UInt64>()
        private(set) var depth = 0

        mutating func push(isObject: Bool) -> Bool {
            guard depth < JSONTextLimits.depth else { return false }
            let bit: UInt64 = 1 << UInt64(depth & 63)
            bits[depth >> 6] = isObject ? bits[depth >> 6] | bit : bits[depth >> 6] & ~bit
            depth += 1
            return true
        }

        mutating func pop() { depth -= 1 }

        var isObject: Bool { bits[(depth - 1) >> 6] & (1 << UInt64((depth - 1) & 63)) != 0 }
    }

    private mutating func checkValue() throws(HeadraceError) {
        var levels = Levels()
        while true {
            skipSpace()
            let byte = next
            if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
                guard levels.push(isObject: byte == UInt8(ascii: "{")) else {
                    throw HeadraceError(
                        .limitExceeded,
                        "JSON nested more deeply than the limit depth of \(JSONTextLimits.depth)")
                }
                at += 1
                skipSpace()
                // `{` + 2 is `}`, and so it is with brackets.
                if next == byte + 2 {
                    at += 1
                    levels.pop()
                } else {
                    if levels.isObject { try checkName() }
                    continue
                }
            } else {
                try checkScalar(byte)
            }
            guard try closesAll(&levels) else { continue }
            return
        }
    }

    /// What follows a value: commas and closing brackets. False where another value has to come.
    private mutating func closesAll(_ levels: inout Levels) throws(HeadraceError) -> Bool {
        while levels.depth > 0 {
            skipSpace()
            let isObject = levels.isObject
            switch next {
            case UInt8(ascii: ","):
                at += 1
                if isObject {
                    skipSpace()
                    try checkName()
                }
                return false
            case isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"):
                at += 1
                levels.pop()
            default:
                throw error("',' or '\(isObject ? "}" : "]")' was expected")
            }
        }
        return true
    }

    private mutating func checkName() throws(HeadraceError) {
        guard next == UInt8(ascii: "\"") else { throw error("a member's name was expected") }
        try checkString()
        skipSpace()
        guard next == UInt8(ascii: ":") else { throw error("':' was expected") }
        at += 1
    }

    private mutating func checkScalar(_ byte: UInt8) throws(HeadraceError) {
        switch byte {
        case UInt8(ascii: "\""): try checkString()
        case UInt8(ascii: "t"): try checkWord("true")
        case UInt8(ascii: "f"): try checkWord("false")
        case UInt8(ascii: "n"): try checkWord("null")
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try checkNumber()
        default: throw error(at < count ? "no value begins so" : "a value is missing")
        }
    }

    private mutating func checkWord(_ word: StaticString) throws(HeadraceError) {
        for index in 0..<word.utf8CodeUnitCount {
            let expected = unsafe word.utf8Start[index]
            guard next == expected else { throw error("'\(word)' was expected") }
            at += 1
        }
    }

    private mutating func digits() throws(HeadraceError) {
        let start = at
        while next >= UInt8(ascii: "0"), next <= UInt8(ascii: "9") { at += 1 }
        guard at > start else { throw error("a digit was expected") }
    }

    private mutating func checkNumber() throws(HeadraceError) {
        if next == UInt8(ascii: "-") { at += 1 }
        if next == UInt8(ascii: "0") { at += 1 } else { try digits() }
        if next == UInt8(ascii: ".") {
            at += 1
            try digits()
        }
        if next | 0x20 == UInt8(ascii: "e") {
            at += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
            try digits()
        }
    }

    private mutating func checkString() throws(HeadraceError) {
        at += 1
        while true {
            skipPlain()
            guard at < count else { throw error("a string does not end") }
            let byte = unsafe bytes[at]
            guard byte >= 0x20 else { throw error("a control character inside a string") }
            at += 1
            if byte == UInt8(ascii: "\"") { return }
            try checkEscape()
        }
    }

    private mutating func checkEscape() throws(HeadraceError) {
        let byte = next
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            break
        case UInt8(ascii: "u"):
            for _ in 0..<4 {
                guard Self.hexadecimal(next) != nil else {
                    throw error("four hexadecimal digits were expected")
                }
                at += 1
            }
        default:
            at -= 1
            throw error("an unknown escape")
        }
    }

    static func hexadecimal(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    /// Passes over what stands for itself inside a string, eight bytes at a time: everything but control
    /// characters, the quote and the backslash.
    @inline(__always)
    mutating func skipPlain() {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        while at + 8 <= count {
            let word = unsafe bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let quotes = word ^ (ones &* UInt64(UInt8(ascii: "\"")))
            let slashes = word ^ (ones &* UInt64(UInt8(ascii: "\\")))
            // The top bit of each byte that is zero, or less than 0x20; bytes of 0x80 and more never are.
            let found =
                ((quotes &- ones) & ~quotes | (slashes &- ones) & ~slashes
                    | (word &- ones &* 0x20) & ~word) & tops
            guard found == 0 else { break }
            at += 8
        }
        while at < count {
            let byte = unsafe bytes[at]
            guard byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") else { return }
            at += 1
        }
    }
}
