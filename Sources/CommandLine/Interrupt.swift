internal import Glibc
internal import HeadraceCore

/// Ctrl-C and SIGTERM: the command ends in order, reports what was done, and the process exits with 130
/// (143).
///
/// The signals are blocked in all threads and taken by a thread of their own, so no system call is cut short
/// and the callback may do anything. A second signal ends the process at once.
package enum Interrupt {
    private static let state = State()

    // Sendable: `lock` guards the rest.
    private final class State: @unchecked Sendable {
        let lock = Lock()
        var number: Int32 = 0
        var callback: (@Sendable () -> Void)?
    }

    /// Whether the command should end.
    package static var isRequested: Bool { state.lock.withLock { state.number != 0 } }

    /// The exit status that an interrupt demands; nil when there was none.
    package static var status: Int32? {
        state.lock.withLock { state.number == 0 ? nil : 128 + state.number }
    }

    /// Calls `body` once, on another thread, when an interrupt comes; at once where it has come already.
    package static func onRequest(_ body: @escaping @Sendable () -> Void) {
        let isLate = state.lock.withLock {
            state.callback = body
            return state.number != 0
        }
        if isLate { body() }
    }

    /// Throws ``Exit`` with the interrupt's status where one has come: for loops between two pieces of work.
    package static func check() throws(Exit) {
        if let status { throw Exit(status) }
    }

    /// Starts to watch; must be called before any other thread is started, which inherit the mask.
    static func watch() {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe sigaddset(&signals, SIGINT)
        unsafe sigaddset(&signals, SIGTERM)
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        let started = try? Thread(name: "interrupt") { wait() }
        // Without that thread the signals do what they do by default.
        if started == nil { unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil) }
    }

    private static func wait() {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe sigaddset(&signals, SIGINT)
        unsafe sigaddset(&signals, SIGTERM)
        while true {
            var number: Int32 = 0
            guard unsafe sigwait(&signals, &number) == 0 else { continue }
            let (isFirst, callback) = state.lock.withLock {
                let isFirst = state.number == 0
                if isFirst { state.number = number }
                return (isFirst, state.callback)
            }
            if !isFirst { _exit(128 + number) }
            callback?()
        }
    }
}
