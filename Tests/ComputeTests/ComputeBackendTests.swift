import FakeCUDA
import HeadraceCompute
import HeadraceCore
import Testing

private let mebibyte = 1 << 20

/// The back ends that there are to be tested on this machine.
enum BackendKind: CaseIterable {
    case host, fakeCUDA, cuda

    static let present: [BackendKind] = allCases.filter { kind in
        guard kind == .cuda, !CUDADriver.isInstalled else { return true }
        print("SKIPPED: there is no CUDA driver here, so only the fake one is tested")
        return false
    }
}

/// What every back end must do. One that is added to the list of kinds is held to all of it.
@Suite struct ComputeBackendConformanceTests {
    typealias Kind = BackendKind

    /// A back end whose budget is `limit` bytes, and how many bytes of it are taken, with the number of placements where
    /// those are not in the budget.
    private func make(_ kind: Kind, limit: Int) throws -> (any ComputeBackend, @Sendable () -> Int) {
        switch kind {
        case .host:
            let pool = try SlabPool(limit: limit, slabBytes: mebibyte)
            return (HostBackend(pool: pool), { pool.bytesInUse })
        case .fakeCUDA:
            let fake = try FakeDriver()
            let pool = try SlabPool(limit: limit, slabBytes: mebibyte)
            let backend = try CUDABackend(
                CUDADevice(0, driver: CUDADriver(path: fake.path)), pool: pool)
            return (backend, { backend.stagedByteCount + backend.heldPlacements })
        case .cuda:
            let pool = try SlabPool(limit: limit, slabBytes: mebibyte)
            let backend = try CUDABackend(CUDADevice(0, driver: CUDADriver()), pool: pool)
            return (backend, { backend.stagedByteCount + backend.heldPlacements })
        }
    }

    private func copy(
        _ bytes: Range<Int>, of placement: Placement, _ backend: any ComputeBackend
    ) throws -> [UInt8] {
        var copy = [UInt8](repeating: 0, count: bytes.count)
        try copy.withUnsafeMutableBytes { try backend.copy(bytes, of: placement, to: $0) }
        return copy
    }

    @Test(arguments: Kind.present) func whatIsStagedArrives(kind: Kind) throws {
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
            random = SplitMix64(UInt64(round))
            let expected = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            #expect(try copy(0..<size, of: placement, backend) == expected)
            let part = size / 3..<size / 2
            #expect(try copy(part, of: placement, backend) == Array(expected[part]))
            backend.release(placement)
        }
        #expect(inUse() == 0)
    }

    @Test(arguments: Kind.present) func slotsInUseAreDistinctAndBounded(kind: Kind) throws {
        let (backend, inUse) = try make(kind, limit: 16 * mebibyte)
        var held: [Placement] = []
        while let staging = try backend.allocateStaging(2 * mebibyte, keeping: 0) {
            held.append(try backend.place(staging, byteCount: 2 * mebibyte))
        }
        #expect(held.count == 8)
        #expect(Set(held.map(\.address)).count == 8)
        #expect(inUse() <= 16 * mebibyte + held.count)
        backend.release(held.removeLast())
        let again = try #require(try backend.allocateStaging(2 * mebibyte, keeping: 0))
        backend.discard(again)
        for placement in held { backend.release(placement) }
        #expect(inUse() == 0)
    }

    @Test(arguments: Kind.present) func reserveIsKept(kind: Kind) throws {
        let (backend, _) = try make(kind, limit: 16 * mebibyte)
        let first = try #require(try backend.allocateStaging(8 * mebibyte, keeping: 8 * mebibyte))
        #expect(try backend.allocateStaging(2 * mebibyte, keeping: 8 * mebibyte) == nil)
        backend.discard(first)
    }

    @Test(arguments: Kind.present) func whatCanNeverFitIsAnErrorWithTheFigure(kind: Kind) throws {
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

    @Test(arguments: Kind.present) func manyThreads(kind: Kind) throws {
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
                    var there = 0
                    withUnsafeMutableBytes(of: &there) { try? backend.copy(0..<8, of: placement, to: $0) }
                    precondition(there == number, "two batches in one slot")
                    backend.release(placement)
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(inUse() == 0)
    }
}

extension ComputeBackendConformanceTests {
    @Test(arguments: Kind.present) func closingKeepsWhatIsHeld(kind: Kind) throws {
        let (backend, inUse) = try make(kind, limit: 16 * mebibyte)
        var held: [Placement] = []
        for number in 0..<3 {
            let staging = try #require(try backend.allocateStaging(mebibyte, keeping: 0))
            staging.base.storeBytes(of: UInt8(number), as: UInt8.self)
            held.append(try backend.place(staging, byteCount: mebibyte))
        }
        try backend.wait(for: held[0])
        backend.release(held.removeFirst())
        backend.close()
        for (place, placement) in held.enumerated() {
            try backend.wait(for: placement)
            #expect(try copy(0..<1, of: placement, backend) == [UInt8(place + 1)])
            backend.release(placement)
        }
        #expect(inUse() == 0)
    }

    @Test(arguments: Kind.present) func releasingWithoutWaitingGivesEverythingBack(kind: Kind) throws {
        let (backend, inUse) = try make(kind, limit: 16 * mebibyte)
        for _ in 0..<20 {
            let staging = try #require(try backend.allocateStaging(4 * mebibyte, keeping: 0))
            backend.release(try backend.place(staging, byteCount: 4 * mebibyte))
        }
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
        for device in [ComputeDevice.host, .cuda(0), .cuda(7)] {
            #expect(ComputeDevice(device.description) == device)
        }
        for text in [
            "", "cuda", "cuda:", "cuda:-1", "cuda:01", "cuda:+1", "cuda:1 ", "CUDA:0", "gpu", "cuda:9999",
        ] {
            #expect(ComputeDevice(text) == nil, "\(text)")
        }
    }
}
