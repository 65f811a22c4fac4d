internal import HeadraceCore

/// Watches how much comes out of how little: a few kilobytes must not be able to fill a disk or a memory.
struct DecompressionGuard {
    private let limits: FormatLimits
    private(set) var consumed = 0
    private(set) var produced = 0

    init(_ limits: FormatLimits) { self.limits = limits }

    mutating func add(consumed: Int, produced: Int) {
        self.consumed += consumed
        self.produced += produced
    }

    /// The error once the ratio is beyond its limit.
    var excess: HeadraceError? {
        guard produced > limits.decompressionFloor else { return nil }
        let (allowed, overflow) = consumed.multipliedReportingOverflow(by: limits.decompressionRatio)
        guard !overflow, produced > allowed else { return nil }
        return error(
            .limitExceeded,
            "\(consumed) compressed bytes became \(produced), more than \(limits.decompressionRatio) for one "
                + "(limit decompressionRatio)")
    }

    /// An error of the codec here. Its place is the uncompressed one; its message has the compressed one, because
    /// that is where the file is damaged.
    func error(
        _ code: HeadraceError.Code, _ message: String, at compressed: Int? = nil, cause: String? = nil
    ) -> HeadraceError {
        HeadraceError(
            code, "at byte \(compressed ?? consumed) of the compressed file: \(message)",
            at: .init(offset: produced),
            cause: cause)
    }
}
