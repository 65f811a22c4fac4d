internal import Glibc
public import HeadraceCore

/// Reads a field that is an .npy file into a tensor of its shape and element type.
///
/// Elements arrive in C order and the machine's byte order, whatever the file has. All samples of a data set
/// must have the shape and type of the first: another one is the defect `shapeMismatch`. A file shorter than
/// its header says is `truncated`, a longer one `badValue`.
public struct NpyDecoder: Decoder {
    /// A decoder; it has no options.
    public init() {}

    /// Element type and shape of the array in `payload`.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        let header = try unsafe NpyHeader.parse(payload)
        try header.checkLength(payload.count)
        return .fixed(header.elementType, shape: header.shape)
    }

    /// Fills one array a payload.
    public func decode(_ run: inout DecodeRun) {
        guard case .fixed(let type, let shape) = run.layout else { return }
        // Rows without elements have no memory, and are held against the column all the same.
        let rows = unsafe run.rows
        let rowBytes = run.layout.rowBytes
        var headers = NpyHeaderCache(type, shape)
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            let payload = unsafe run.payloads[row]
            do throws(HeadraceError) {
                let header = try unsafe headers.header(payload, fileByteCount: payload.count)
                guard rowBytes > 0, let rows = unsafe rows else { continue }
                let elements = unsafe UnsafeRawBufferPointer(rebasing: payload[header.dataOffset...])
                unsafe ElementCopy.copy(elements, header, to: rows + row * rowBytes)
            } catch {
                run.fail(row, error)
            }
        }
    }
}

/// The headers of a column's arrays. One writer wrote them all, so nearly always a row has the header of the one
/// before, byte for byte, and parsing (which allocates) is needed once a run.
package struct NpyHeaderCache {
    private let type: ElementType
    private let shape: [Int]
    private var bytes: [UInt8] = []
    private var known: NpyHeader?

    /// For arrays of that type and shape.
    package init(_ type: ElementType, _ shape: [Int]) {
        self.type = type
        self.shape = shape
    }

    /// The header at the start of `file`, of which at least the header must be there, and which has
    /// `fileByteCount` bytes in all.
    package mutating func header(
        _ file: UnsafeRawBufferPointer, fileByteCount: Int
    ) throws(HeadraceError) -> NpyHeader {
        if let known, unsafe begins(file) {
            try known.checkLength(fileByteCount)
            return known
        }
        let header = try unsafe NpyHeader.parse(file)
        try check(header)
        try header.checkLength(fileByteCount)
        bytes.removeAll(keepingCapacity: true)
        unsafe bytes.append(contentsOf: file[..<header.dataOffset])
        known = header
        return header
    }

    private func begins(_ file: UnsafeRawBufferPointer) -> Bool {
        guard file.count >= bytes.count, let start = file.baseAddress else { return false }
        return unsafe memcmp(start, bytes, bytes.count) == 0
    }

    private func check(_ header: NpyHeader) throws(HeadraceError) {
        guard header.elementType == type, header.shape == shape else {
            throw HeadraceError(
                .shapeMismatch,
                "an array of \(header.elementType.rawValue)\(NpyHeader.tuple(header.shape)) in a column of "
                    + "\(type.rawValue)\(NpyHeader.tuple(shape)); all must agree, or be read as raw"
            )
        }
    }
}

extension NpyHeader {
    /// Throws unless a file of `fileByteCount` bytes has just the elements that the header describes.
    package func checkLength(_ fileByteCount: Int) throws(HeadraceError) {
        let actual = fileByteCount - dataOffset
        let expected = dataByteCount
        if actual < expected {
            throw HeadraceError(
                .truncated,
                "an .npy array of shape \(NpyHeader.tuple(shape)) has \(actual) bytes of elements "
                    + "instead of \(expected)")
        }
        if actual > expected {
            throw HeadraceError(.badValue, "\(actual - expected) bytes follow the elements of an .npy array")
        }
    }
}
