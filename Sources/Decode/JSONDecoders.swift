public import HeadraceCore

/// Leaves a JSON text where it was read, after making sure that it is one (RFC 8259, in UTF-8).
///
/// Names that come twice pass, as the RFC allows; NaN, Infinity, a byte order mark and whatever follows the value do
/// not, nor do arrays and objects nested more than 256 levels deep.
public struct JSONTextDecoder: Decoder {
    /// A decoder; it has no options.
    public init() {}

    /// Spans of JSON; throws `badValue` when `payload` is none.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        // Without a payload there is none to be wrong: samples may lack an optional field for long.
        if unsafe payload.baseAddress != nil { try unsafe JSONScanner.validate(payload) }
        return .spans(.json)
    }

    /// Marks every payload that is no JSON.
    public func decode(_ run: inout DecodeRun) {
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            do throws(HeadraceError) {
                try unsafe JSONScanner.validate(run.payloads[row])
            } catch {
                run.fail(row, error)
            }
        }
    }
}

/// Takes one number or truth value out of a JSON text.
///
/// The whole text is checked first, as ``JSONTextDecoder`` does. A path that is not there, `null`, a value of another
/// kind and a number that the element type cannot hold are defects of their sample; an integer column takes numbers
/// without point and exponent only. Of equal names the last counts.
public struct JSONValueDecoder: Decoder {
    /// Where the value is: names of members and numbers of elements, such as `meta/sizes/0` (RFC 6901, the first
    /// slash may be left out). Empty: the whole text is the value.
    public let path: String
    /// Type of the column's elements.
    public let elementType: ElementType
    private let steps: JSONPath

    /// The types that a value can be read as.
    public static let elementTypes: [ElementType] = ElementType.allCases.filter {
        $0 == .bool || $0 == .float32 || $0 == .float64 || integers($0) != nil
    }

    /// The value at `path` as a scalar of that type: `bool`, an integer type but `uint64`, `float32` or `float64`.
    public init(_ path: String, as elementType: ElementType = .int64) {
        self.path = path
        self.elementType = elementType
        steps = JSONPath(path)
    }

    /// The path.
    public var part: String? { path.isEmpty ? nil : path }

