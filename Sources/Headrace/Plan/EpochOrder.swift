internal import HeadraceCore

/// The order in which an indexed walk visits the samples of an epoch.
package enum SampleOrder: Hashable, Sendable, CustomStringConvertible {
    /// As in the catalog.
    case catalog
    /// Blocks of so many neighbours in random order, and each block shuffled within.
    case block(Int)
    /// A random permutation of all samples.
    case global

    /// As `--shuffle` writes it.
    package var description: String {
        switch self {
        case .catalog: "none"
        case .block(let size): "block:\(size)"
        case .global: "global"
        }
    }
}

/// One epoch's order of the samples of one data set: which number is at which place.
///
/// It holds a few keys, whatever the number of samples, and can be entered at any place.
///
/// **Blocks** of `block:N` are cut on a grid of N that starts at another sample each epoch and goes round the end of
/// the data set, so that no two samples share a block for ever. They may straddle the ends of shards (one block in
/// N / mean samples of a shard does, and costs one read more): blocks that stop at shards' ends would have as many
/// lengths as shards, and finding a place among them would take memory for every block. There is one short block,
/// the last of the order; which samples it holds differs from epoch to epoch.
package struct EpochOrder: Sendable {
    /// Samples of the epoch.
    package let count: Int
    package let order: SampleOrder
    private let key: UInt64
    /// Of all samples, or of the whole blocks.
    private let outer: Permutation
    private let blockSize: Int
    private let gridStart: Int
    /// The order within the block that was asked for last.
    private var inner = Permutation(count: 0, key: 0)
    private var innerBlock = -1

    /// - Parameter key: made of seed and epoch, and for a mixture of data set and pass; see ``key(seed:epoch:)``.
    package init(count: Int, order: SampleOrder, key: UInt64) {
        self.count = count
        self.order = order
        self.key = key
        switch order {
        case .catalog:
            outer = Permutation(count: 0, key: key)
            blockSize = 1
            gridStart = 0
        case .global:
            outer = Permutation(count: count, key: key)
            blockSize = 1
            gridStart = 0
        case .block(let size):
            precondition(size >= 1, "a block has a sample or more")
            blockSize = size
            outer = Permutation(count: count / size, key: mixed(key, 1))
            var random = SplitMix64(mixed(key, 2))
            gridStart = count > 0 ? Int(random.below(UInt64(count))) : 0
        }
    }

    /// The key of an epoch's order.
    package static func key(seed: UInt64, epoch: Int) -> UInt64 {
        mixed(seed, UInt64(bitPattern: Int64(epoch)), orderKey)
    }

    /// Keeps orders apart from other uses of the same seed and epoch.
    private static let orderKey: UInt64 = 0x6f72_6465_7220_6f66

    /// The number of the sample at `place`.
    package mutating func number(at place: Int) -> Int {
        precondition(place >= 0 && place < count, "a place is below the count of samples")
        switch order {
        case .catalog: return place
        case .global: return outer(place)
        case .block:
            let (turn, index) = place.quotientAndRemainder(dividingBy: blockSize)
            let block = turn < outer.count ? outer(turn) : turn
            if block != innerBlock {
                inner.reset(
                    count: min(blockSize, count - block * blockSize), key: mixed(key, 3, UInt64(block)))
                innerBlock = block
            }
            let number = gridStart + block * blockSize + inner(index)
            return number < count ? number : number - count
        }
    }

    /// Puts the numbers at `places` behind those in `numbers`; they need not be neighbours.
    package mutating func append(_ places: [Int], to numbers: inout [Int]) {
        if order == .global { return outer.append(places, to: &numbers) }
        numbers.reserveCapacity(numbers.count + places.count)
        for place in places { numbers.append(number(at: place)) }
    }

    /// Puts the numbers at `places` behind those in `numbers`.
    package mutating func append(_ places: Range<Int>, to numbers: inout [Int]) {
        switch order {
        case .catalog: numbers.append(contentsOf: places)
        case .global: outer.append(places, to: &numbers)
        case .block:
            numbers.reserveCapacity(numbers.count + places.count)
            for place in places { numbers.append(number(at: place)) }
        }
    }
}
