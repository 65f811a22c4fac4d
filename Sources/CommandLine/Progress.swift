internal import Glibc
internal import HeadraceCore

/// Words for people on standard error.
package enum StandardError {
    fileprivate static let state = State()

    // Sendable: `lock` guards the rest.
    fileprivate final class State: @unchecked Sendable {
        let lock = Lock()
        var hasBar = false
        let isTerminal = isatty(STDERR_FILENO) == 1

        func put(_ text: String) {
            var bytes = Array(text.utf8)[...]
            // Who cannot be told cannot be told that either: errors are dropped.
            while !bytes.isEmpty {
                let count = unsafe bytes.withUnsafeBytes {
                    unsafe write(STDERR_FILENO, $0.baseAddress, $0.count)
                }
                if count > 0 { bytes = bytes.dropFirst(count) } else if errno != EINTR { return }
            }
        }

        func clear() {
            if hasBar { put("\r\u{1b}[K") }
            hasBar = false
        }
    }

    package static var isTerminal: Bool { state.isTerminal }

    /// Writes one line, over the progress bar where one is shown.
    package static func say(_ text: String) {
        state.lock.withLock {
            state.clear()
            state.put(text + "\n")
        }
    }

    /// Takes the progress bar away.
    package static func clearProgress() { state.lock.withLock { state.clear() } }
}

/// A progress bar on standard error: only where that is a terminal, redrawn ten times a second at most.
// Sendable: the lock of standard error guards `lastDrawn`.
package final class Progress: @unchecked Sendable {
    private static let intervalNanoseconds = 100_000_000
    private static let cells = 24

    private let label: String
    /// Whether updates are seen by anybody.
    package let isShown: Bool
    private var lastDrawn: Int

    /// A bar that appears with the first update after a moment; quick work shows none.
    package init(_ label: String, isQuiet: Bool) {
        self.label = label
        isShown = !isQuiet && StandardError.isTerminal
        lastDrawn = Clock.now()
    }

    /// Shows that `done` of `total` is done, and `detail` behind it. May be called as often as one likes,
    /// from any thread.
    package func update(_ done: Int, of total: Int, detail: @autoclosure () -> String = "") {
        guard isShown else { return }
        let now = Clock.now()
        StandardError.state.lock.withLock {
            guard now - lastDrawn >= Self.intervalNanoseconds else { return }
            lastDrawn = now
            let share = total > 0 ? min(1, max(0, Double(done) / Double(total))) : 0
            let full = Int(share * Double(Self.cells))
            let bar = String(repeating: "#", count: full) + String(repeating: ".", count: Self.cells - full)
            let line = "\(label) [\(bar)] \(Int(share * 100)) % \(detail())"
            StandardError.state.put("\r\(String(line.prefix(Self.columns() - 1)))\u{1b}[K")
            StandardError.state.hasBar = true
        }
    }

    /// Takes the bar away.
    package func finish() {
        if isShown { StandardError.clearProgress() }
    }

    private static func columns() -> Int {
        var size = winsize()
        guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 20 else { return 80 }
        return Int(size.ws_col)
    }
}
