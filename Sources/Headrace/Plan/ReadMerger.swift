/// One sample (or frame) that a window needs from a file.
package struct PlannedRead: Sendable, Equatable {
    package var offset: Int
    package var length: Int
    package var file: Int32
    /// The row it is for.
    package var row: Int32

    package init(file: Int32, offset: Int, length: Int, row: Int32) {
        self.file = file
        self.offset = offset
        self.length = length
        self.row = row
    }
}

/// One read that serves some planned ones.
package struct MergedRead: Sendable, Equatable {
    package var offset: Int
    package var length: Int
    package var file: Int32
    /// Which of ``ReadMerger/pieces`` it holds.
    package var pieces: Range<Int32>
}

/// Where a row lies in a merged read.
package struct ReadPiece: Sendable, Equatable {
    package var row: Int32
    /// From the start of the merged read.
    package var offset: Int
    package var length: Int
}

/// Merges the reads of a window that touch or nearly touch on storage: fewer and larger requests, in the order of the
/// files.
///
/// Two limits decide. Reads are merged while the gap between them is at most ``largestGap`` (bytes that are read for
/// nothing) and the whole is at most ``largestRead``. A single sample larger than that is a read of its own size.
///
/// The merger keeps its memory: after the first windows nothing is allocated. Reads are sorted by their bytes' place, a
/// digit at a time (stable, so that equal ones keep their order): about 20 ns a read, and no comparison can be fed its
/// worst case.
package struct ReadMerger: Sendable {
    /// The largest merged read by default: large enough that any storage is busy with transferring.
    package static let defaultLargestRead = 1 << 20
    /// The largest gap by default: what flash or a page cache reads in the time that another request takes.
    package static let defaultLargestGap = 4 << 10

    package let largestRead: Int
    package let largestGap: Int
    /// The merged reads of the window, by file and offset.
    package private(set) var reads: [MergedRead] = []
    /// The rows of the window in the order of the merged reads.
    package private(set) var pieces: [ReadPiece] = []
    /// Bytes of all merged reads.
    package private(set) var readByteCount = 0
    /// Bytes of all rows.
    package private(set) var deliveredByteCount = 0

    private var sorted: [PlannedRead] = []
    private var scratch: [PlannedRead] = []

    package init(largestRead: Int = defaultLargestRead, largestGap: Int = defaultLargestGap) {
        precondition(
            largestRead >= 1 && largestGap >= 0, "a merged read has bytes, and a gap is not negative")
        self.largestRead = largestRead
        self.largestGap = largestGap
    }

    /// Merges a window's reads, which are taken in any order; what the last window left is forgotten.
    ///
    /// Offsets and lengths are not negative and add up to less than 2^63.
    package mutating func merge(_ planned: [PlannedRead]) {
        reads.removeAll(keepingCapacity: true)
        pieces.removeAll(keepingCapacity: true)
        readByteCount = 0
        deliveredByteCount = 0
        sort(planned)
        for read in sorted {
            deliveredByteCount += read.length
            let first = Int32(truncatingIfNeeded: pieces.count)
            if let last = reads.last, let length = merged(last, read) {
                readByteCount += length - last.length
                reads[reads.count - 1].length = length
                reads[reads.count - 1].pieces = last.pieces.lowerBound..<first + 1
                pieces.append(
                    ReadPiece(row: read.row, offset: read.offset - last.offset, length: read.length))
            } else {
                readByteCount += read.length
                reads.append(
                    MergedRead(
                        offset: read.offset, length: read.length, file: read.file, pieces: first..<first + 1))
                pieces.append(ReadPiece(row: read.row, offset: 0, length: read.length))
            }
        }
    }

    /// The length of `last` with `read` in it; nil where they stay apart.
    private func merged(_ last: MergedRead, _ read: PlannedRead) -> Int? {
        guard last.file == read.file else { return nil }
        let end = read.offset + read.length - last.offset
        // A row that comes twice, or lies within, costs nothing, however large.
        if end <= last.length { return last.length }
        guard read.offset - last.offset - last.length <= largestGap, end <= largestRead else { return nil }
        return end
    }

    /// Puts the reads into `sorted`, by file and offset.
    private mutating func sort(_ planned: [PlannedRead]) {
        sorted.removeAll(keepingCapacity: true)
        sorted.append(contentsOf: planned)
        // Equal starts: the longer one first would merge more; the order of the rows is kept instead, for it is rare.
        if planned.count <= Self.insertionCount { return sortByInsertion() }
        var offsets = 0
        var files: Int32 = 0
        for read in planned {
            precondition(read.offset >= 0 && read.length >= 0, "a read has an offset and a length")
            offsets |= read.offset ^ planned[0].offset
            files |= read.file ^ planned[0].file
        }
        scratch.removeAll(keepingCapacity: true)
        scratch.append(contentsOf: planned)
        // Digits in which all agree need no pass.
        for shift in stride(from: 0, to: 64, by: 8) where offsets >> shift & 255 != 0 {
            pass { Int(truncatingIfNeeded: $0.offset >> shift) & 255 }
        }
        for shift in stride(from: Int32(0), to: 32, by: 8) where files >> shift & 255 != 0 {
            pass { Int($0.file >> shift) & 255 }
        }
    }

    /// Sorts `sorted` by one digit, stably.
    @inline(__always) private mutating func pass(_ digit: (PlannedRead) -> Int) {
        var starts = InlineArray<256, Int>(repeating: 0)
        for read in sorted { starts[digit(read)] += 1 }
        var sum = 0
        for value in 0..<256 {
            let count = starts[value]
            starts[value] = sum
            sum += count
        }
        for read in sorted {
            let value = digit(read)
            scratch[starts[value]] = read
            starts[value] += 1
        }
        swap(&sorted, &scratch)
    }

    private static let insertionCount = 24

    private mutating func sortByInsertion() {
        for index in sorted.indices.dropFirst() {
            let read = sorted[index]
            precondition(read.offset >= 0 && read.length >= 0, "a read has an offset and a length")
            var at = index
            while at > 0, Self.isBefore(read, sorted[at - 1]) {
                sorted[at] = sorted[at - 1]
                at -= 1
            }
            sorted[at] = read
        }
    }

    private static func isBefore(_ left: PlannedRead, _ right: PlannedRead) -> Bool {
        left.file == right.file ? left.offset < right.offset : left.file < right.file
    }
}
