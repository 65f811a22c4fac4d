internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Looks at the first and last bytes of a shard, through whatever storage it is in.
struct ShardProbe {
    let reader: any Reader

    /// Codec and format by content, and the frames where the shard ends with a seek table.
    func layout(of file: any StorageFile, limits: FormatLimits) throws(HeadraceError) -> ShardLayout {
        let head = try bytes(of: file, 0..<min(file.size, ShardSniffer.headBytes))
        let sniffed = try unsafe Self.parse(head) { (head) throws(HeadraceError) in
            try unsafe ShardSniffer.sniff(head: head, name: file.path, limits: limits)
        }
        let table = SeekTable.of(sniffed.codec)
        let frames = if let table { try frames(of: file, table, limits: limits) } else { [Frame]?.none }
        return ShardLayout(codec: sniffed.codec, format: sniffed.format, frames: frames)
    }

    private func frames(
        of file: any StorageFile, _ seekTable: SeekTable, limits: FormatLimits
    ) throws(HeadraceError) -> [Frame]? {
        guard file.size > SeekTable.footerBytes else { return nil }
        let footer = try bytes(of: file, file.size - SeekTable.footerBytes..<file.size)
        let length = try unsafe Self.parse(footer) { (footer) throws(HeadraceError) in
            try unsafe seekTable.tableLength(footer: footer, fileSize: file.size, limits: limits)
        }
        guard let length else { return nil }
        // The footer can claim a table of many megabytes: it must begin as one before that is read.
        let start = try bytes(of: file, file.size - length..<min(file.size, file.size - length + 8))
        try unsafe Self.parse(start) { (start) throws(HeadraceError) in
            try unsafe seekTable.checkStart(start, length: length, fileSize: file.size)
        }
        let table = try bytes(of: file, file.size - length..<file.size)
        let frames = try unsafe Self.parse(table) { (table) throws(HeadraceError) in
            try unsafe seekTable.frames(table: table, fileSize: file.size, limits: limits)
        }
        if let largest = frames.max(by: { $0.length < $1.length }),
            largest.length > SeekTable.trustedFrameBytes
        {
            let start = largest.compressedOffset
            let head = try bytes(of: file, start..<min(file.size, start + SeekTable.frameHeadBytes))
            try unsafe Self.parse(head) { (head) throws(HeadraceError) in
                try unsafe seekTable.check(largest, head: head)
            }
        }
        return frames
    }

    /// Typed throws do not pass through the standard library's buffer accessors.
    private static func parse<Value>(
        _ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(HeadraceError) -> Value
    ) throws(HeadraceError) -> Value {
        let result: Result<Value, HeadraceError> = unsafe bytes.withUnsafeBytes { buffer in
            do throws(HeadraceError) { return .success(try unsafe body(buffer)) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// The bytes of `range`; reads whole blocks around it where the file demands that.
    func bytes(of file: any StorageFile, _ range: Range<Int>) throws(HeadraceError) -> [UInt8] {
        guard !range.isEmpty else { return [] }
        let alignment = max(ChunkGeometry.pageBytes, file.alignment)
        let start = range.lowerBound / alignment * alignment
        let length = (range.upperBound + alignment - 1) / alignment * alignment - start
        let memory = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: alignment)
        defer { unsafe memory.deallocate() }
        var completions: [ReadCompletion] = []
        unsafe reader.submit([
            ReadRequest(ticket: 0, file: file, offset: start, length: length, destination: memory)
        ])
        reader.wait(minimum: 1, into: &completions)
        let count = try completions.first?.result.get() ?? 0
        guard count >= range.upperBound - start else {
            throw HeadraceError(
                .fileChanged, "the file ended early while it was read",
                at: .init(shard: file.path, offset: start + count))
        }
        return unsafe Array(
            UnsafeRawBufferPointer(start: memory + (range.lowerBound - start), count: range.count))
    }
}
