internal import HeadraceCore
internal import Synchronization

/// The order of an indexed walk: windows of batches are planned, read, and dealt one after the other.
///
/// What the planner owns is used by the worker that has claimed the planning, what deals by the one that has claimed the
/// sequencing; the engine's lock guards the rest, and hands these over.
final class IndexedOrder: RowOrder {
    /// Windows that are planned, read or dealt at once.
    static let windowsAhead = 3
    /// Rows of a window are this many or more, where the memory allows, so that a hand-over costs little beside them.
    static let windowRows = 2048
    /// Bytes of samples that a window aims at.
    static let windowBytes = 8 << 20

    struct Settings: Sendable {
        var order: SampleOrder
        var seed: UInt64
        var uneven: UnevenRanks
        var last: LastBatch
        var ranks: Ranks
        var batchSize: Int
        /// Steps of one window.
        var windowSteps: Int
        /// Bytes of samples behind which a window ends, however few its steps are.
        var windowBytes: Int
        /// Offsets and addresses of reads are multiples of this.
        var alignment: Int
        var mixing: Mixing?
        /// Nodes to which the shards belong; nil without affinity.
        var nodes: Nodes?
        /// Steps within which batches are made of samples of like length; nil: as they come.
        var bucketSteps: Int?

        var blockSize: Int? { if case .block(let size) = order { size } else { nil } }
    }

    let source: IndexedSource
    let settings: Settings
    let planner: WindowPlanner
    private unowned let supply: any Supply
    /// Where the current epoch goes on from.
    private(set) var position: EpochPosition
    private(set) var current: IndexedEpoch
    private var slot: BatchSlot?
    private var batchesInEpoch = 0
    private var batches = 0

    // Guarded by the engine's lock.
    var windows: [Window] = []
    var isPlanning = false
    var nextPlanned = 0
    /// Chunks that a worker has to fill, in order, and how many of them were taken.
    var fillQueue: [Chunk] = []
    var filled = 0

    /// What deals needs of the engine.
    protocol Supply: AnyObject {
        func takeSlot() -> BatchSlot?
        func submit(_ slot: BatchSlot)
        func release(_ chunk: Chunk)
        /// The oldest window, once all of it is there.
        func filledWindow() -> Window?
        /// The oldest window is dealt.
        func dropWindow()
        /// Samples that the plan leaves out; they are never read.
        func countLeftOut(_ samples: Int)
        /// What ends the loader once all batches that were submitted have been delivered.
        func end(_ error: HeadraceError)
    }

    init(
        _ source: IndexedSource, _ settings: Settings, position: EpochPosition, supply: any Supply
    ) throws(HeadraceError) {
        self.source = source
        self.settings = settings
        self.supply = supply
        self.position = position
        current = try IndexedEpoch(source, settings, position)
        planner = WindowPlanner(
            source, current, alignment: settings.alignment, windowBytes: settings.windowBytes)
        guard position.nextStep < max(1, current.share.stepCount) else {
            throw HeadraceError(
                .usage,
                "the state is behind step \(position.nextStep) of an epoch of \(current.share.stepCount): it is none of "
                    + "this loader")
        }
        nextPlanned = position.nextStep
        batchesInEpoch = position.nextStep
    }

    var share: RankShare { current.share }

    /// Steps of the next window, or none; the lock is held.
    var nextWindow: Range<Int>? {
        guard nextPlanned < share.stepCount else { return nil }
        return nextPlanned..<min(share.stepCount, nextPlanned + settings.windowSteps)
    }

    /// Begins the epoch behind the current one; the lock is held and nobody plans or deals.
    func startNextEpoch() {
        position = EpochPosition(
            startOf: position.epoch + 1, worldSize: settings.ranks.worldSize, batchSize: settings.batchSize)
        // The same numbers were accepted when the loader was opened.
        if let next = try? IndexedEpoch(source, settings, position) { current = next }
        planner.restart(current)
        nextPlanned = 0
        batchesInEpoch = 0
    }

    var batchCount: Int { batches }
    var batchesOfEpoch: Int { batchesInEpoch }

    /// Samples that this epoch leaves out on all ranks together, as the first of them tells it.
    var droppedCount: Int { settings.ranks.rank == 0 ? current.leftOutCount : 0 }

    /// The position behind step `step` of the current epoch.
    func position(behind step: Int) -> EpochPosition { position.after(step: step, of: share) }

    func run() -> Bool {
        while batchesInEpoch < share.stepCount {
            guard let window = supply.filledWindow() else { return false }
            while window.nextStep < window.steps.count {
                guard let slot = currentSlot() else { return false }
                deal(window, to: slot)
            }
            for chunk in window.chunks {
                if let memory = chunk.chunk { supply.release(memory) }
            }
            supply.dropWindow()
        }
        supply.countLeftOut(droppedCount)
        do throws(HeadraceError) {
            // Once an epoch: the reads may be a hundred thousand a second, of as many places.
            try source.checkUnchanged()
        } catch {
            supply.end(error)
        }
        return true
    }

    private func currentSlot() -> BatchSlot? {
        if let slot { return slot }
        guard let fresh = supply.takeSlot() else { return nil }
        fresh.sequence = batches
        fresh.epoch = position.epoch
        fresh.indexInEpoch = batchesInEpoch
        slot = fresh
        return fresh
    }

    private func deal(_ window: Window, to slot: BatchSlot) {
        let step = window.nextStep
        for index in window.listings.indices { window.listings[index] = -1 }
        var count = 0
        for row in window.rows[window.starts[step]..<window.starts[step + 1]] where row.chunk >= 0 {
            let number = Int(row.chunk)
            if window.listings[number] < 0, let chunk = window.chunks[number].chunk {
                window.listings[number] = Int32(slot.chunks.count)
                chunk.uses.add(1, ordering: .relaxed)
                slot.list(chunk)
            }
            unsafe slot.rows[count] = RowReference(chunk: window.listings[number], sample: row.sample)
            count += 1
        }
        slot.count = count
        slot.padding = window.starts[step + 1] - window.starts[step] - count
        slot.repeated = window.repeats[step]
        slot.position = position(behind: window.steps.lowerBound + step)
        window.nextStep += 1
        self.slot = nil
        batches += 1
        batchesInEpoch += 1
        supply.submit(slot)
    }
}
