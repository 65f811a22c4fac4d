internal import Glibc

/// Time from the kernel's clocks, in nanoseconds.
package enum Clock {
    /// Nanoseconds since an arbitrary start; never goes back.
    package static func now() -> Int { read(CLOCK_MONOTONIC) }

    /// Nanoseconds since 1970, as the times of files have them; goes back where somebody sets the clock.
    package static func sinceEpoch() -> Int { read(CLOCK_REALTIME) }

    /// CPU time of the calling thread, user and system together.
    package static func threadCPU() -> Int { read(CLOCK_THREAD_CPUTIME_ID) }

    /// CPU time of the whole process, user and system together.
    package static func processCPU() -> Int { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> Int {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
