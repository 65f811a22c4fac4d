public import HeadraceCompute
public import HeadraceCore
public import HeadraceDecode

/// One column of a batch. Keeps the batch's memory for as long as it is kept itself.
///
/// Rows of one shape lie in one contiguous tensor. Rows that differ in length stay where they were read until
/// somebody asks: bytes, text and JSON are given in place, lists of numbers are decoded by the call that wants them.
///
/// On a device (``device``) only what has a fixed shape lies there; rows that differ in length stay on the host. What
/// copies elements (``elements(as:)``) works on either; what gives them in place
/// (``withUnsafeBytes(_:)``, ``withRow(_:_:)``, ``bytes(ofRow:)``) is for the host, and a program that asks it of a device's tensor is
/// stopped.
public struct Tensor: Sendable {
    let lease: SlotLease
    /// Name of the column.
    private let name: String
    /// Name of the field behind it.
    private let field: String
    /// Decoder of rows that are lists.
    let decoder: (any Decoder)?
    let placement: Placement?
    /// How the rows lie in memory.
    public let layout: ColumnLayout

    init(_ lease: SlotLease, _ column: Column, _ placement: Placement?) {
        self.lease = lease
        name = column.name
        field = column.field
        decoder = column.decoder
        layout = placement == nil ? column.layout : column.placedLayout
        self.placement = placement
    }

    /// A field of batches without decoders.
    init(_ lease: SlotLease, rawField: String) {
        self.lease = lease
        name = rawField
        field = rawField
        decoder = nil
        layout = .spans(.bytes)
        placement = nil
    }

    /// Where the elements are: the loader's device for a fixed shape, the host for rows that differ in length.
    public var device: ComputeDevice { placement?.device ?? .host }

    /// Address of the first element on ``device``, 0 where there are no elements. Good for as long as the tensor or its
    /// batch is kept; see ``noteUse(on:)``.
    public var deviceAddress: UInt { placement.map { unsafe UInt(bitPattern: $0.address) } ?? 0 }

    /// Says that work given to a device's stream reads the tensor: when the batch is let go of, its memory is used
    /// again only behind all that the stream was given until then.
    ///
    /// Work on CUDA's default stream, and on streams that wait for it, as streams do unless they were made
    /// non-blocking, needs no such word as long as no other stream is named. On the host it means nothing.
    public func noteUse(on stream: DeviceStream) {
        if let placement { lease.engine.backend.noteUse(of: placement, on: stream) }
    }

    /// Number of rows.
    public var count: Int { lease.slot.count }

    /// Rows first, then the shape of a row; `nil` stands for a length that differs from row to row.
    public var shape: [Int?] {
        switch layout {
        case .fixed(_, let shape): [count] + shape
        case .spans(.list(_, let shape)): [count, nil] + shape
        case .spans(.strings): [count, nil, nil]
        case .spans: [count, nil]
        }
    }

    /// Type of the elements; bytes for spans.
    public var elementType: ElementType {
        switch layout {
        case .fixed(let type, _), .spans(.list(let type, _)): type
        case .spans: .uint8
        }
    }