    /// A scalar. Throws `badValue` when `payload` has no such value, `usage` for an element type that is not read.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        guard Self.elementTypes.contains(elementType) else {
            throw HeadraceError(
                .usage, "a JSON value cannot be read as \(elementType.rawValue); take int64, float64 or bool")
        }
        guard unsafe payload.baseAddress != nil else { return .fixed(elementType, shape: []) }
        var text = ""
        let row = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 8)
        defer { unsafe row.deallocate() }
        if let target = row.baseAddress { try unsafe read(payload, &text, to: target) }
        return .fixed(elementType, shape: [])
    }

    private var isFloat: Bool { elementType == .float32 || elementType == .float64 }

    /// Fills one scalar a payload.
    public func decode(_ run: inout DecodeRun) {
        guard let rows = unsafe run.rows else { return }
        // Used again for every number, so that none allocates.
        var text = ""
        text.reserveCapacity(40)
        let size = elementType.byteCount
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            do throws(HeadraceError) {
                try unsafe read(run.payloads[row], &text, to: rows + row * size)
            } catch {
                run.fail(row, error)
            }
        }
    }

    private func read(
        _ payload: UnsafeRawBufferPointer, _ text: inout String, to target: UnsafeMutableRawPointer
    ) throws(HeadraceError) {
        try unsafe JSONScanner.validate(payload)
        guard let start = unsafe steps.find(in: payload) else {
            throw HeadraceError(.badValue, "the JSON text has nothing at '\(path)'")
        }
        var end = start
        while end < payload.count, Self.isPartOfToken(unsafe payload[end]) { end += 1 }
        let token = unsafe UnsafeRawBufferPointer(rebasing: payload[start..<end])
        if isFloat {
            return try unsafe readFloat(token, &text, to: target)
        }
        if elementType == .bool {
            let isTrue = unsafe token.elementsEqual("true".utf8)
            guard unsafe isTrue || token.elementsEqual("false".utf8) else {
                throw unsafe refusal(payload, start, "is neither true nor false")
            }
            return unsafe target.storeBytes(of: isTrue ? 1 : 0, as: UInt8.self)
        }
        guard let range = Self.integers(elementType) else { return }
        guard let value = try unsafe Self.integer(token) else {
            throw unsafe refusal(payload, start, "is no integer")
        }
        guard range.contains(value) else {
            throw unsafe refusal(payload, start, "is beyond \(elementType.rawValue)")
        }
        switch elementType.byteCount {
        case 1: unsafe target.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
        case 2: unsafe target.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        case 4: unsafe target.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
        default: unsafe target.storeBytes(of: value, as: Int64.self)
        }
    }

    private func readFloat(
        _ token: UnsafeRawBufferPointer, _ text: inout String, to target: UnsafeMutableRawPointer
    ) throws(HeadraceError) {
        let first = unsafe token.first ?? 0
        guard first == UInt8(ascii: "-") || first >= 0x30 && first <= 0x39 else {
            throw HeadraceError(.badValue, "the value at '\(path)' of the JSON text is no number")
        }
        text.removeAll(keepingCapacity: true)
        for place in 0..<token.count {
            text.unicodeScalars.append(Unicode.Scalar(unsafe token[place]))
        }
        let isFinite: Bool
        if elementType == .float32 {
            let value = Float(text) ?? .nan
            isFinite = value.isFinite
            unsafe target.storeBytes(of: value, as: Float.self)
        } else {
            let value = Double(text) ?? .nan
            isFinite = value.isFinite
            unsafe target.storeBytes(of: value, as: Double.self)
        }
        guard isFinite else {
            throw HeadraceError(
                .badValue, "the number at '\(path)' of the JSON text is beyond \(elementType.rawValue)")
        }
    }

    private static func isPartOfToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0x20, 0x0a, 0x0d, 0x09: false
        default: true
        }
    }

    /// The integer that a token is; nil for any other token. Throws beyond 64 bits.
    private static func integer(_ token: UnsafeRawBufferPointer) throws(HeadraceError) -> Int64? {
        let isNegative = unsafe token.first == UInt8(ascii: "-")
        guard token.count > (isNegative ? 1 : 0) else { return nil }
        var negated: Int64 = 0
        var isBeyond = false
        for place in (isNegative ? 1 : 0)..<token.count {
            let digit = unsafe token[place] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (tenfold, overflow) = negated.multipliedReportingOverflow(by: 10)
            let (sum, borrow) = tenfold.subtractingReportingOverflow(Int64(digit))
            isBeyond = isBeyond || overflow || borrow
            negated = sum
        }
        guard !isBeyond, isNegative || negated != .min else {
            throw HeadraceError(.badValue, "'\(unsafe excerpt(of: token))' is an integer beyond 64 bits")
        }
        return isNegative ? negated : -negated
    }

    private static func integers(_ type: ElementType) -> ClosedRange<Int64>? {
        switch type {
        case .int8: Int64(Int8.min)...Int64(Int8.max)
        case .int16: Int64(Int16.min)...Int64(Int16.max)
        case .int32: Int64(Int32.min)...Int64(Int32.max)
        case .int64: Int64.min...Int64.max
        case .uint8: 0...Int64(UInt8.max)
        case .uint16: 0...Int64(UInt16.max)
        case .uint32: 0...Int64(UInt32.max)
        default: nil
        }
    }

    private func refusal(_ payload: UnsafeRawBufferPointer, _ start: Int, _ what: String) -> HeadraceError {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: payload[start...])
        return HeadraceError(
            .badValue, "the value at '\(path)' of the JSON text, '\(unsafe excerpt(of: rest))', \(what)")
    }
}
