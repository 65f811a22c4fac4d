package import HeadraceCore

/// What the decoders of features share: the checks of kind and count, and their messages.
enum FeatureShape {
    /// Elements of a shape; throws `usage` for one that no memory holds.
    static func elementCount(_ shape: [Int], _ type: ElementType) throws(HeadraceError) -> Int {
        var product = type.byteCount
        for extent in shape {
            // Zeros left out: whoever multiplies the others first must not overflow either.
            let (next, overflows) = product.multipliedReportingOverflow(by: max(1, extent))
            guard extent >= 0, !overflows else {
                throw HeadraceError(
                    .usage, "shape \(NpyHeader.tuple(shape)) is negative or beyond any memory")
            }
            product = next
        }
        return shape.contains(0) ? 0 : product / type.byteCount
    }

    /// The feature in `bytes`, which must be of that kind.
    static func feature(_ bytes: RawSpan, _ kind: FeatureMessage.Kind) throws(HeadraceError) -> FeatureMessage
    {
        guard let feature = FeatureMessage(bytes, 0..<bytes.byteCount) else {
            throw HeadraceError(.badValue, "the bytes are no feature of a tf.Example")
        }
        guard let found = feature.kind else {
            throw HeadraceError(.badValue, "the feature has no kind, and so no values")
        }
        guard found == kind else { throw wrongKind(found, kind) }
        return feature
    }

    /// The feature list in `bytes`, whose steps must all be of that kind; one without values is of any.
    static func list(_ bytes: RawSpan, _ kind: FeatureMessage.Kind) throws(HeadraceError)
        -> FeatureListMessage
    {
        guard let list = FeatureListMessage(bytes, 0..<bytes.byteCount) else {
            throw HeadraceError(.badValue, "the bytes are no feature list of a tf.SequenceExample")
        }
        guard !list.isMixed else {
            throw HeadraceError(.badValue, "the steps of the feature list are of several kinds")
        }
        if let found = list.kind, found != kind { throw wrongKind(found, kind) }
        return list
    }

    static func copyNumbers(
        _ bytes: RawSpan, to target: UnsafeMutableRawPointer, _ numbers: FeatureDecoder.Numbers
    ) {
        var target = unsafe target
        let size = numbers.elementType.byteCount
        FeatureListMessage.forEachStep(bytes, 0..<bytes.byteCount) { feature in
            unsafe feature.copyNumbers(bytes, to: target)
            unsafe target += feature.count * size
        }
    }

    static func wrongKind(_ found: FeatureMessage.Kind, _ wanted: FeatureMessage.Kind) -> HeadraceError {
        HeadraceError(
            .badValue,
            "the field holds \(found.rawValue) values, and is to be decoded as \(wanted.rawValue)"
                + (found == .bytes ? "; decode it as raw, or as what its bytes are" : ""))
    }

    static func wrongCount(_ found: Int, _ wanted: Int, _ shape: String) -> HeadraceError {
        HeadraceError(
            .shapeMismatch,
            found == 0
                ? "the list is there and empty; shape \(shape) needs \(wanted) values, and a default stands in for an "
                    + "absent feature only"
                : "the list has \(found) values; shape \(shape) needs \(wanted)")
    }

    static func wrongSteps(_ list: FeatureListMessage, _ wanted: String) -> HeadraceError {
        let steps = list.countPerStep.map { "\($0) values each" } ?? "unlike counts of values"
        return HeadraceError(
            .shapeMismatch, "the feature list has \(list.steps) steps of \(steps); \(wanted) is wanted")
    }
}

/// Why a decoder that knows nothing of features cannot read one.
package func featureRefusal(
    _ payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding
) -> HeadraceError {
    let bytes = unsafe payload.bytes
    let all = 0..<bytes.byteCount
    let what: String
    if encoding == .featureList {
        let list = FeatureListMessage(bytes, all)
        what =
            "a feature list of \(list?.steps ?? 0) steps of \(list?.kind?.rawValue ?? "no one kind of") values"
    } else {
        let feature = FeatureMessage(bytes, all)
        what = "a list of \(feature?.count ?? 0) \(feature?.kind?.rawValue ?? "no") values"
    }
    return HeadraceError(
        .badValue,
        "the field is \(what) of a tf.Example; decode it as int64, float or bytes with its shape, such as int64[]"
    )
}
