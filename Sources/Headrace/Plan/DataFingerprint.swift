internal import HeadraceCore

/// What a data set is, wherever it lies: base names, sizes and sample counts of its shards in their order. No path,
/// host or time, so that a copy of the same shards elsewhere has the same fingerprint.
///
/// It is small for any number of shards: the shards are cut into at most ``groupLimit`` runs of neighbours, each with
/// a hash of 32 bits, so that a difference can be named to the shard for small data sets and to a run of shards for
/// large ones. The hash of 64 bits decides. (No defence against somebody who makes shards to fit it.)
package struct DataFingerprint: Sendable, Equatable {
    /// Runs of shards that have a hash of their own.
    package static let groupLimit = 256

    package var shardCount: Int
    package var byteCount: Int
    /// Samples of all shards; nil where a count is not known.
    package var sampleCount: Int?
    /// Of names and sizes.
    package var hash: UInt64
    /// Of the counts; nil where one is not known. Apart from ``hash``, so that an index that was made since is no
    /// difference.
    package var countHash: UInt64?
    /// Of names and sizes of each run of shards.
    package var groups: [UInt32]

    /// One shard as the fingerprint sees it.
    package struct Shard: Sendable, Equatable {
        /// Without folders.
        package var name: String
        package var byteCount: Int
        package var sampleCount: Int?

        package init(name: String, byteCount: Int, sampleCount: Int?) {
            self.name = name
            self.byteCount = byteCount
            self.sampleCount = sampleCount
        }

        fileprivate var identity: UInt64 { mixed(textHash(name), UInt64(bitPattern: Int64(byteCount))) }
    }

    package init(_ shards: [Shard]) {
        shardCount = shards.count
        byteCount = shards.reduce(0) { $0 &+ $1.byteCount }
        let counts = shards.compactMap(\.sampleCount)
        let isCounted = counts.count == shards.count
        sampleCount = isCounted ? counts.reduce(0, &+) : nil
        countHash = isCounted ? counts.reduce(Self.start) { mixed($0, UInt64(bitPattern: Int64($1))) } : nil
        hash = shards.reduce(Self.start) { mixed($0, $1.identity) }
        groups = Self.groupRanges(shards.count).map { range in
            UInt32(truncatingIfNeeded: shards[range].reduce(Self.start) { mixed($0, $1.identity) })
        }
    }

    init(
        shardCount: Int, byteCount: Int, sampleCount: Int?, hash: UInt64, countHash: UInt64?, groups: [UInt32]
    ) {
        self.shardCount = shardCount
        self.byteCount = byteCount
        self.sampleCount = sampleCount
        self.hash = hash
        self.countHash = countHash
        self.groups = groups
    }

    private static let start: UInt64 = 0x6461_7461

    /// Runs into which `count` shards are cut; without listing them, because a file can claim any count.
    static func groupCount(_ count: Int) -> Int {
        let size = groupSize(count)
        return count / size + (count % size > 0 ? 1 : 0)
    }

    private static func groupSize(_ count: Int) -> Int {
        max(1, count / groupLimit + (count % groupLimit > 0 ? 1 : 0))
    }

    private static func groupRanges(_ count: Int) -> [Range<Int>] {
        let size = groupSize(count)
        return stride(from: 0, to: count, by: size).map { $0..<min(count, $0 + size) }
    }

    /// What differs between this and the data set of `shards`, as a sentence; nil when they are the same.
    package func difference(from shards: [Shard]) -> String? {
        let other = DataFingerprint(shards)
        guard hash == other.hash, shardCount == other.shardCount else {
            if shardCount != other.shardCount {
                return "it was made with \(shardCount) shards of \(byteCount) bytes in all, and there are "
                    + "\(other.shardCount) of \(other.byteCount)\(firstDifference(from: shards, other))"
            }
            if groups.sorted() == other.groups.sorted(), groups != other.groups {
                return
                    "the shards are those it was made with, in another order\(firstDifference(from: shards, other))"
            }
            return
                "names or sizes of shards are not those it was made with\(firstDifference(from: shards, other))"
        }
        guard let countHash, let otherHash = other.countHash, countHash != otherHash else { return nil }
        return
            "the shards have the same names and sizes but other sample counts (\(sampleCount ?? 0) samples in "
            + "all when it was made, now \(other.sampleCount ?? 0)): an index or a manifest was changed"
    }

    /// The first shard or run of shards that is another one.
    private func firstDifference(from shards: [Shard], _ other: DataFingerprint) -> String {
        let ranges = Self.groupRanges(shards.count)
        // Where the runs differ in length, hashes of runs say nothing but for runs of one shard.
        let isComparable = Self.groupSize(shardCount) == Self.groupSize(shards.count)
        let differing = zip(groups, other.groups).enumerated().first { $0.element.0 != $0.element.1 }
        guard isComparable, let group = differing?.offset else { return "" }
        let range = ranges[group]
        if range.count == 1 {
            let shard = shards[range.lowerBound]
            return "; the first that differs is shard \(range.lowerBound), now '\(shard.name)' of "
                + "\(shard.byteCount) bytes"
        }
        return "; the first that differs is among shards \(range.lowerBound) to \(range.upperBound - 1), now "
            + "'\(shards[range.lowerBound].name)' to '\(shards[range.upperBound - 1].name)'"
    }
}

/// XXH64 of a text's UTF-8.
func textHash(_ text: String, seed: UInt64 = 0) -> UInt64 {
    var text = text
    return text.withUTF8 { unsafe xxh64(UnsafeRawBufferPointer($0), seed: seed) }
}
