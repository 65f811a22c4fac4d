package import HeadraceCore

/// Reads on threads of its own, each with a blocking reader: `pread` has depth without io_uring, and so has whatever
/// else answers one read after the other.
package final class PooledReader: Reader {
    /// Threads of one reader at most. Beyond this they cost more than the depth brings.
    package static let threadLimit = 64

    package let queueDepth: Int
    private let work = Work()
    private var threads: [Thread] = []
    private var isClosed = false
    package private(set) var inFlight = 0

    /// Of local files.
    package convenience init(queueDepth: Int) throws(HeadraceError) {
        try self.init(queueDepth: queueDepth) { () throws(HeadraceError) -> any Reader in BlockingReader() }
    }

    /// - Parameter makeReader: called on each thread; what it makes must be done with a read when it waits for it.
    package init(
        queueDepth: Int, _ makeReader: @escaping @Sendable () throws(HeadraceError) -> any Reader
    ) throws(HeadraceError) {
        self.queueDepth = max(1, queueDepth)
        let work = work
        do throws(HeadraceError) {
            for number in 0..<min(self.queueDepth, Self.threadLimit) {
                threads.append(try Thread(name: "headrace-read\(number)") { work.run(makeReader) })
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

    package func takeSources() -> ByteSources? { work.takeSources() }

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
    private var queue: [ReadRequest] = []
    private var head = 0
    private var completed: [ReadCompletion] = []
    /// Of what is in `completed`, and of what was handed over.
    private var unclaimed: ByteSources?
    private var sources: ByteSources?
    private var isWoken = false
    private var isStopping = false

    init() {
        added = Condition(lock)
        finished = Condition(lock)
    }

    func add(_ requests: [ReadRequest]) {
        lock.withLock {
            for request in requests {
                queue.append(request)
                added.signal()
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
            if let told = unclaimed {
                sources = sources ?? ByteSources()
                sources?.add(told)
                unclaimed = nil
            }
            return count
        }
    }

    func takeSources() -> ByteSources? {
        lock.withLock {
            defer { if sources != nil { sources = ByteSources() } }
            return sources
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

    func run(_ makeReader: () throws(HeadraceError) -> any Reader) {
        let reader: Result<any Reader, HeadraceError>
        do throws(HeadraceError) { reader = .success(try makeReader()) } catch { reader = .failure(error) }
        var done: [ReadCompletion] = []
        while let request = next() {
            done.removeAll(keepingCapacity: true)
            var told: ByteSources?
            switch reader {
            case .success(let reader):
                reader.submit([request])
                while done.isEmpty { reader.wait(minimum: 1, into: &done) }
                told = reader.takeSources()
            case .failure(let error):
                done.append(ReadCompletion(ticket: request.ticket, result: .failure(error)))
            }
            lock.withLock {
                completed.append(contentsOf: done)
                if let told {
                    unclaimed = unclaimed ?? ByteSources()
                    unclaimed?.add(told)
                }
                finished.signal()
            }
        }
        if case .success(let reader) = reader { reader.close() }
    }

    private func next() -> ReadRequest? {
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
