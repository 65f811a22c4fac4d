import FakeCUDA
import HeadraceCore
import Testing

@testable import HeadraceCompute

private let mebibyte = 1 << 20

/// What the back end does with a driver, seen from the driver's side.
@Suite struct CUDABackendTests {
    let fake: FakeDriver
    let pool: SlabPool

    init() throws {
        fake = try FakeDriver()
        pool = try SlabPool(limit: 64 * mebibyte, slabBytes: mebibyte)
    }

    private func backend() throws -> CUDABackend {
        try CUDABackend(CUDADevice(0, driver: CUDADriver(path: fake.path)), pool: pool)
    }

    private func staged(_ backend: CUDABackend, _ byte: UInt8, count: Int = 4096) throws -> StagingMemory {
        let staging = try #require(try backend.allocateStaging(count, keeping: 0))
        staging.base.initializeMemory(as: UInt8.self, repeating: byte, count: count)
        return staging
    }

    private func bytes(_ backend: CUDABackend, _ placement: Placement, count: Int = 4096) throws -> Set<UInt8>
    {
        var copy = [UInt8](repeating: 0, count: count)
        try copy.withUnsafeMutableBytes { try backend.copy(0..<count, of: placement, to: $0) }
        return Set(copy)
    }

    // MARK: Copies

    @Test func copiesComeFromPageLockedMemoryOnAStreamThatBlocksNobody() throws {
        let backend = try backend()
        let placement = try backend.place(try staged(backend, 7), byteCount: 4096)
        try backend.wait(for: placement)
        #expect(fake.log.contains("stream 0 flags 1"))
        let copy = try #require(fake.log.first { $0.hasPrefix("copy ") })
        #expect(copy.hasSuffix("on stream 0 pinned 1"))
        #expect(pool.bytesInUse == 4096)
        backend.release(placement)
        #expect(fake.currentContexts == 0)
    }

    @Test func placingReturnsBeforeTheCopyIsOverAndStagingIsNotUsedAgainUntilThen() throws {
        let backend = try backend()
        fake.holdCopies()
        var stagings: Set<UnsafeMutableRawPointer> = []
        var placements: [Placement] = []
        for number in 0..<4 {
            let staging = try staged(backend, UInt8(number))
            stagings.insert(staging.base)
            placements.append(try backend.place(staging, byteCount: 4096))
        }
        // All four are under way, none has run, and no two share memory.
        #expect(fake.count(.copiesQueued) == 4)
        #expect(fake.count(.copiesDone) == 0)
        #expect(stagings.count == 4)
        fake.letCopiesGo()
        for (number, placement) in placements.enumerated() {
            try backend.wait(for: placement)
            #expect(try bytes(backend, placement) == [UInt8(number)])
        }
        // Now it is: nothing new is locked for the next four.
        let again = try (0..<4).map { try staged(backend, UInt8($0)).base }
        #expect(Set(again) == stagings)
        #expect(fake.count(.hostPieces) == 4)
    }

    @Test func deviceMemoryIsNotUsedAgainBeforeTheConsumersWorkIsOver() throws {
        let backend = try backend()
        let consumer = fake.makeStream()
        let first = try backend.place(try staged(backend, 1), byteCount: 4096)
        try backend.wait(for: first)
        let work = fake.startWork(on: consumer)
        backend.noteUse(of: first, on: DeviceStream(handle: consumer))
        backend.release(first)
        // The next copy goes to the same memory, and waits there: the host does not.
        let second = try backend.place(try staged(backend, 2), byteCount: 4096)
        #expect(second.address == first.address)
        #expect(fake.count(.copiesDone) == 1)
        #expect(fake.log.contains { $0.hasPrefix("stream 0 waits for ") })
        #expect(second.address.load(as: UInt8.self) == 1, "overwritten under a consumer that still reads it")
        fake.finish(work)
        try backend.wait(for: second)
        #expect(try bytes(backend, second) == [2])
        backend.release(second)
    }

