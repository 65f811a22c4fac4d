/// A JSON value. Objects keep the order of their members, because reports are read by people too.
public enum JSONValue: Sendable, Equatable {
    /// `null`
    case null
    /// `true` or `false`
    case bool(Bool)
    /// A number written without point or exponent.
    case int(Int)
    /// Any other number.
    case double(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object, its members in the order of the text.
    case object([JSONMember])

    /// Text from bytes that may be no UTF-8, such as keys of a data set: each invalid sequence becomes
    /// U+FFFD, so the output is always valid JSON. Two keys that differ in such bytes only look alike; that
    /// is the price.
    package static func text(_ bytes: some Sequence<UInt8>) -> JSONValue {
        .string(String(decoding: Array(bytes), as: UTF8.self))
    }

    /// The member of that name; nil when there is none or this is no object.
    public subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        // Byte by byte: `==` on strings would take two spellings of one accented letter for the same name.
        return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    /// The value of `true` or `false`.
    public var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// A number written without point or exponent.
    public var intValue: Int? { if case .int(let value) = self { value } else { nil } }
    /// The text of a string.
    public var stringValue: String? { if case .string(let value) = self { value } else { nil } }
    /// The values of an array.
    public var arrayValue: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
    /// The members of an object.
    public var objectValue: [JSONMember]? { if case .object(let members) = self { members } else { nil } }

    /// A number of either kind.
    public var doubleValue: Double? {
        switch self {
        case .double(let value): value
        case .int(let value): Double(value)
        default: nil
        }
    }
}

/// One member of a JSON object.
public struct JSONMember: Sendable, Equatable {
    /// Its name.
    public var name: String
    /// Its value.
    public var value: JSONValue

    /// A member.
    public init(_ name: String, _ value: JSONValue) {
        self.name = name
        self.value = value
    }
}

extension JSONValue: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByNilLiteral
{
    /// An object.
    public init(dictionaryLiteral members: (String, JSONValue)...) {
        self = .object(members.map { JSONMember($0.0, $0.1) })
    }

    /// An array.
    public init(arrayLiteral values: JSONValue...) { self = .array(values) }
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A number without point or exponent.
    public init(integerLiteral value: Int) { self = .int(value) }
    /// A number.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// `true` or `false`.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// `null`.
    public init(nilLiteral: ()) { self = .null }
}

/// Caps on JSON that is read, each with its default.
package struct JSONLimits: Sendable, Equatable {
    /// Bytes of one document.
    package var byteCount = 256 << 20
    /// Arrays and objects inside one another.
    package var depth = 64

    package init() {}
}

// MARK: - Writing

extension JSONValue {
    /// The value on one line, without spaces.
    ///
    /// Numbers are written so that they read back as the same bits; JSON has no NaN and no infinity, which
    /// become null.
    package func line(sortedKeys: Bool = false) -> String {
        var writer = JSONWriter(isPretty: false, isSorted: sortedKeys)
        writer.write(self, depth: 0)
        return String(decoding: writer.output, as: UTF8.self)
    }

    /// The value on many lines, two spaces a level, without a newline at the end.
    package func pretty(sortedKeys: Bool = false) -> String {
        var writer = JSONWriter(isPretty: true, isSorted: sortedKeys)
        writer.write(self, depth: 0)
        return String(decoding: writer.output, as: UTF8.self)
    }
}

private struct JSONWriter {
    let isPretty: Bool
    let isSorted: Bool
    var output: [UInt8] = []

    mutating func write(_ value: JSONValue, depth: Int) {
        switch value {
        case .null: put("null")
        case .bool(let flag): put(flag ? "true" : "false")
        case .int(let number): put(String(number))
        case .double(let number): put(number.isFinite ? "\(number)" : "null")
        case .string(let text): writeString(text)
        case .array(let values):
            list("[", "]", values.count, depth, onOneLine: values.allSatisfy(\.isScalar)) { writer, index in
                writer.write(values[index], depth: depth + 1)
            }
        case .object(let members):
            let ordered =
                isSorted ? members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) } : members
            list("{", "}", ordered.count, depth, onOneLine: false) { writer, index in
                writer.writeString(ordered[index].name)
                writer.put(writer.isPretty ? ": " : ":")
                writer.write(ordered[index].value, depth: depth + 1)
            }
        }
    }

    private mutating func list(
        _ open: String, _ close: String, _ count: Int, _ depth: Int, onOneLine: Bool,
        element: (inout JSONWriter, Int) -> Void
    ) {
        put(open)
        let isBroken = isPretty && !onOneLine && count > 0
        for index in 0..<count {
            if index > 0 { put(isPretty && !isBroken ? ", " : ",") }
            if isBroken { newLine(depth + 1) }
            element(&self, index)
        }
        if isBroken { newLine(depth) }
        put(close)
    }

    private mutating func newLine(_ depth: Int) {
        output.append(UInt8(ascii: "\n"))
        for _ in 0..<2 * depth { output.append(UInt8(ascii: " ")) }
    }

    private mutating func put(_ text: String) { output.append(contentsOf: text.utf8) }

    private mutating func writeString(_ text: String) {
        put("\"")
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): put("\\\"")
            case UInt8(ascii: "\\"): put("\\\\")
            case UInt8(ascii: "\n"): put("\\n")
            case UInt8(ascii: "\r"): put("\\r")
            case UInt8(ascii: "\t"): put("\\t")
            case 0..<0x20:
                put(byte < 16 ? "\\u000\(String(byte, radix: 16))" : "\\u00\(String(byte, radix: 16))")
            default: output.append(byte)
            }
        }
        put("\"")
    }
}

extension JSONValue {
    fileprivate var isScalar: Bool {
        switch self {
        case .array, .object: false
        default: true
        }
    }
}
