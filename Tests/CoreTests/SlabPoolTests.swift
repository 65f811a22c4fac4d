import Foundation
import HeadraceCore
import Synchronization
import Testing

private let mebibyte = 1 << 20

@Suite struct SlabPoolTests {
    @Test func limitHolds() throws {
        let pool = try SlabPool(limit: 10 * mebibyte, slabBytes: 2 * mebibyte)
        var slabs: [Slab] = []
        while let slab = pool.take() { slabs.append(slab) }
        #expect(slabs.count == 5)
        #expect(pool.bytesInUse == pool.limit)
        #expect(pool.takeLarge(1) == nil)
        for slab in slabs { pool.give(slab) }
        #expect(pool.bytesInUse == 0)
        #expect(pool.peakBytes == pool.limit)
    }

    @Test func slabsAreAlignedDistinctAndWritable() throws {
        let pool = try SlabPool(limit: 4 * mebibyte, slabBytes: mebibyte)
        let slabs = try (0..<4).map { _ in try #require(pool.take()) }
        for (number, slab) in slabs.enumerated() {
            #expect(UInt(bitPattern: slab.base) % 4096 == 0)
            memset(slab.base, Int32(number + 1), slab.capacity)
        }
        for (number, slab) in slabs.enumerated() {
            #expect(slab.base.load(as: UInt8.self) == UInt8(number + 1))
            #expect(slab.base.load(fromByteOffset: slab.capacity - 1, as: UInt8.self) == UInt8(number + 1))
        }
        #expect(Set(slabs.map(\.index)) == [0, 1, 2, 3])
        for slab in slabs { pool.give(slab) }
    }

    @Test func recycledLastInFirstOut() throws {
        let pool = try SlabPool(limit: 8 * mebibyte, slabBytes: mebibyte)
        let first = try #require(pool.take())
        let second = try #require(pool.take())
        pool.give(first)
        pool.give(second)
        #expect(pool.take() === second)
        #expect(pool.take() === first)
        pool.give(first)
        pool.give(second)
    }

    @Test func reserveIsKept() throws {
        let pool = try SlabPool(limit: 4 * mebibyte, slabBytes: mebibyte)
        #expect(pool.take(keeping: 4 * mebibyte) == nil)
        let slab = try #require(pool.take(keeping: 3 * mebibyte))
        #expect(pool.takeLarge(mebibyte, keeping: 3 * mebibyte) == nil)
        pool.give(slab)
    }

    @Test(arguments: [
        (1, 4096), (4096, 4096), (4097, 8192), (8193, 12288), (12289, 16384), (3 << 20, 3 << 20),
        ((3 << 20) + 1, 13 << 18), (140_000_000, 144 << 20), (140_000_000 + (64 << 20), 208 << 20),
        (Int.max, Int.max / 4),
    ]) func sizeClasses(bytes: Int, size: Int) { #expect(SlabPool.sizeClass(bytes) == size) }

    @Test func sizeClassesHoldTheirRequest() {
        var random = SplitMix64(1)
        for _ in 0..<1000 {
            let bytes = 1 + Int(random.below(1 << 40))
            let size = SlabPool.sizeClass(bytes)
            #expect(size >= bytes && size % 4096 == 0)
            #expect(size < bytes + max(4096, bytes / 8 + 1))
        }
    }

    @Test func largeMappingsAreRecycledByClass() throws {
        let pool = try SlabPool(limit: 32 * mebibyte, slabBytes: mebibyte)
        let slab = try #require(pool.takeLarge(5 * mebibyte))
        #expect(slab.capacity == 5 * mebibyte)
        #expect(slab.index == nil)
        memset(slab.base, 7, slab.capacity)
        pool.give(slab)
        #expect(pool.takeLarge(5 * mebibyte - 4096) === slab)
        #expect(pool.takeLarge(64 * mebibyte) == nil)
        #expect(pool.takeLarge(Int.max, keeping: Int.max) == nil)
        pool.give(slab)
    }

    /// Kept memory must make room for another kind, or a pool full of free slabs would starve a large sample.
    @Test func keptMemoryIsGivenBackUnderPressure() throws {
        let pool = try SlabPool(limit: 8 * mebibyte, slabBytes: mebibyte)
        let slabs = try (0..<8).map { _ in try #require(pool.take()) }
        for slab in slabs {
            memset(slab.base, 1, slab.capacity)
            pool.give(slab)
        }
        let large = try #require(pool.takeLarge(6 * mebibyte))
        memset(large.base, 2, large.capacity)
        #expect(pool.peakBytes <= pool.limit)
        let small = try #require(pool.take())
        pool.give(large)
        // And back: the large mapping makes room for slabs.
        let again = try (0..<7).map { _ in try #require(pool.take()) }
        #expect(pool.take() == nil)
        #expect(pool.peakBytes <= pool.limit)
        for slab in again + [small] { pool.give(slab) }
        #expect(pool.bytesInUse == 0)
    }

    @Test func chargesSlowAdmission() throws {
        let pool = try SlabPool(limit: 4 * mebibyte, slabBytes: mebibyte)
        pool.charge(3 * mebibyte + 1)
        #expect(pool.take() == nil)
        pool.charge(9 * mebibyte)
        #expect(pool.bytesInUse == 12 * mebibyte + 1)
        pool.discharge(9 * mebibyte)
        pool.discharge(3 * mebibyte + 1)
        let slab = try #require(pool.take())
        pool.give(slab)
    }

    @Test func manyThreadsNeverShareASlabNorPassTheLimit() throws {
        let pool = try SlabPool(limit: 16 * mebibyte, slabBytes: mebibyte)
        let faults = Atomic<Int>(0)
        let rounds = Atomic<Int>(0)
        let threads = try (0..<4).map { number in
            try HeadraceCore.Thread(name: "pool-\(number)") {
                var random = SplitMix64(UInt64(number))
                var held: [(slab: Slab, mark: UInt64)] = []
                for _ in 0..<3000 {
                    if held.count < 6, random.below(2) == 0 {
                        let slab =
                            random.below(3) == 0
                            ? pool.takeLarge(1 + Int(random.below(3 << 20))) : pool.take()
                        guard let slab else { continue }
                        let mark = random.next()
                        slab.base.storeBytes(of: mark, as: UInt64.self)
                        held.append((slab, mark))
                    } else if !held.isEmpty {
                        let (slab, mark) = held.remove(at: Int(random.below(UInt64(held.count))))
                        if slab.base.load(as: UInt64.self) != mark { faults.add(1, ordering: .relaxed) }
                        pool.give(slab)
                        rounds.add(1, ordering: .relaxed)
                    }
                    if pool.bytesInUse > pool.limit { faults.add(1, ordering: .relaxed) }
                }
                for (slab, _) in held { pool.give(slab) }
            }
        }
        for thread in threads { thread.join() }
        #expect(faults.load(ordering: .relaxed) == 0)
        #expect(rounds.load(ordering: .relaxed) > 100)
        #expect(pool.bytesInUse == 0)
        #expect(pool.peakBytes <= pool.limit)
    }
}
