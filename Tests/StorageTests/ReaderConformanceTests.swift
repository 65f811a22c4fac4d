import Foundation
import HeadraceCore
import HeadraceStorage
import Testing

/// What every reader of local files must do, whichever engine is behind it.
@Suite struct ReaderConformanceTests {
    static let fileBytes = (3 << 20) + 777

    @Test(arguments: Setup.all) func randomRangesAreTheFilesBytes(_ setup: Setup) throws {
        let scratch = Scratch()
        let content = randomBytes(Self.fileBytes)
        guard let reader = try setup.reader(16), let file = try setup.open(scratch.file("a", content))
        else { return }
        let unit = file.alignment
        let room = 256 << 10
        let memory = Memory(16 * room)
        var generator = Generator(state: 7)
        for _ in 0..<25 {
            memory.fill(0xA5)
            let requests = (0..<16).map { slot in
                // Some ranges end behind the file, which ends off any boundary.
                let offset = Int.random(in: 0...content.count / unit, using: &generator) * unit
                let length = Int.random(in: 1...room / unit, using: &generator) * unit
                return ReadRequest(
                    ticket: UInt64(slot), file: file, offset: offset, length: length,
                    destination: memory.base + slot * room)
            }
            let results = reader.readAll(requests)
            for (slot, request) in requests.enumerated() {
                let expected =
                    min(request.offset, content.count)..<min(request.offset + request.length, content.count)
                #expect(results[UInt64(slot)]?.count == expected.count)
                let start = slot * room
                expect(memory.base + start, is: content, expected)
                if setup.direct == .off {
                    // Nothing is written beyond what was asked for.
                    #expect(memory.isFilled(start + expected.count..<start + room, 0xA5))
                }
            }
        }
        reader.close()
    }

    @Test(arguments: Setup.all) func theUnalignedEndIsReadWithTheAlignedLength(_ setup: Setup) throws {
        let scratch = Scratch()
        for size in [1, 511, 512, 513, 4095, 4096, 4097, 9000] {
            let content = randomBytes(size, seed: UInt64(size))
            guard let reader = try setup.reader(2), let file = try setup.open(scratch.file("a", content))
            else { return }
            let memory = Memory(16384)
            let request = ReadRequest(
                ticket: 3, file: file, offset: 0, length: 16384, destination: memory.base)
            #expect(reader.read(request)?.count == size)
            expect(memory.base, is: content, 0..<size)
            reader.close()
        }
    }

    @Test(arguments: Setup.all) func nothingToReadIsNoError(_ setup: Setup) throws {
        let scratch = Scratch()
        guard let reader = try setup.reader(4),
            let file = try setup.open(scratch.file("a", randomBytes(8192)))
        else { return }
        let memory = Memory(4096)
        let ranges = [(0, 0), (8192, 4096), (1 << 40, 4096), (Int.max, Int.max), (8192, Int.max), (4096, 0)]
        for (offset, length) in ranges {
            let request = ReadRequest(
                ticket: 1, file: file, offset: offset, length: length, destination: memory.base)
            #expect(reader.read(request)?.count == 0)
        }
        reader.close()
    }

    @Test(arguments: Setup.all) func senselessRangesAreRefused(_ setup: Setup) throws {
        let scratch = Scratch()
        guard let reader = try setup.reader(4),
            let file = try setup.open(scratch.file("a", randomBytes(8192)))
        else { return }
        let memory = Memory(4096)
        for (offset, length) in [(-1, 10), (0, -1), (Int.min, Int.min)] {
            let request = ReadRequest(
                ticket: 1, file: file, offset: offset, length: length, destination: memory.base)
            #expect(reader.read(request)?.error?.code == .usage)
        }
        if setup.direct == .required && !setup.isCached {
            for (offset, length, shift) in [(1, 4096, 0), (0, 100, 0), (0, 4096, 1)] {
                let request = ReadRequest(
                    ticket: 1, file: file, offset: offset, length: length, destination: memory.base + shift)
                let error = reader.read(request)?.error
                #expect(error?.code == .usage)
                #expect(error?.message.contains("multiples of \(file.alignment)") == true)
            }
        }
        reader.close()
    }

    @Test(arguments: Setup.all) func aRefusedReadNamesErrnoAndRange(_ setup: Setup) throws {
        let scratch = Scratch()
        let path = scratch.file("a", randomBytes(8192))
        guard let reader = try setup.reader(4), let file = try setup.open(path) else { return }
        let address = mmap(nil, 8192, PROT_NONE, MAP_PRIVATE | Int32(MAP_ANONYMOUS), -1, 0)!
        defer { munmap(address, 8192) }
        let request = ReadRequest(
            ticket: 1, file: file, offset: 4096, length: 4096, destination: address)
        let error = reader.read(request)?.error
        #expect(error?.code == .io)
        #expect(error?.place.shard == path)
        #expect(error?.message.contains("4096 bytes at offset 4096") == true)
        #expect(error?.cause?.contains("EFAULT") == true)
        reader.close()
    }

