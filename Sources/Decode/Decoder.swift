public import HeadraceCore

/// Turns the payloads of one field into rows of a tensor.
///
/// A decoder is a value that any number of workers use at once. Its result depends on the payload alone, and on
/// ``DecodeRun/randomness(_:)`` where it is random, so that a batch never depends on timing.
public protocol Decoder: Sendable {
    /// What the field's column looks like, found from the payload of the data set's first sample.
    ///
    /// Throws `badValue` when the payload is not what this decoder reads.
    func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout

    /// Decodes `run`, one row a payload. A row that cannot be decoded is marked by ``DecodeRun/fail(_:_:)`` and
    /// left as it is; the others must be filled.
    func decode(_ run: inout DecodeRun)
}

/// How a field's rows lie in memory.
public enum ColumnLayout: Hashable, Sendable {
    /// Every row has the same shape (empty: a scalar) and lies at its place in one contiguous tensor.
    case fixed(ElementType, shape: [Int])
    /// Rows of any length that stay where they were read: spans of bytes.
    case spans(SpanKind)

    /// Bytes of one row in the batch's own memory; 0 for spans.
    public var rowBytes: Int {
        switch self {
        case .fixed(let type, let shape): shape.reduce(type.byteCount, *)
        case .spans: 0
        }
    }
}

/// What the bytes of a span mean.
public enum SpanKind: Hashable, Sendable {
    case bytes
    /// Valid UTF-8.
    case text
}

/// Consecutive samples of one batch: their payloads, and where their rows go.
@safe public struct DecodeRun {
    /// The payloads, in the order of their rows.
    public let payloads: UnsafeBufferPointer<UnsafeRawBufferPointer>
    /// The first row's place; row `i` is at `rows + i * rowBytes`. Uninitialised where the column has spans.
    public let rows: UnsafeMutableRawPointer?
    /// The column as ``Decoder/column(for:)`` gave it.
    public let layout: ColumnLayout
    /// Seed of the sample behind each payload: f(seed, epoch, shard number, ordinal in the shard).
    public let seeds: UnsafeBufferPointer<UInt64>?
    /// The failures so far, by row.
    public private(set) var failures: [(row: Int, error: HeadraceError)] = []

    /// A run over `payloads` into `rows`.
    public init(
        payloads: UnsafeBufferPointer<UnsafeRawBufferPointer>, rows: UnsafeMutableRawPointer?,
        layout: ColumnLayout, seeds: UnsafeBufferPointer<UInt64>? = nil
    ) {
        unsafe self.payloads = payloads
        unsafe self.rows = rows
        self.layout = layout
        unsafe self.seeds = seeds
    }

    /// Marks a row as undeliverable.
    public mutating func fail(_ row: Int, _ error: HeadraceError) {
        failures.append((row, error))
    }

    /// The sample's own random seed; 0 when the loader has none.
    public func randomness(_ row: Int) -> UInt64 {
        guard let seeds = unsafe seeds else { return 0 }
        return unsafe seeds[row]
    }
}
