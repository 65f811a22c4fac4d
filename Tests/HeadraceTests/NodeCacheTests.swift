import HeadraceCore
import Testing

@testable import Headrace

/// The closed form of a node's cache against a node that reads.
@Suite struct NodeCacheTests {
    /// Bytes that a node reads and finds in two epochs, with a cache of `limit` frames of one byte that never evicts.
    private static func simulate(
        frames: Int, units: Int, nodes: Int, limit: Int, seed: UInt64
    ) -> (read: Int, own: Int, hits: [Double]) {
        var random = SplitMix64(seed)
        var cache: Set<Int> = []
        var read = 0
        var own = 0
        var hits: [Double] = []
        for epoch in 0..<2 {
            // Each sample of a frame goes to any node, and each is read at another time.
            var reads: [Int] = []
            for frame in 0..<frames {
                for _ in 0..<units where random.below(UInt64(nodes)) == 0 { reads.append(frame) }
            }
            for index in reads.indices.reversed() {
                reads.swapAt(index, Int(random.below(UInt64(index + 1))))
            }
            var found = 0
            for frame in reads {
                if cache.contains(frame) {
                    found += 1
                } else if cache.count < limit {
                    cache.insert(frame)
                }
            }
            if epoch == 0 {
                read = reads.count
                own = Set(reads).count
            }
            hits.append(Double(found) / Double(reads.count))
        }
        return (read, own, hits)
    }

    @Test(arguments: [1, 2, 8], [500, 2000, 4000, 9000]) func theFormIsWhatHappens(units: Int, limit: Int) {
        for nodes in [1, 4] {
            let seen = Self.simulate(
                frames: 8000, units: units, nodes: nodes, limit: limit, seed: UInt64(units * limit))
            let cache = NodeCache(
                limit: limit, readByteCount: seen.read, ownByteCount: seen.own, poolByteCount: 8000)
            // What is read often is kept early, which the form leaves out.
            #expect(
                cache.firstEpochHits <= seen.hits[0] + 0.01 && cache.firstEpochHits > seen.hits[0] - 0.1,
                "\(units) \(limit) \(nodes)")
            #expect(abs(cache.secondEpochHits - seen.hits[1]) < 0.02, "\(units) \(limit) \(nodes)")
        }
    }

    @Test func nothingIsNoHit() {
        let cache = NodeCache(limit: 5, readByteCount: 0, ownByteCount: 0, poolByteCount: 0)
        #expect(cache.firstEpochHits == 0 && cache.secondEpochHits == 0)
    }

    /// Frames of which every node needs some samples are read by every node.
    @Test func framesAreReadByAllNodes() throws {
        let shards = try SparseShards(10, samples: 100, frames: 4)
        func own(_ shuffle: Shuffle) throws -> Int {
            try #require(
                try shards.plan(cacheLimit: 1) {
                    $0.shuffle = shuffle
                    $0.worldSize = 4
                    $0.nodes = 4
                }.cache
            ).nodeByteCount
        }
        // 25 samples in a frame: all of it but (3/4)^25.
        let all = 10 * shards.byteCount
        #expect(abs(Double(try own(.global)) / Double(all) - 0.999247) < 1e-6)
        // Blocks of 25 neighbours: a quarter, as without a codec.
        #expect(try own(.block(25)) == all / 4)
    }
}