    @Test func memoryThatIsFreeIsPreferredToMemoryThatIsNot() throws {
        let backend = try backend()
        let consumer = fake.makeStream()
        let placements = try (0..<2).map { try backend.place(try staged(backend, $0), byteCount: 4096) }
        for placement in placements { try backend.wait(for: placement) }
        let work = fake.startWork(on: consumer)
        backend.noteUse(of: placements[0], on: DeviceStream(handle: consumer))
        backend.release(placements[0])
        let idle = fake.makeStream()
        backend.noteUse(of: placements[1], on: DeviceStream(handle: idle))
        backend.release(placements[1])
        // The idle stream's mark is reached by its own thread.
        fake.synchronize(idle)
        let next = try backend.place(try staged(backend, 9), byteCount: 4096)
        #expect(next.address == placements[1].address)
        try backend.wait(for: next)
        fake.finish(work)
        backend.release(next)
    }

    @Test func aReleaseMarksEachStreamAndElseTheDefaultStream() throws {
        let backend = try backend()
        let streams = [fake.makeStream(), fake.makeStream()]
        let first = try backend.place(try staged(backend, 1), byteCount: 4096)
        try backend.wait(for: first)
        for stream in streams + streams { backend.noteUse(of: first, on: DeviceStream(handle: stream)) }
        backend.release(first)
        var records = fake.log.filter { $0.hasPrefix("record ") }.dropFirst()
        #expect(records.map { $0.suffix(9) } == ["stream 1", "stream 2"].map { " " + $0 })
        let second = try backend.place(try staged(backend, 1), byteCount: 4096)
        try backend.wait(for: second)
        let before = fake.log.count
        backend.release(second)
        records = fake.log[before...].filter { $0.hasPrefix("record ") }[...]
        #expect(records.map { $0.suffix(9) } == [" stream 3"], "made by the fake for the default stream")
        // A thread's own default stream stands for the default stream: another thread may release the batch.
        let third = try backend.place(try staged(backend, 1), byteCount: 4096)
        try backend.wait(for: third)
        backend.noteUse(of: third, on: DeviceStream(handle: 2))
        backend.noteUse(of: third, on: DeviceStream(handle: 0))
        backend.release(third)
        #expect(fake.log.last { $0.hasPrefix("record ") }?.hasSuffix("stream 3") == true)
    }

    // MARK: Errors

    @Test func aMissingDriverSaysWhatIsMissing() {
        let error = #expect(throws: HeadraceError.self) { try CUDADriver(path: "/nowhere/libcuda.so.1") }
        #expect(error?.code == .device)
        #expect(error?.code.category == .environment)
        #expect(error?.message.contains("/nowhere/libcuda.so.1") == true)
        #expect(error?.message.contains("NVIDIA's driver") == true)
        #expect(error?.cause?.contains("No such file") == true)
    }

    @Test func aLibraryThatIsNoDriverSaysWhatItLacks() {
        let error = #expect(throws: HeadraceError.self) { try CUDADriver(path: "libc.so.6") }
        #expect(error?.message.contains("cuInit") == true)
    }

    @Test func aDeviceThatIsNotThere() throws {
        fake.setDevices(2)
        let driver = try CUDADriver(path: fake.path)
        _ = try CUDADevice(1, driver: driver)
        let error = #expect(throws: HeadraceError.self) { try CUDADevice(2, driver: driver) }
        #expect(error?.message.contains("knows 2") == true)
    }

    @Test(arguments: ["cuInit", "cuDeviceGetCount", "cuDevicePrimaryCtxRetain", "cuStreamCreate"])
    func openingFails(call: String) throws {
        fake.fail(call, code: 100)
        let error = #expect(throws: HeadraceError.self) { try backend() }
        #expect(error?.code == .device)
        #expect(error?.message.contains("\(call) says CUDA_ERROR_NO_DEVICE") == true)
        #expect(fake.count(.contexts) == 0)
        #expect(fake.count(.streams) == 0)
    }