    /// The rows' elements, one after the other without gaps.
    ///
    /// A tensor of fixed shape is given in place; spans are gathered into fresh memory first. Not for tensors on a
    /// device.
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result
    {
        guard case .fixed = layout else { return try unsafe withGathered(0..<count, body) }
        // Without memory a tensor of fixed shape is one whose rows have no elements.
        guard let placement else { return try unsafe body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        demandHost()
        return try unsafe body(
            UnsafeRawBufferPointer(start: placement.address, count: count * layout.rowBytes))
    }

    /// The elements of one row: in place for tensors of fixed shape, bytes, text and JSON; empty where a row lacks
    /// an optional field. Not for tensors on a device.
    public func withRow<Result>(_ row: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows
        -> Result
    {
        checkRow(row)
        switch layout {
        case .fixed:
            guard let placement else {
                return try unsafe body(UnsafeRawBufferPointer(start: nil, count: 0))
            }
            demandHost()
            let bytes = layout.rowBytes
            return try unsafe body(
                UnsafeRawBufferPointer(start: placement.address + row * bytes, count: bytes))
        case .spans(.list), .spans(.strings):
            return try unsafe withGathered(row..<row + 1, body)
        case .spans:
            return try unsafe body(span(row).payload)
        }
    }

    private func demandHost() {
        precondition(
            device == .host,
            "the tensor '\(name)' is on \(device): its elements have no address on the host; copy them "
                + "(elements) or hand them on (exportDLPack, deviceAddress)")
    }

    func checkRow(_ row: Int) {
        precondition(row >= 0 && row < count, "row \(row) of a tensor with \(count) rows")
    }

    /// Where a row of a column of spans was read, and how it stands for its value; without an address where the
    /// sample lacks the field.
    func span(_ row: Int) -> (payload: UnsafeRawBufferPointer, encoding: FieldEncoding) {
        let (view, sample, _) = unsafe lease.slot.sample(row)
        guard let number = lease.engine.names.known(field),
            let field = unsafe DecodeWorker.field(number, of: sample, in: view), let base = unsafe view.base
        else { return unsafe (UnsafeRawBufferPointer(start: nil, count: 0), .plain) }
        return unsafe (
            UnsafeRawBufferPointer(start: base + field.offset, count: field.length), field.encoding
        )
    }

    /// A copy of one row's elements as bytes. Not for tensors on a device.
    public func bytes(ofRow row: Int) -> [UInt8] {
        unsafe withRow(row) { span in unsafe Array(span) }
    }

    /// A copy from the device.
    private func copied<Element: TensorElement>(
        _ bytes: Range<Int>, as type: Element.Type
    ) throws(HeadraceError) -> [Element] {
        guard let placement, !bytes.isEmpty else { return [] }
        let backend = lease.engine.backend
        var failure: HeadraceError?
        let elements = unsafe [Element](
            unsafeUninitializedCapacity: bytes.count / MemoryLayout<Element>.stride
        ) { memory, count in
            do throws(HeadraceError) {
                try unsafe backend.copy(bytes, of: placement, to: UnsafeMutableRawBufferPointer(memory))
                count = memory.count
            } catch {
                failure = error
            }
        }
        if let failure { throw failure.placed(field: field) }
        return elements
    }

    /// The rows as strings; bytes that are no UTF-8 are replaced.
    public var strings: [String] {
        (0..<count).map { row in unsafe withRow(row) { span in unsafe String(decoding: span, as: UTF8.self) }
        }
    }

    /// A copy of all elements, row after row. Throws `shapeMismatch` when `Element` is not the tensor's element type.
    public func elements<Element: TensorElement>(as type: Element.Type = Element.self) throws(HeadraceError)
        -> [Element]
    {
        try check(type)
        if device != .host { return try copied(0..<count * layout.rowBytes, as: type) }
        return unsafe withUnsafeBytes { bytes in unsafe Array(bytes.bindMemory(to: Element.self)) }
    }

    /// A copy of one row's elements. Throws `shapeMismatch` when `Element` is not the tensor's element type.
    public func elements<Element: TensorElement>(
        ofRow row: Int, as type: Element.Type = Element.self
    ) throws(HeadraceError) -> [Element] {
        try check(type)
        if device != .host {
            checkRow(row)
            let bytes = layout.rowBytes
            return try copied(row * bytes..<(row + 1) * bytes, as: type)
        }
        return unsafe withRow(row) { bytes in unsafe Array(bytes.bindMemory(to: Element.self)) }
    }

    private func check(_ type: (some TensorElement).Type) throws(HeadraceError) {
        let hasElements =
            switch layout {
            case .fixed, .spans(.list): true
            case .spans: false
            }
        guard hasElements, elementType == type.elementType else {
            throw HeadraceError(
                .shapeMismatch,
                "column '\(name)' holds \(elementType.rawValue), not \(type.elementType.rawValue)",
                at: .init(field: field))
        }
    }

    func mismatch(_ wanted: String) -> HeadraceError {
        HeadraceError(.shapeMismatch, "column '\(name)' holds no \(wanted)", at: .init(field: field))
    }
}

/// Swift types that a tensor's elements can be read as.
public protocol TensorElement: BitwiseCopyable, Sendable {
    /// The element type this is.
    static var elementType: ElementType { get }
}

extension Int8: TensorElement {
    /// `int8`
    public static var elementType: ElementType { .int8 }
}
extension Int16: TensorElement {
    /// `int16`
    public static var elementType: ElementType { .int16 }
}
extension Int32: TensorElement {
    /// `int32`
    public static var elementType: ElementType { .int32 }
}
extension Int64: TensorElement {
    /// `int64`
    public static var elementType: ElementType { .int64 }
}
extension UInt8: TensorElement {
    /// `uint8`
    public static var elementType: ElementType { .uint8 }
}
extension UInt16: TensorElement {
    /// `uint16`
    public static var elementType: ElementType { .uint16 }
}
extension UInt32: TensorElement {
    /// `uint32`
    public static var elementType: ElementType { .uint32 }
}
extension UInt64: TensorElement {
    /// `uint64`
    public static var elementType: ElementType { .uint64 }
}
extension Bool: TensorElement {
    /// `bool`
    public static var elementType: ElementType { .bool }
}
extension Float: TensorElement {
    /// `float32`
    public static var elementType: ElementType { .float32 }
}
extension Double: TensorElement {
    /// `float64`
    public static var elementType: ElementType { .float64 }
}
