internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// One array of a source: what its header says and where its elements lie.
struct SourceArray: Sendable {
    let path: String
    /// The file's name without .npy, or the array's in its archive.
    let name: String
    let header: NpyHeader
    let bytes: SourceBytes

    var rowCount: Int { header.shape[0] }
    var rowShape: [Int] { Array(header.shape.dropFirst()) }
    var rowByteCount: Int { rowShape.reduce(header.elementType.byteCount, *) }
    /// An array of one dimension lies the same way in both orders.
    var isFortranOrder: Bool { header.isFortranOrder && header.shape.count > 1 }
    /// One number a row, as class labels are.
    var isClasses: Bool {
        guard header.shape.count == 1 else { return false }
        switch header.elementType {
        case .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64: return true
        default: return false
        }
    }

    private static let pieceBytes = 256 << 10

    /// The arrays of a .npy or .npz file.
    static func open(_ path: String, _ inventory: inout PackInventory) throws(HeadraceError) -> [SourceArray]
    {
        let file = try SourceFile(path)
        if try isArchive(file) { return try ArrayArchive(file).arrays(&inventory) }
        var parts = baseName(path).split(separator: ".", omittingEmptySubsequences: false)
        while parts.count > 1, let last = parts.last?.lowercased(),
            ["npy", "gz", "zst", "zstd", "lz4"].contains(last)
        {
            parts.removeLast()
        }
        return [
            try SourceArray(
                file, name: parts.joined(separator: "."), codec: try file.codec(), part: nil, &inventory)
        ]
    }

    /// Whether the file begins as a zip archive does, even one of nothing.
    static func isArchive(_ file: SourceFile) throws(HeadraceError) -> Bool {
        let head = try file.head(4)
        return head == [0x50, 0x4B, 3, 4] || head == [0x50, 0x4B, 5, 6]
    }

    /// Whether the file begins as a .npy file does.
    static func isArray(_ file: SourceFile) throws(HeadraceError) -> Bool {
        try file.head(6) == [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]
    }

    /// Reads the header, and holds it against the bytes that are there. `checksum` takes all of them.
    init(
        _ file: SourceFile, name: String, codec: CodecKind, part: SourcePart?,
        _ inventory: inout PackInventory, checksum: ZipChecksum? = nil
    ) throws(HeadraceError) {
        self.name = name
        path = file.path
        let reader = try SourceReader(file, codec: codec, part: part)
        let head = OutputBuffer(capacity: Self.pieceBytes)
        while head.count < NpyLimits.fileHeaderBytes {
            guard try reader.read(into: head, room: Self.pieceBytes) > 0 else { break }
        }
        let result: Result<NpyHeader, HeadraceError>
        do throws(HeadraceError) {
            result = .success(try unsafe NpyHeader.parse(head.bytes))
        } catch {
            result = .failure(error)
        }
        header = try result.get()
        try Self.check(header, name)
        var found = head.count
        if codec == .none, checksum == nil {
            found = part?.range.count ?? file.byteCount
        } else {
            // The size of a compressed array shows at its end, and so do its checksums.
            unsafe checksum?.update(head.bytes)
            head.removeAll()
            while try reader.read(into: head, room: Self.pieceBytes) > 0 {
                try inventory.checkGoesOn()
                found += head.count
                unsafe checksum?.update(head.bytes)
                head.removeAll()
            }
        }
        let wanted = header.dataOffset + header.dataByteCount
        guard found == wanted else {
            throw HeadraceError(
                found < wanted ? .truncated : .badValue,
                "array '\(name)' of shape \(header.shape) makes \(wanted) bytes with its header, the file has \(found)"
            )
        }
        bytes = inventory.bytes(of: file, codec: codec, part: part)
        inventory.count(parsed: found)
        guard !isFortranOrder || codec == .none else {
            throw HeadraceError(
                .unsupported,
                "array '\(name)' is compressed and in Fortran order, so that its rows lie everywhere; decompress it, or "
                    + "save numpy.ascontiguousarray of it")
        }
    }

