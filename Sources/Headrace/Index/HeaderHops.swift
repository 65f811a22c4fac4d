internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Goes through a plain shard from header to header, reading little else.
///
/// While headers lie close together, pieces that follow each other are read, up to a megabyte at once: passing over a
/// few kilobytes costs more than reading them. Where the next header is far, a small piece is read there, which holds
/// the headers of the small members behind it, too.
struct HeaderHops {
    private static let smallPieceBytes = 4 << 10
    private static let largePieceBytes = 1 << 20
    /// A header further off than this is gone to; a nearer one is read up to.
    private static let farBytes = 32 << 10

    let file: any StorageFile
    let scanner: any SpanScanner
    private let reader = BlockingReader()

    init(_ file: any StorageFile, _ scanner: any SpanScanner) {
        self.file = file
        self.scanner = scanner
        scanner.passPayloads()
    }

    /// Calls `body` after each piece with what was found in it and how far it came, until it returns false.
    func walk(
        _ body: (_ table: SampleTable, _ reached: Int) throws(HeadraceError) -> Bool
    ) throws(HeadraceError) {
        var memory = UnsafeMutableRawPointer.allocate(byteCount: Self.largePieceBytes, alignment: 4096)
        var capacity = Self.largePieceBytes
        defer { unsafe memory.deallocate() }
        var table = SampleTable()
        var offset = 0
        var length = Self.smallPieceBytes
        var needed = 0
        while true {
            let count = min(max(length, needed), file.size - offset)
            if count > capacity {
                unsafe memory.deallocate()
                unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 4096)
                capacity = count
            }
            try unsafe read(offset, count, into: memory)
            let isLast = offset + count == file.size
            let outcome = unsafe scanner.scan(
                UnsafeRawBufferPointer(start: memory, count: count), at: offset, isLast: isLast,
                total: file.size, into: &table)
            let next = offset + outcome.consumed
            guard try body(table, min(next, file.size)), !isLast, !outcome.isEnded else { return }
            table.removeAll()
            let isFar = next - (offset + count) > Self.farBytes
            length = isFar ? Self.smallPieceBytes : min(2 * length, Self.largePieceBytes)
            // Whoever takes nothing and asks for nothing must be given more, or it would never end.
            needed = max(outcome.needed, outcome.consumed == 0 ? count + 1 : 0)
            offset = next
        }
    }

    private func read(
        _ offset: Int, _ count: Int, into memory: UnsafeMutableRawPointer
    ) throws(HeadraceError) {
        guard count > 0 else { return }
        var completions: [ReadCompletion] = []
        unsafe reader.submit([
            ReadRequest(ticket: 0, file: file, offset: offset, length: count, destination: memory)
        ])
        reader.wait(minimum: 1, into: &completions)
        let found = try completions.first?.result.get() ?? 0
        guard found == count else {
            throw HeadraceError(
                .fileChanged, "the file ended early while it was read",
                at: .init(shard: file.path, offset: offset + found))
        }
    }
}
