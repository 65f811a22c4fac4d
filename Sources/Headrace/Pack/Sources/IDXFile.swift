internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats

/// An IDX file, as the MNIST family is published: a magic number, the dimensions, and one array in big-endian
/// order. Plain files are read where they lie; gzipped ones, which have no ranges, are held in memory.
// Sendable: immutable after init; the descriptor is read by pread alone and closed by deinit.
final class IDXFile: @unchecked Sendable {
    let path: String
    let type: ElementType
    let dimensions: [Int]
    /// Bytes of one item: everything below the first dimension.
    let itemByteCount: Int

    /// Uncompressed bytes of the file.
    var byteCount: Int { headerByteCount + dimensions[0] * itemByteCount }

    let headerByteCount: Int
    private let content: Content

    private enum Content {
        case file(descriptor: Int32, byteCount: Int, modified: Int)
        case memory([UInt8])
    }

    /// Uncompressed bytes of a gzipped file at most, since they are held in memory.
    static let largestGzippedByteCount = 8 << 30
    private static let gzipMagic: [UInt8] = [0x1F, 0x8B]
    /// Bytes that hold the longest header: 255 dimensions.
    private static let longestHeader = 4 + 4 * 255

    /// Opens `path` and checks that its size is what its dimensions say; nil when it is no IDX file.
    static func open(_ path: String) throws(HeadraceError) -> IDXFile? {
        let descriptor = try SourceFile.open(path)
        let file: IDXFile?
        do throws(HeadraceError) {
            file = try IDXFile(path, descriptor)
        } catch {
            close(descriptor)
            throw error
        }
        if file?.isFile != true { close(descriptor) }
        return file
    }