    private static func check(_ header: NpyHeader, _ name: String) throws(HeadraceError) {
        guard !header.shape.isEmpty else {
            throw HeadraceError(
                .shapeMismatch, "array '\(name)' is a single number: samples are rows along the first axis")
        }
        // Rows of no bytes could be claimed by the billion in a file of a few.
        guard !header.shape.dropFirst().contains(0) else {
            throw HeadraceError(
                .shapeMismatch, "array '\(name)' of shape \(header.shape) has rows of no bytes")
        }
    }
}

/// The rows of an array, each as a .npy of its own.
// Sendable: its lock guards the blocks; the rest never changes.
final class ArrayRows: SourceItems, @unchecked Sendable {
    private let array: SourceArray
    private let header: [UInt8]
    private let rowByteCount: Int
    private let blocks: FortranBlocks?

    /// Bytes of each row as .npy.
    var byteCount: Int { header.count + rowByteCount }

    init(_ array: SourceArray) {
        self.array = array
        header = NpyHeader.write(array.header.elementType, shape: array.rowShape)
        rowByteCount = array.rowByteCount
        blocks = array.isFortranOrder ? FortranBlocks(array) : nil
        super.init(array.bytes)
    }

    /// Reading one row after the other is all that is quick.
    var isInColumns: Bool { blocks != nil }

    /// Writes all rows, one after the other, behind what is in `spool`, and reads them from there from now
    /// on.
    func spool(to spool: Spool, isCancelled: () -> Bool) throws(HeadraceError) {
        try blocks?.spool(to: spool, isCancelled: isCancelled)
    }

    override func start(of item: Int) -> Int { array.header.dataOffset + item * rowByteCount }

    override func read(
        item: Int, offset: Int, into destination: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        let rest = unsafe copyHead(header, from: offset, to: destination)
        guard rest.count > 0 else { return }
        let fromHeader = destination.count - rest.count
        try unsafe readElements(item, offset + fromHeader - header.count, into: rest)
    }

    /// The row's bytes from `offset` on, in this machine's order.
    private func readElements(
        _ row: Int, _ offset: Int, into room: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        guard array.header.isByteSwapped else { return try unsafe readRaw(row, offset, into: room) }
        // A complex number is two numbers, each in that order.
        let type = array.header.elementType
        let width = type == .complex64 || type == .complex128 ? type.byteCount / 2 : type.byteCount
        let first = offset / width * width
        let last = (offset + room.count + width - 1) / width * width
        let elements = OutputBuffer(capacity: last - first)
        try unsafe elements.appendInPlace(room: last - first) {
            (elements: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            try unsafe readRaw(row, first, into: elements)
            for start in stride(from: 0, to: elements.count, by: width) {
                for place in 0..<width / 2 {
                    unsafe elements.swapAt(start + place, start + width - 1 - place)
                }
            }
            return elements.count
        }
        unsafe room.copyMemory(
            from: UnsafeRawBufferPointer(
                rebasing: elements.bytes[(offset - first)..<(offset - first + room.count)]))
    }

    private func readRaw(
        _ row: Int, _ offset: Int, into room: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        if let blocks { return try unsafe blocks.read(row, offset, into: room) }
        try unsafe bytes.read(start(of: row) + offset, into: room)
    }
}

/// Rows of an array whose first index varies fastest in the file: those of one row are as far apart as there
/// are rows. A run of rows is gathered at once, from one short piece of the file for each element of a row.
// Sendable: `lock` guards the blocks.
private final class FortranBlocks: @unchecked Sendable {
    private let array: SourceArray
    private let rowByteCount: Int
    private let rowsPerBlock: Int
    private let lock = Lock()
    /// Blocks of rows in C order, the one used last at the end: workers at the border of two must not take
    /// turns in replacing each other's.
    private var blocks: [(number: Int, rows: OutputBuffer)] = []
    private var spooled: (spool: Spool, start: Int)?

    private static let blockBytes = 32 << 20
    private static let keptBlocks = 2

    init(_ array: SourceArray) {
        self.array = array
        rowByteCount = array.rowByteCount
        rowsPerBlock = max(1, min(array.rowCount, Self.blockBytes / rowByteCount))
    }

