import HeadraceCompute
import HeadraceCore
import Testing

private let mebibyte = 1 << 20

/// What every back end must do. One that is added to the list of ``backends`` is held to all of it.
@Suite struct ComputeBackendConformanceTests {
    enum Kind: CaseIterable { case host }

    /// A back end whose budget is `limit` bytes, and how many bytes of it are taken.
    private func make(_ kind: Kind, limit: Int) throws -> (any ComputeBackend, @Sendable () -> Int) {
        switch kind {
        case .host:
            let pool = try SlabPool(limit: limit, slabBytes: mebibyte)
            return (HostBackend(pool: pool), { pool.bytesInUse })
        }
    }

    @Test(arguments: Kind.allCases) func whatIsStagedArrives(kind: Kind) throws {
        let (backend, inUse) = try make(kind, limit: 64 * mebibyte)
        for round in 0..<20 {
            let size = 1 + round * 100_003
            let staging = try #require(try backend.allocateStaging(size, keeping: 0))
            #expect(staging.capacity >= size)
            #expect(UInt(bitPattern: staging.base) % 4096 == 0)
            var random = SplitMix64(UInt64(round))
            for at in 0..<size {
                staging.base.storeBytes(
                    of: UInt8(truncatingIfNeeded: random.next()), toByteOffset: at, as: UInt8.self)
            }
            let placement = try backend.place(staging, byteCount: size)
            #expect(placement.byteCount == size)
            #expect(placement.device == backend.device)
            try backend.wait(for: placement)
            if placement.device == .host {
                random = SplitMix64(UInt64(round))
                var wrong = 0
                for at in 0..<size
                where placement.address.load(fromByteOffset: at, as: UInt8.self)
                    != UInt8(truncatingIfNeeded: random.next())
                {
                    wrong += 1
                }
                #expect(wrong == 0)
            }
            backend.release(placement)
        }
        #expect(inUse() == 0)
    }

    @Test(arguments: Kind.allCases) func slotsInUseAreDistinctAndBounded(kind: Kind) throws {
        let (backend, inUse) = try make(kind, limit: 16 * mebibyte)
        var held: [Placement] = []
        while let staging = try backend.allocateStaging(2 * mebibyte, keeping: 0) {
            held.append(try backend.place(staging, byteCount: 2 * mebibyte))
        }
        #expect(held.count == 8)
        #expect(Set(held.map(\.address)).count == 8)
        #expect(inUse() <= 16 * mebibyte)
        backend.release(held.removeLast())
        let again = try #require(try backend.allocateStaging(2 * mebibyte, keeping: 0))
        backend.discard(again)
        for placement in held { backend.release(placement) }
        #expect(inUse() == 0)
    }

    @Test(arguments: Kind.allCases) func reserveIsKept(kind: Kind) throws {
        let (backend, _) = try make(kind, limit: 16 * mebibyte)
        let first = try #require(try backend.allocateStaging(8 * mebibyte, keeping: 8 * mebibyte))
        #expect(try backend.allocateStaging(2 * mebibyte, keeping: 8 * mebibyte) == nil)
        backend.discard(first)
    }

    @Test(arguments: Kind.allCases) func whatCanNeverFitIsAnErrorWithTheFigure(kind: Kind) throws {
        let (backend, _) = try make(kind, limit: 16 * mebibyte)
        for (size, reserve) in [
            (17 * mebibyte, 0), (8 * mebibyte, 9 * mebibyte), (Int.max, 0), (0, Int.max), (-1, 0),
        ] {
            let error = #expect(throws: HeadraceError.self) {
                _ = try backend.allocateStaging(size, keeping: reserve)
            }
            #expect(error?.code == .budget)
            #expect(error?.message.contains("\(size) bytes") == true)
        }
    }

    @Test(arguments: Kind.allCases) func manyThreads(kind: Kind) throws {
        let (backend, inUse) = try make(kind, limit: 16 * mebibyte)
        let threads = try (0..<4).map { number in
            try Thread(name: "batch") {
                for round in 0..<500 {
                    guard let staging = try? backend.allocateStaging(1 + round * 4096, keeping: 0) else {
                        continue
                    }
                    staging.base.storeBytes(of: number, as: Int.self)
                    guard let placement = try? backend.place(staging, byteCount: 8) else { continue }
                    try? backend.wait(for: placement)
                    if placement.device == .host {
                        precondition(
                            placement.address.load(as: Int.self) == number, "two batches in one slot")
                    }
                    backend.release(placement)
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(inUse() == 0)
    }
}

@Suite struct HostBackendTests {
    @Test func nothingIsCopied() throws {
        let backend = HostBackend(pool: try SlabPool(limit: 4 * mebibyte, slabBytes: mebibyte))
        let staging = try #require(try backend.allocateStaging(10, keeping: 0))
        let placement = try backend.place(staging, byteCount: 10)
        #expect(placement.address == staging.base)
        backend.release(placement)
        #expect(try backend.allocateStaging(10, keeping: 0)?.base == staging.base)
    }

    @Test func releasingTwiceIsCaught() async {
        await #expect(processExitsWith: .failure) {
            let backend = HostBackend(pool: try SlabPool(limit: 4 << 20, slabBytes: 1 << 20))
            let placement = try backend.place(try backend.allocateStaging(10, keeping: 0)!, byteCount: 10)
            backend.release(placement)
            backend.release(placement)
        }
    }

    @Test func names() {
        #expect(ComputeDevice.host.description == "host")
        #expect(ComputeDevice.cuda(1).description == "cuda:1")
    }
}
