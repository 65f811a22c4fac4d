internal import HeadraceCore

/// The order in which samples are packed.
public enum PackOrder: Sendable, Hashable {
    /// As the sources have them, one source after the other.
    case asFound
    /// By key, bytewise, over all sources.
    case sorted
    /// A random order over all sources, the same for the same seed and number of samples.
    case shuffled(seed: UInt64)

    /// Whether samples may come from anywhere in a source.
    var isAnother: Bool { self != .asFound }
}

extension PackInventory {
    /// Puts the samples in their order.
    mutating func arrange(_ order: PackOrder) throws(HeadraceError) {
        switch order {
        case .asFound: return
        case .sorted:
            let keys = samples.map(\.key)
            permute(keys.indices.sorted { byteOrder(keys[$0], keys[$1]) < 0 })
        case .shuffled(let seed):
            guard samples.count <= Int(UInt32.max) else {
                throw HeadraceError(
                    .limitExceeded, "more than \(UInt32.max) samples cannot be shuffled in one run")
            }
            var permutation: [UInt32] = []
            shuffle(samples.count, key: mixed(seed, Self.shuffleKey), into: &permutation)
            permute(permutation.map(Int.init))
        }
    }

    /// Keeps this order apart from the orders that loaders derive from the same seed.
    private static let shuffleKey: UInt64 = 0x7061_636b
}
