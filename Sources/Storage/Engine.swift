internal import CHeadraceRing
internal import Glibc
package import HeadraceCore

/// What the user asked for: how local files are read.
package enum Engine: String, Sendable, CaseIterable {
    /// What measured best for the kind of file, with what the machine allows.
    case auto
    /// io_uring, or an error.
    case uring
    /// Threads that call `pread`.
    case pread
}

/// How local files will be read, settled once when a loader opens, with the reason in one line for the report.
package struct EngineChoice: Sendable, Equatable {
    /// The ways of reading that there are.
    package enum Way: Sendable, Equatable {
        /// ``RingReader``
        case ring
        /// ``BlockingReader``: `pread` by the worker that parses the bytes.
        case blocking
        /// ``PooledReader``: `pread` by threads kept for it.
        case pooled
    }

    package var way: Way
    /// A line for people: why this way, and where io_uring was wanted and refused, what would allow it.
    package var reason: String

    /// Settles `engine`. Throws `ringRefused` when io_uring was asked for by name and cannot be had.
    ///
    /// From a warm page cache `pread` by the worker itself is as fast as io_uring or faster; past the page cache
    /// the depth of a ring is what counts.
    package static func choose(_ engine: Engine, direct: DirectMode) throws(HeadraceError) -> EngineChoice {
        switch (engine, direct) {
        case (.pread, .off):
            return EngineChoice(way: .blocking, reason: "pread by the workers, as asked for")
        case (.pread, .required):
            return EngineChoice(way: .pooled, reason: "pread by a pool of threads, as asked for")
        case (.auto, .off):
            return EngineChoice(
                way: .blocking,
                reason: "pread by the workers: fastest where the page cache may have the bytes")
        case (.auto, .required):
            if let refusal = RingProbe.refusal() {
                return EngineChoice(way: .pooled, reason: "pread by a pool of threads: \(refusal)")
            }
            return EngineChoice(way: .ring, reason: "io_uring: keeps many direct reads in flight")
        case (.uring, _):
            if let refusal = RingProbe.refusal() { throw RingProbe.refused(refusal) }
            return EngineChoice(way: .ring, reason: "io_uring, as asked for")
        }
    }
}

/// Finds out whether this process may use io_uring, and says why not.
///
/// The environment variable `HEADRACE_IO_URING=off` makes the answer "refused", as a container would: for tests,
/// and for machines where io_uring is to be left alone.
package enum RingProbe {
    /// The reason why there is no io_uring here, with what would allow it; nil where there is.
    package static func refusal() -> String? {
        switch unsafe open(entries: 4) {
        case .success(let ring):
            unsafe headrace_ring_destroy(ring)
            return nil
        case .failure(let refusal): return refusal.reason
        }
    }

    static func makeRing(entries: Int) throws(HeadraceError) -> OpaquePointer {
        switch unsafe open(entries: entries) {
        case .success(let ring): return unsafe ring
        case .failure(let refusal): throw refused(refusal.reason)
        }
    }

    static func refused(_ reason: String) -> HeadraceError {
        HeadraceError(.ringRefused, "\(reason); or read with --engine pread")
    }

    private struct Refusal: Error {
        var reason: String
    }

    private static func open(entries: Int) -> Result<OpaquePointer, Refusal> {
        if let setting = unsafe getenv("HEADRACE_IO_URING"), unsafe String(cString: setting) == "off" {
            return unsafe .failure(
                Refusal(reason: "io_uring is switched off (unset HEADRACE_IO_URING to allow it)"))
        }
        var made: OpaquePointer?
        let status = unsafe headrace_ring_create(UInt32(entries), &made)
        guard status == 0, let ring = unsafe made else {
            let setting = try? SmallFile.read("/proc/sys/kernel/io_uring_disabled")
            return unsafe .failure(Refusal(reason: explanation(-status, disabledSetting: setting)))
        }
        guard unsafe headrace_ring_supports_reads(ring) == 1 else {
            unsafe headrace_ring_destroy(ring)
            return unsafe .failure(
                Refusal(reason: "this kernel's io_uring cannot read yet (boot Linux 5.6 or later)"))
        }
        return unsafe .success(ring)
    }

    /// Why io_uring_setup answered `number`.
    ///
    /// - Parameter disabledSetting: content of /proc/sys/kernel/io_uring_disabled, nil where there is no such file.
    package static func explanation(_ number: Int32, disabledSetting: String?) -> String {
        let symbol = errorDescription(number)
        let setting = disabledSetting?.prefix { $0 != "\n" }
        switch number {
        case EPERM where setting == "2" || setting == "1":
            return "io_uring is disabled by the sysctl kernel.io_uring_disabled=\(setting!): \(symbol)"
                + " (as root: `sysctl -w kernel.io_uring_disabled=0`)"
        case EPERM, EACCES:
            return "io_uring is blocked by a seccomp profile, as containers have it: \(symbol)"
                + " (`docker run --security-opt seccomp=unconfined`, or a profile that allows io_uring_*)"
        case ENOSYS:
            return "there is no io_uring here: \(symbol)"
                + " (an old kernel or a sandbox such as gVisor; run on Linux 5.6 or later without it)"
        case ENOMEM:
            return "there is no memory to lock for io_uring: \(symbol) (`ulimit -l unlimited`)"
        case EMFILE, ENFILE:
            return "there are too many open files for io_uring: \(symbol) (`ulimit -n 65536`)"
        default:
            return "io_uring cannot be set up: \(symbol)"
        }
    }
}
