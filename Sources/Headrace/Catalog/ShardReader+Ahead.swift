internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

extension ShardReader {
    /// Finds samples by their headers alone from now on; call it before reading. What reading calls `body` with are
    /// chunks of no use but for their defects.
    func passPayloads() -> (any SpanScanner)? {
        guard let scanner = pass.unpacker.scanner as? any SpanScanner else { return nil }
        scanner.passPayloads()
        return scanner
    }

    /// As ``readChunks(isCancelled:_:)``, with `workers` threads that decompress ahead where the shard has frames: a
    /// sample may lie in several of them, so only the unpacking goes on in order.
    func readChunks(
        isCancelled: () -> Bool, workers: Int, _ body: (Chunk) throws(HeadraceError) -> Bool
    ) throws(HeadraceError) {
        let count = pass.chunks.count
        guard workers > 1, count > 1, case .frames = pass.chunks else {
            return try readChunks(isCancelled: isCancelled, body)
        }
        let crew = try FillingCrew(arena, workers: min(workers, count))
        var ahead: [Chunk] = []
        defer {
            crew.stop()
            for chunk in ahead { arena.release(chunk) }
        }
        var next = 0
        for index in 0..<count {
            if isCancelled() { return }
            while next < count, ahead.count <= workers {
                // One chunk must fit, what runs ahead of it may not.
                let chunk = ahead.isEmpty ? try take(next) : try? take(next)
                guard let chunk else { break }
                crew.fill(chunk)
                ahead.append(chunk)
                next += 1
            }
            let input = ahead.removeFirst()
            crew.wait(for: input)
            guard try unpackFilled(input, isLast: index == count - 1, body) else { return }
        }
    }
}

/// Threads that fill chunks: read them and decompress their frames.
// Sendable: `lock` guards the rest.
private final class FillingCrew: @unchecked Sendable {
    private let lock = Lock()
    private let changed: Condition
    private let arena: ChunkArena
    private var due: [Chunk] = []
    private var filled: Set<Int32> = []
    private var isStopped = false
    private var threads: [Thread] = []

    init(_ arena: ChunkArena, workers: Int) throws(HeadraceError) {
        self.arena = arena
        changed = Condition(lock)
        do throws(HeadraceError) {
            for number in 0..<workers {
                threads.append(try Thread(name: "fill-\(number)") { self.work() })
            }
        } catch {
            stop()
            throw error
        }
    }

    func fill(_ chunk: Chunk) {
        lock.withLock {
            due.append(chunk)
            changed.broadcast()
        }
    }

    func wait(for chunk: Chunk) {
        lock.lock()
        while filled.remove(chunk.number) == nil { changed.wait() }
        lock.unlock()
    }

    /// Ends the threads; chunks that are not filled by then stay empty.
    func stop() {
        lock.withLock {
            isStopped = true
            changed.broadcast()
        }
        for thread in threads { thread.join() }
        threads = []
    }

    private func work() {
        let filler = ChunkFiller(arena: arena, reader: BlockingReader())
        while let chunk = claim() {
            _ = filler.fill(chunk)
            lock.withLock {
                filled.insert(chunk.number)
                changed.broadcast()
            }
        }
    }

    private func claim() -> Chunk? {
        lock.lock()
        defer { lock.unlock() }
        while due.isEmpty, !isStopped { changed.wait() }
        return isStopped ? nil : due.removeFirst()
    }
}
