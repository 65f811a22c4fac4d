internal import Glibc
internal import HeadraceTiers

/// Share of the bytes that a node's cache of whole blocks of storage serves (nothing is ever evicted).
///
/// A node reads R bytes in an epoch, U different ones among them: less than R where a frame is read for several windows.
/// In epoch 1 it keeps K = min(C, U) of them, and finds what it kept when it reads it again (a little more than is
/// reckoned, for what is read often is kept early). In epoch 2 it reads what
/// lies anywhere in D bytes: those of its own shards with an affinity, those of the same places where nothing is
/// shuffled (D = U), else those of the whole data set. K / D of that was kept; of the rest, as much as there is still
/// room for is read once, and the others as often as they are needed.
package struct NodeCache: Sendable, Equatable {
    package var limit: Int
    /// Different bytes that one node reads in an epoch.
    package var nodeByteCount: Int
    package var firstEpochHits: Double
    package var secondEpochHits: Double

    /// - Parameters:
    ///   - readByteCount: R.
    ///   - ownByteCount: U.
    ///   - poolByteCount: D.
    init(limit: Int, readByteCount: Int, ownByteCount: Int, poolByteCount: Int) {
        self.limit = limit
        nodeByteCount = ownByteCount
        firstEpochHits = 0
        secondEpochHits = 0
        guard ownByteCount > 0 else { return }
        let own = Double(ownByteCount)
        let read = max(own, Double(readByteCount))
        let kept = min(Double(limit), own)
        firstEpochHits = kept / own * (1 - own / read)
        let fresh = max(0, 1 - kept / max(own, Double(poolByteCount)))
        let room = Double(limit) - kept
        let keptFresh = fresh > 0 ? min(1, room / (own * fresh)) : 1
        secondEpochHits = 1 - fresh * (keptFresh * own / read + 1 - keptFresh)
    }

    /// For a cache that gives up what was used longest ago, in a walk that reads every shard once in an epoch. What is
    /// read in the same order every time is always gone when it is wanted, unless all of it fits.
    mutating func evictLeastRecentlyUsed(isShuffled: Bool) {
        firstEpochHits = 0
        let share = nodeByteCount == 0 ? 1 : min(1, Double(limit) / Double(nodeByteCount))
        let held = isShuffled ? ShuffledHits.leastRecentlyUsed(cachedShare: share) : share < 1 ? 0 : 1
        secondEpochHits = min(secondEpochHits, held)
    }

    /// U and D of the node that has the most.
    struct Shares {
        var ownByteCount: Int
        var poolByteCount: Int

        init(
            _ catalog: Catalog, _ choice: WalkChoice, _ nodes: Nodes, _ dataSets: [PlanSummary.DataSet],
            _ request: PlanRequest
        ) {
            let sizes = catalog.shards.map(\.size)
            guard request.options.affinity == .none else {
                let known = choice.counts.compactMap { $0 }
                let loads = known.count == sizes.count ? known : sizes
                let deal = ShardShare.nodeDeal(loads: loads, nodes: nodes, seed: request.options.seed)
                ownByteCount = deal.shards.map { $0.reduce(0) { $0 + sizes[$1] } }.max() ?? 0
                poolByteCount = ownByteCount
                return
            }
            var own = 0.0
            for (number, start) in catalog.dataSetStarts.dropLast().enumerated() {
                // How often an epoch goes through the data set.
                let passes =
                    dataSets.isEmpty
                    ? 1 : Double(dataSets[number].deliveredCount) / Double(dataSets[number].sampleCount)
                for index in start..<catalog.dataSetStarts[number + 1] {
                    let units = choice.rows.map { Self.unitsPerFrame($0[index], nodes, request) } ?? 1
                    own += Double(sizes[index]) * Self.touched(units, passes, nodes: nodes.count)
                }
            }
            ownByteCount = Int(own)
            poolByteCount = request.options.shuffle == .none ? ownByteCount : catalog.byteCount
        }

        /// Share of the frames that hold some of a node's samples, where `units` of a frame are dealt one by one in each
        /// pass.
        private static func touched(_ units: Double, _ passes: Double, nodes: Int) -> Double {
            1 - pow(1 - min(1, passes) / Double(nodes), units * max(1, passes))
        }

        /// Samples of a frame that are dealt apart: neighbours that one rank reads count once.
        private static func unitsPerFrame(
            _ rows: ShardRows, _ nodes: Nodes, _ request: PlanRequest
        ) -> Double {
            guard let frames = rows.frames, !frames.isEmpty else { return 1 }
            let samples = Double(rows.sampleCount) / Double(frames.count)
            let together =
                switch request.options.shuffle {
                case .global: 1
                case .block(let size): size
                case .none, .buffer: nodes.ranksEach * request.options.batchSize
                }
            return max(1, samples / Double(together))
        }
    }
}

extension NodeCache {
    init(limit: Int, _ plan: PlanSummary, _ shares: Shares, nodes: Nodes) {
        self.init(
            limit: limit, readByteCount: plan.requests.readByteCount / nodes.count,
            ownByteCount: shares.ownByteCount, poolByteCount: shares.poolByteCount)
    }
}
