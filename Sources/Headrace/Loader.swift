public import HeadraceCore
internal import HeadraceStorage
internal import Synchronization

/// Yields the batches of a data set: call ``next()``, or iterate with `for try await`.
///
/// Threads and memory are the loader's own. Dropping it, or calling ``close()``, stops the threads and frees what no
/// batch holds, at any point.
public final class Loader: AsyncSequence, Sendable {
    /// What iterating yields.
    public typealias Element = Batch
    /// What iterating throws.
    public typealias Failure = HeadraceError

    let engine: Engine
    let opening: LoaderOpening
    private let threads: [Thread]
    private let joined = Atomic(false)

    init(engine: Engine, opening: LoaderOpening, threads: [Thread]) {
        self.engine = engine
        self.opening = opening
        self.threads = threads
    }

    deinit { close() }

    /// The next batch, waiting for it; nil after the last one of the last epoch.
    ///
    /// Throws the first defect, after all batches before it, or what the machine refused. Every later call throws
    /// the same. Holding more than `heldBatches` batches throws `heldBatches`, at once; let one go and call again.
    public func next() throws(HeadraceError) -> Batch? {
        guard let slot = try engine.next() else { return nil }
        return Batch(SlotLease(engine: engine, slot: slot))
    }

    /// Iterates over the remaining batches without blocking a thread of Swift's.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(loader: self) }

    /// Where a loader goes on that has delivered what this one has delivered so far; batches that were read ahead are not
    /// counted. Before the first batch, where this one began.
    public var state: LoaderState { engine.stateOfDelivery }

    /// Batches of each epoch on this rank, the same on all of them; nil where nobody knows before the end. Of
    /// an epoch that goes on with another world or batch size, those that are left.
    public var batchesPerEpoch: Int? { engine.batchesPerEpoch }

    /// Stops the loader. Batches that are held stay good. Calling it again does nothing.
    public func close() {
        guard !joined.exchange(true, ordering: .acquiringAndReleasing) else { return }
        engine.close()
        for thread in threads { thread.join() }
        engine.discardUndelivered()
    }

    /// The asynchronous form of ``Loader/next()``.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private static let counter = Atomic(0)
        fileprivate let loader: Loader

        /// The next batch; nil after the last, and when the task is cancelled.
        public mutating func next() async throws(HeadraceError) -> Batch? {
            let id = Self.counter.add(1, ordering: .relaxed).newValue
            let engine = loader.engine
            let outcome = await withTaskCancellationHandler {
                await engine.nextAsync(id: id)
            } onCancel: {
                engine.cancel(id)
            }
            guard let slot = try outcome.get() else { return nil }
            return Batch(SlotLease(engine: engine, slot: slot))
        }
    }
}

/// What opening a loader settled, for the report.
struct LoaderOpening: Sendable {
    var engineReason: String
    var walk: String
    var indexNanoseconds: Int
    var isDirect: Bool
    var workers: Int
    var budget: Int
    var geometry: ChunkGeometry
    var lanes: Int
    var openedAt: Int
    var openNanoseconds: Int
    var cpuAtOpen: Int
    var ioAtOpen: ProcessIO?
    var notes: [String]
}
