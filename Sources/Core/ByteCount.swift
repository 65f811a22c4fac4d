/// A number of bytes, with the spellings that people and scripts use.
///
/// ```swift
/// .cached(at: "/mnt/nvme", limit: .gigabytes(400))
/// try ByteCount(parsing: "1.5GiB").bytes  // 1610612736
/// ```
public struct ByteCount: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number itself; never negative.
    public let bytes: Int

    /// `bytes` bytes. A negative number is a programming error.
    public init(_ bytes: Int) {
        precondition(bytes >= 0, "a byte count cannot be negative")
        self.bytes = bytes
    }

    // Numbers here are a programmer's: a negative or overflowing one traps. A user's go through `init(parsing:)`.

    /// That many bytes.
    public static func bytes(_ count: Int) -> ByteCount { ByteCount(count) }
    /// 10^3 bytes each.
    public static func kilobytes(_ count: Int) -> ByteCount { ByteCount(count * 1000) }
    /// 10^6 bytes each.
    public static func megabytes(_ count: Int) -> ByteCount { ByteCount(count * 1_000_000) }
    /// 10^9 bytes each.
    public static func gigabytes(_ count: Int) -> ByteCount { ByteCount(count * 1_000_000_000) }
    /// 2^10 bytes each.
    public static func kibibytes(_ count: Int) -> ByteCount { ByteCount(count << 10) }
    /// 2^20 bytes each.
    public static func mebibytes(_ count: Int) -> ByteCount { ByteCount(count << 20) }
    /// 2^30 bytes each.
    public static func gibibytes(_ count: Int) -> ByteCount { ByteCount(count << 30) }

    /// The smaller number comes first.
    public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }

    /// What ``init(parsing:)`` accepts, for messages and help texts.
    public static let acceptedForms =
        "bytes (4096), decimal units kB MB GB TB (1.5GB = 1500000000) or binary units KiB MiB GiB TiB "
        + "or K M G T (64M = 67108864)"

    // Spelled exactly: a unit in the wrong case ("kb", "mb") could mean bits, tenths or binary units.
    private static let units: [(name: String, bytes: Int)] = [
        ("B", 1), ("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40),
    ]

    /// Reads a size as the command-line tools take it; a fraction of a unit must come to whole bytes.
    public init(parsing text: String) throws(HeadraceError) {
        guard let (number, unit) = DecimalNumber.prefix(of: text),
            let factor = unit.isEmpty ? 1 : Self.units.first(where: { $0.name == unit })?.bytes,
            let bytes = number.multiplied(by: factor, rounding: false)
        else {
            throw HeadraceError(.usage, "'\(text)' is no size; write \(Self.acceptedForms), below 2^63")
        }
        self.bytes = bytes
    }

    /// In the largest decimal unit that leaves a number of at least 1, with up to two decimals: "1.5 GB".
    public var description: String {
        let units = Self.units[1...4].reversed()
        guard let unit = units.first(where: { bytes >= $0.bytes }) else { return "\(bytes) B" }
        // Rounded down, so that what is printed never exceeds what there is.
        let hundredths = bytes / unit.bytes * 100 + bytes % unit.bytes * 100 / unit.bytes
        return "\(fixedPoint(hundredths)) \(unit.name)"
    }
}

/// "1.5" for 150, "2" for 200, "0.07" for 7.
func fixedPoint(_ hundredths: Int) -> String {
    let whole = hundredths / 100
    let rest = hundredths % 100
    if rest == 0 { return "\(whole)" }
    if rest % 10 == 0 { return "\(whole).\(rest / 10)" }
    return "\(whole).\(rest < 10 ? "0" : "")\(rest)"
}

/// A non-negative decimal number held exactly: `digits` / 10^`decimals`.
struct DecimalNumber {
    var digits: Int
    var decimals: Int

    /// The number at the start of `text` and what follows it; nil where there is none or it is out of range.
    ///
    /// Digits, at most one point with digits on both sides; no sign, no exponent, no spaces.
    static func prefix(of text: String) -> (DecimalNumber, unit: String)? {
        var number = DecimalNumber(digits: 0, decimals: 0)
        var whole = 0
        var isPastPoint = false
        let bytes = Array(text.utf8)
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "."), !isPastPoint {
                isPastPoint = true
            } else if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
                let (tenfold, overflow) = number.digits.multipliedReportingOverflow(by: 10)
                let (sum, carry) = tenfold.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
                if overflow || carry { return nil }
                number.digits = sum
                if isPastPoint { number.decimals += 1 } else { whole += 1 }
            } else {
                break
            }
            at += 1
        }
        guard whole > 0, !isPastPoint || number.decimals > 0, number.decimals <= 18 else { return nil }
        return (number, String(decoding: bytes[at...], as: UTF8.self))
    }

    /// The product as a whole number; nil when it overflows, or is none and may not be rounded.
    func multiplied(by factor: Int, rounding: Bool) -> Int? {
        var divisor: UInt = 1
        for _ in 0..<decimals { divisor *= 10 }
        let product = UInt(digits).multipliedFullWidth(by: UInt(factor))
        // The division traps where its quotient needs more than 64 bits.
        guard product.high < divisor else { return nil }
        let (quotient, remainder) = divisor.dividingFullWidth(product)
        guard remainder == 0 || rounding else { return nil }
        return Int(exactly: quotient)
    }
}
