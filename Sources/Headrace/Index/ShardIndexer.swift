package import HeadraceCore
package import HeadraceFormats
internal import HeadraceStorage

/// What an index says of a shard, as it was found by going through the shard.
package struct FoundIndex: Sendable {
    package let header: ShardIndexHeader
    /// Names of the fields, sorted bytewise; none of TFRecord shards, whose records are not looked into.
    package let fields: [String]
    /// Frames of a seekable compressed shard.
    package let frames: [Frame]
    /// Where the samples are.
    package let rows: [ByteSpan]
    /// Damaged samples that were left out, as far as they are listed, and how many there are.
    package let leftOut: [HeadraceError]
    package let leftOutCount: Int
    /// Samples of a tar shard whose key another had before: members of one sample that do not stand together, or samples
    /// that are there twice. Either way a reader makes samples of their own of them, and so does the index.
    package let returningKeyCount: Int
    /// Tar members of each sample, where they were asked for.
    package let members: [[DALIIndex.Member]]?
    /// Members and bytes that belong to no sample, by reason.
    package let ignored: [String: Int]

    /// The index file's bytes.
    package func encoded() -> OutputBuffer {
        let output = OutputBuffer()
        ShardIndexWriter.append(header, fields: fields, frames: frames, rows: rows, to: output)
        return output
    }
}

/// Finds the samples of a shard, ours or another's, for its index.
///
/// Headers alone are looked at. Of a plain shard little else is read; a compressed one is decompressed once, by several
/// threads where it has frames. Payloads are therefore not verified: `headrace verify` does that.
package struct ShardIndexer {
    /// Damaged samples that are kept one by one; all are counted.
    package static let listedDefects = 1000

    package var memory = ShardReader.defaultMemory
    /// Threads that decompress; one does all else.
    package var workers = 1
    /// Leave damaged samples out, and all behind damage that hides them, instead of failing.
    package var leavesOutDamage = false
    /// Also keep where each member's payload is, which other indexes want.
    package var keepsMembers = false
    package var isCancelled: @Sendable () -> Bool = { false }
    /// Told now and then how many of the file's bytes are done.
    package var report: @Sendable (_ doneByteCount: Int) -> Void = { _ in }

    private let path: String
    private let limits: FormatLimits

    package init(_ path: String, limits: FormatLimits = FormatLimits()) {
        self.path = path
        self.limits = limits
    }

    /// Goes through the shard; nil when that was cancelled. Throws what is wrong with it, at its place.
    package func find() throws(HeadraceError) -> FoundIndex? {
        do throws(HeadraceError) {
            let file = try LocalStorage(engine: .pread).open(path)
            guard file.size <= Catalog.largestShard else {
                throw HeadraceError(
                    .limitExceeded,
                    "the file claims \(ByteCount(file.size)), more than the \(ByteCount(Catalog.largestShard)) of the "
                        + "largest shard")
            }
            let layout = try ShardProbe(reader: BlockingReader()).layout(of: file, limits: limits)
            var search = SpanSearch(leavesOutDamage: leavesOutDamage)
            let size =
                layout.codec == .none
                ? try hop(file, layout.format, &search) : try unpack(file, &search)
            guard let size else { return nil }
            let ends = try FileChecksums(file).ends()
            try file.checkUnchanged()
            return search.result(layout, fileSize: file.size, uncompressedByteCount: size, ends: ends)
        } catch {
            throw error.placed(shard: path)
        }
    }

    /// A plain shard; returns its uncompressed size, or nil when cancelled.
    private func hop(
        _ file: any StorageFile, _ format: ShardFormatKind, _ search: inout SpanSearch
    ) throws(HeadraceError) -> Int? {
        let names = FieldNames()
        let scanner: any SpanScanner =
            switch format {
            case .tar: TarScanner(names: names, limits: limits)
            case .tfrecord: TFRecordScanner(names: names, limits: limits)
            }
        search.begin(scanner, names: names, keepsMembers: keepsMembers)
        var pieces = 0
        var wasCancelled = false
        try HeaderHops(file, scanner).walk { (table, reached) throws(HeadraceError) in
            try search.take(from: scanner, table)
            pieces += 1
            if pieces & 255 == 0 {
                wasCancelled = isCancelled()
                report(reached)
            }
            return !wasCancelled
        }
        search.end(scanner)
        return wasCancelled ? nil : file.size
    }

    /// A compressed shard, from front to back.
    private func unpack(_ file: any StorageFile, _ search: inout SpanSearch) throws(HeadraceError) -> Int? {
        let names = FieldNames()
        let reader = try ShardReader(path, memory: memory, limits: limits, names: names, listed: nil)
        guard reader.fileSize == file.size, let scanner = reader.passPayloads() else {
            throw HeadraceError(.fileChanged, "the file was changed while it was indexed")
        }
        search.begin(scanner, names: names, keepsMembers: keepsMembers)
        // Of a stream nobody knows how much is to come.
        let total = reader.uncompressedByteCount
        try reader.readChunks(isCancelled: isCancelled, workers: workers) { (chunk) throws(HeadraceError) in
            try search.take(from: scanner, chunk.table)
            let reached = chunk.shardOffset + chunk.count
            if total > 0 {
                report(Int(Double(file.size) * min(1, Double(reached) / Double(total))))
            }
            return true
        }
        search.end(scanner)
        return isCancelled() ? nil : reader.uncompressedByteCount
    }
}

