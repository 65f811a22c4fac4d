import HeadraceCore
import Testing

@testable import Headrace

@Suite struct ReadMergerTests {
    private static func window(_ random: inout SplitMix64) -> [PlannedRead] {
        let count = Int(random.below(3) == 0 ? random.below(6) : random.below(400))
        let files = Int32(random.below(5) + 1)
        let span = [100, 5000, 1 << 20, 1 << 50][Int(random.below(4))]
        return (0..<count).map { row in
            PlannedRead(
                file: Int32(random.below(UInt64(files))), offset: Int(random.below(UInt64(span))),
                length: Int(random.below(random.below(20) == 0 ? 3000 : 90)), row: Int32(row))
        }
    }

    @Test func everyRowIsCoveredExactly() {
        var random = SplitMix64(1)
        for _ in 0..<400 {
            let planned = Self.window(&random)
            let largest = Int(random.below(2000) + 1)
            let gap = Int(random.below(3) == 0 ? 0 : random.below(500))
            var merger = ReadMerger(largestRead: largest, largestGap: gap)
            merger.merge(planned)
            // Each row is in one read, where it was planned.
            var seen: Set<Int32> = []
            for (index, read) in merger.reads.enumerated() {
                #expect(read.pieces.count > 0)
                #expect(
                    read.pieces.lowerBound == (index == 0 ? 0 : merger.reads[index - 1].pieces.upperBound))
                for piece in merger.pieces[Int(read.pieces.lowerBound)..<Int(read.pieces.upperBound)] {
                    let plan = planned[Int(piece.row)]
                    #expect(plan.file == read.file && plan.offset == read.offset + piece.offset)
                    #expect(plan.length == piece.length && piece.offset + piece.length <= read.length)
                    seen.insert(piece.row)
                }
            }
            #expect(seen.count == planned.count && merger.pieces.count == planned.count)
            #expect(merger.readByteCount == merger.reads.reduce(0) { $0 + $1.length })
            #expect(merger.deliveredByteCount == planned.reduce(0) { $0 + $1.length })
        }
    }

    /// Against a plain statement of the rule: sort, then extend while both limits hold.
    @Test func limitsHoldAndAreUsed() {
        var random = SplitMix64(2)
        for _ in 0..<400 {
            let planned = Self.window(&random)
            let largest = Int(random.below(2000) + 1)
            let gap = Int(random.below(500))
            var merger = ReadMerger(largestRead: largest, largestGap: gap)
            merger.merge(planned)
            let sorted = planned.sorted { left, right in
                (left.file, left.offset, left.row) < (right.file, right.offset, right.row)
            }
            #expect(merger.pieces.map(\.row) == sorted.map(\.row))
            var oracle: [(file: Int32, start: Int, end: Int)] = []
            for read in sorted {
                let end = read.offset + read.length
                if let last = oracle.last, last.file == read.file,
                    end <= last.end || read.offset - last.end <= gap && end - last.start <= largest
                {
                    oracle[oracle.count - 1].end = max(end, last.end)
                } else {
                    oracle.append((read.file, read.offset, end))
                }
            }
            let found = merger.reads.map { [Int($0.file), $0.offset, $0.offset + $0.length] }
            let expected: [[Int]] = oracle.map { read in [Int(read.file), read.start, read.end] }
            #expect(found == expected)
            let lengths = Set(planned.map(\.length))
            for read in merger.reads { #expect(read.length <= largest || lengths.contains(read.length)) }
        }
    }

    @Test func neighboursAreOneRead() {
        var merger = ReadMerger(largestRead: 1000, largestGap: 10)
        merger.merge([
            PlannedRead(file: 0, offset: 300, length: 100, row: 0),
            PlannedRead(file: 0, offset: 100, length: 100, row: 1),
            PlannedRead(file: 0, offset: 210, length: 90, row: 2),
            PlannedRead(file: 1, offset: 400, length: 50, row: 3),
        ])
        #expect(merger.reads.map(\.offset) == [100, 400])
        #expect(merger.reads.map(\.length) == [300, 50])
        #expect(merger.pieces.map(\.row) == [1, 2, 0, 3])
        #expect(merger.readByteCount == 350 && merger.deliveredByteCount == 340)
        merger.merge([])
        #expect(merger.reads.isEmpty && merger.pieces.isEmpty && merger.readByteCount == 0)
    }

    /// A sample that an epoch repeats within a window is read once, also when it is larger than the limit.
    @Test func aRowTwiceIsReadOnce() {
        var merger = ReadMerger(largestRead: 100, largestGap: 0)
        merger.merge((0..<2).map { PlannedRead(file: 0, offset: 7, length: 5000, row: $0) })
        #expect(
            merger.reads.count == 1 && merger.readByteCount == 5000 && merger.deliveredByteCount == 10_000)
    }

    /// The largest offsets and files there are, and rows without bytes.
    @Test func extremes() {
        var merger = ReadMerger(largestRead: Int.max, largestGap: 0)
        let planned = (0..<100).map { (row: Int) -> PlannedRead in
            let file: Int32 = row % 2 == 0 ? .max : 0
            let offset: Int = row % 3 == 0 ? .max : .max / 2
            return PlannedRead(file: file, offset: offset, length: 0, row: Int32(row))
        }
        merger.merge(planned)
        #expect(merger.reads.count == 4)
        #expect(merger.reads.map(\.length) == [0, 0, 0, 0])
    }
}
