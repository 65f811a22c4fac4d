/// The hash of one sample: key, then every field's name, length and bytes.
///
/// Each part is hashed by XXH64 with the hash so far as its seed, the length as eight little-endian bytes.
/// Lengths are hashed on their own, so that bytes which move from one field to the next change the result.
package struct SampleDigest: Sendable {
    package private(set) var value: UInt64

    package init(key: UnsafeRawBufferPointer) { value = unsafe xxh64(key) }

    /// Adds a field. Fields must come in bytewise order of their names, whatever their order in the shard.
    package mutating func add(name: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer) {
        value = unsafe xxh64(name, seed: value)
        let length = UInt64(payload.count).littleEndian
        value = unsafe withUnsafeBytes(of: length) { unsafe xxh64($0, seed: value) }
        value = unsafe xxh64(payload, seed: value)
    }
}

/// The digest of samples in their order: any sample lost, doubled, changed or swapped shows.
///
/// Its value is all the state there is, so that a run which was stopped and resumed ends with the digest of
/// the unbroken run.
package struct OrderedDigest: Sendable, Equatable {
    package private(set) var value: UInt64

    package init(value: UInt64 = 0) { self.value = value }

    /// Goes on from what ``hexadecimal`` gave; nil when it is no sixteen digits.
    package init?(hexadecimal: String) {
        guard let value = UInt64(hexadecimal: hexadecimal) else { return nil }
        self.value = value
    }

    package mutating func add(_ sample: UInt64) { value = mixed(value, sample) }

    package var hexadecimal: String { value.hexadecimal }
}

/// The digest of a bag of samples: order does not matter, and digests of parts add up to that of the whole.
package struct SetDigest: Sendable, Equatable {
    package private(set) var value: UInt64

    package init(value: UInt64 = 0) { self.value = value }

    /// Goes on from what ``hexadecimal`` gave; nil when it is no sixteen digits.
    package init?(hexadecimal: String) {
        guard let value = UInt64(hexadecimal: hexadecimal) else { return nil }
        self.value = value
    }

    // Mixed before they are added: sums of plain hashes could be balanced out by related ones.
    package mutating func add(_ sample: UInt64) { value &+= mixed(sample, Self.key) }

    /// Adds all samples of another digest.
    package mutating func add(_ other: SetDigest) { value &+= other.value }

    package var hexadecimal: String { value.hexadecimal }

    private static let key: UInt64 = 0x5e7d_16e5_7a11_0c8d
}