    func read(
        _ row: Int, _ offset: Int, into room: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        if let (spool, start) = lock.withLock({ spooled }) {
            return try unsafe spool.read(start + row * rowByteCount + offset, into: room)
        }
        lock.lock()
        defer { lock.unlock() }
        let number = row / rowsPerBlock
        if let known = blocks.firstIndex(where: { $0.number == number }) {
            blocks.append(blocks.remove(at: known))
        } else {
            let reused = blocks.count == Self.keptBlocks ? blocks.removeFirst().rows : OutputBuffer()
            try gather(number, into: reused)
            blocks.append((number, reused))
        }
        let start = (row - number * rowsPerBlock) * rowByteCount + offset
        unsafe room.copyMemory(
            from: UnsafeRawBufferPointer(
                rebasing: blocks[blocks.count - 1].rows.bytes[start..<start + room.count]))
    }

    /// Each part of the file is read once, however its rows are asked for afterwards.
    func spool(to spool: Spool, isCancelled: () -> Bool) throws(HeadraceError) {
        let start = spool.byteCount
        let rows = OutputBuffer()
        for number in 0..<(array.rowCount + rowsPerBlock - 1) / rowsPerBlock {
            if isCancelled() { throw HeadraceError.packCancelled }
            try gather(number, into: rows)
            try unsafe spool.append(rows.bytes)
        }
        lock.withLock { spooled = (spool, start) }
    }

    private func gather(_ number: Int, into rows: OutputBuffer) throws(HeadraceError) {
        let width = array.header.elementType.byteCount
        let firstRow = number * rowsPerBlock
        let count = min(rowsPerBlock, array.rowCount - firstRow)
        let piece = OutputBuffer(capacity: count * width)
        let extents = array.rowShape
        // Distance, in elements of a row, between neighbours along each axis in C order.
        var strides = extents
        var product = 1
        for axis in extents.indices.reversed() {
            strides[axis] = product
            product *= extents[axis]
        }
        var index = Array(repeating: 0, count: extents.count)
        var target = 0
        rows.removeAll()
        try unsafe rows.appendInPlace(room: count * rowByteCount) {
            (rows: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            for element in 0..<product {
                piece.removeAll()
                try unsafe piece.appendInPlace(room: count * width) {
                    (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
                    let start = (element * array.rowCount + firstRow) * width
                    try unsafe array.bytes.read(array.header.dataOffset + start, into: room)
                    return room.count
                }
                for row in 0..<count {
                    unsafe (rows.baseAddress! + row * rowByteCount + target * width).copyMemory(
                        from: piece.bytes.baseAddress! + row * width, byteCount: width)
                }
                for axis in extents.indices {
                    index[axis] += 1
                    target += strides[axis]
                    if index[axis] < extents[axis] { break }
                    target -= strides[axis] * extents[axis]
                    index[axis] = 0
                }
            }
            return rows.count
        }
    }
}

/// The numbers of an array of integers, one after the other, in decimal digits.
struct NumberColumn {
    private let array: SourceArray
    private let block = OutputBuffer(capacity: blockRows * 8)
    private var row = 0
    private var blockStart = 0

    private static let blockRows = 8192

    init(_ array: SourceArray) { self.array = array }

    mutating func next() throws(HeadraceError) -> String {
        let width = array.header.elementType.byteCount
        if row == blockStart + block.count / width {
            blockStart = row
            block.removeAll()
            let start = array.header.dataOffset + row * width
            array.bytes.hold(from: start)
            try unsafe block.appendInPlace(room: min(Self.blockRows, array.rowCount - row) * width) {
                (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
                try unsafe array.bytes.read(start, into: room)
                return room.count
            }
        }
        let place = (row - blockStart) * width
        row += 1
        return switch array.header.elementType {
        case .int8: String(value(place, Int8.self))
        case .int16: String(value(place, Int16.self))
        case .int32: String(value(place, Int32.self))
        case .int64: String(value(place, Int64.self))
        case .uint16: String(value(place, UInt16.self))
        case .uint32: String(value(place, UInt32.self))
        case .uint64: String(value(place, UInt64.self))
        default: String(value(place, UInt8.self))
        }
    }

    private func value<Number: FixedWidthInteger & BitwiseCopyable>(_ place: Int, _: Number.Type) -> Number {
        let value = unsafe block.bytes.loadUnaligned(fromByteOffset: place, as: Number.self)
        return array.header.isByteSwapped ? value.byteSwapped : value
    }
}
