import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

/// Hit rates of shuffled epochs over a thousand shards of one block.
@Suite struct CachePolicyTests {
    static let shardCount = 1000
    static let epochs = 3

    private func order(_ epoch: Int, _ count: Int) -> [Int] {
        var generator = Generator(state: UInt64(77 + epoch))
        return Array(0..<count).shuffled(using: &generator)
    }

    /// The share of hits of all epochs but the first.
    private func hitRate(_ eviction: Eviction, share: Double) throws -> Double {
        let rig = try CacheRig(inMemory: true)
        let content = randomBytes(4096)
        let paths = (0..<Self.shardCount).map { rig.scratch.file("origin/\($0)", content) }
        let limit = Int((share * Double(Self.shardCount)).rounded()) * (4096 + BlockFile.trailerBytes)
        let cache = try rig.cache(limit: limit) { $0.eviction = eviction }
        let storage = CachedStorage(rig.origin, cache: cache, isPooled: false)
        let reader = try storage.makeReader(queueDepth: 1)
        let memory = Memory(4096)
        var first = CacheTotals()
        for epoch in 0..<Self.epochs {
            let order = order(epoch, paths.count)
            let next = self.order(epoch + 1, paths.count)
            cache.plan((order + next).map { paths[$0] })
            for number in order {
                let file = try storage.open(paths[number])
                memory.fill(0)
                let result = reader.read(
                    ReadRequest(ticket: 1, file: file, offset: 0, length: 4096, destination: memory.base))
                #expect(result?.count == 4096)
                expect(memory.base, is: content, 0..<4096)
            }
            if epoch == 0 { first = cache.totals }
        }
        let used = try cache.folder.usedBytes()
        #expect(used <= limit && used > limit - 4096 * 2)
        let totals = cache.totals
        // What was brought and what was hit is all that was asked for.
        #expect(totals.hitBytes + totals.missedBytes == Self.epochs * Self.shardCount * 4096)
        #expect(rig.origin.bytes == totals.missedBytes)
        reader.close()
        return Double(totals.hits - first.hits) / Double((Self.epochs - 1) * Self.shardCount)
    }

    @Test(arguments: [0.2, 0.35, 0.5, 0.65, 0.8]) func hitRatesAreThoseOfTheClosedForms(share: Double) throws
    {
        let kept = try hitRate(.noEvict, share: share)
        #expect(abs(kept - share) < 0.02, "no-evict hits \(kept) of \(share)")
        let recent = try hitRate(.lru, share: share)
        let expected = share + (1 - share) * log(1 - share)
        #expect(abs(recent - expected) < 0.02, "lru hits \(recent), the closed form says \(expected)")
        let foreseen = try hitRate(.clairvoyant, share: share)
        #expect(foreseen >= kept, "clairvoyant hits \(foreseen), no-evict \(kept)")
        // Every shard is wanted once on either side of the end of an epoch, so no cache can hit more than it holds.
        #expect(foreseen <= share + 0.001)
    }

    /// What an earlier run left is known to the clairvoyant by its URL, and to LRU by its age.
    @Test func blocksOfEarlierRunsAreJudgedToo() throws {
        let rig = try CacheRig()
        let contents = (0..<4).map { randomBytes(4096, seed: UInt64($0)) }
        let paths = contents.enumerated().map { rig.scratch.file("origin/\($0.offset)", $0.element) }
        let room = 3 * (4096 + BlockFile.trailerBytes)
        for eviction in [Eviction.lru, .clairvoyant] {
            try? FileManager.default.removeItem(atPath: rig.folder)
            let earlier = try rig.cache(limit: room)
            for (age, number) in [2, 0, 1].enumerated() {
                try rig.expectRead(earlier, paths[number], is: contents[number])
                // Made one after the other, whatever the clock's steps are.
                var times = [
                    timeval(tv_sec: 1000 + age, tv_usec: 0), timeval(tv_sec: 1000 + age, tv_usec: 0),
                ]
                let block = try #require(
                    try rig.blockFiles().first { path in
                        path.contains(
                            CachedFile(try! LocalFile(paths[number], direct: .off), earlier).object!.key.name)
                    })
                #expect(utimes(block, &times) == 0)
            }
            let cache = try rig.cache(limit: room) { $0.eviction = eviction }
            // Of those that are there, 1 is needed last.
            cache.plan([3, 2, 0, 3, 1].map { paths[$0] })
            try rig.expectRead(cache, paths[3], is: contents[3])
            let gone = eviction == .lru ? 2 : 1
            let before = rig.origin.bytes
            for number in 0..<3 where number != gone {
                try rig.expectRead(cache, paths[number], is: contents[number])
            }
            #expect(rig.origin.bytes == before)
            #expect(cache.totals.evictedBlocks == 1)
        }
    }

    /// The blocks of an object that is open are not given up for others.
    @Test func whatIsOpenStays() throws {
        let rig = try CacheRig()
        let contents = (0..<3).map { randomBytes(4096, seed: UInt64($0)) }
        let paths = contents.enumerated().map { rig.scratch.file("origin/\($0.offset)", $0.element) }
        let cache = try rig.cache(limit: 4096 + BlockFile.trailerBytes) { $0.eviction = .clairvoyant }
        let storage = CachedStorage(rig.origin, cache: cache, isPooled: false)
        cache.plan([0, 1, 2, 1].map { paths[$0] })
        try rig.expectRead(cache, paths[0], is: contents[0])
        try rig.expectRead(cache, paths[1], is: contents[1])
        // 0 is not needed again, so 1 took its place.
        #expect(cache.totals.evictedBlocks == 1)
        try withExtendedLifetime(try storage.open(paths[1])) {
            try rig.expectRead(cache, paths[2], is: contents[2])
            #expect(cache.totals.evictedBlocks == 1)
            #expect(cache.totals.passed[.notWorthwhile]?.reads == 1)
        }
        try rig.expectRead(cache, paths[1], is: contents[1])
        #expect(cache.totals.hits == 1)
    }
}
