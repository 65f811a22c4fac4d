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
        try Self.checkLength(payload.count, header)
        return .fixed(header.elementType, shape: header.shape)
    }

    /// Fills one array a payload.
    public func decode(_ run: inout DecodeRun) {
        guard let rows = unsafe run.rows, case .fixed(let type, let shape) = run.layout else { return }
        let rowBytes = run.layout.rowBytes
        // One writer wrote all headers, so nearly always a row has the header of the one before, byte for
        // byte, and parsing (which allocates) is needed once a run.
        var known: (header: NpyHeader, bytes: UnsafeRawBufferPointer)?
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            let payload = unsafe run.payloads[row]
            do throws(HeadraceError) {
                let header: NpyHeader
                if let before = unsafe known, unsafe Self.begins(payload, with: before.bytes) {
                    header = unsafe before.header
                } else {
                    header = try unsafe NpyHeader.parse(payload)
                    try Self.check(header, type, shape)
                    unsafe known = unsafe (
                        header, UnsafeRawBufferPointer(rebasing: payload[..<header.dataOffset])
                    )
                }
                try Self.checkLength(payload.count, header)
                let elements = unsafe UnsafeRawBufferPointer(rebasing: payload[header.dataOffset...])
                unsafe ElementCopy.copy(elements, header, to: rows + row * rowBytes)
            } catch {
                run.fail(row, error)
            }
        }
    }

    private static func begins(_ payload: UnsafeRawBufferPointer, with header: UnsafeRawBufferPointer) -> Bool
    {
        guard payload.count >= header.count, let start = payload.baseAddress,
            let expected = header.baseAddress
        else { return false }
        return unsafe memcmp(start, expected, header.count) == 0
    }

    private static func check(
        _ header: NpyHeader, _ type: ElementType, _ shape: [Int]
    ) throws(HeadraceError) {
        guard header.elementType == type, header.shape == shape else {
            throw HeadraceError(
                .shapeMismatch,
                "an array of \(header.elementType.rawValue)\(NpyHeader.tuple(header.shape)) in a column of "
                    + "\(type.rawValue)\(NpyHeader.tuple(shape)); all must agree, or be read as raw"
            )
        }
    }

    private static func checkLength(_ count: Int, _ header: NpyHeader) throws(HeadraceError) {
        let actual = count - header.dataOffset
        let expected = header.dataByteCount
        if actual < expected {
            throw HeadraceError(
                .truncated,
                "an .npy array of shape \(NpyHeader.tuple(header.shape)) has \(actual) bytes of elements "
                    + "instead of \(expected)")
        }
        if actual > expected {
            throw HeadraceError(.badValue, "\(actual - expected) bytes follow the elements of an .npy array")
        }
    }
}
