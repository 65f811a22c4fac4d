internal import HeadraceCompute
internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceStorage
internal import Synchronization

/// The rooms of one loader: who works where, and what is handed to whom. Everything that blocks is in here.
///
/// Workers are alike. Under the lock each picks the job furthest downstream that can be done, so that batches
/// leave before new bytes come in; jobs themselves run without the lock. What the jobs produce is put in order by
/// numbers, never by arrival.
///
/// Sendable: `lock` guards all mutable state.
final class Engine: @unchecked Sendable {
    let options: LoaderOptions
    let catalog: Catalog
    let columns: [Column]
    let arena: ChunkArena
    let lock: Lock
    let names: FieldNames
    let openers: ShardOpener
    let backend: any ComputeBackend
    let workerCount: Int
    /// The ring's reads, where a ring thread fetches; nil where workers read for themselves.
    let ringDepth: Int?
    /// Rows that one worker decodes at a time.
    let rowsPerRun: Int
    /// Bytes of the columns of one batch.
    let slotBytes: Int
    /// Memory a lane needs to go on whatever the others do.
    let laneBytes: Int

    let memoryReturned: Atomic<Int>
    let workAvailable: Condition
    let batchReady: Condition
    let ringWork: Condition
    let placingWork: Condition

    // Guarded by `lock` from here on.
    var lanes: [Lane] = []
    var liveLanes = 0
    var epoch = 0
    var isEpochOver = false
    var isSourceDone = false
    var isClosing = false
    var sequencer: Sequencer!
    /// Between the engine and the shards; told what is to come.
    var cache: BlockCache?
    /// The order of an indexed walk; nil: the streamed walk's sequencer is the order.
    var indexed: IndexedOrder?
    /// Windows of an indexed walk that are under way at once.
    var indexedWindowsAhead = IndexedOrder.windowsAhead
    var isSequencing = false
    /// Something changed since the sequencer last looked.
    var sequencerHasWork = false
    /// A slot could not be had because its memory could not.
    var slotsWantMemory = false
    /// The sequencer stopped because no slot was free.
    var sequencerWantsSlot = false
    /// Slots that were dealt, with rows that no worker has decoded yet.
    var undecodedSlots = 0
    var freeSlots: [BatchSlot] = []
    /// All there are, wherever they are.
    private let slots: [BatchSlot]
    /// Slots that were judged and not delivered; a worker gives their memory back.
    var retired: [BatchSlot] = []
    var decodeQueue: [DecodeJob] = []
    /// Batches whose rows are all there, by sequence number.
    var ready: [Int: BatchSlot] = [:]
    /// Batches on their way to the device, for the thread that waits for them.
    var placing: [BatchSlot] = []
    /// Of these, taken out by that thread.
    var placementsUnderWay = 0
    var ringQueue: [Chunk] = []
    var ringInFlight = 0
    /// The fetch thread's reader says from where its bytes came.
    var ringTellsSources = false
    var idleWorkers = 0
    /// A lane has nothing to unpack because no memory was free for it.
    var isMemoryShort = false
    var delivery = Delivery()
    var consumersWaiting = 0
    var waiters: [AsyncWaiter] = []
    var clock = RoomClock()
    var tally = Tally()
    var wakeRing: (@Sendable () -> Void)?
    /// Waits of tasks that were cancelled; a task that is cancelled does not wait again.
    var cancelled: Set<Int> = []

    init(
        options: LoaderOptions, catalog: Catalog, columns: [Column], pool: SlabPool, geometry: ChunkGeometry,
        slots: [BatchSlot], names: FieldNames, openers: ShardOpener, backend: any ComputeBackend,
        workerCount: Int, ringDepth: Int?, laneBytes: Int
    ) {
        self.options = options
        self.catalog = catalog
        self.columns = columns
        self.names = names
        self.openers = openers
        self.backend = backend
        self.workerCount = workerCount
        rowsPerRun = DecodeJob.rowsPerRun(
            of: columns, hashing: slots.contains { unsafe $0.hashes != nil })
        slotBytes = columns.reduce(0) { $0 + $1.layout.rowBytes } * options.batchSize
        self.ringDepth = ringDepth
        self.laneBytes = laneBytes
        lock = Lock()
        workAvailable = Condition(lock)
        batchReady = Condition(lock)
        ringWork = Condition(lock)
        placingWork = Condition(lock)
        memoryReturned = Atomic(0)
        let returned = ReleaseSignal()
        arena = ChunkArena(pool: pool, geometry: geometry) { returned.fire() }
        freeSlots = slots
        self.slots = slots
        lanes = (0..<min(options.lanes, max(1, catalog.shards.count))).map { Lane(number: $0) }
        sequencer = Sequencer(
            supply: self, shuffle: options.shuffle, seed: options.seed, keepsLast: options.lastBatch == .keep)
        returned.engine = self
        startEpoch(0)
    }

    /// What its states have in common; set before the threads start.
    var stateBase: StateBase?
    /// In a streamed walk: rows of each rank and epoch, where ranks must have equally many.
    var rowLimit: Int?
    /// How the shards of a streamed walk are dealt to several ranks; nil: one rank has them all.
    var dealing: ShardDealing?
    /// Batches of an epoch that a resumed streamed walk passes over: it was delivered so far.
    var resumedEpoch = -1
    var resumedSteps = 0