    @Test(arguments: Setup.all) func aTruncatedFileIsNeverAShortResult(_ setup: Setup) throws {
        let scratch = Scratch()
        let content = randomBytes(1 << 20)
        for left in [0, 4096, 10_000, (1 << 20) - 1] {
            let path = scratch.file("a", content)
            guard let reader = try setup.reader(4), let file = try setup.open(path) else { return }
            #expect(truncate(path, left) == 0)
            let memory = Memory(1 << 20)
            let request = ReadRequest(
                ticket: 1, file: file, offset: 0, length: 1 << 20, destination: memory.base)
            let error = reader.read(request)?.error
            #expect(error?.code == .fileChanged)
            #expect(error?.message.contains("1048576") == true)
            #expect(error?.message.contains("\(left)") == true)
            let check = #expect(throws: HeadraceError.self) { try file.checkUnchanged() }
            #expect(check?.code == .fileChanged)
            reader.close()
        }
    }

    @Test(arguments: Setup.all) func truncationUnderManyReadsLosesNothingInSilence(_ setup: Setup) throws {
        let scratch = Scratch()
        let piece = 64 << 10
        let content = randomBytes(64 * piece)
        let path = scratch.file("a", content)
        guard let reader = try setup.reader(64), let file = try setup.open(path) else { return }
        _ = try PageCache.evict(path)
        let memory = Memory(content.count)
        let requests = (0..<64).map {
            ReadRequest(
                ticket: UInt64($0), file: file, offset: $0 * piece, length: piece,
                destination: memory.base + $0 * piece)
        }
        let cutter = Foundation.Thread { truncate(path, content.count / 2 + 100) }
        cutter.start()
        let results = reader.readAll(requests)
        var failures = 0
        for slot in 0..<64 {
            switch results[UInt64(slot)] {
            case .success(let count):
                #expect(count == piece)
                // Pages cut off during the read may read as zeros; the identity check is what tells.
                if slot < 32 {
                    expect(memory.base + slot * piece, is: content, slot * piece..<(slot + 1) * piece)
                }
            case .failure(let error):
                #expect(error.code == .fileChanged)
                failures += 1
            case nil: Issue.record("no completion for \(slot)")
            }
        }
        while !cutter.isFinished { usleep(100) }
        #expect(throws: HeadraceError.self) { try file.checkUnchanged() }
        #expect(failures <= 32)
        reader.close()
    }

