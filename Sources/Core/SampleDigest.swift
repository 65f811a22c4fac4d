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

/// Hashes the samples of whole slabs. One a worker: it keeps scratch memory, so that nothing is allocated a
/// sample.
package struct SampleHasher {
    private let names: FieldNames
    /// UTF-8 of the names by number, and each number's place in bytewise order.
    private var bytesOfName: [[UInt8]] = []
    private var rankOfName: [Int32] = []
    private var order: [Int32] = []
    private var key: [UInt8] = []

    package init(names: FieldNames) { self.names = names }

    /// Appends the hash of every sample of `table`; a defective sample, which is never delivered, counts as
    /// 0.
    ///
    /// - Parameters:
    ///   - bytes: what the scanner was given, so that the table's offsets hold.
    ///   - shard: base name of the shard; with the ordinal it is the key of samples that have none
    ///     (`train-000.tfrecord:17`).
    ///   - firstOrdinal: ordinal in the shard of the table's first sample.
    package mutating func append(
        _ table: SampleTable, in bytes: UnsafeRawBufferPointer, shard: [UInt8], firstOrdinal: Int,
        to hashes: inout [UInt64]
    ) {
        hashes.reserveCapacity(hashes.count + table.samples.count)
        for (index, sample) in table.samples.enumerated() {
            if sample.defect >= 0 {
                hashes.append(0)
            } else {
                hashes.append(unsafe hash(sample, table, bytes, shard, firstOrdinal + index))
            }
        }
    }

    private mutating func hash(
        _ sample: SampleRecord, _ table: SampleTable, _ bytes: UnsafeRawBufferPointer, _ shard: [UInt8],
        _ ordinal: Int
    ) -> UInt64 {
        key.removeAll(keepingCapacity: true)
        if sample.keyLength > 0 {
            let start = Int(sample.keyOffset)
            key.append(contentsOf: table.keys[start..<start + Int(sample.keyLength)])
        } else {
            key.append(contentsOf: shard)
            appendSampleOrdinal(ordinal, to: &key)
        }
        var digest = unsafe key.withUnsafeBytes { unsafe SampleDigest(key: $0) }
        sortFields(of: sample, in: table)
        for place in order {
            let field = table.fields[Int(place)]
            let payload = unsafe UnsafeRawBufferPointer(
                rebasing: bytes[field.offset..<field.offset + field.length])
            unsafe bytesOfName[Int(field.name)].withUnsafeBytes {
                unsafe digest.add(name: $0, payload: payload)
            }
        }
        return digest.value
    }

    private mutating func sortFields(of sample: SampleRecord, in table: SampleTable) {
        order.removeAll(keepingCapacity: true)
        for place in sample.firstField..<sample.firstField + sample.fieldCount {
            order.append(place)
            if Int(table.fields[Int(place)].name) >= rankOfName.count { learnNames() }
        }
        let ranks = rankOfName
        func precedes(_ left: Int32, _ right: Int32) -> Bool {
            ranks[Int(table.fields[Int(left)].name)] < ranks[Int(table.fields[Int(right)].name)]
        }
        // Shards written by the usual tools have their fields sorted already.
        for index in order.indices.dropFirst() where !precedes(order[index - 1], order[index]) {
            order.sort(by: precedes)
            return
        }
    }

    private mutating func learnNames() {
        bytesOfName = names.all.map { Array($0.utf8) }
        let sorted = bytesOfName.indices.sorted { bytesOfName[$0].lexicographicallyPrecedes(bytesOfName[$1]) }
        rankOfName = [Int32](repeating: 0, count: sorted.count)
        for (rank, number) in sorted.enumerated() { rankOfName[number] = Int32(rank) }
    }
}

/// Appends ":17", without making a string.
private func appendSampleOrdinal(_ ordinal: Int, to key: inout [UInt8]) {
    key.append(UInt8(ascii: ":"))
    var divisor = 1
    while ordinal / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
        key.append(UInt8(ascii: "0") + UInt8(ordinal / divisor % 10))
        divisor /= 10
    }
}
