internal import HeadraceCompute
public import HeadraceCore
public import HeadraceDecode

/// A batch's slot, on loan to the consumer. The last reference gives it back.
///
/// Sendable: nobody writes to the slot while it is on loan.
final class SlotLease: @unchecked Sendable {
    let engine: Engine
    let slot: BatchSlot

    /// Brings the batch to where it is wanted. A slot that cannot be placed is given back by the error's way out.
    init(engine: Engine, slot: BatchSlot) throws(HeadraceError) {
        self.engine = engine
        self.slot = slot
        try slot.place(engine.backend)
    }

    deinit { engine.takeBack(slot) }
}

/// Consecutive samples, decoded: what a training step takes.
///
/// A batch and the tensors taken from it keep its memory; let go of them soon, or the loader has to wait. At most
/// `heldBatches` can be held at once.
public final class Batch: Sendable {
    let lease: SlotLease
    /// Epoch of its samples, from 0.
    public let epoch: Int
    /// Place in its epoch, from 0.
    public let index: Int
    /// Rows: the batch size, less in the last batch of an epoch and where defective samples were left out.
    public let count: Int

    init(_ lease: SlotLease) {
        self.lease = lease
        epoch = lease.slot.epoch
        index = lease.slot.indexInEpoch
        count = lease.slot.count
    }

    /// The column of a field.
    ///
    /// For a decoded field the layout that its decoder chose; for a batch without decoders, or a field that is none
    /// of the decoded, the rows' raw bytes. Throws `missingField` where no row has it.
    public subscript(field: String) -> Tensor {
        get throws(HeadraceError) {
            let engine = lease.engine
            if let place = engine.columns.firstIndex(where: { $0.name == field }) {
                return Tensor(
                    lease, name: field, layout: engine.columns[place].layout,
                    placement: lease.slot.placements[place])
            }
            guard engine.columns.isEmpty, engine.names.known(field) != nil else {
                let known = engine.columns.isEmpty ? engine.names.all : engine.columns.map(\.name)
                throw HeadraceError(
                    .missingField,
                    "the batch has no field '\(field)'; it has: \(known.sorted().joined(separator: ", "))")
            }
            return Tensor(lease, name: field, layout: .spans(.bytes), placement: nil)
        }
    }

    /// Names of the fields that row `row` delivers, in the order of its shard.
    public func fieldNames(ofRow row: Int) -> [String] {
        let (view, sample, _) = unsafe lease.slot.sample(row)
        let range = Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount)
        var names: [String] = []
        for place in range { names.append(lease.engine.names.name(of: unsafe view.fields![place].name)) }
        let columns = lease.engine.columns
        return columns.isEmpty ? names : names.filter { name in columns.contains { $0.name == name } }
    }

    /// Keys of the rows.
    public var keys: [String] {
        (0..<count).map { row in
            let (view, sample, index) = unsafe lease.slot.sample(row)
            return unsafe SampleKey(view: view, sample: sample, index: index).text(in: lease.engine.catalog)
        }
    }

    /// Bytes of the rows' delivered fields before decoding.
    public var payloadByteCount: Int { lease.slot.payloadBytes }
}

extension BatchSlot {
    func sample(_ row: Int) -> (view: ChunkView, sample: SampleRecord, index: Int) {
        let reference = unsafe rows[row]
        let view = unsafe views[Int(reference.chunk)]
        let sample = unsafe view.samples![Int(reference.sample)]
        return unsafe (view, sample, Int(reference.sample))
    }
}

/// One column of a batch. Keeps the batch's memory for as long as it is kept itself.
public struct Tensor: Sendable {
    private let lease: SlotLease
    private let name: String
    private let placement: Placement?
    /// How the rows lie in memory.
    public let layout: ColumnLayout

    init(_ lease: SlotLease, name: String, layout: ColumnLayout, placement: Placement?) {
        self.lease = lease
        self.name = name
        self.layout = layout
        self.placement = placement
    }

    /// Number of rows.
    public var count: Int { lease.slot.count }

    /// Rows first, then the shape of a row; `nil` stands for a length that differs from row to row.
    public var shape: [Int?] {
        switch layout {
        case .fixed(_, let shape): [count] + shape
        case .spans: [count, nil]
        }
    }

    /// Type of the elements; bytes for spans.
    public var elementType: ElementType {
        if case .fixed(let type, _) = layout { return type }
        return .uint8
    }

    /// The rows' bytes, one after the other without gaps.
    ///
    /// A tensor of fixed shape is given in place; spans are gathered into fresh memory first.
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result
    {
        guard let placement else {
            // Without memory a tensor of fixed shape is one whose rows have no elements.
            if case .fixed = layout { return try unsafe body(UnsafeRawBufferPointer(start: nil, count: 0)) }
            var gathered: [UInt8] = []
            for row in 0..<count { unsafe withRow(row) { span in unsafe gathered.append(contentsOf: span) } }
            return try unsafe gathered.withUnsafeBytes { bytes in try unsafe body(bytes) }
        }
        return try unsafe body(
            UnsafeRawBufferPointer(start: placement.address, count: count * layout.rowBytes))
    }

    /// The bytes of one row, in place; empty where a row lacks an optional field.
    public func withRow<Result>(_ row: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows
        -> Result
    {
        precondition(row >= 0 && row < count, "row \(row) of a tensor with \(count) rows")
        if let placement {
            let bytes = layout.rowBytes
            return try unsafe body(
                UnsafeRawBufferPointer(start: placement.address + row * bytes, count: bytes))
        }
        if case .fixed = layout { return try unsafe body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        let (view, sample, _) = unsafe lease.slot.sample(row)
        guard let number = lease.engine.names.known(name),
            let field = unsafe DecodeWorker.field(number, of: sample, in: view), let base = unsafe view.base
        else { return try unsafe body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return try unsafe body(UnsafeRawBufferPointer(start: base + field.offset, count: field.length))
    }

    /// A copy of one row's bytes.
    public func bytes(ofRow row: Int) -> [UInt8] {
        unsafe withRow(row) { span in unsafe Array(span) }
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
        guard case .fixed(let actual, _) = layout, actual == Element.elementType else {
            throw HeadraceError(
                .shapeMismatch,
                "field '\(name)' holds \(elementType.rawValue), not \(Element.elementType.rawValue)",
                at: .init(field: name))
        }
        return unsafe withUnsafeBytes { bytes in unsafe Array(bytes.bindMemory(to: Element.self)) }
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
extension Float: TensorElement {
    /// `float32`
    public static var elementType: ElementType { .float32 }
}
extension Double: TensorElement {
    /// `float64`
    public static var elementType: ElementType { .float64 }
}
