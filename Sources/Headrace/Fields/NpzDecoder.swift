public import HeadraceCore
public import HeadraceDecode
internal import HeadraceFormats

/// Reads one array of a field that is an .npz file: a zip archive of .npy files, stored or deflated.
///
/// The array is what ``NpyDecoder`` makes of its .npy. The archive's directory and the CRC-32 of the array are
/// verified; encryption, other methods, overlapping members and claims that deflate cannot keep are defects.
public struct NpzDecoder: Decoder {
    /// Name of the array; nil: the archive has just one.
    public let array: String?
    private let name: [UInt8]

    /// The array of that name, with or without `.npy`; nil: the only one.
    public init(array: String? = nil) {
        self.array = array
        name = Array((array ?? "").utf8)
    }

    /// The array's name.
    public var part: String? { array }

    /// Element type and shape of the array in `payload`.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        let member = try unsafe member(of: payload)
        let inflater = try ZipInflater()
        unsafe inflater.begin(member, of: payload)
        let start = UnsafeMutableRawBufferPointer.allocate(
            byteCount: NpyLimits.fileHeaderBytes, alignment: 8)
        defer { unsafe start.deallocate() }
        let count = try unsafe inflater.read(into: start)
        let header = try unsafe NpyHeader.parse(UnsafeRawBufferPointer(rebasing: start[..<count]))
        try header.checkLength(member.byteCount)
        return .fixed(header.elementType, shape: header.shape)
    }

    /// Fills one array a payload.
    public func decode(_ run: inout DecodeRun) {
        guard case .fixed(let type, let shape) = run.layout else { return }
        let rowBytes = run.layout.rowBytes
        let reader = NpzRowReader(type, shape, rowBytes: rowBytes)
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            let payload = unsafe run.payloads[row]
            do throws(HeadraceError) {
                let member = try unsafe member(of: payload)
                try unsafe reader.read(member, of: payload, to: run.rows.map { unsafe $0 + row * rowBytes })
            } catch {
                run.fail(row, error)
            }
        }
    }

    private func member(of payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ZipMember {
        let directory = try unsafe ZipDirectory(payload)
        if array != nil, let member = try directory.member(named: name, orWith: ".npy") { return member }
        var members: [ZipMember] = []
        if array == nil, directory.memberCount == 1 {
            try directory.forEachMember {
                members.append($0)
                return true
            }
            if let member = members.first { return member }
        }
        try directory.forEachMember {
            members.append($0)
            return members.count < Self.listedNames
        }
        let names = members.map { unsafe String(decoding: payload[$0.name].prefix(80), as: UTF8.self) }
        throw HeadraceError(
            .missingField,
            "the .npz has \(array.map { "no array '\($0)'" } ?? "\(directory.memberCount) arrays, say which"): "
                + names.joined(separator: ", ") + (directory.memberCount > names.count ? ", ..." : ""))
    }

    /// Arrays that a message lists.
    private static let listedNames = 16
}

/// Reads the arrays of a run, and keeps its memory from row to row.
@safe private final class NpzRowReader {
    private let rowBytes: Int
    private var headers: NpyHeaderCache
    private var inflater: ZipInflater?
    /// The start of a deflated file: its header, and the elements behind it. Where the elements have to change
    /// places, all of it.
    private var scratch: UnsafeMutableRawBufferPointer

    init(_ type: ElementType, _ shape: [Int], rowBytes: Int) {
        self.rowBytes = rowBytes
        headers = NpyHeaderCache(type, shape)
        unsafe scratch = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }

    deinit { unsafe scratch.deallocate() }

    func read(
        _ member: ZipMember, of archive: UnsafeRawBufferPointer, to row: UnsafeMutableRawPointer?
    ) throws(HeadraceError) {
        guard member.method == .deflated else {
            let file = unsafe UnsafeRawBufferPointer(rebasing: archive[member.data])
            let header = try unsafe headers.header(file, fileByteCount: file.count)
            try unsafe ZipInflater.check(member, of: archive)
            guard let row = unsafe row else { return }
            let elements = unsafe UnsafeRawBufferPointer(rebasing: file[header.dataOffset...])
            return unsafe ElementCopy.copy(elements, header, to: row)
        }
        if inflater == nil { inflater = try ZipInflater() }
        guard let inflater else { return }
        unsafe inflater.begin(member, of: archive)
        grow(NpyLimits.fileHeaderBytes, keeping: 0)
        let count = try unsafe inflater.read(
            into: UnsafeMutableRawBufferPointer(rebasing: scratch[..<NpyLimits.fileHeaderBytes]))
        let header = try unsafe headers.header(
            UnsafeRawBufferPointer(rebasing: scratch[..<count]), fileByteCount: member.byteCount)
        let end = header.dataOffset + rowBytes
        if ElementCopy.isTransposed(header) {
            grow(end, keeping: count)
            _ = try unsafe inflater.read(into: UnsafeMutableRawBufferPointer(rebasing: scratch[count..<end]))
            try inflater.finish()
            guard let row = unsafe row else { return }
            let elements = unsafe UnsafeRawBufferPointer(rebasing: scratch[header.dataOffset..<end])
            return unsafe ElementCopy.copy(elements, header, to: row)
        }
        // What came with the header is copied; the rest comes where it belongs.
        if let row = unsafe row, let start = unsafe scratch.baseAddress {
            let early = count - header.dataOffset
            unsafe row.copyMemory(from: start + header.dataOffset, byteCount: early)
            _ = try unsafe inflater.read(
                into: UnsafeMutableRawBufferPointer(start: row + early, count: rowBytes - early))
            unsafe ElementCopy.finish(row, rowBytes, header)
        }
        try inflater.finish()
    }

    /// Makes room for at least `byteCount` bytes, of which the first `kept` stay.
    private func grow(_ byteCount: Int, keeping kept: Int) {
        guard unsafe scratch.count < byteCount else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 16)
        unsafe larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: scratch[..<kept]))
        unsafe scratch.deallocate()
        unsafe scratch = larger
    }
}
