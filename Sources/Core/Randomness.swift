/// The generator of all randomness here: SplitMix64, one addition and one mix a number.
///
/// Chosen because its whole state is one word that can be derived from a key, so that a sample's randomness
/// needs no memory of the samples before it. Its sequence is part of every saved order: it must never change.
package struct SplitMix64: RandomNumberGenerator, Sendable, Equatable {
    package private(set) var state: UInt64

    package init(_ seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= goldenGamma
        return avalanche(state)
    }

    /// A number in 0..<bound without bias (a multiplication, and a rejection that almost never happens).
    ///
    /// The standard library's `Int.random(in:using:)` may change its method; orders that were saved may not.
    package mutating func below(_ bound: UInt64) -> UInt64 {
        precondition(bound > 0, "there is no number below 0")
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let threshold = (0 &- bound) % bound
            while product.low < threshold { product = next().multipliedFullWidth(by: bound) }
        }
        return product.high
    }

    /// A number in 0..<1 with 53 random bits.
    package mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}

private let goldenGamma: UInt64 = 0x9e37_79b9_7f4a_7c15

/// Spreads every bit of `value` over all bits of the result; a bijection.
package func avalanche(_ value: UInt64) -> UInt64 {
    var mixed = value
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
}

// Overloads instead of a variadic function, which would allocate an array a call.

/// One key out of two numbers; order matters, and neither can cancel the other.
package func mixed(_ first: UInt64, _ second: UInt64) -> UInt64 {
    avalanche(avalanche(first &+ goldenGamma) ^ (second &* 0xd6e8_feb8_6659_fd93 &+ goldenGamma))
}

/// One key out of three numbers.
package func mixed(_ first: UInt64, _ second: UInt64, _ third: UInt64) -> UInt64 {
    mixed(mixed(first, second), third)
}

/// One key out of four numbers, such as (seed, epoch, shard number, ordinal in the shard).
package func mixed(_ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64) -> UInt64 {
    mixed(mixed(mixed(first, second), third), fourth)
}

/// Fills `permutation` with the numbers below `count` in the order that `key` decides (Fisher-Yates).
///
/// The permutation of a shuffle block: the same key and count give the same order, always and everywhere.
/// Memory of `permutation` is reused.
package func shuffle(_ count: Int, key: UInt64, into permutation: inout [UInt32]) {
    precondition(count >= 0 && count <= Int(UInt32.max), "a block has at most 2^32 - 1 numbers")
    permutation.removeAll(keepingCapacity: true)
    permutation.reserveCapacity(count)
    for number in 0..<UInt32(count) { permutation.append(number) }
    var random = SplitMix64(key)
    var left = count
    while left > 1 {
        let chosen = Int(random.below(UInt64(left)))
        left -= 1
        permutation.swapAt(left, chosen)
    }
}
