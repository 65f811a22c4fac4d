extension JSONValue {
    /// Reads one JSON document (RFC 8259) and refuses everything else.
    ///
    /// Stricter than most readers where they lose something in silence: a name that comes twice, an integer
    /// beyond 64 bits, a number beyond a double, a lone surrogate and invalid UTF-8 are errors, with their
    /// offset.
    package init(parsing bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws(HeadraceError) {
        guard bytes.count <= limits.byteCount else {
            throw HeadraceError(
                .limitExceeded,
                "a JSON document of \(bytes.count) bytes exceeds the limit byteCount of \(limits.byteCount)")
        }
        var reader = JSONReader(bytes: bytes, depthLimit: limits.depth)
        self = try reader.document()
    }

    /// Reads one JSON document from text.
    package init(parsing text: String, limits: JSONLimits = JSONLimits()) throws(HeadraceError) {
        try self.init(parsing: Array(text.utf8), limits: limits)
    }
}

/// A recursive descent over the bytes; the depth limit bounds the recursion.
private struct JSONReader {
    let bytes: [UInt8]
    let depthLimit: Int
    var at = 0

    init(bytes: [UInt8], depthLimit: Int) {
        self.bytes = bytes
        self.depthLimit = depthLimit
    }

    mutating func document() throws(HeadraceError) -> JSONValue {
        let result = try value(depth: 0)
        skipSpace()
        guard at == bytes.count else { throw error("something follows the JSON value") }
        return result
    }

    private func error(_ what: String, at offset: Int? = nil) -> HeadraceError {
        HeadraceError(.badValue, "not valid JSON: \(what)", at: .init(offset: offset ?? at))
    }

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
        while at < bytes.count, [0x20, 0x0a, 0x0d, 0x09].contains(bytes[at]) { at += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        at += 1
        return true
    }

    private mutating func value(depth: Int) throws(HeadraceError) -> JSONValue {
        skipSpace()
        guard let byte = next else { throw error("a value is missing at the end") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("no value begins with byte \(byte)")
        }
    }

    private mutating func word(_ text: String, _ value: JSONValue) throws(HeadraceError) -> JSONValue {
        guard bytes[at...].starts(with: text.utf8) else { throw error("'\(text)' was expected") }
        at += text.utf8.count
        return value
    }

    private func checkDepth(_ depth: Int) throws(HeadraceError) {
        guard depth <= depthLimit else {
            throw HeadraceError(
                .limitExceeded, "JSON nested more deeply than the limit depth of \(depthLimit)",
                at: .init(offset: at))
        }
    }

    private mutating func array(depth: Int) throws(HeadraceError) -> JSONValue {
        try checkDepth(depth)
        at += 1
        var values: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(values) }
        while true {
            values.append(try value(depth: depth))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(values) }
            guard take(UInt8(ascii: ",")) else { throw error("',' or ']' was expected") }
        }
    }

    private mutating func object(depth: Int) throws(HeadraceError) -> JSONValue {
        try checkDepth(depth)
        at += 1
        var members: [JSONMember] = []
        var names: Set<[UInt8]> = []
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            let start = at
            guard next == UInt8(ascii: "\"") else { throw error("a member's name was expected") }
            let name = try string()
            guard names.insert(Array(name.utf8)).inserted else {
                throw error("the name '\(name)' comes twice in one object", at: start)
            }
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw error("':' was expected") }
            members.append(JSONMember(name, try value(depth: depth)))
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw error("',' or '}' was expected") }
        }
    }

    private mutating func digits() -> Int {
        let start = at
        while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { at += 1 }
        return at - start
    }

    private mutating func number() throws(HeadraceError) -> JSONValue {
        let start = at
        let isNegative = take(UInt8(ascii: "-"))
        let startsWithZero = next == UInt8(ascii: "0")
        let whole = digits()
        guard whole > 0, !startsWithZero || whole == 1 else { throw error("malformed number", at: start) }
        var isInteger = true
        if take(UInt8(ascii: ".")) {
            isInteger = false
            guard digits() > 0 else { throw error("malformed number", at: start) }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isInteger = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard digits() > 0 else { throw error("malformed number", at: start) }
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        // Negative zero exists as a double only.
        if isInteger && !(isNegative && startsWithZero) {
            guard let value = Int(text) else { throw error("an integer beyond 64 bits", at: start) }
            return .int(value)
        }
        guard let value = Double(text), value.isFinite else {
            throw error("a number beyond a double", at: start)
        }
        return .double(value)
    }

    private mutating func string() throws(HeadraceError) -> String {
        let start = at
        at += 1
        var text: [UInt8] = []
        while true {
            guard let byte = next else { throw error("a string does not end", at: start) }
            at += 1
            if byte == UInt8(ascii: "\"") { break }
            if byte < 0x20 { throw error("a control character inside a string", at: at - 1) }
            if byte == UInt8(ascii: "\\") {
                try escape(into: &text)
            } else {
                text.append(byte)
            }
        }
        guard let result = String(validating: text, as: UTF8.self) else {
            throw error("a string that is no UTF-8", at: start)
        }
        return result
    }

    private mutating func escape(into text: inout [UInt8]) throws(HeadraceError) {
        guard let byte = next else { throw error("a string does not end") }
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: UTF8.encode(try unicodeEscape())!)
        default: throw error("an unknown escape", at: at - 2)
        }
    }

    /// The scalar of `\uXXXX`, or of the two that make a surrogate pair; `at` is behind the first `u`.
    private mutating func unicodeEscape() throws(HeadraceError) -> Unicode.Scalar {
        let start = at - 2
        let first = try fourDigits()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xdc00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
            throw error("half of a surrogate pair", at: start)
        }
        let second = try fourDigits()
        guard second >= 0xdc00, second < 0xe000,
            let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
        else { throw error("half of a surrogate pair", at: start) }
        return scalar
    }

    private mutating func fourDigits() throws(HeadraceError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("four hexadecimal digits were expected")
            }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        return value
    }
}
