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
    /// left as it is; the others must be filled. An absent payload's row is zero already.
    func decode(_ run: inout DecodeRun)

    /// Whether it reads the features of tf.Examples that are not one bytes value (``FieldEncoding``). Such a field
    /// is a defect for any other decoder.
    var readsFeatures: Bool { get }

    /// Whether it has a value for samples that lack the field: then their lack is no defect.
    var fillsAbsentRows: Bool { get }

    /// What it takes out of the field, when that is not all of it: the column is then `FIELD/PART`, so that
    /// several parts of one field can be asked for.
    var part: String? { get }
}

extension Decoder {
    /// Plain bytes only.
    public var readsFeatures: Bool { false }
    /// No value for an absent field.
    public var fillsAbsentRows: Bool { false }
    /// The whole field.
    public var part: String? { nil }
}

/// A decoder of numbers whose rows differ in length: they stay where they were read, in the field's encoding, and
/// become elements when somebody asks for them.
public protocol ListDecoder: Decoder {
    /// Elements of a payload that ``Decoder/decode(_:)`` has let pass.
    func elementCount(of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding) -> Int

    /// Writes the elements of such a payload in this machine's byte order.
    func copyElements(
        of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding,
        to elements: UnsafeMutableRawPointer)
}

/// A decoder whose rows have any number of byte strings, which stay where they were read.
public protocol StringsDecoder: Decoder {
    /// Calls `body` with each byte string of a payload that ``Decoder/decode(_:)`` has let pass, in order.
    func forEachString(
        of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding,
        _ body: (UnsafeRawBufferPointer) -> Void)
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
    /// One JSON text (RFC 8259).
    case json
    /// Any number of elements, of which those of `shape` belong together (empty: each is one): a row is a tensor
    /// whose first extent differs from row to row. The decoder is a ``ListDecoder``.
    case list(ElementType, shape: [Int])
    /// Any number of byte strings. The decoder is a ``StringsDecoder``.
    case strings
}

/// Consecutive samples of one batch: their payloads, and where their rows go.
@safe public struct DecodeRun {
    /// The payloads, in the order of their rows. One without an address is absent: an optional field that the
    /// sample lacks.
    public let payloads: UnsafeBufferPointer<UnsafeRawBufferPointer>
    /// How each payload stands for its value; nil where all are plain.
    public let encodings: UnsafeBufferPointer<FieldEncoding>?
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
        layout: ColumnLayout, seeds: UnsafeBufferPointer<UInt64>? = nil,
        encodings: UnsafeBufferPointer<FieldEncoding>? = nil
    ) {
        unsafe self.payloads = payloads
        unsafe self.rows = rows
        self.layout = layout
        unsafe self.seeds = seeds
        unsafe self.encodings = encodings
    }

    /// Whether the sample of that row lacks the (optional) field.
    public func isAbsent(_ row: Int) -> Bool { unsafe payloads[row].baseAddress == nil }

    /// How the payload of that row stands for its value.
    public func encoding(_ row: Int) -> FieldEncoding {
        guard let encodings = unsafe encodings else { return .plain }
        return unsafe encodings[row]
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
