internal import HeadraceCore

/// Whole shards dealt to ranks or nodes, as evenly as their loads allow.
///
/// The heaviest shard goes first, each to whoever has least so far (ties: the lowest number). That is within a third
/// of the best deal there is, takes n log n, and depends on nothing but its input. With a key, shards of nearly one load
/// (within a sixteenth of the largest) come in random order, so that another epoch puts other shards together; the
/// shares differ by little more for it.
package struct ShardDeal: Sendable, Equatable {
    /// Catalog numbers of the shards of each share, in the order in which they are read.
    package let shards: [[Int]]
    /// Sum of the loads of each share.
    package let loads: [Int]

    /// Loads that a shuffled deal tells apart.
    private static let loadSteps = 16

    /// - Parameters:
    ///   - loads: samples of each shard in `numbers`, or bytes where samples are not known.
    ///   - numbers: catalog numbers of the shards that are dealt.
    ///   - key: of the shuffle; nil: shares are filled and read in catalog order.
    package init(loads: [Int], numbers: [Int]? = nil, shares: Int, key: UInt64?) {
        precondition(shares >= 1, "shards are dealt to one share or more")
        let numbers = numbers ?? Array(loads.indices)
        precondition(numbers.count == loads.count, "each shard has a load")
        let mixed = key.map { Permutation(count: loads.count, key: HeadraceCore.mixed($0, 1)) }
        let names = key.map { Permutation(count: shares, key: HeadraceCore.mixed($0, 2)) }
        // The order before loads matter, and the order of reading within a share.
        let turns = loads.indices.map { mixed?($0) ?? $0 }
        let step = key == nil ? 1 : max(1, loads.reduce(0, max) / Self.loadSteps)
        let heaviestFirst = turns.enumerated().sorted { left, right in
            let (a, b) = (loads[left.element] / step, loads[right.element] / step)
            return a == b ? left.offset < right.offset : a > b
        }
        var heap = LightestFirst(count: shares)
        var dealt = [[Int]](repeating: [], count: shares)
        for (turn, index) in heaviestFirst {
            let share = heap.add(loads[index])
            dealt[names?(share) ?? share].append(turn)
        }
        shards = dealt.map { $0.sorted().map { numbers[turns[$0]] } }
        self.loads = dealt.map { $0.reduce(0) { $0 + loads[turns[$1]] } }
    }
}

/// A binary heap of shares by load, the lowest number first among equals.
private struct LightestFirst {
    private var heap: [(load: Int, share: Int)]

    init(count: Int) { heap = (0..<count).map { (0, $0) } }

    /// Gives `load` to the lightest share, and says which that is.
    mutating func add(_ load: Int) -> Int {
        let share = heap[0].share
        heap[0].load += load
        var at = 0
        while true {
            var least = at
            for child in [2 * at + 1, 2 * at + 2]
            where child < heap.count && isBefore(heap[child], heap[least]) {
                least = child
            }
            if least == at { return share }
            heap.swapAt(at, least)
            at = least
        }
    }

    private func isBefore(_ left: (load: Int, share: Int), _ right: (load: Int, share: Int)) -> Bool {
        left.load == right.load ? left.share < right.share : left.load < right.load
    }
}
