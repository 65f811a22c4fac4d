internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Holds an index that says nothing of its shard's identity against the shard: the first and the last sample must be
/// where it says, nothing may follow the last, and neighbours (of large shards some) must be samples of their own.
struct ForeignRowCheck {
    let file: any StorageFile
    let format: ShardFormatKind
    /// Of the index.
    let path: String

    /// Bytes of one sample's headers, and what else stands before them, that are looked at.
    private static let largestLook = 1 << 20

    func check(_ rows: [ByteSpan]) throws(HeadraceError) {
        guard let first = rows.first, let last = rows.last else {
            throw refused("it lists no samples")
        }
        try checkSample(first, "first")
        try checkSample(last, "last")
        guard format == .tar else { return }
        try checkEnd(last.offset + last.length)
        let step = max(1, (rows.count - 1 + Self.neighbours - 1) / Self.neighbours)
        for index in stride(from: 1, to: rows.count, by: step) {
            try checkNeighbours(rows[index - 1], rows[index])
        }
    }

    /// Pairs of neighbours that are looked at: every one of a shard with no more, some of larger ones.
    private static let neighbours = 64

    /// Two rows must be two samples: one whose members are in both would be delivered as two halves.
    private func checkNeighbours(_ left: ByteSpan, _ right: ByteSpan) throws(HeadraceError) {
        guard let first = try key(left), let second = try key(right), first == second else { return }
        throw refused("the samples at bytes \(left.offset) and \(right.offset) are parts of one")
    }

    /// The key of the first sample of a row; nil where its headers are longer than is looked at.
    private func key(_ row: ByteSpan) throws(HeadraceError) -> ArraySlice<UInt8>? {
        let scanner = TarScanner(names: FieldNames())
        scanner.passPayloads()
        var found: ArraySlice<UInt8>?
        scanner.onMember = { found = found ?? $0.key }
        let count = min(64 << 10, row.length)
        let bytes = try ShardProbe(reader: BlockingReader()).bytes(of: file, row.offset..<row.offset + count)
        var table = SampleTable()
        _ = unsafe bytes.withUnsafeBytes {
            unsafe scanner.scan($0, at: 0, isLast: count == row.length, total: row.length, into: &table)
        }
        return found
    }

    /// One sample, which ends where the row does.
    private func checkSample(_ row: ByteSpan, _ which: String) throws(HeadraceError) {
        let scanner = makeScanner()
        var table = SampleTable()
        var spans: [ByteSpan] = []
        let end = row.offset + row.length
        var offset = row.offset
        var needed = 0
        while offset <= end {
            let count = min(max(64 << 10, needed), Self.largestLook, end - offset)
            let bytes = try ShardProbe(reader: BlockingReader()).bytes(of: file, offset..<offset + count)
            let isLast = offset + count == end
            // Places count from the row's start: for the scanner the row is all there is.
            let outcome = unsafe bytes.withUnsafeBytes {
                unsafe scanner.scan(
                    $0, at: offset - row.offset, isLast: isLast, total: row.length, into: &table)
            }
            let canGoOn =
                outcome.consumed > 0 || outcome.needed > count && outcome.needed <= Self.largestLook
            guard !isLast, !outcome.isEnded, canGoOn else { break }
            offset += outcome.consumed
            needed = outcome.needed
        }
        scanner.takeSpans(into: &spans)
        if let defect = table.defects.first {
            throw refused("its \(which) sample is not at byte \(row.offset)", cause: defect.message)
        }
        guard spans.count == 1, spans[0].offset + spans[0].length == row.length else {
            throw refused(
                "at bytes \(row.offset) to \(end), where its \(which) sample should be, are \(spans.count) samples"
            )
        }
    }

    /// Behind the last sample of a tar comes its end, or members that belong to no sample.
    private func checkEnd(_ end: Int) throws(HeadraceError) {
        let count = min(64 << 10, file.size - end)
        guard count > 0 else { return }
        let scanner = TarScanner(names: FieldNames())
        scanner.passPayloads()
        var hasField = false
        scanner.onMember = { if $0.isField { hasField = true } }
        var table = SampleTable()
        let bytes = try ShardProbe(reader: BlockingReader()).bytes(of: file, end..<end + count)
        _ = unsafe bytes.withUnsafeBytes {
            unsafe scanner.scan($0, at: end, isLast: end + count == file.size, total: file.size, into: &table)
        }
        guard !hasField, table.defects.isEmpty else {
            throw refused("the shard goes on behind its last sample, which ends at byte \(end)")
        }
    }

    private func makeScanner() -> any SpanScanner {
        let scanner: any SpanScanner =
            switch format {
            case .tar: TarScanner(names: FieldNames())
            case .tfrecord: TFRecordScanner(names: FieldNames())
            }
        scanner.passPayloads()
        return scanner
    }

    private func refused(_ reason: String, cause: String? = nil) -> HeadraceError {
        HeadraceError(
            .indexMismatch,
            "the index does not fit \(file.path): \(reason); remove it, or make one of ours with 'headrace index'",
            at: .init(shard: path), cause: cause)
    }
}