/// What was found so far.
private struct SpanSearch {
    let leavesOutDamage: Bool
    private var rows: [ByteSpan] = []
    private var leftOut: [HeadraceError] = []
    private var leftOutCount = 0
    /// Hashes of the keys: it takes a note, not an error, so two keys of one hash do no harm.
    private var keys: Set<UInt64> = []
    private var returningKeyCount = 0
    private var names = FieldNames()
    private var ignored: [String: Int] = [:]
    private var members: MemberList?

    init(leavesOutDamage: Bool) { self.leavesOutDamage = leavesOutDamage }

    mutating func begin(_ scanner: any SpanScanner, names: FieldNames, keepsMembers: Bool) {
        self.names = names
        guard keepsMembers, let tar = scanner as? TarScanner else { return }
        let list = MemberList()
        members = list
        tar.onMember = { list.add($0) }
    }

    mutating func take(from scanner: any SpanScanner, _ table: SampleTable) throws(HeadraceError) {
        scanner.takeSpans(into: &rows)
        for sample in table.samples where sample.keyLength > 0 {
            let key = Int(sample.keyOffset)..<Int(sample.keyOffset + sample.keyLength)
            let hash = unsafe table.keys.withUnsafeBytes {
                unsafe xxh64(UnsafeRawBufferPointer(rebasing: $0[key]))
            }
            if !keys.insert(hash).inserted { returningKeyCount += 1 }
        }
        for defect in table.defects {
            // What the machine refused, and what no index can say, is nothing that could be left out.
            guard leavesOutDamage, defect.code.category == .data, defect.code != .notIndexable else {
                throw defect
            }
            leftOutCount += 1
            if leftOut.count < ShardIndexer.listedDefects { leftOut.append(defect) }
        }
    }

    mutating func end(_ scanner: any SpanScanner) {
        scanner.takeSpans(into: &rows)
        ignored = scanner.account.ignored
    }

    func result(
        _ layout: ShardLayout, fileSize: Int, uncompressedByteCount: Int, ends: (head: UInt32, tail: UInt32)
    ) -> FoundIndex {
        let header = ShardIndexHeader(
            format: layout.format, codec: layout.codec, shardByteCount: fileSize,
            uncompressedByteCount: uncompressedByteCount, sampleCount: rows.count, headCRC32C: ends.head,
            tailCRC32C: ends.tail, leavesOutDamage: leftOutCount > 0)
        let fields = layout.format == .tar ? names.all : []
        return FoundIndex(
            header: header, fields: fields.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) },
            frames: layout.frames ?? [], rows: rows, leftOut: leftOut, leftOutCount: leftOutCount,
            returningKeyCount: returningKeyCount,
            members: members?.grouped(by: rows), ignored: ignored)
    }
}

/// The members of a tar shard that carry fields, in the order of the shard.
private final class MemberList {
    private var members: [(offset: Int, member: DALIIndex.Member)] = []

    func add(_ member: TarMember) {
        guard member.isField else { return }
        members.append(
            (
                member.offset,
                DALIIndex.Member(name: member.name, payloadOffset: member.payloadOffset, size: member.size)
            ))
    }

    /// The members of each sample.
    func grouped(by rows: [ByteSpan]) -> [[DALIIndex.Member]] {
        var groups: [[DALIIndex.Member]] = []
        groups.reserveCapacity(rows.count)
        var next = 0
        for row in rows {
            var group: [DALIIndex.Member] = []
            while next < members.count, members[next].offset < row.offset + row.length {
                if members[next].offset >= row.offset { group.append(members[next].member) }
                next += 1
            }
            groups.append(group)
        }
        return groups
    }
}
