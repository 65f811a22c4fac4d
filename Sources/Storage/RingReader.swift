internal import CHeadraceRing
internal import Glibc
package import HeadraceCore

/// Reads by io_uring: many in flight from one thread, one system call to start the queued and wait for the next.
///
/// The ring belongs to the thread that makes the reader. Reads go to registered slabs and files where the system
/// allows it, and to plain ones where it does not; a caller sees no difference but the CPU time.
@safe package final class RingReader: Reader {
    package let queueDepth: Int
    /// Deepest queue that a ring is made for.
    package static let queueDepthLimit = 4096

    private let ring: OpaquePointer
    private let bell: Bell
    private let buffers: RegisteredSlabs
    private let files: RegisteredFiles
    /// Reads in the kernel's hands; the index is their user data.
    private var slots: [Slot?]
    private var freeSlots: [Int]
    /// Submitted beyond the queue depth: they go in as slots come free.
    private var backlog: [ReadRequest] = []
    /// Done without the kernel (empty ranges, refused requests) or reaped, and not handed over yet.
    private var completed: [ReadCompletion] = []
    private var reaped: [headrace_ring_completion]
    private var isClosed = false

    private static let bellUserData = UInt64.max

    private struct Slot {
        var read: PendingRead
        var buffer: Int?
        var file: Int?
    }

    package init(queueDepth: Int) throws(HeadraceError) {
        let depth = min(max(1, queueDepth), Self.queueDepthLimit)
        self.queueDepth = depth
        // One more for the bell.
        unsafe ring = try RingProbe.makeRing(entries: depth + 1)
        do throws(HeadraceError) {
            bell = try Bell()
        } catch {
            unsafe headrace_ring_destroy(ring)
            throw error
        }
        unsafe buffers = RegisteredSlabs(ring)
        unsafe files = RegisteredFiles(ring)
        slots = Array(repeating: nil, count: depth)
        freeSlots = Array((0..<depth).reversed())
        reaped = Array(repeating: headrace_ring_completion(), count: depth + 1)
        armBell()
    }

    deinit { close() }

    package var inFlight: Int { completed.count + backlog.count + slots.count - freeSlots.count }

    /// Slabs and files that are registered with the ring now.
    package var registeredCounts: (slabs: Int, files: Int) { (buffers.count, files.count) }

    /// Queues reads; the next ``wait(minimum:into:)`` starts them, in the system call that it makes anyhow.
    package func submit(_ requests: [ReadRequest]) {
        for request in requests {
            if freeSlots.isEmpty { backlog.append(request) } else { begin(request) }
        }
        buffers.dropOneStale()
        files.dropOneStale()
    }

    package func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        wait(minimum: minimum, hoping: minimum, into: &completions)
    }

    package func wait(minimum: Int, hoping hoped: Int, into completions: inout [ReadCompletion]) {
        let goal = min(minimum, inFlight)
        // The first wait has a time limit, so that what is there is not held back for long.
        enter(minimum: max(0, min(max(goal, hoped), inFlight) - completed.count))
        var isWoken = reap()
        while completed.count < goal && !isWoken {
            // One at a time: the bell's completion must count even when the goal is many.
            enter(minimum: 1)
            isWoken = reap()
        }
        completions.append(contentsOf: completed)
        completed.removeAll(keepingCapacity: true)
    }

    package func wake() { bell.ring() }

    package func close() {
        guard !isClosed else { return }
        isClosed = true
        backlog.removeAll()
        // The kernel writes to the callers' memory until the last completion: no way out before that.
        while freeSlots.count < slots.count {
            enter(minimum: 1)
            _ = reap()
        }
        completed.removeAll()
        unsafe headrace_ring_destroy(ring)
        bell.close()
    }

    // MARK: - One read

    private func begin(_ request: ReadRequest) {
        switch PendingRead.start(request) {
        case .complete(let result):
            completed.append(ReadCompletion(ticket: request.ticket, result: result))
        case .pending(let read):
            let index = freeSlots.removeLast()
            slots[index] = Slot(
                read: read, buffer: buffers.place(for: request), file: files.place(for: read.file))
            queue(index)
        }
    }

    private func queue(_ index: Int) {
        guard let slot = slots[index] else { return }
        var request = unsafe headrace_ring_read(
            user_data: UInt64(index), offset: UInt64(slot.read.offset), destination: slot.read.destination,
            length: UInt32(slot.read.length), file: Int32(slot.file ?? Int(slot.read.file.descriptor)),
            file_is_registered: slot.file == nil ? 0 : 1, buffer: Int32(slot.buffer ?? -1))
        while unsafe headrace_ring_queue_read(ring, &request) == -EBUSY { enter(minimum: 0) }
    }

    private func advance(_ index: Int, _ answer: Int) {
        guard let result = slots[index]?.read.advance(answer) else {
            queue(index)
            return
        }
        guard let slot = slots[index] else { return }
        completed.append(ReadCompletion(ticket: slot.read.request.ticket, result: result))
        buffers.release(slot.buffer)
        files.release(slot.file)
        slots[index] = nil
        freeSlots.append(index)
    }

    // MARK: - The ring

    /// Starts what is queued and waits for `minimum` completions, or returns early: callers look what is there.
    private func enter(minimum: Int) {
        let status = unsafe headrace_ring_submit_and_wait(ring, UInt32(minimum))
        switch -status {
        case 0, EINTR: break
        case EAGAIN, EBUSY, ENOMEM: usleep(1000)  // The kernel is short of memory for now.
        default:
            // The kernel still owns memory of the caller's; to return would hand it out twice.
            preconditionFailure("io_uring_enter: \(errorDescription(-status)); used from another thread?")
        }
    }

    /// Takes what is complete; true when somebody rang the bell.
    private func reap() -> Bool {
        let count = unsafe Int(headrace_ring_reap(ring, &reaped, UInt32(reaped.count)))
        var isRung = false
        for position in 0..<count {
            let completion = reaped[position]
            if completion.user_data == Self.bellUserData {
                isRung = true
                bell.drain()
                if !isClosed { armBell() }
            } else {
                advance(Int(completion.user_data), Int(completion.res))
            }
        }
        if !backlog.isEmpty { feedBacklog() }
        return isRung
    }

    private func feedBacklog() {
        let count = min(backlog.count, freeSlots.count)
        for request in backlog[..<count] { begin(request) }
        backlog.removeFirst(count)
    }

    private func armBell() {
        while unsafe headrace_ring_queue_poll(ring, Self.bellUserData, bell.descriptor) == -EBUSY {
            enter(minimum: 0)
        }
    }
}

/// The eventfd by which other threads interrupt a waiting ring.
// Sendable: `lock` guards the descriptor, so that nobody rings a number that is another file's by now.
final class Bell: @unchecked Sendable {
    private let lock = Lock()
    private var openDescriptor: Int32

    init() throws(HeadraceError) {
        openDescriptor = headrace_bell_open()
        guard openDescriptor >= 0 else {
            throw HeadraceError(
                .environment, "could not make an event descriptor for a ring; raise `ulimit -n`",
                cause: errorDescription(-openDescriptor))
        }
    }

    var descriptor: Int32 { lock.withLock { openDescriptor } }

    func ring() {
        lock.withLock {
            if openDescriptor >= 0 { headrace_bell_ring(openDescriptor) }
        }
    }

    func drain() {
        lock.withLock {
            if openDescriptor >= 0 { headrace_bell_drain(openDescriptor) }
        }
    }

    func close() {
        lock.withLock {
            guard openDescriptor >= 0 else { return }
            Glibc.close(openDescriptor)
            openDescriptor = -1
        }
    }
}
