public import HeadraceCore

/// Several data sets in one loader, by weights.
///
/// The data sets are the elements of ``Dataset/shards``, each one a path, a folder or a pattern. Places are dealt to
/// them so evenly that after any number p of samples data set d has had p x weight / (sum of weights), up to the
/// rounding of a binary tree of data sets: the proportions are exact, in any stretch of the epoch, and the same for
/// every run. A mixture is an indexed walk, so its shards need indexes.
public struct Mixing: Hashable, Sendable, CustomStringConvertible {
    /// Digits behind the point of a weight that is written as a decimal number, at most.
    public static let weightDigits = 9

    /// How often each data set comes, relative to the others: one number of at least 1 for each of them.
    public var weights: [Int]
    /// When an epoch ends.
    public var end: MixtureEnd

    /// - Parameters:
    ///   - weights: one for each data set.
    ///   - end: when an epoch ends.
    public init(weights: [Int], until end: MixtureEnd = .firstExhausted) {
        self.weights = weights
        self.end = end
    }

    /// Weights as words: integers or decimal numbers, with commas between ("3,1" or "0.75,0.25").
    ///
    /// Throws `usage` for what is none.
    public init(words: String, until end: MixtureEnd = .firstExhausted) throws(HeadraceError) {
        var parts: [(digits: String, places: Int)] = []
        for word in words.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = word.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            let fraction = halves.count > 1 ? halves[1] : ""
            let digits = String(halves.first ?? "") + fraction
            guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                fraction.utf8.count <= Self.weightDigits
            else { throw Self.refused(words) }
            parts.append((digits, fraction.utf8.count))
        }
        let places = parts.reduce(0) { max($0, $1.places) }
        var weights: [Int] = []
        for part in parts {
            let zeros = String(repeating: "0", count: places - part.places)
            guard let weight = Int(part.digits + zeros), weight >= 1 else { throw Self.refused(words) }
            weights.append(weight)
        }
        self.init(weights: weights, until: end)
    }

    private static func refused(_ words: String) -> HeadraceError {
        HeadraceError(
            .usage,
            "'\(words)' is no list of weights; write one number above 0 for each data set, with commas between "
                + "(3,1 or 0.75,0.25; at most \(weightDigits) digits behind the point)")
    }

    /// Such as "3,1 until all".
    public var description: String {
        weights.map(String.init).joined(separator: ",") + " until \(end.rawValue)"
    }
}
