internal import Glibc

/// A mutual exclusion lock over `pthread_mutex_t`.
///
/// `Synchronization.Mutex` would do the job, but its futex is invisible to the thread sanitizer, which then
/// reports races that are none; and it cannot be paired with a condition variable. The mutex lives on the heap
/// because a pthread mutex must never move.
// Sendable: the pthread mutex is what makes it so.
@safe package final class Lock: @unchecked Sendable {
    fileprivate let mutex: UnsafeMutablePointer<pthread_mutex_t>

    package init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        let status = unsafe pthread_mutex_init(mutex, nil)
        precondition(status == 0, "pthread_mutex_init failed with \(status)")
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    package func lock() { _ = unsafe pthread_mutex_lock(mutex) }

    package func unlock() { _ = unsafe pthread_mutex_unlock(mutex) }

    package func withLock<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        lock()
        defer { unlock() }
        return try body()
    }
}

/// A condition variable tied to one ``Lock``; the lock must be held in every call.
// Sendable: guarded by `owner`, which callers hold.
@safe package final class Condition: @unchecked Sendable {
    private let owner: Lock
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var waiters = 0

    package init(_ owner: Lock) {
        self.owner = owner
        unsafe condition = .allocate(capacity: 1)
        unsafe condition.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        let status = unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
        precondition(status == 0, "pthread_cond_init failed with \(status)")
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe condition.deallocate()
    }

    package func wait() {
        waiters += 1
        unsafe pthread_cond_wait(condition, owner.mutex)
        waiters -= 1
    }

    /// Waits at most `nanoseconds`; false when the time ran out.
    package func wait(nanoseconds: Int) -> Bool {
        var deadline = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
        let total = deadline.tv_nsec + nanoseconds % 1_000_000_000
        deadline.tv_sec += nanoseconds / 1_000_000_000 + total / 1_000_000_000
        deadline.tv_nsec = total % 1_000_000_000
        waiters += 1
        let status = unsafe pthread_cond_timedwait(condition, owner.mutex, &deadline)
        waiters -= 1
        return status == 0
    }

    /// Wakes one waiter; costs nothing when there is none.
    package func signal() {
        if waiters > 0 { unsafe pthread_cond_signal(condition) }
    }

    package func broadcast() {
        if waiters > 0 { unsafe pthread_cond_broadcast(condition) }
    }
}
