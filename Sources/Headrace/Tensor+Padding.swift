public import HeadraceCore
internal import HeadraceDecode

/// Rows of a batch that differed in length, filled up to one.
public struct PaddedRows: Sendable {
    /// Type of the elements.
    public let elementType: ElementType
    /// Rows, the length, then the shape of a step.
    public let shape: [Int]
    /// Elements of each row before it was filled up, or steps where rows are lists of steps.
    public let lengths: [Int]
    /// The elements in C order and the machine's byte order.
    public let bytes: [UInt8]

    /// The elements; they must be of `type`'s size.
    public func elements<Element: BitwiseCopyable>(as type: Element.Type) -> [Element] {
        precondition(MemoryLayout<Element>.size == elementType.byteCount, "elements of another size")
        return unsafe bytes.withUnsafeBytes { source in
            (0..<source.count / MemoryLayout<Element>.size).map {
                unsafe source.loadUnaligned(
                    fromByteOffset: $0 * MemoryLayout<Element>.size, as: Element.self)
            }
        }
    }
}

extension Tensor {
    /// Elements of padded rows of one batch at most (1 Gi).
    public static let largestPadded = 1 << 30

    /// The rows filled up to one length with `fill`: that of the longest row of the batch, or a fixed one.
    ///
    /// The elements are copied into fresh memory by the caller's thread. Where the length is the same for every batch,
    /// ``PaddedDecoder`` has the workers do it, in the batch's own memory.
    ///
    /// Throws `shapeMismatch` for lists of byte strings, `usage` for a fill that is no value of the elements' type, and
    /// `badValue` for a row that is longer than a fixed length.
    public func padded(_ padding: Padding, with fill: Double = 0) throws(HeadraceError) -> PaddedRows {
        if case .spans(.strings) = layout { throw mismatch("rows that can be padded") }
        guard let value = elementType.bytes(of: fill) else {
            throw HeadraceError(
                .usage, "\(fill) is no value of type \(elementType.rawValue) to pad rows with")
        }
        var step: [Int] = []
        switch layout {
        case .spans(.list(_, let shape)): step = shape
        case .fixed(_, let shape): step = Array(shape.dropFirst())
        case .spans: break
        }
        let stepElements = max(1, step.reduce(1, *))
        let offsets = rowOffsets
        let lengths = (0..<count).map { (offsets[$0 + 1] - offsets[$0]) / stepElements }
        guard let length = padding.length(longest: lengths.max() ?? 0) else {
            let longest = lengths.max() ?? 0
            throw HeadraceError(
                .badValue,
                "row \(lengths.firstIndex(of: longest) ?? 0) of the batch has \(longest) elements and cannot be padded: "
                    + "\(padding)")
        }
        let (elements, overflow) = length.multipliedReportingOverflow(by: stepElements * max(1, count))
        guard !overflow, elements <= Self.largestPadded else {
            throw HeadraceError(
                .usage,
                "\(count) rows of \(length) are more than the limit largestPadded of \(Self.largestPadded) elements"
            )
        }
        let rowBytes = length * stepElements * elementType.byteCount
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count * rowBytes)
        for row in 0..<count {
            unsafe withRow(row) { unsafe bytes.append(contentsOf: $0) }
            while bytes.count < (row + 1) * rowBytes { bytes.append(contentsOf: value) }
        }
        return PaddedRows(
            elementType: elementType, shape: [count, length] + step, lengths: lengths, bytes: bytes)
    }
}
