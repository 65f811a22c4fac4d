public import HeadraceCore

/// Reads a field that is one decimal number in ASCII, such as `cls`, into an `int64` scalar.
///
/// An optional sign, digits, and white space around them; exact, and nothing else is let through: "3.0",
/// "1_000", an empty field and a number beyond 64 bits are defects of their sample.
public struct IntegerDecoder: Decoder {
    /// A decoder; it has no options.
    public init() {}

    /// A scalar `int64`; throws `badValue` when `payload` is no integer.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        _ = try unsafe Self.value(of: payload)
        return .fixed(.int64, shape: [])
    }

    /// Fills one `int64` a payload.
    public func decode(_ run: inout DecodeRun) {
        guard let rows = unsafe run.rows else { return }
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            do throws(HeadraceError) {
                let value = try unsafe Self.value(of: run.payloads[row])
                unsafe rows.storeBytes(of: value, toByteOffset: row * 8, as: Int64.self)
            } catch {
                run.fail(row, error)
            }
        }
    }

    private static func value(of payload: UnsafeRawBufferPointer) throws(HeadraceError) -> Int64 {
        var start = 0
        var end = payload.count
        while start < end, isSpace(unsafe payload[start]) { start += 1 }
        while end > start, isSpace(unsafe payload[end - 1]) { end -= 1 }
        var isNegative = false
        if start < end {
            let sign = unsafe payload[start]
            isNegative = sign == UInt8(ascii: "-")
            if isNegative || sign == UInt8(ascii: "+") { start += 1 }
        }
        guard start < end else { throw unsafe refusal(payload, "is no integer") }
        // Summed up below zero, where there is room for one number more than above.
        var negated: Int64 = 0
        for at in start..<end {
            let digit = unsafe payload[at] &- UInt8(ascii: "0")
            guard digit <= 9 else { throw unsafe refusal(payload, "is no integer") }
            let (tenfold, overflow) = negated.multipliedReportingOverflow(by: 10)
            let (sum, borrow) = tenfold.subtractingReportingOverflow(Int64(digit))
            guard !overflow, !borrow else { throw unsafe refusal(payload, "is an integer beyond 64 bits") }
            negated = sum
        }
        if isNegative { return negated }
        guard negated != .min else { throw unsafe refusal(payload, "is an integer beyond 64 bits") }
        return -negated
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte >= 0x09 && byte <= 0x0d }

    private static func refusal(_ payload: UnsafeRawBufferPointer, _ what: String) -> HeadraceError {
        HeadraceError(.badValue, "'\(unsafe excerpt(of: payload))' \(what)")
    }
}

/// The start of a payload as it can stand in a message: at most 32 bytes, unprintable ones as `\xNN`.
func excerpt(of payload: UnsafeRawBufferPointer) -> String {
    var text = ""
    for at in 0..<min(32, payload.count) {
        let byte = unsafe payload[at]
        if byte >= 0x20 && byte < 0x7f {
            text.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
            text += (byte < 16 ? "\\x0" : "\\x") + String(byte, radix: 16)
        }
    }
    return payload.count > 32 ? text + "..." : text
}