    @Test(arguments: ["cuMemAlloc_v2", "cuMemcpyHtoDAsync_v2", "cuEventCreate", "cuEventRecord"])
    func placingFailsOnceAndForEver(call: String) throws {
        do {
            let backend = try backend()
            let fine = try backend.place(try staged(backend, 1), byteCount: 4096)
            try backend.wait(for: fine)
            let next = try staged(backend, 2)
            let last = try staged(backend, 3)
            fake.fail(call, code: 2)
            // `fine` keeps its memory, so that new memory is needed.
            let error = #expect(throws: HeadraceError.self) { try backend.place(next, byteCount: 4096) }
            #expect(error?.code == .device)
            #expect(error?.message.contains("CUDA_ERROR_OUT_OF_MEMORY") == true)
            #expect(error?.message.contains("make batches smaller") == true)
            let again = #expect(throws: HeadraceError.self) { try backend.place(last, byteCount: 4096) }
            #expect(again?.message == error?.message)
            backend.release(fine)
        }
        nothingIsLeft()
    }

    @Test func aLateErrorIsToldWithTheBatchAndItsMemoryIsNotUsedAgain() throws {
        do {
            let backend = try backend()
            let first = try backend.place(try staged(backend, 1), byteCount: 4096)
            let staging = try staged(backend, 2)
            let second = try backend.place(staging, byteCount: 4096)
            try backend.wait(for: first)
            fake.fail("late", code: 700, isSticky: true)
            let error = #expect(throws: HeadraceError.self) { try backend.wait(for: second) }
            #expect(error?.message.contains("CUDA_ERROR_ILLEGAL_ADDRESS") == true)
            #expect(error?.cause?.contains("illegal memory access") == true)
            backend.release(second)
            backend.release(first)
            #expect(throws: HeadraceError.self) { try backend.allocateStaging(4096, keeping: 0) }
            #expect(backend.stagedByteCount == 0)
            #expect(backend.heldPlacements == 0)
        }
    }

    @Test func pageLockingFails() throws {
        let backend = try backend()
        fake.fail("cuMemHostAlloc", code: 2)
        let error = #expect(throws: HeadraceError.self) { try backend.allocateStaging(4096, keeping: 0) }
        #expect(error?.message.contains("page-locking 4096 bytes") == true)
        #expect(pool.bytesInUse == 0)
        #expect(try backend.allocateStaging(4096, keeping: 0) != nil)
    }

    // MARK: Ends

    private func nothingIsLeft() {
        for what: FakeDriver.Counted in [.hostPieces, .devicePieces, .events, .streams, .contexts, .modules] {
            #expect(fake.count(what) == 0, "\(what)")
        }
        #expect(!fake.log.contains { $0.hasPrefix("BAD") })
        #expect(fake.currentContexts == 0)
    }

    @Test func everythingIsFreedOnceWhateverBecameOfIt() throws {
        do {
            let backend = try backend()
            fake.holdCopies()
            let given = try (0..<3).map { try backend.place(try staged(backend, $0), byteCount: 4096) }
            let kept = try staged(backend, 9)
            backend.discard(try staged(backend, 8))
            fake.letCopiesGo()
            try backend.wait(for: given[0])
            backend.release(given[0])
            backend.close()
            backend.release(given[1])
            // given[2] and `kept` are never given back.
            _ = kept
        }
        nothingIsLeft()
    }

    @Test func closingFreesWhatNobodyHolds() throws {
        let backend = try backend()
        let held = try backend.place(try staged(backend, 1), byteCount: 4096)
        let other = try backend.place(try staged(backend, 2), byteCount: 4096)
        try backend.wait(for: held)
        try backend.wait(for: other)
        let stream = fake.makeStream()
        backend.noteUse(of: other, on: DeviceStream(handle: stream))
        backend.release(other)
        fake.synchronize(stream)
        backend.close()
        #expect(fake.count(.hostPieces) == 0)
        #expect(fake.count(.devicePieces) == 1)
        #expect(pool.bytesInUse == 0)
        #expect(try bytes(backend, held) == [1])
        backend.release(held)
    }

