import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

/// Answers that a healthy disk seldom gives.
@Suite struct PendingReadTests {
    /// A read, with what it lives on.
    private struct Fixture {
        var read: PendingRead
        let memory: Memory
        let scratch: Scratch
    }

    private func pending(_ direct: DirectMode) throws -> Fixture? {
        let scratch = Scratch()
        let memory = Memory(1 << 20)
        let path = scratch.file("a", randomBytes(1 << 20))
        guard let file = try Setup(way: .blocking, direct: direct).openLocal(path) else { return nil }
        let request = ReadRequest(
            ticket: 1, file: file, offset: 0, length: 1 << 20, destination: memory.base)
        guard case .pending(let read) = PendingRead.start(request) else { return nil }
        return Fixture(read: read, memory: memory, scratch: scratch)
    }

    @Test func aShortReadGoesOnWhereItEnded() throws {
        var fixture = try #require(try pending(.off))
        #expect(fixture.read.advance(1000) == nil)
        #expect(fixture.read.offset == 1000)
        #expect(fixture.read.length == (1 << 20) - 1000)
        #expect(fixture.read.destination == fixture.memory.base + 1000)
        #expect(fixture.read.advance((1 << 20) - 1001) == nil)
        #expect(fixture.read.length == 1)
        #expect(fixture.read.advance(1) == .success(1 << 20))
    }

    @Test func aShortDirectReadGoesOnAtABoundary() throws {
        guard var fixture = try pending(.required) else { return }
        let unit = fixture.read.file.alignment
        #expect(fixture.read.advance(3 * unit + 17) == nil)
        #expect(fixture.read.offset == 3 * unit)
        #expect(fixture.read.length == (1 << 20) - 3 * unit)
        #expect(fixture.read.advance(10) == nil)
        #expect(fixture.read.offset == 3 * unit)
    }

    @Test func interruptionsAreRetriedButNotForEver() throws {
        var fixture = try #require(try pending(.off))
        for number in [EINTR, EAGAIN] {
            #expect(fixture.read.advance(-Int(number)) == nil)
        }
        #expect(fixture.read.advance(4096) == nil)
        for _ in 1..<PendingRead.attemptLimit { #expect(fixture.read.advance(-Int(EAGAIN)) == nil) }
        #expect(fixture.read.advance(-Int(EAGAIN))?.error?.cause?.contains("EAGAIN") == true)
    }

    @Test func noBytesWithoutTruncationIsStillAnError() throws {
        guard var fixture = try pending(.required) else { return }
        var attempts = 0
        while attempts < 2000 {
            attempts += 1
            if let result = fixture.read.advance(1) {
                #expect(result.error?.code == .io)
                break
            }
        }
        #expect(attempts == PendingRead.attemptLimit)
    }

    @Test func aDirectReadThatIsInvalidIsRefusedByName() throws {
        guard var fixture = try pending(.required) else { return }
        #expect(fixture.read.advance(-Int(EINVAL))?.error?.code == .directRefused)
        var buffered = try #require(try pending(.off))
        #expect(buffered.read.advance(-Int(EINVAL))?.error?.code == .io)
        #expect(buffered.read.advance(-Int(EIO))?.error?.cause?.contains("EIO") == true)
    }

    @Test func noCallAsksForMoreThanTheKernelGives() throws {
        let scratch = Scratch()
        let path = scratch.file("a", [1])
        #expect(truncate(path, 5 << 30) == 0)
        let file = try LocalFile(path, direct: .off)
        let memory = Memory(1)
        let request = ReadRequest(
            ticket: 1, file: file, offset: 0, length: 5 << 30, destination: memory.base)
        guard case .pending(var read) = PendingRead.start(request) else {
            Issue.record("not pending")
            return
        }
        for step in 0..<5 {
            #expect(read.offset == step << 30)
            #expect(read.length == 1 << 30)
            #expect(read.advance(1 << 30) == (step == 4 ? .success(5 << 30) : nil))
        }
    }
}

extension HeadraceError: Equatable {
    /// As far as a reader of the message can tell.
    public static func == (first: HeadraceError, second: HeadraceError) -> Bool {
        first.description == second.description
    }
}
