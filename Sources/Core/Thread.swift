internal import CHeadraceCore
internal import Glibc

/// A joinable thread of our own.
///
/// Blocking reads and codec calls must not run on Swift's cooperative pool, which has one thread per core and
/// expects none of them to block. Started only from here: a closure handed to `pthread_create` in a main file
/// would be inferred to be isolated to the main actor and trap.
// Sendable: `handle` is written once, before anyone sees it; join is called by one thread.
package final class Thread: @unchecked Sendable {
    private var handle = pthread_t()
    private var joined = false

    private final class Body {
        let name: String
        let run: @Sendable () -> Void
        init(_ name: String, _ run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Starts a thread named `name` (the kernel keeps 15 bytes of it).
    package init(name: String, _ run: @escaping @Sendable () -> Void) throws(HeadraceError) {
        let body = unsafe Unmanaged.passRetained(Body(name, run))
        let status = unsafe pthread_create(
            &handle, nil,
            { argument in
                let body = unsafe Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue()
                unsafe headrace_name_this_thread(body.name)
                body.run()
                return nil
            }, body.toOpaque())
        guard status == 0 else {
            unsafe body.release()
            throw HeadraceError(
                .environment, "could not start the thread \(name): \(errorDescription(status))")
        }
    }

    /// Waits for the thread to end. Must be called once, by one thread.
    package func join() {
        guard !joined else { return }
        joined = true
        pthread_join(handle, nil)
    }
}

/// The system's words for an errno value, with its symbol: "No such file or directory (ENOENT)".
package func errorDescription(_ number: Int32) -> String {
    var text = [CChar](repeating: 0, count: 256)
    _ = unsafe strerror_r(number, &text, text.count)
    let words = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard let name = unsafe headrace_errno_name(number) else { return "\(words) (errno \(number))" }
    return unsafe "\(words) (\(String(cString: name)))"
}

/// Cores in the affinity mask of this process.
package func affinityCoreCount() -> Int { max(1, Int(headrace_cpu_count())) }

/// The words this process was started with, its own name first.
///
/// The standard library reads them from /proc, which a bare root file system may not have; a tool that saw no
/// arguments there would print its help and claim success.
package func processArguments() -> [String] {
    var words: [String] = []
    while let word = unsafe headrace_argument(Int32(words.count)) {
        words.append(unsafe String(cString: word))
    }
    return words
}