    @Test func releasingTwiceIsCaught() async {
        await #expect(processExitsWith: .failure) {
            let fake = try FakeDriver()
            let pool = try SlabPool(limit: 4 << 20, slabBytes: 1 << 20)
            let backend = try CUDABackend(CUDADevice(0, driver: CUDADriver(path: fake.path)), pool: pool)
            let placement = try backend.place(try backend.allocateStaging(10, keeping: 0)!, byteCount: 10)
            backend.release(placement)
            backend.release(placement)
        }
    }

    /// Staging memory of one size makes room for another.
    @Test func keptStagingGivesWayWithinTheBudget() throws {
        let backend = try backend()
        for size in [32, 24, 48, 8] {
            let staging = try #require(try backend.allocateStaging(size * mebibyte, keeping: 0))
            #expect(pool.bytesInUse <= 64 * mebibyte)
            backend.discard(staging)
        }
        #expect(fake.count(.hostBytes) <= 64 * mebibyte)
    }

    // MARK: Normalisation

    @Test(
        arguments: [ElementType.float32, .float16, .bfloat16], [DeviceNormalization.Channels.last, .first])
    func aNormalisationIsLaunchedBehindItsCopy(type: ElementType, channels: DeviceNormalization.Channels)
        throws
    {
        do {
            let backend = try backend()
            let normalization = try DeviceNormalization(
                mean: [0.5, 0.25, 0.125], deviation: [0.5, 0.25, 1], as: type, channels: channels)
            let rows = NormalizedRows(normalization, count: 5, pixels: 100)
            #expect(rows.elementCount == 1500)
            #expect(rows.byteCount == 1500 * type.byteCount)
            for _ in 0..<2 {
                let placement = try backend.place(try staged(backend, 1), normalizing: rows)
                #expect(placement.byteCount == 1500 * type.byteCount)
                try backend.wait(for: placement)
                backend.release(placement)
            }
            let log = fake.log
            let copy = try #require(log.firstIndex { $0.contains("bytes 1500 on stream 0 pinned 1") })
            let launch = try #require(log.firstIndex { $0.hasPrefix("launch ") })
            #expect(copy < launch)
            let line = log[launch]
            #expect(
                line.hasPrefix("launch headrace_normalize_\(type.rawValue) grid 2 1 1 block 256 1 1 from 0x"))
            #expect(line.contains(" total 500 pixels 100 channels 3 last \(channels == .last ? 1 : 0) "))
            // (b / 255 - 0.5) / 0.5
            #expect(line.contains("scale 0.00784313772 shift -1 on stream 0"))
            #expect(log.count { $0.hasPrefix("launch ") } == 2)
            #expect(fake.count(.modules) == 1)
            // Coefficients and the place for bytes are taken once.
            #expect(fake.count(.devicePieces) <= 4)
        }
        nothingIsLeft()
    }

    @Test func numbersThatMakeNoNormalisationAreRefused() {
        let one: [Float] = [1]
        for (mean, deviation, type) in [
            ([Float](), [Float](), ElementType.float32), (one, [1, 1], .float32), (one, [0], .float32),
            (one, [-1], .float32), ([.nan], one, .float32), (one, [.infinity], .float32), (one, one, .uint8),
            (one, one, .float64),
        ] {
            let error = #expect(throws: HeadraceError.self) {
                try DeviceNormalization(mean: mean, deviation: deviation, as: type)
            }
            #expect(error?.code == .usage)
        }
    }

    @Test func aProgramThatTheDriverRefuses() throws {
        let backend = try backend()
        fake.fail("cuModuleLoadData", code: 700)
        let rows = NormalizedRows(try DeviceNormalization(mean: [0], deviation: [1]), count: 1, pixels: 1)
        let error = #expect(throws: HeadraceError.self) {
            try backend.place(try staged(backend, 1), normalizing: rows)
        }
        #expect(error?.message.contains("loading the program that normalises images") == true)
    }
}
