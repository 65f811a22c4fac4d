public import HeadraceCore

/// Rows of any length as a tensor of one shape: what a row lacks is filled up, and a longer row is a defect.
///
/// It takes the rows of a decoder of lists (``ListDecoder``), or bytes and text as they are, whose elements are then
/// `uint8`. ``RowLengthDecoder`` on the same field tells how long each row was.
public struct PaddedDecoder: Decoder {
    /// Elements of a padded row at most (64 Mi).
    public static let largestLength = 1 << 26

    private let base: any Decoder
    private let length: Int
    private let fill: Double

    /// - Parameters:
    ///   - base: reads the field.
    ///   - length: of all rows: elements, or steps where the list is one of steps.
    ///   - fill: what stands behind a row's own elements; it must be a value of their type.
    public init(_ base: some Decoder, to length: Int, with fill: Double = 0) {
        self.base = base
        self.length = length
        self.fill = fill
    }

    /// As its base.
    public var readsFeatures: Bool { base.readsFeatures }
    /// As its base.
    public var fillsAbsentRows: Bool { base.fillsAbsentRows }
    /// As its base.
    public var part: String? { base.part }

    /// `[length]` and the shape of a step. Throws `usage` where the base has no rows of any length, and for a length or
    /// a fill that cannot be.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        let (type, step) = try unsafe RowLengths.elements(of: base.column(for: payload))
        var elements = length
        for extent in step {
            let (product, overflow) = elements.multipliedReportingOverflow(by: extent)
            elements = overflow ? Int.max : product
        }
        guard length >= 1, elements <= Self.largestLength else {
            throw HeadraceError(
                .usage,
                "rows cannot be padded to \(length): it must be at least 1, and a row at most "
                    + "\(Self.largestLength) elements")
        }
        guard type.bytes(of: fill) != nil else {
            throw HeadraceError(.usage, "\(fill) is no value of type \(type.rawValue) to pad rows with")
        }
        return .fixed(type, shape: [length] + step)
    }

    /// Fills one row a payload.
    public func decode(_ run: inout DecodeRun) {
        guard case .fixed(let type, let shape) = run.layout, let rows = unsafe run.rows,
            let fill = type.bytes(of: fill)
        else { return }
        let rowBytes = run.layout.rowBytes
        let stepElements = shape.dropFirst().reduce(1, *)
        var inner = unsafe DecodeRun(
            payloads: run.payloads, rows: nil, layout: RowLengths.layout(of: base, type, shape),
            seeds: run.seeds, encodings: run.encodings)
        base.decode(&inner)
        for (row, error) in inner.failures { run.fail(row, error) }
        let failed = Set(inner.failures.map(\.row))
        for row in unsafe run.payloads.indices where !failed.contains(row) {
            let target = unsafe rows + row * rowBytes
            var used = 0
            if !run.isAbsent(row) {
                let payload = unsafe run.payloads[row]
                let elements = unsafe RowLengths.count(payload, run.encoding(row), base)
                guard elements <= length * stepElements else {
                    run.fail(
                        row,
                        HeadraceError(
                            .badValue,
                            "the row has \(elements / max(1, stepElements)) elements, and rows are padded to \(length): "
                                + "pad to more, or cut the rows before they are packed"))
                    continue
                }
                used = elements * type.byteCount
                unsafe RowLengths.copy(payload, run.encoding(row), base, to: target)
            }
            for offset in stride(from: used, to: rowBytes, by: fill.count) {
                unsafe fill.withUnsafeBytes { value in
                    unsafe (target + offset).copyMemory(from: value.baseAddress!, byteCount: value.count)
                }
            }
        }
    }
}

/// How long rows are: the elements of lists (their steps, where they are lists of steps), or the bytes of bytes and text.
/// The column is `FIELD/length`, an `int64` a row.
public struct RowLengthDecoder: Decoder {
    private let base: any Decoder

    /// The lengths of what `base` reads.
    public init(_ base: some Decoder) { self.base = base }

    /// As its base.
    public var readsFeatures: Bool { base.readsFeatures }
    /// As its base; the length of an absent row is 0.
    public var fillsAbsentRows: Bool { base.fillsAbsentRows }
    /// The length.
    public var part: String? { base.part.map { "\($0)/length" } ?? "length" }

