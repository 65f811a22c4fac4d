package import HeadraceCore

/// Reads by `pread` on threads of its own: depth without io_uring.
package final class PooledReader: Reader {
    /// Threads of one reader at most. Beyond this they cost more than the depth brings.
    package static let threadLimit = 64

    package let queueDepth: Int
    private let work = Work()
    private var threads: [Thread] = []
    private var isClosed = false
    package private(set) var inFlight = 0

    package init(queueDepth: Int) throws(HeadraceError) {
        self.queueDepth = max(1, queueDepth)
        let work = work
        do throws(HeadraceError) {
            for number in 0..<min(self.queueDepth, Self.threadLimit) {
                threads.append(try Thread(name: "headrace-read\(number)") { work.run() })
            }
        } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    package func submit(_ requests: [ReadRequest]) {
        inFlight += requests.count
        work.add(requests)
    }

    package func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        inFlight -= work.collect(atLeast: min(minimum, inFlight), into: &completions)
    }

    package func wake() { work.wake() }

    package func close() {
        guard !isClosed else { return }
        isClosed = true
        work.stop()
        for thread in threads { thread.join() }
        inFlight = 0
    }
}

/// What a pooled reader and its threads share.
// Sendable: `lock` guards all state.
private final class Work: @unchecked Sendable {
    private let lock = Lock()
    private let added: Condition
    private let finished: Condition
    /// First in, first out; those before `head` are taken.
    private var queue: [PendingRead] = []
    private var head = 0
    private var completed: [ReadCompletion] = []
    private var isWoken = false
    private var isStopping = false

    init() {
        added = Condition(lock)
        finished = Condition(lock)
    }

    func add(_ requests: [ReadRequest]) {
        lock.withLock {
            for request in requests {
                switch PendingRead.start(request) {
                case .complete(let result):
                    completed.append(ReadCompletion(ticket: request.ticket, result: result))
                case .pending(let read):
                    queue.append(read)
                    added.signal()
                }
            }
        }
    }

    /// Appends what is complete, once that is enough or somebody woke us; returns how many.
    func collect(atLeast minimum: Int, into completions: inout [ReadCompletion]) -> Int {
        lock.withLock {
            while completed.count < minimum && !isWoken { finished.wait() }
            isWoken = false
            let count = completed.count
            completions.append(contentsOf: completed)
            completed.removeAll(keepingCapacity: true)
            return count
        }
    }

    func wake() {
        lock.withLock {
            isWoken = true
            finished.signal()
        }
    }

    /// Threads end once the queue is empty: memory that reads go to must not be freed under them.
    func stop() {
        lock.withLock {
            isStopping = true
            added.broadcast()
        }
    }

    func run() {
        while var read = next() {
            let completion = ReadCompletion(ticket: read.request.ticket, result: read.runBlocking())
            lock.withLock {
                completed.append(completion)
                finished.signal()
            }
        }
    }

    private func next() -> PendingRead? {
        lock.withLock {
            while head == queue.count {
                if isStopping { return nil }
                added.wait()
            }
            let read = queue[head]
            head += 1
            if head == queue.count || head > 2 * PooledReader.threadLimit {
                queue.removeFirst(head)
                head = 0
            }
            return read
        }
    }
}
