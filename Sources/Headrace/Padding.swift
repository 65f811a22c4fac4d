/// To which length the rows of a batch are filled up.
public enum Padding: Hashable, Sendable {
    /// To that of the longest row, rounded up to a multiple: few lengths let compiled programs be used again.
    case longest(multipleOf: Int)
    /// To a fixed length; a longer row is a defect.
    case length(Int)

    /// The length of a batch whose longest row has `longest` elements; nil where that is too long, or the multiple is
    /// no number of at least 1.
    public func length(longest: Int) -> Int? {
        switch self {
        case .longest(let multiple):
            guard multiple >= 1 else { return nil }
            let (sum, overflow) = longest.addingReportingOverflow(multiple - 1)
            return overflow ? nil : sum / multiple * multiple
        case .length(let length): return longest <= length ? length : nil
        }
    }
}
