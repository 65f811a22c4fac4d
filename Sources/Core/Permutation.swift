/// A bijection of the numbers below `count`, chosen by a key: a shuffle that needs no list.
///
/// The number at any position costs the same few nanoseconds and the same memory, for ten numbers or for 2^63 - 1.
/// That is how an epoch of a billion samples is shuffled without a billion entries, and entered anywhere.
///
/// Up to ``tableLimit`` numbers a Fisher-Yates table decides, which is exactly uniform. Beyond, a number is written
/// as (row, column) of the smallest rectangle that is nearly a square, and eight times the row is moved by a hash of
/// the column or the column by a hash of the row, modulo its side: a Feistel network over a rectangle instead of a
/// power of two. The rectangle has less than one row too many, so that a result beyond `count`, which is sent round
/// again, is rarer than one in the square root of `count`.
///
/// The order is part of saved states: it must never change.
package struct Permutation: Sendable {
    /// Counts up to this are permuted by a table. A Feistel network over so few numbers is not uniform.
    package static let tableLimit = 1024
    private static let roundCount = 8

    /// How many numbers there are.
    package private(set) var count = 0
    private var table: [UInt32] = []
    private var rows: UInt64 = 0
    private var columns: UInt64 = 1
    /// 2^64 / `columns`, rounded down: a multiplication instead of a division.
    private var reciprocal: UInt64 = 0
    private var keys = InlineArray<8, UInt64>(repeating: 0)

    package init(count: Int, key: UInt64) { reset(count: count, key: key) }

    /// Becomes another permutation; the memory of a table is used again.
    package mutating func reset(count: Int, key: UInt64) {
        precondition(count >= 0, "there is no negative count of numbers")
        self.count = count
        guard count > Self.tableLimit else { return shuffle(count, key: key, into: &table) }
        table.removeAll(keepingCapacity: true)
        setNetwork(key: key)
    }

    /// The network even where a table would serve; for tests of its quality.
    package init(networkOf count: Int, key: UInt64) {
        precondition(count >= 2, "a network permutes two numbers or more")
        self.count = count
        setNetwork(key: key)
    }

    private mutating func setNetwork(key: UInt64) {
        let numbers = UInt64(count)
        rows = UInt64(Double(count).squareRoot())
        while rows * rows < numbers { rows += 1 }
        while (rows - 1) * (rows - 1) >= numbers { rows -= 1 }
        columns = (numbers - 1) / rows + 1
        reciprocal = UInt64.max / columns
        var random = SplitMix64(key)
        for round in 0..<Self.roundCount { keys[round] = random.next() }
    }

    /// The number at `position`.
    package func callAsFunction(_ position: Int) -> Int {
        precondition(position >= 0 && position < count, "a position is below the count of numbers")
        return table.isEmpty ? walked(UInt64(position)) : Int(table[position])
    }

    /// Puts the numbers at `positions` behind those in `numbers`; one call for many is several times faster, because
    /// the processor works on neighbours at once.
    package func append(_ positions: Range<Int>, to numbers: inout [Int]) {
        precondition(
            positions.lowerBound >= 0 && positions.upperBound <= count, "positions are below the count")
        numbers.reserveCapacity(numbers.count + positions.count)
        if table.isEmpty {
            for position in positions { numbers.append(walked(UInt64(position))) }
        } else {
            for position in positions { numbers.append(Int(table[position])) }
        }
    }

    /// The same for positions that need not be neighbours.
    package func append(_ positions: [Int], to numbers: inout [Int]) {
        numbers.reserveCapacity(numbers.count + positions.count)
        guard table.isEmpty else {
            for position in positions { numbers.append(Int(table[position])) }
            return
        }
        for position in positions {
            precondition(position >= 0 && position < count, "a position is below the count of numbers")
            numbers.append(walked(UInt64(position)))
        }
    }

    @inline(__always) private func walked(_ position: UInt64) -> Int {
        var number = permuted(position)
        // A walk along a cycle of the rectangle's bijection comes back inside: it began there.
        while number >= UInt64(count) { number = permuted(number) }
        return Int(number)
    }

    @inline(__always) private func permuted(_ number: UInt64) -> UInt64 {
        var row = number.multipliedFullWidth(by: reciprocal).high
        var column = number &- row &* columns
        // The rounded reciprocal gives the quotient or one less.
        if column >= columns {
            row &+= 1
            column &-= columns
        }
        var round = 0
        while round < Self.roundCount {
            row = moved(row, by: avalanche(column ^ keys[round]), modulo: rows)
            column = moved(column, by: avalanche(row ^ keys[round + 1]), modulo: columns)
            round += 2
        }
        return row &* columns &+ column
    }

    @inline(__always) private func moved(_ value: UInt64, by hash: UInt64, modulo bound: UInt64) -> UInt64 {
        let sum = value &+ hash.multipliedFullWidth(by: bound).high
        return sum >= bound ? sum &- bound : sum
    }
}
