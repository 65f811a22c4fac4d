internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

/// Work on many shards at once whose results are wanted in order.
///
/// Workers run at most a window ahead of what has been taken, so that a hundred thousand shards do not pile
/// up behind one slow one.
// Sendable: `lock` guards the rest.
final class ShardWork<Result: Sendable>: @unchecked Sendable {
    private let lock = Lock()
    private let changed: Condition
    private let count: Int
    private let window: Int
    private var next = 0
    private var taken = 0
    private var results: [Int: Result] = [:]
    private var isStopped = false

    private init(count: Int, workers: Int) {
        self.count = count
        window = 64 + 4 * workers
        changed = Condition(lock)
    }

    /// Calls `body` for each of `count` numbers on `workers` threads, and `consume` with the results in order
    /// on this one. Stops early when `consume` throws, or an interrupt comes; what was under way is finished
    /// first.
    static func run(
        _ count: Int, workers: Int, _ body: @escaping @Sendable (Int) -> Result,
        consume: (Int, Result) throws -> Void
    ) throws {
        let work = ShardWork(count: count, workers: workers)
        var threads: [Thread] = []
        defer {
            work.stop()
            for thread in threads { thread.join() }
        }
        for number in 0..<min(workers, count) {
            threads.append(try Thread(name: "shard-\(number)") { work.work(body) })
        }
        for index in 0..<count {
            guard let result = work.take(index) else { return }
            try consume(index, result)
        }
    }

    private func work(_ body: (Int) -> Result) {
        while let index = claim() {
            let result = body(index)
            lock.withLock {
                results[index] = result
                changed.broadcast()
            }
        }
        lock.withLock { changed.broadcast() }
    }

    private func claim() -> Int? {
        lock.lock()
        defer { lock.unlock() }
        while !isStopped, next < count, next >= taken + window { changed.wait() }
        guard !isStopped, next < count, !Interrupt.isRequested else {
            isStopped = true
            return nil
        }
        next += 1
        return next - 1
    }

    /// The result of `index`; nil when it will not come.
    private func take(_ index: Int) -> Result? {
        lock.lock()
        defer { lock.unlock() }
        while results[index] == nil, index < next || !isStopped && next < count { changed.wait() }
        taken = index + 1
        changed.broadcast()
        return results.removeValue(forKey: index)
    }

    private func stop() {
        lock.withLock {
            isStopped = true
            changed.broadcast()
        }
    }
}

/// Threads and memory of a command that goes through shards.
struct ShardBudget {
    let workers: Int
    let memory: ByteCount

    /// The least that makes sense for one reader.
    private static let leastMemory = ByteCount.mebibytes(64)
    private let turn = Lock()

    /// One reader a core, all together within a quarter of a reader's largest memory for each.
    init(shardCount: Int, workers wanted: Int? = nil) {
        workers = max(1, min(shardCount, wanted ?? affinityCoreCount()))
        memory = max(Self.leastMemory, ByteCount(ShardReader.defaultMemory.bytes / workers))
    }

    /// Once more with all of a reader's memory, one at a time: for a shard of samples larger than a worker's share,
    /// which must not be judged by how many cores there are.
    func alone<Result>(_ body: (ByteCount) -> Result) -> Result {
        turn.withLock { body(ShardReader.defaultMemory) }
    }
}
