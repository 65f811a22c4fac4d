package import HeadraceCore

/// The numbers of all samples of a data set in catalog order: shard 0 has the first, shard 1 those behind, and so on.
package struct SampleNumbers: Sendable, Equatable {
    /// The first number of each shard, and at the end the count of all samples.
    private let starts: [Int]

    /// From the samples of each shard.
    package init(counts: [Int]) throws(HeadraceError) {
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
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= number { low = middle } else { high = middle }
        }
        return (low, number - starts[low])
    }
}