    @Test(arguments: Setup.all) func aGrownFileIsReadAsItWasAndTold(_ setup: Setup) throws {
        let scratch = Scratch()
        let content = randomBytes(6000)
        let path = scratch.file("a", content)
        guard let reader = try setup.reader(4), let file = try setup.open(path) else { return }
        try file.checkUnchanged()
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(randomBytes(10_000, seed: 2)))
        try handle.close()
        let memory = Memory(16384)
        let request = ReadRequest(ticket: 1, file: file, offset: 0, length: 16384, destination: memory.base)
        #expect(reader.read(request)?.count == 6000)
        expect(memory.base, is: content, 0..<6000)
        let error = #expect(throws: HeadraceError.self) { try file.checkUnchanged() }
        #expect(error?.code == .fileChanged)
        #expect(error?.message.contains("16000") == true)
        reader.close()
    }

    @Test(arguments: Setup.all) func aRenameOverThePathReadsTheOldFile(_ setup: Setup) throws {
        let scratch = Scratch()
        let content = randomBytes(50_000)
        let path = scratch.file("a", content)
        guard let reader = try setup.reader(4), let file = try setup.open(path) else { return }
        #expect(rename(scratch.file("b", randomBytes(10, seed: 9)), path) == 0)
        let memory = Memory(53248)
        let request = ReadRequest(ticket: 1, file: file, offset: 0, length: 53248, destination: memory.base)
        #expect(reader.read(request)?.count == 50_000)
        expect(memory.base, is: content, 0..<50_000)
        try file.checkUnchanged()
        reader.close()
    }

    @Test(arguments: Setup.all) func moreReadsThanTheDepthAllComplete(_ setup: Setup) throws {
        let scratch = Scratch()
        let content = randomBytes(1 << 20)
        guard let reader = try setup.reader(8), let file = try setup.open(scratch.file("a", content))
        else { return }
        let memory = Memory(1 << 20)
        let requests = (0..<256).map {
            ReadRequest(
                ticket: UInt64($0) << 32, file: file, offset: $0 * 4096, length: 4096,
                destination: memory.base + $0 * 4096)
        }
        #expect(reader.inFlight == 0)
        reader.submit(requests)
        #expect(reader.inFlight == 256)
        var completions: [ReadCompletion] = []
        reader.wait(minimum: 1000, into: &completions)
        #expect(reader.inFlight == 0)
        #expect(Set(completions.map(\.ticket)) == Set(requests.map(\.ticket)))
        #expect(completions.count == 256)
        expect(memory.base, is: content, 0..<1 << 20)
        reader.wait(minimum: 1, into: &completions)
        #expect(completions.count == 256)
        reader.close()
    }

    @Test(arguments: Setup.all) func waitingForNoneDoesNotBlockAndMakesProgress(_ setup: Setup) throws {
        let scratch = Scratch()
        guard let reader = try setup.reader(8),
            let file = try setup.open(scratch.file("a", randomBytes(65536)))
        else { return }
        var completions: [ReadCompletion] = []
        reader.wait(minimum: 0, into: &completions)
        #expect(completions.isEmpty)
        let memory = Memory(65536)
        reader.submit([
            ReadRequest(ticket: 5, file: file, offset: 0, length: 65536, destination: memory.base)
        ])
        while completions.isEmpty { reader.wait(minimum: 0, into: &completions) }
        #expect(completions.first?.result.count == 65536)
        reader.close()
    }

    /// Rung before the wait begins, and while it is under way.
    @Test(arguments: Setup.all, [false, true]) func wakeEndsAWait(_ setup: Setup, isWaiting: Bool) throws {
        let scratch = Scratch()
        guard let held = try HeldReads(setup, scratch) else { return }
        defer { held.letGo() }
        guard let reader = try setup.reader(held.queueDepth) else { return }
        let count = held.requests.count
        var completions: [ReadCompletion] = []
        reader.submit(held.requests)
        nonisolated(unsafe) let shared = reader
        let waiter = try SleepingThread()
        let waker = try HeadraceCore.Thread(name: "waker") {
            if isWaiting { waiter.waitUntilItSleeps() }
            shared.wake()
        }
        if !isWaiting { waker.join() }
        reader.wait(minimum: count, into: &completions)
        // Reads by the thread itself are over before the wait begins.
        let isOver = setup.way == .blocking
        #expect(reader.inFlight + completions.count == count)
        #expect((reader.inFlight == 0) == isOver)
        // One wake ends one wait: this one must bring all the rest.
        held.letGo()
        reader.wait(minimum: count, into: &completions)
        #expect(reader.inFlight == 0)
        #expect(completions.map(\.ticket).sorted() == held.requests.map(\.ticket))
        waker.join()
        reader.close()
        reader.wake()
    }

    @Test(arguments: Setup.all) func closeLeavesTheMemoryAlone(_ setup: Setup) throws {
        let scratch = Scratch()
        let piece = 256 << 10
        let path = scratch.file("a", randomBytes(32 * piece))
        guard let file = try setup.open(path) else { return }
        for round in 0..<5 {
            guard let reader = try setup.reader(32) else { return }
            _ = try PageCache.evict(path)
            let memory = Memory(32 * piece)
            let requests = (0..<32).map {
                ReadRequest(
                    ticket: UInt64($0), file: file, offset: $0 * piece, length: piece,
                    destination: memory.base + $0 * piece)
            }
            var completions: [ReadCompletion] = []
            reader.submit(requests)
            if round % 2 == 0 { reader.wait(minimum: 1, into: &completions) }
            reader.close()
            #expect(reader.inFlight == 0)
            memory.fill(0x5A)
            usleep(10_000)
            #expect(memory.isFilled(0..<memory.count, 0x5A))
            reader.close()
        }
    }

    @Test(arguments: Setup.all) func manyFilesAtOnce(_ setup: Setup) throws {
        let scratch = Scratch()
        // More files than a ring keeps registered, each read several times.
        let contents = (0..<300).map { randomBytes(5000, seed: UInt64($0)) }
        guard let reader = try setup.reader(32) else { return }
        var files: [any StorageFile] = []
        for (number, content) in contents.enumerated() {
            guard let file = try setup.open(scratch.file("f\(number)", content)) else { return }
            files.append(file)
        }
        let memory = Memory(300 * 8192)
        for _ in 0..<3 {
            memory.fill(0)
            let results = reader.readAll(
                files.enumerated().map { number, file in
                    ReadRequest(
                        ticket: UInt64(number), file: file, offset: 0, length: 8192,
                        destination: memory.base + number * 8192)
                })
            for number in 0..<300 {
                #expect(results[UInt64(number)]?.count == 5000)
                expect(memory.base + number * 8192, is: contents[number], 0..<5000)
            }
        }
        reader.close()
    }
}
