internal import HeadraceCompute
internal import HeadraceCore
internal import HeadraceDecode

extension DeviceNormalization {
    /// What the consumer gets of a column that workers decode to `decoded`. Throws `shapeMismatch` where its rows are no
    /// images of as many channels.
    func layout(of decoded: ColumnLayout, column: String) throws(HeadraceError) -> ColumnLayout {
        let count = mean.count
        guard case .fixed(.uint8, let shape) = decoded else { throw refusal(column, "holds no uint8 images") }
        switch (shape.count, channels) {
        case (2, _) where count == 1: return .fixed(elementType, shape: [1] + shape)
        case (3, .last) where shape[2] == count: return .fixed(elementType, shape: [count] + shape[..<2])
        case (3, .first) where shape[0] == count: return .fixed(elementType, shape: shape)
        default: throw refusal(column, "has rows of shape \(shape)")
        }
    }

    private func refusal(_ column: String, _ what: String) -> HeadraceError {
        let wanted =
            channels == .last
            ? "height, width, \(mean.count) channels" : "\(mean.count) channels, height, width"
        return HeadraceError(
            .shapeMismatch,
            "column '\(column)' \(what); the device normalises uint8 images (\(wanted)), as its normalisation says",
            at: .init(field: column))
    }
}
