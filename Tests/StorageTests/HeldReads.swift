import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

/// Reads that are under way until they are let go, however fast or slow the machine is.
///
/// A file is opened as usual; then something that does not answer takes the place of it under its descriptor. For a
/// ring that is a socket to which nobody writes. `pread` takes none, nor anything else that keeps it waiting, so threads
/// get random numbers, and more of them than can be made in a minute.
// Sendable: `lock` guards `isLetGo`; the rest does not change.
final class HeldReads: @unchecked Sendable {
    let queueDepth: Int
    let requests: [ReadRequest]

    private let way: EngineChoice.Way
    private let file: LocalFile
    private let memory: Memory
    private let lock = Lock()
    private let changed: Condition
    private var isLetGo = false
    private var sockets: [Int32] = [-1, -1]
    private var keeper: HeadraceCore.Thread?

    /// After so long they are let go anyhow, so that a wait which no wake ends fails and does not hang.
    private static let nanosecondsLimit = 600_000_000_000

    /// Nil after saying that the file system has no direct I/O.
    init?(_ setup: Setup, _ scratch: Scratch) throws {
        way = setup.way
        let length = way == .pooled ? 16 << 20 : 4096
        let path = scratch.file("held", [])
        #expect(truncate(path, length) == 0)
        guard let file = try setup.openLocal(path) else { return nil }
        let shown: any StorageFile = try setup.isCached ? setup.cached(file) : file
        let memory = Memory(length)
        // A socket is read at offset 0 only.
        requests = (0..<(way == .pooled ? 4096 : 64)).map {
            ReadRequest(ticket: UInt64($0), file: shown, offset: 0, length: length, destination: memory.base)
        }
        // Many threads would be through with the numbers the sooner.
        queueDepth = way == .pooled ? 1 : requests.count
        self.file = file
        self.memory = memory
        changed = Condition(lock)
        switch way {
        case .blocking: break
        case .pooled: exchange("/dev/urandom")
        case .ring:
            let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue
            try #require(socketpair(AF_UNIX, Int32(kind), 0, &sockets) == 0)
            try #require(dup2(sockets[0], file.descriptor) == file.descriptor)
        }
        keeper = try HeadraceCore.Thread(name: "keeper") { [self] in keep() }
    }

    /// Makes all reads end soon, as those of a file that was truncated. Calling it again does nothing.
    func letGo() {
        lock.withLock {
            isLetGo = true
            changed.broadcast()
        }
        keeper?.join()
    }

    private func keep() {
        let end = Clock.now() + Self.nanosecondsLimit
        lock.withLock {
            while !isLetGo, Clock.now() < end { _ = changed.wait(nanoseconds: max(1, end - Clock.now())) }
        }
        switch way {
        case .blocking: break
        case .pooled: exchange("/dev/null")
        case .ring:
            // Unlike closing it this ends reads also where a child process has inherited the socket.
            shutdown(sockets[1], Int32(SHUT_RDWR))
            for socket in sockets { close(socket) }
        }
    }

    private func exchange(_ path: String) {
        let other = open(path, O_RDONLY | O_CLOEXEC)
        #expect(other >= 0 && dup2(other, file.descriptor) == file.descriptor)
        close(other)
    }
}

/// The thread that makes this, watched by another.
struct SleepingThread: Sendable {
    private let path: String

    init() throws {
        let link = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
        path = "/proc/\(link)/stat"
    }

    /// Returns once it waits for something.
    func waitUntilItSleeps() {
        while true {
            guard let text = try? String(contentsOfFile: path, encoding: .utf8),
                // Its name, in parentheses, may contain anything.
                let end = text.lastIndex(of: ")")
            else {
                Issue.record("\(path) cannot be read")
                return
            }
            if text[end...].hasPrefix(") S") { return }
            usleep(200)
        }
    }
}
