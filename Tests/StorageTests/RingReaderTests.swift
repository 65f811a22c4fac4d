import Foundation
import HeadraceCore
import HeadraceStorage
import Testing

/// What only a ring has: registered slabs and files.
@Suite struct RingReaderTests {
    private static let slabBytes = 1 << 20

    private func ring(_ queueDepth: Int) throws -> RingReader? {
        if let refusal = RingProbe.refusal() {
            print("SKIPPED: \(refusal)")
            return nil
        }
        return try RingReader(queueDepth: queueDepth)
    }

    @Test(arguments: [DirectMode.off, .required])
    func slabsAreRegisteredAndReadInto(_ direct: DirectMode) throws {
        let scratch = Scratch()
        let content = randomBytes(8 * Self.slabBytes)
        let path = scratch.file("a", content)
        guard let reader = try ring(8), let file = try Setup(way: .ring, direct: direct).openLocal(path)
        else { return }
        let pool = try SlabPool(limit: 8 * Self.slabBytes, slabBytes: Self.slabBytes)
        for round in 0..<4 {
            let slabs = (0..<8).map { _ in pool.take()! }
            let results = reader.readAll(
                slabs.enumerated().map { number, slab in
                    ReadRequest(
                        ticket: UInt64(number), file: file, offset: number * Self.slabBytes,
                        length: Self.slabBytes, destination: slab.base, slab: slab)
                })
            for (number, slab) in slabs.enumerated() {
                #expect(results[UInt64(number)]?.count == Self.slabBytes)
                let start = number * Self.slabBytes
                expect(slab.base, is: content, start..<start + Self.slabBytes)
                slab.base.initializeMemory(as: UInt8.self, repeating: 0, count: Self.slabBytes)
                pool.give(slab)
            }
            if round > 0, reader.registeredCounts.slabs == 0 {
                print("SKIPPED: this kernel registers no buffers one by one; plain reads were right")
                return
            }
        }
        #expect(reader.registeredCounts.slabs == 8)
        #expect(reader.registeredCounts.files == 1)
        reader.close()
    }

    /// A pinned slab whose pages the pool gave back: a read by the old registration would fill pages that nobody
    /// sees, and the slab would read as zeros.
    @Test func pagesGivenBackAreRegisteredAnew() throws {
        let scratch = Scratch()
        let content = randomBytes(2 * Self.slabBytes)
        guard let reader = try ring(4) else { return }
        let file = try LocalFile(scratch.file("a", content), direct: .off)
        let pool = try SlabPool(limit: 4 * Self.slabBytes, slabBytes: Self.slabBytes)
        for round in 0..<5 {
            let slab = try #require(pool.take())
            #expect(slab.pageGeneration == round)
            for piece in 0..<2 {
                let request = ReadRequest(
                    ticket: 1, file: file, offset: piece * Self.slabBytes, length: Self.slabBytes,
                    destination: slab.base, slab: slab)
                #expect(reader.read(request)?.count == Self.slabBytes)
                let start = piece * Self.slabBytes
                expect(slab.base, is: content, start..<start + Self.slabBytes)
            }
            pool.give(slab)
            // Takes the whole budget, so that the slab's pages go back to the kernel.
            let large = try #require(pool.takeLarge(4 * Self.slabBytes))
            pool.give(large)
        }
        reader.close()
    }

    @Test func slabsOfSeveralPoolsDoNotMixUp() throws {
        let scratch = Scratch()
        let content = randomBytes(4 * Self.slabBytes)
        guard let reader = try ring(8) else { return }
        let file = try LocalFile(scratch.file("a", content), direct: .off)
        for _ in 0..<3 {
            // The second round's pools take the places of the first's, which are gone.
            let pools = try (0..<2).map { _ in
                try SlabPool(limit: 2 * Self.slabBytes, slabBytes: Self.slabBytes)
            }
            let slabs = pools.flatMap { pool in [pool.take()!, pool.take()!] }
            for _ in 0..<2 {
                _ = reader.readAll(
                    slabs.enumerated().map { number, slab in
                        ReadRequest(
                            ticket: UInt64(number), file: file, offset: number * Self.slabBytes,
                            length: Self.slabBytes, destination: slab.base, slab: slab)
                    })
                for (number, slab) in slabs.enumerated() {
                    let start = number * Self.slabBytes
                    expect(slab.base, is: content, start..<start + Self.slabBytes)
                    slab.base.initializeMemory(as: UInt8.self, repeating: 0, count: Self.slabBytes)
                }
            }
            #expect(reader.registeredCounts.slabs <= 2)
        }
        reader.close()
    }

    @Test func aDestinationOutsideItsSlabIsAPlainRead() throws {
        let scratch = Scratch()
        let content = randomBytes(4096)
        guard let reader = try ring(2) else { return }
        let file = try LocalFile(scratch.file("a", content), direct: .off)
        let pool = try SlabPool(limit: Self.slabBytes, slabBytes: Self.slabBytes)
        let slab = try #require(pool.take())
        let memory = Memory(4096)
        let request = ReadRequest(
            ticket: 1, file: file, offset: 0, length: 4096, destination: memory.base, slab: slab)
        #expect(reader.read(request)?.count == 4096)
        expect(memory.base, is: content, 0..<4096)
        #expect(reader.registeredCounts.slabs == 0)
        reader.close()
    }

    /// As a user whose locked memory is used up.
    @Test func withoutLockedMemoryReadsGoOnUnregistered() async throws {
        if RingProbe.refusal() != nil || geteuid() != 0 {
            print("SKIPPED: needs io_uring, and root to become somebody with little")
            return
        }
        let scratch = Scratch()
        let content = randomBytes(4 << 20)
        let path = scratch.file("a", content)
        await #expect(processExitsWith: .success) { [path = path as String] in
            let content = randomBytes(4 << 20)
            let file = try LocalFile(path, direct: .off)
            var limit = rlimit(rlim_cur: 65536, rlim_max: 65536)
            setrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit)
            #expect(setuid(65534) == 0)
            let reader = try RingReader(queueDepth: 4)
            let pool = try SlabPool(limit: 4 << 20, slabBytes: 1 << 20)
            let slabs = (0..<4).map { _ in pool.take()! }
            for _ in 0..<2 {
                let results = reader.readAll(
                    slabs.enumerated().map { number, slab in
                        ReadRequest(
                            ticket: UInt64(number), file: file, offset: number << 20, length: 1 << 20,
                            destination: slab.base, slab: slab)
                    })
                for (number, slab) in slabs.enumerated() {
                    #expect(results[UInt64(number)]?.count == 1 << 20)
                    expect(slab.base, is: content, number << 20..<(number + 1) << 20)
                }
            }
            #expect(reader.registeredCounts.slabs == 0)
            reader.close()
        }
    }

    @Test func aClosedFileIsLetGo() throws {
        let scratch = Scratch()
        let path = scratch.file("a", randomBytes(4096))
        guard let reader = try ring(2) else { return }
        let memory = Memory(4096)
        do {
            let file = try LocalFile(path, direct: .off)
            for _ in 0..<2 {
                _ = reader.read(
                    ReadRequest(ticket: 1, file: file, offset: 0, length: 4096, destination: memory.base))
            }
            #expect(reader.registeredCounts.files == 1)
        }
        for _ in 0..<300 { reader.submit([]) }
        #expect(reader.registeredCounts.files == 0)
        reader.close()
    }
}
