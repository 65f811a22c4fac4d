internal import Glibc
package import HeadraceCore

/// Data on standard output, in few large writes.
///
/// When whoever read it has gone, what follows is dropped in silence: a command that only lists asks
/// ``isOpen`` and stops, one that also does something goes on, so that its exit status stays true.
package enum StandardOutput {
    /// Bytes that are gathered before they are written.
    private static let bufferByteCount = 64 << 10
    private static let state = State()

    // Sendable: `lock` guards the rest.
    private final class State: @unchecked Sendable {
        let lock = Lock()
        var buffer: [UInt8] = []
        var isOpen = true
        let isTerminal = isatty(STDOUT_FILENO) == 1
    }

    /// Whether somebody still reads.
    package static var isOpen: Bool { state.lock.withLock { state.isOpen } }

    package static var isTerminal: Bool { state.isTerminal }

    /// Writes `text` and a newline.
    package static func writeLine(_ text: String) throws(HeadraceError) {
        try state.lock.withLock { () throws(HeadraceError) in
            guard state.isOpen else { return }
            state.buffer.append(contentsOf: text.utf8)
            state.buffer.append(UInt8(ascii: "\n"))
            if state.isTerminal || state.buffer.count >= bufferByteCount { try flushLocked() }
        }
    }

    /// Writes `bytes` as they are.
    package static func write(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) {
        try state.lock.withLock { () throws(HeadraceError) in
            try flushLocked()
            try unsafe writeAll(bytes)
        }
    }

    /// Writes what was gathered; call it where a reader waits for the line.
    package static func flush() throws(HeadraceError) {
        try state.lock.withLock { () throws(HeadraceError) in try flushLocked() }
    }

    private static func flushLocked() throws(HeadraceError) {
        guard !state.buffer.isEmpty else { return }
        defer { state.buffer.removeAll(keepingCapacity: true) }
        let result: Result<Void, HeadraceError> = unsafe state.buffer.withUnsafeBytes { bytes in
            do throws(HeadraceError) { return .success(try unsafe writeAll(bytes)) } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    private static func writeAll(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) {
        var done = 0
        while state.isOpen, done < bytes.count {
            let count = unsafe Glibc.write(STDOUT_FILENO, bytes.baseAddress! + done, bytes.count - done)
            if count >= 0 {
                done += count
            } else if errno == EPIPE {
                state.isOpen = false
            } else if errno == EAGAIN {
                // A pipe that its other end has set to be non-blocking.
                var descriptor = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&descriptor, 1, -1)
            } else if errno != EINTR {
                let number = errno
                state.isOpen = false
                throw HeadraceError(
                    .io, "standard output cannot be written", cause: errorDescription(number))
            }
        }
    }
}
