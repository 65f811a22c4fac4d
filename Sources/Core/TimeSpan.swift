/// A length of time, in whole nanoseconds.
///
/// ```swift
/// try TimeSpan(parsing: "120ms").nanoseconds  // 120000000
/// ```
public struct TimeSpan: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The length itself; never negative.
    public let nanoseconds: Int

    /// `nanoseconds` ns. A negative number is a programming error.
    public init(nanoseconds: Int) {
        precondition(nanoseconds >= 0, "a time span cannot be negative")
        self.nanoseconds = nanoseconds
    }

    /// That many nanoseconds.
    public static func nanoseconds(_ count: Int) -> TimeSpan { TimeSpan(nanoseconds: count) }
    /// That many microseconds.
    public static func microseconds(_ count: Int) -> TimeSpan { TimeSpan(nanoseconds: count * 1000) }
    /// That many milliseconds.
    public static func milliseconds(_ count: Int) -> TimeSpan { TimeSpan(nanoseconds: count * 1_000_000) }
    /// That many seconds.
    public static func seconds(_ count: Int) -> TimeSpan { TimeSpan(nanoseconds: count * 1_000_000_000) }

    /// The shorter span comes first.
    public static func < (left: TimeSpan, right: TimeSpan) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The length in seconds.
    public var seconds: Double { Double(nanoseconds) / 1e9 }

    /// What ``init(parsing:)`` accepts, for messages and help texts.
    public static let acceptedForms = "a number and one of the units ns, us, ms, s, m, h (120ms, 1.5s, 2m)"

    private static let units: [(name: String, nanoseconds: Int)] = [
        ("ns", 1), ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ]

    /// Reads a duration as the command-line tools take it. The unit is mandatory: "60" would be a guess.
    public init(parsing text: String) throws(HeadraceError) {
        guard let (number, unit) = DecimalNumber.prefix(of: text),
            let factor = Self.units.first(where: { $0.name == unit })?.nanoseconds,
            let nanoseconds = number.multiplied(by: factor, rounding: true)
        else {
            throw HeadraceError(.usage, "'\(text)' is no duration; write \(Self.acceptedForms)")
        }
        self.nanoseconds = nanoseconds
    }

    /// In the largest unit up to seconds that leaves a number of at least 1, with up to two decimals: "1.5
    /// s".
    public var description: String {
        let units = Self.units[1...3].reversed()
        guard let unit = units.first(where: { nanoseconds >= $0.nanoseconds }) else {
            return "\(nanoseconds) ns"
        }
        let hundredths =
            nanoseconds / unit.nanoseconds * 100 + nanoseconds % unit.nanoseconds * 100 / unit.nanoseconds
        return "\(fixedPoint(hundredths)) \(unit.name)"
    }
}