    /// Whether `path` begins as an IDX file does, gzipped or not.
    static func isIDX(_ path: String) throws(HeadraceError) -> Bool {
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw HeadraceError(
                .io, "the file cannot be opened", at: .init(shard: path), cause: errorDescription(errno))
        }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return false }
        let byteCount = Int(status.st_size)
        let head = try bytes(descriptor, count: min(byteCount, 4), path)
        guard head.starts(with: gzipMagic) else { return isMagic(head) }
        guard let start = try? gunzip(descriptor, byteCount, limit: 4, path) else { return false }
        return isMagic(start)
    }

    private var isFile: Bool { if case .file = content { true } else { false } }

    private init?(_ path: String, _ descriptor: Int32) throws(HeadraceError) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let byteCount = Int(status.st_size)
        var head = try Self.bytes(descriptor, count: min(byteCount, Self.longestHeader), path)
        var gunzipped: [UInt8]?
        if head.starts(with: Self.gzipMagic) {
            // The head alone says whether this is IDX at all; only then is the whole worth decompressing.
            guard let start = try? Self.gunzip(descriptor, byteCount, limit: Self.longestHeader, path),
                Self.isMagic(start)
            else { return nil }
            guard let header = Self.header(start) else {
                throw HeadraceError(.truncated, "the IDX file ends within its header", at: .init(shard: path))
            }
            let claimed = header.total ?? .max
            guard claimed <= Self.largestGzippedByteCount else {
                throw HeadraceError(
                    .limitExceeded,
                    "the IDX file claims more bytes than are held in memory "
                        + "(\(Self.largestGzippedByteCount)); decompress it first", at: .init(shard: path))
            }
            // One byte more than claimed is asked for, so that a file that is too long shows.
            let all = try Self.gunzip(descriptor, byteCount, limit: claimed + 1, path)
            gunzipped = all
            head = Array(all.prefix(Self.longestHeader))
        }
        guard Self.isMagic(head) else { return nil }
        let size = gunzipped?.count ?? byteCount
        guard let header = Self.header(head) else {
            throw HeadraceError(.truncated, "the IDX file ends within its header", at: .init(shard: path))
        }
        guard header.total == size else {
            let claimed = header.total.map(String.init) ?? "more than 2^63"
            throw HeadraceError(
                header.total ?? .max > size ? .truncated : .badValue,
                "the IDX file's dimensions \(header.dimensions) make \(claimed) bytes, it has "
                    + (gunzipped == nil || size <= header.total ?? 0 ? "\(size)" : "more"),
                at: .init(shard: path))
        }
        // Items of no bytes could be claimed by the billion in a file of a few.
        guard !header.dimensions.dropFirst().contains(0) else {
            throw HeadraceError(
                .badValue, "the IDX file's items have no bytes: dimensions \(header.dimensions)",
                at: .init(shard: path))
        }
        self.path = path
        type = header.type
        dimensions = header.dimensions
        headerByteCount = 4 + 4 * header.dimensions.count
        itemByteCount =
            header.dimensions[0] == 0 ? 0 : (header.total! - headerByteCount) / header.dimensions[0]
        content =
            gunzipped.map { .memory($0) }
            ?? .file(
                descriptor: descriptor, byteCount: byteCount, modified: modificationNanoseconds(status))
    }

    deinit { if case .file(let descriptor, _, _) = content { close(descriptor) } }

    /// Fills `room` with the bytes of item `index` from `offset` on, in this machine's byte order.
    func read(
        _ index: Int, offset: Int, into room: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        let width = type.byteCount
        let start = headerByteCount + index * itemByteCount
        if width == 1 { return try unsafe readRaw(start + offset, into: room) }
        // Whole elements around the bytes asked for, turned over, and then the part of them.
        let first = offset / width * width
        let last = (offset + room.count + width - 1) / width * width
        var elements = [UInt8](repeating: 0, count: last - first)
        let result: Result<Void, HeadraceError> = unsafe elements.withUnsafeMutableBytes { elements in
            do throws(HeadraceError) {
                return .success(try unsafe readRaw(start + first, into: elements))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
        for element in stride(from: 0, to: elements.count, by: width) {
            elements[element..<element + width].reverse()
        }
        unsafe elements.withUnsafeBytes {
            unsafe room.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: $0[(offset - first)..<(offset - first + room.count)]))
        }
    }

    private func readRaw(_ start: Int, into room: UnsafeMutableRawBufferPointer) throws(HeadraceError) {
        switch content {
        case .memory(let bytes):
            unsafe bytes.withUnsafeBytes {
                unsafe room.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + room.count]))
            }
        case .file(let descriptor, let byteCount, let modified):
            try unsafe fill(room, from: descriptor, offset: start, path: path)
            try checkUnchanged(descriptor, path: path, byteCount: byteCount, modified: modified)
        }
    }

    // MARK: - Header

    private static func isMagic(_ head: [UInt8]) -> Bool {
        head.count >= 4 && head[0] == 0 && head[1] == 0 && elementType(head[2]) != nil && head[3] > 0
    }

    private static func elementType(_ code: UInt8) -> ElementType? {
        switch code {
        case 0x08: .uint8
        case 0x09: .int8
        case 0x0B: .int16
        case 0x0C: .int32
        case 0x0D: .float32
        case 0x0E: .float64
        default: nil
        }
    }

    /// What the header says; nil when it is cut. `total` is nil when the bytes claimed exceed any file.
    private static func header(_ head: [UInt8]) -> (type: ElementType, dimensions: [Int], total: Int?)? {
        guard let type = elementType(head[2]), head.count >= 4 + 4 * Int(head[3]) else { return nil }
        let dimensions = (0..<Int(head[3])).map { dimension in
            head[(4 + 4 * dimension)..<(8 + 4 * dimension)].reduce(0) { $0 << 8 | Int($1) }
        }
        var total: Int? = type.byteCount
        for dimension in dimensions {
            guard let product = total?.multipliedReportingOverflow(by: dimension), !product.overflow else {
                return (type, dimensions, nil)
            }
            total = product.partialValue
        }
        let sum = total!.addingReportingOverflow(4 + 4 * dimensions.count)
        return (type, dimensions, sum.overflow ? nil : sum.partialValue)
    }

    private static func bytes(_ descriptor: Int32, count: Int, _ path: String) throws(HeadraceError)
        -> [UInt8]
    {
        let buffer = OutputBuffer(capacity: count)
        try unsafe buffer.appendInPlace(room: count) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            try unsafe fill(room, from: descriptor, offset: 0, path: path)
            return count
        }
        return unsafe Array(buffer.bytes)
    }

    /// Decompresses up to `limit` bytes; fewer when the file holds no more. Grows with what comes out, never with
    /// what is claimed.
    private static func gunzip(
        _ descriptor: Int32, _ byteCount: Int, limit: Int, _ path: String
    ) throws(HeadraceError) -> [UInt8] {
        let stream = try DeflateStreamDecompressor(.gzip)
        let input = OutputBuffer(capacity: 1 << 18)
        let output = OutputBuffer(capacity: min(limit, 1 << 18))
        var offset = 0
        do throws(HeadraceError) {
            while offset < byteCount, output.count < limit {
                let count = min(1 << 18, byteCount - offset)
                input.removeAll()
                try unsafe input.appendInPlace(room: count) {
                    (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
                    try unsafe fill(room, from: descriptor, offset: offset, path: path)
                    return count
                }
                offset += count
                var consumed = 0
                var isFull = false
                while consumed < count || isFull, output.count < limit {
                    let piece = unsafe UnsafeRawBufferPointer(rebasing: input.bytes[consumed...])
                    let room = min(1 << 18, limit - output.count)
                    try unsafe output.appendInPlace(room: room) {
                        (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
                        let step = try unsafe stream.decompress(piece, into: room)
                        consumed += step.consumed
                        isFull = step.produced == room.count
                        return step.produced
                    }
                }
            }
            if output.count < limit { try stream.finish() }
        } catch {
            throw error.placed(shard: path)
        }
        return unsafe Array(output.bytes)
    }
}
