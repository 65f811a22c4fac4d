internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage
internal import Synchronization

/// Where the samples of one shard are, by whichever index says so. May be used by many threads at once.
final class ShardRows: Sendable {
    enum Kind: String, Sendable {
        /// `.headrace/SHARD.index`
        case ours
        /// `SHARD.idx` of DALI's
        case dali
    }

    let kind: Kind
    /// Path of the index.
    let path: String
    let format: ShardFormatKind
    let codec: CodecKind
    let sampleCount: Int
    let uncompressedByteCount: Int
    /// Frames of a seekable compressed shard; nil for a plain shard. A compressed one without frames cannot be read at
    /// random, whatever its index says.
    let frames: [Frame]?
    /// The index leaves damaged samples out, as whoever made it wished.
    let leavesOutDamage: Bool

    private let source: Source
    /// All rows, or why they cannot be had, once somebody has asked for one and there was memory to keep them.
    private let table = AtomicLazyReference<Table>()
    private let room: RowRoom

    private enum Source: Sendable {
        case index(ShardIndex)
        case rows([ByteSpan])
    }

    /// Sendable: nothing in it changes.
    @safe private final class Table: @unchecked Sendable {
        /// In memory of its own, which stays where it is.
        let rows: UnsafeBufferPointer<ShardIndexRow>
        /// A table that is damaged is read once, not once for each of its rows.
        let failure: HeadraceError?

        init(_ rows: [ShardIndexRow], failure: HeadraceError? = nil) {
            let bytes = rows.count * MemoryLayout<ShardIndexRow>.stride
            let isLarge = bytes >= Self.largePage
            let memory = UnsafeMutableRawPointer.allocate(
                byteCount: max(1, bytes), alignment: isLarge ? Self.largePage : 64)
            // Look-ups go all over the table: with small pages finding each page costs as much as the row.
            if isLarge {
                unsafe madvise(memory, bytes / Self.largePage * Self.largePage, Int32(MADV_HUGEPAGE))
            }
            let copy = unsafe memory.bindMemory(to: ShardIndexRow.self, capacity: rows.count)
            unsafe copy.initialize(from: rows, count: rows.count)
            unsafe self.rows = UnsafeBufferPointer(start: copy, count: rows.count)
            self.failure = failure
        }

        deinit { unsafe rows.deallocate() }

        private static let largePage = 2 << 20

        func row(_ index: Int) throws(HeadraceError) -> ShardIndexRow? {
            if let failure { throw failure }
            return unsafe rows.indices.contains(index) ? rows[index] : nil
        }
    }

    init(_ index: ShardIndex, room: RowRoom) {
        kind = .ours
        path = index.path
        format = index.header.format
        codec = index.header.codec
        sampleCount = index.header.sampleCount
        uncompressedByteCount = index.header.uncompressedByteCount
        frames = index.header.codec == .none ? nil : index.frames
        leavesOutDamage = index.header.leavesOutDamage
        source = .index(index)
        self.room = room
    }

    init(
        daliAt path: String, _ format: ShardFormatKind, _ rows: [ByteSpan], shardByteCount: Int, room: RowRoom
    ) {
        kind = .dali
        self.path = path
        self.format = format
        codec = .none
        sampleCount = rows.count
        uncompressedByteCount = shardByteCount
        frames = nil
        leavesOutDamage = false
        source = .rows(rows)
        self.room = room
    }

    /// Whether samples can be read without reading what lies before them.
    var isSeekable: Bool { codec == .none || !(frames ?? []).isEmpty }

    /// The place of sample `index` in the uncompressed shard: the bytes that, scanned alone, give that sample.
    ///
    /// The first call reads the whole table where it is small enough to be kept; else every call reads one row.
    func row(_ index: Int) throws(HeadraceError) -> ShardIndexRow {
        if let table = table.load() {
            guard let row = try table.row(index) else { throw outOfRange(index..<index + 1) }
            return row
        }
        switch source {
        case .rows(let rows):
            guard rows.indices.contains(index) else { throw outOfRange(index..<index + 1) }
            return ShardIndexRow(offset: rows[index].offset, length: rows[index].length)
        case .index(let file):
            guard room.take(sampleCount * MemoryLayout<ShardIndexRow>.stride) else {
                return try file.row(index)
            }
            var rows: [ShardIndexRow] = []
            do throws(HeadraceError) {
                // Who reads all of it can as well hold it against its checksum.
                try file.verifyChecksum()
                try file.rows(0..<sampleCount, into: &rows)
            } catch {
                room.giveBack(sampleCount * MemoryLayout<ShardIndexRow>.stride)
                _ = table.storeIfNil(Table([], failure: error))
                throw error
            }
            // Another thread may have been quicker; its table is the same.
            let mine = Table(rows)
            let kept = table.storeIfNil(mine)
            if kept !== mine { room.giveBack(sampleCount * MemoryLayout<ShardIndexRow>.stride) }
            guard let row = try kept.row(index) else { throw outOfRange(index..<index + 1) }
            return row
        }
    }

    /// All rows, where they are kept in memory, for who looks up many, one by one; they stay there as long as this.
    var keptRows: UnsafeBufferPointer<ShardIndexRow>? {
        guard let table = table.load(), table.failure == nil else { return nil }
        return unsafe table.rows
    }

    /// Appends the places of the samples `range`, in one read.
    func rows(_ range: Range<Int>, into rows: inout [ShardIndexRow]) throws(HeadraceError) {
        guard range.lowerBound >= 0, range.upperBound <= sampleCount else { throw outOfRange(range) }
        if let table = table.load() {
            if let failure = table.failure { throw failure }
            unsafe rows += table.rows[range]
            return
        }
        switch source {
        case .index(let file): try file.rows(range, into: &rows)
        case .rows(let all):
            rows += all[range].map { ShardIndexRow(offset: $0.offset, length: $0.length) }
        }
    }

    private func outOfRange(_ range: Range<Int>) -> HeadraceError {
        HeadraceError(
            .usage, "samples \(range) were asked of an index of \(sampleCount)", at: .init(shard: path))
    }
}

/// Memory for tables of rows that are kept: what many shards may take together.
// Sendable: the count is atomic.
final class RowRoom: Sendable {
    /// Bytes that tables of rows take together unless told otherwise: four million samples.
    static let defaultByteCount = 64 << 20
    private let left: Atomic<Int>

    init(byteCount: Int = defaultByteCount) { left = Atomic(byteCount) }

    func take(_ byteCount: Int) -> Bool {
        if left.subtract(byteCount, ordering: .relaxed).newValue >= 0 { return true }
        left.add(byteCount, ordering: .relaxed)
        return false
    }

    func giveBack(_ byteCount: Int) { left.add(byteCount, ordering: .relaxed) }
}