    /// Who gives samples their rows.
    var order: any RowOrder { indexed ?? sequencer }

    /// Makes the engine walk by an index; before its threads start.
    func walk(_ order: IndexedOrder, windowsAhead: Int) {
        indexed = order
        indexedWindowsAhead = windowsAhead
        lanes = []
        epoch = order.position.epoch
        isEpochOver = false
        sequencerHasWork = true
    }

    /// Deals the epoch's shards to the lanes.
    func startEpoch(_ number: Int) {
        epoch = number
        isEpochOver = false
        if let indexed {
            indexed.startNextEpoch()
            sequencerHasWork = true
            return
        }
        let order = shardOrder(epoch: number)
        if let dealing { rowLimit = dealing.rowsPerRank(epoch: number) }
        tellCache(order, epoch: number)
        for lane in lanes {
            lane.restart(
                shards: stride(from: lane.number, to: order.count, by: lanes.count).map { Int(order[$0]) })
        }
        sequencer.startEpoch(number, lanes: lanes.count)
        sequencerHasWork = true
    }

    /// The shards of an epoch of a streamed walk.
    private func shardOrder(epoch: Int) -> [UInt32] {
        if let dealing { return dealing.shards(epoch: epoch) }
        var order = catalog.shards.map { UInt32($0.number) }
        if options.shuffle != .none {
            shuffle(order.count, key: mixed(options.seed, UInt64(epoch), 0x7368_6172_6473), into: &order)
        }
        return order
    }

    /// Tells a clairvoyant cache what this epoch and the next one will open.
    private func tellCache(_ order: [UInt32], epoch: Int) {
        guard let cache, cache.settings.eviction == .clairvoyant else { return }
        let isLast = options.epochs.map { epoch + 1 >= $0 } ?? false
        let next = isLast ? [] : shardOrder(epoch: epoch + 1)
        cache.plan((order + next).map { catalog.shards[Int($0)].path })
    }

    /// Tells the workers that memory came back.
    fileprivate func noteRelease() {
        memoryReturned.add(1, ordering: .relaxed)
        lock.withLock {
            if slotsWantMemory {
                slotsWantMemory = false
                sequencerHasWork = true
            }
            workAvailable.broadcast()
        }
    }

    var releases: Int { memoryReturned.load(ordering: .relaxed) }

    /// Memory that must stay free for lanes that have nothing, so that no lane waits for ever on another's read-ahead.
    var laneReserve: Int {
        let live = lanes.reduce(0) { $0 + ($1.isEnded ? 0 : 1) }
        return live * (laneBytes - arena.pool.slabBytes)
    }

    /// Lets go of everything that no consumer holds. The threads have ended.
    func discardUndelivered() {
        // A consumer may still be in a call of its own: what it could see is taken away under the lock, and what
        // returns memory, which takes the lock, happens after.
        var unseen: [BatchSlot] = []
        let passes = lock.withLock { () -> [ShardPass] in
            var open: [ShardPass] = []
            unseen = ready.values + placing + retired + [delivery.undelivered].compactMap(\.self)
            placing = []
            for lane in lanes {
                for pass in lane.window.map(\.pass) + [lane.pass] {
                    guard let pass, !pass.isOver else { continue }
                    // The accounts of a run that was stopped have to add up as well.
                    pass.isOver = true
                    tally.account.add(pass.unpacker.account)
                    open.append(pass)
                }
                lane.pass = nil
                lane.window = []
                lane.output = []
            }
            indexed?.windows = []
            indexed?.fillQueue = []
            indexed?.filled = 0
            ready = [:]
            decodeQueue = []
            ringQueue = []
            retired = []
            delivery.undelivered = nil
            return open
        }
        for pass in passes { pass.unpacker.abandon() }
        for slot in unseen { slot.unplace(backend) }
        // Batches in the making; those of consumers were placed, and have no such memory any more.
        for slot in slots { slot.discardStaging(backend) }
        backend.close()
        arena.forgetPasses()
    }

    /// Stops all work; the threads end soon after. Batches that are out keep their memory.
    func close() {
        lock.withLock {
            isClosing = true
            workAvailable.broadcast()
            batchReady.broadcast()
            ringWork.broadcast()
            placingWork.broadcast()
            wakeRing?()
            for waiter in waiters { waiter.resume(.success(nil)) }
            waiters = []
        }
    }
}

/// What the arena calls when memory comes back; breaks the ring of references at start-up.
///
/// Sendable: `engine` is written once, before any other thread runs.
private final class ReleaseSignal: @unchecked Sendable {
    weak var engine: Engine?

    func fire() { engine?.noteRelease() }
}

/// Totals of what came out, for the report.
struct Tally {
    var account = ShardAccount()
    var fetchedBytes = 0
    var origins = OriginTally()
    var fetchRequests = 0
    var firstReadAt = 0
    var lastBatchAt = 0
    var firstBatchAt = 0
    var droppedSamples = 0
}
