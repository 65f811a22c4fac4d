package import HeadraceCore

/// The numbers of all samples of a data set in catalog order: shard 0 has the first, shard 1 those behind, and so on.
package struct SampleNumbers: Sendable, Equatable {
    /// The first number of each shard, and at the end the count of all samples.
    private let starts: [Int]
    /// The shard of every 2^``shift``-th number: a search begins between two of them. Twice as many as shards, at most.
    private let guides: [Int32]
    private let shift: Int

    /// From the samples of each shard.
    package init(counts: [Int]) throws(HeadraceError) {
        guard counts.count < Int(Int32.max) else {
            throw HeadraceError(
                .limitExceeded, "a data set has fewer than \(Int32.max) shards, not \(counts.count)")
        }
        var starts = [0]
        starts.reserveCapacity(counts.count + 1)
        for (shard, count) in counts.enumerated() {
            let (sum, overflow) = starts[shard].addingReportingOverflow(count)
            guard count >= 0, !overflow, sum <= PlanLimits.sampleCount else {
                throw HeadraceError(
                    .limitExceeded,
                    "shard \(shard) is said to hold \(count) samples: more than the limit sampleCount of "
                        + "\(PlanLimits.sampleCount) in all, or fewer than none; make its index anew")
            }
            starts.append(sum)
        }
        self.starts = starts
        (guides, shift) = Self.guides(starts)
    }

    private static func guides(_ starts: [Int]) -> ([Int32], Int) {
        let count = starts[starts.count - 1]
        var shift = 0
        while count >> shift >= 2 * starts.count { shift += 1 }
        var guides: [Int32] = []
        guides.reserveCapacity(count >> shift + 2)
        var shard = 0
        for guide in 0...(count >> shift) {
            while shard + 2 < starts.count, starts[shard + 1] <= guide << shift { shard += 1 }
            guides.append(Int32(shard))
        }
        guides.append(Int32(max(0, starts.count - 2)))
        return (guides, shift)
    }

    /// Samples of the data set.
    package var count: Int { starts[starts.count - 1] }

    package var shardCount: Int { starts.count - 1 }

    /// Samples of one shard.
    package func count(ofShard shard: Int) -> Int { starts[shard + 1] - starts[shard] }

    /// The number of a shard's first sample.
    package func start(ofShard shard: Int) -> Int { starts[shard] }

    /// Where sample `number` is; the ordinal counts from the front of its shard.
    package func place(of number: Int) -> (shard: Int, ordinal: Int) {
        precondition(number >= 0 && number < count, "a sample's number is below the count of samples")
        // The last shard that starts at or before the number; empty shards start where the next one does.
        let guide = number >> shift
        var low = Int(guides[guide])
        var high = Int(guides[guide + 1]) + 1
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= number { low = middle } else { high = middle }
        }
        return (low, number - starts[low])
    }
}