    /// A scalar. Throws `usage` where the base has no rows of any length.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        _ = try unsafe RowLengths.elements(of: base.column(for: payload))
        return .fixed(.int64, shape: [])
    }

    /// Writes one length a payload.
    public func decode(_ run: inout DecodeRun) {
        guard let rows = unsafe run.rows else { return }
        var step = 1
        if case .spans(.list(_, let shape))? = unsafe run.payloads.first.flatMap({
            unsafe try? base.column(for: $0)
        }) {
            step = max(1, shape.reduce(1, *))
        }
        var inner = unsafe DecodeRun(
            payloads: run.payloads, rows: nil, layout: .spans(.bytes), seeds: run.seeds,
            encodings: run.encodings)
        base.decode(&inner)
        for (row, error) in inner.failures { run.fail(row, error) }
        let failed = Set(inner.failures.map(\.row))
        for row in unsafe run.payloads.indices where !failed.contains(row) {
            var length = 0
            if !run.isAbsent(row) {
                length = unsafe RowLengths.count(run.payloads[row], run.encoding(row), base) / step
            }
            unsafe rows.storeBytes(of: Int64(length), toByteOffset: 8 * row, as: Int64.self)
        }
    }
}

/// What decoders of rows of any length have in common with plain bytes.
private enum RowLengths {
    static func elements(of layout: ColumnLayout) throws(HeadraceError) -> (ElementType, [Int]) {
        switch layout {
        case .spans(.list(let type, let step)): return (type, step)
        case .spans(.bytes), .spans(.text), .spans(.json): return (.uint8, [])
        case .spans(.strings):
            throw HeadraceError(
                .usage, "lists of byte strings cannot be padded; they have no elements of one size")
        case .fixed(_, let shape):
            throw HeadraceError(
                .usage, "the rows are all of shape \(NpyHeader.tuple(shape)), so there is nothing to pad")
        }
    }

    /// The layout that the base has when its rows are padded to `shape`.
    static func layout(of base: any Decoder, _ type: ElementType, _ shape: [Int]) -> ColumnLayout {
        base is any ListDecoder ? .spans(.list(type, shape: Array(shape.dropFirst()))) : .spans(.bytes)
    }

    static func count(
        _ payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding, _ base: any Decoder
    ) -> Int {
        guard let list = base as? any ListDecoder else { return payload.count }
        return unsafe list.elementCount(of: payload, encoding)
    }

    static func copy(
        _ payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding, _ base: any Decoder,
        to target: UnsafeMutableRawPointer
    ) {
        if let list = base as? any ListDecoder {
            unsafe list.copyElements(of: payload, encoding, to: target)
        } else if let start = payload.baseAddress, payload.count > 0 {
            unsafe target.copyMemory(from: start, byteCount: payload.count)
        }
    }
}

extension ElementType {
    /// The bytes of an element of this value in the machine's order; nil where the type has no such value.
    package func bytes(of value: Double) -> [UInt8]? {
        func integer<Value: FixedWidthInteger>(_: Value.Type) -> [UInt8]? {
            Value(exactly: value).map { element in unsafe withUnsafeBytes(of: element) { unsafe Array($0) } }
        }
        // What is too large for a type would become infinite.
        let isTooLarge =
            switch self {
            case .float16: value.isFinite && abs(value) > 65_504
            case .bfloat16: value.isFinite && abs(value) > 0x1.FEp127
            case .float32, .complex64: value.isFinite && !Float(value).isFinite
            default: false
            }
        if isTooLarge { return nil }
        switch self {
        case .bool: return value == 0 || value == 1 ? [value == 0 ? 0 : 1] : nil
        case .int8: return integer(Int8.self)
        case .int16: return integer(Int16.self)
        case .int32: return integer(Int32.self)
        case .int64: return integer(Int64.self)
        case .uint8: return integer(UInt8.self)
        case .uint16: return integer(UInt16.self)
        case .uint32: return integer(UInt32.self)
        case .uint64: return integer(UInt64.self)
        case .float16:
            #if arch(x86_64) && os(macOS)
                return nil
            #else
                return unsafe withUnsafeBytes(of: Float16(value)) { unsafe Array($0) }
            #endif
        case .bfloat16:
            // The upper half of a float32, rounded to nearest even; a fill is hardly ever anything but exact.
            let bits = Float(value).bitPattern
            let rounded = value.isNaN ? bits | 0x40_0000 : bits &+ 0x7FFF &+ (bits >> 16 & 1)
            return unsafe withUnsafeBytes(of: UInt16(truncatingIfNeeded: rounded >> 16)) { unsafe Array($0) }
        case .float32: return unsafe withUnsafeBytes(of: Float(value)) { unsafe Array($0) }
        case .float64: return unsafe withUnsafeBytes(of: value) { unsafe Array($0) }
        case .complex64:
            return unsafe withUnsafeBytes(of: (Float(value), Float(0))) { unsafe Array($0) }
        case .complex128:
            return unsafe withUnsafeBytes(of: (value, Double(0))) { unsafe Array($0) }
        }
    }
}
