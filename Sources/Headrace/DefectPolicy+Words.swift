package import HeadraceCore

extension DefectPolicy {
    /// What a person means by `fail`, `skip`, `skip:N` or `skip:P%`.
    package init(words: String) throws(HeadraceError) {
        switch words {
        case "fail": self = .fail
        case "skip": self = .skip(limit: Int.max)
        default:
            let limit = words.hasPrefix("skip:") ? words.dropFirst(5) : ""
            if limit.last == "%", let percent = Double(limit.dropLast()), (0...100).contains(percent) {
                self = .skipShare(percent / 100)
            } else if let count = Int(limit), count >= 0 {
                self = .skip(limit: count)
            } else {
                throw HeadraceError(
                    .usage,
                    "'\(words)' is no way to treat defects; write fail, skip, skip:N (samples) or skip:P% "
                        + "(0 to 100)")
            }
        }
    }

    /// The words that ``init(words:)`` reads.
    var words: String {
        switch self {
        case .fail: "fail"
        case .skip(Int.max): "skip"
        case .skip(let limit): "skip:\(limit)"
        case .skipShare(let share): "skip:\(share * 100)%"
        }
    }
}
