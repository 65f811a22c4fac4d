internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage
internal import Synchronization

/// What a worker can be asked to do.
enum Job {
    case decode(DecodeJob)
    case sequence
    case unpack(Lane, Chunk)
    case fill(Chunk)
    case open(Lane, shard: Int)
    case plan(Range<Int>, IndexedOrder)
    case fillPlanned(Chunk, PlannedChunk)
}

extension Engine {
    /// A worker's life: pick a job, do it, until the loader closes.
    func work(reader: any Reader) {
        let decoder = DecodeWorker(engine: self)
        let filler = ChunkFiller(arena: arena, reader: reader)
        let planned = indexed.map {
            PlannedFiller(arena: arena, openers: openers, source: $0.source, reader: reader)
        }
        var times = RoomClock()
        lock.lock()
        while !isClosing {
            if !retired.isEmpty {
                let slots = retired
                retired = []
                lock.unlock()
                for slot in slots { drop(slot) }
                lock.lock()
                sequencerHasWork = true
                continue
            }
            let began = Clock.now()
            let job = pickJob()
            times[.admit].busyNanoseconds += Clock.now() - began
            guard let job else {
                clock.add(times)
                times = RoomClock()
                waitForWork()
                continue
            }
            lock.unlock()
            if case .fillPlanned(let chunk, let plan) = job, let planned {
                fillPlanned(chunk, plan, filler: planned, times: &times, began: Clock.now())
            } else {
                run(job, decoder: decoder, filler: filler, times: &times)
            }
            lock.lock()
        }
        clock.add(times)
        lock.unlock()
        reader.close()
    }

    private func waitForWork() {
        idleWorkers += 1
        checkForStarvation()
        let room = idleRoom()
        let began = Clock.now()
        workAvailable.wait()
        let waited = Clock.now() - began
        switch room {
        case .done: break
        case .input(let room): clock[room].waitInputNanoseconds += waited
        case .room(let room): clock[room].waitRoomNanoseconds += waited
        }
        idleWorkers -= 1
    }

    private enum Idleness { case input(Room), room(Room), done }

    /// Why there is nothing to do for a worker now; the lock is held.
    private func idleRoom() -> Idleness {
        if isSourceDone && decodeQueue.isEmpty { return .done }
        if freeSlots.isEmpty { return .room(.assemble) }
        if ringInFlight > 0 || !ringQueue.isEmpty { return .input(.unpack) }
        if lanes.contains(where: { $0.parkedAt != nil }) { return .room(.unpack) }
        if isMemoryShort { return .room(.admit) }
        return .input(.decode)
    }

    /// The job furthest downstream; the lock is held.
    private func pickJob() -> Job? {
        if !decodeQueue.isEmpty { return .decode(decodeQueue.removeFirst()) }
        if sequencerHasWork && !isSequencing && !isEpochOver {
            isSequencing = true
            sequencerHasWork = false
            return .sequence
        }
        if let indexed { return pickPlanned(indexed) }
        if let (lane, chunk) = nextToUnpack() {
            lane.isUnpacking = true
            // A lane that has something in stock leaves room for those that have nothing.
            chunk.pass?.unpacker.reserve = lane.output.isEmpty ? 0 : laneReserve
            return .unpack(lane, chunk)
        }
        admit()
        if let chunk = nextToFill() { return .fill(chunk) }
        if let lane = lanes.first(where: { $0.pass == nil && !$0.isOpening && $0.nextShard < $0.shards.count }
        ) {
            lane.isOpening = true
            defer { lane.nextShard += 1 }
            return .open(lane, shard: lane.shards[lane.nextShard])
        }
        return nil
    }

    private func pickPlanned(_ order: IndexedOrder) -> Job? {
        admitPlanned(order)
        // While one worker fills the last window that is planned, the other plans: if both filled, one would wait for
        // the other's plan behind it.
        if order.windows.count(where: { !$0.isFilled }) < 2, let steps = nextToPlan(order) {
            order.isPlanning = true
            return .plan(steps, order)
        }
        if let chunk = nextPlannedToFill(order), let plan = chunk.planned { return .fillPlanned(chunk, plan) }
        if let steps = nextToPlan(order) {
            order.isPlanning = true
            return .plan(steps, order)
        }
        return nil
    }

    /// The lane the sequencer will miss first, among those whose next chunk is there.
    private func nextToUnpack() -> (Lane, Chunk)? {
        var best: (lane: Lane, chunk: Chunk)?
        // Tables are charged as they come: near the limit no lane may run ahead of the others.
        let isTight = arena.pool.bytesInUse > arena.pool.limit / 4 * 3
        for lane in lanes where !lane.isUnpacking {
            guard let chunk = lane.window.first, chunk.state == .filled else { continue }
            if let parkedAt = lane.parkedAt, parkedAt == releases { continue }
            if lane.output.count >= (isTight ? 1 : unpackedLimit) { continue }
            if let current = best, current.lane.output.count <= lane.output.count { continue }
            best = (lane, chunk)
        }
        return best.map { ($0.lane, $0.chunk) }
    }

    private func nextToFill() -> Chunk? {
        var best: (chunk: Chunk, ahead: Int)?
        for lane in lanes {
            for (position, chunk) in lane.window.enumerated() {
                guard chunk.state == .admitted || chunk.state == .fetched else { continue }
                if chunk.state == .admitted && ringDepth != nil && chunk.pass?.file != nil { continue }
                let ahead = position + lane.output.count
                if let best, best.ahead <= ahead { break }
                best = (chunk, ahead)
                break
            }
        }
        best?.chunk.state = .filling
        return best?.chunk
    }

    /// Unpacked chunks a lane may have in stock: enough that lanes of unlike speed do not stall each other.
    var unpackedLimit: Int { 3 }

    /// Chunks a lane may have admitted ahead of the sequencer.
    private func windowLimit(live: Int) -> Int {
        if let ringDepth {
            let pieces = max(1, arena.geometry.chunkBytes / ChunkGeometry.requestBytes)
            // One more than the ring can have under way: what arrives is unpacked while the next is read. Further
            // ahead only more memory would be touched.
            return max(2, (ringDepth / pieces + live - 1) / live + 1)
        }
        return max(2, (2 * workerCount + live) / live)
    }

    private func run(_ job: Job, decoder: DecodeWorker, filler: ChunkFiller, times: inout RoomClock) {
        let began = Clock.now()
        switch job {
        case .decode(let job):
            let outcome = decoder.run(job)
            let decoded = Clock.now()
            times[.decode].busyNanoseconds += decoded - began
            finish(job, outcome: outcome)
            times[.assemble].busyNanoseconds += Clock.now() - decoded
        case .sequence:
            let isOver = order.run()
            finishSequencing(epochIsOver: isOver)
            times[.plan].busyNanoseconds += Clock.now() - began
        case .unpack(let lane, let chunk):
            unpack(lane, chunk)
            times[.unpack].busyNanoseconds += Clock.now() - began
        case .fill(let chunk):
            fill(chunk, filler: filler, times: &times, began: began)
        case .open(let lane, let shard):
            open(lane, shard: shard, filler: filler)
            times[.catalog].busyNanoseconds += Clock.now() - began
        case .plan(let steps, let order):
            plan(steps, order)
            times[.plan].busyNanoseconds += Clock.now() - began
        case .fillPlanned: break  // Done where the worker's filler is.
        }
    }

    /// Whether a worker could do something now, or somebody is doing something that leads to more; the lock is held.
    var hasWork: Bool {
        if !decodeQueue.isEmpty || !retired.isEmpty || nextToUnpack() != nil { return true }
        if sequencerHasWork && !isSequencing && !isEpochOver { return true }
        if let indexed {
            return indexed.isPlanning || indexed.filled < indexed.fillQueue.count
                || nextToPlan(indexed) != nil
                || indexed.windows.contains { $0.chunks.contains { $0.chunk?.state == .filling } }
        }
        return lanes.contains { lane in
            lane.isOpening || lane.isUnpacking || lane.window.contains { $0.state != .filled }
                || (lane.pass == nil && lane.nextShard < lane.shards.count)
        }
    }

    // MARK: Admit

    /// Grants memory for chunks: first to lanes that have nothing, then ahead of need while memory is plenty.
    func admit() {
        if let indexed { return admitPlanned(indexed) }
        let live = max(1, lanes.reduce(0) { $0 + ($1.isEnded ? 0 : 1) })
        let limit = windowLimit(live: live)
        let reserve = laneReserve
        isMemoryShort = false
        var wasRefused = false
        for depth in 0..<limit {
            for lane in lanes where lane.window.count + lane.output.count == depth {
                guard let pass = lane.pass else { continue }
                let keeping = lane.isStarving ? 0 : reserve
                guard let chunk = grant(pass, lane.nextChunk, keeping: keeping) else {
                    isMemoryShort = isMemoryShort || lane.window.isEmpty
                    wasRefused = true
                    // Another lane that has nothing may want less.
                    if depth == 0 { continue } else { return }
                }
                lane.window.append(chunk)
                lane.nextChunk += 1
                if lane.nextChunk == pass.chunks.count { lane.pass = nil }
                if ringDepth != nil && pass.file != nil {
                    ringQueue.append(chunk)
                    ringWork.signal()
                    wakeRing?()
                }
            }
            if wasRefused { return }
        }
    }

    private func grant(_ pass: ShardPass, _ index: Int, keeping reserve: Int) -> Chunk? {
        let chunk: Chunk?
        let size = pass.file?.size ?? 0
        let compressed = pass.chunks.inputBytes(index, size: size)
        if pass.chunks.isStream {
            chunk = arena.takeEmpty()
            chunk?.input = arena.takeSlab(compressed, keeping: reserve)
        } else {
            let room = compressed == 0 ? 0 : max(arena.pool.slabBytes, SlabPool.sizeClass(compressed))
            let bytes = pass.chunks.outputBytes(index, size: size, geometry: arena.geometry)
            chunk = arena.take(atLeast: bytes, keeping: reserve + room)
            if let chunk, compressed > 0 { chunk.input = arena.takeSlab(compressed) }
        }
        guard let chunk else { return nil }
        if pass.chunks.needsInput && chunk.input == nil {
            // Not `release`: that would take the lock that is held. Nothing but the slab has to go back.
            arena.putBack(chunk)
            memoryReturned.add(1, ordering: .relaxed)
            return nil
        }
        chunk.prepare(pass, index)
        return chunk
    }

    // MARK: Jobs

    private func fill(_ chunk: Chunk, filler: ChunkFiller, times: inout RoomClock, began: Int) {
        let fetched = filler.fill(chunk)
        let ended = Clock.now()
        times[.fetch].busyNanoseconds += fetched.fetchCPU
        times[.fetch].waitInputNanoseconds += max(0, fetched.fetchWall - fetched.fetchCPU)
        times[.unpack].busyNanoseconds += max(0, ended - began - fetched.fetchWall)
        let isDiscarded = lock.withLock { () -> Bool in
            chunk.state = .filled
            if fetched.requests > 0 {
                noteFetch(
                    bytes: fetched.bytes, requests: fetched.requests, began: began, fetched.sources,
                    epoch: chunk.pass?.epoch ?? epoch)
            }
            workAvailable.signal()
            return chunk.pass?.isOver ?? false
        }
        if isDiscarded { arena.release(chunk) }
    }

    /// Counts a finished read; the lock is held.
    ///
    /// - Parameter sources: from where the bytes came, and others that came along; nil: from local files.
    func noteFetch(bytes: Int, requests: Int, began: Int, _ sources: ByteSources?, epoch: Int) {
        tally.fetchedBytes += bytes
        tally.origins.add(sources, bytes: bytes, epoch: epoch)
        tally.fetchRequests += requests
        if tally.firstReadAt == 0 { tally.firstReadAt = began }
    }

    private func open(_ lane: Lane, shard number: Int, filler: ChunkFiller) {
        let result = openers.open(catalog.shards[number], epoch: epoch, arena: arena, reader: filler.reader)
        // The first look at a shard may bring a block of it.
        let sources = filler.reader.takeSources()
        lock.withLock {
            if let sources { tally.origins.add(sources, bytes: 0, epoch: epoch) }
            lane.isOpening = false
            switch result {
            case .success(let pass):
                lane.pass = pass
                lane.nextChunk = 0
            case .failure(let error):
                // The failure takes its place in the order as a row, so that what precedes it is delivered.
                let chunk = arena.takeEmpty()
                chunk.prepare(openers.failedPass(catalog.shards[number], epoch: epoch, arena: arena), 0)
                chunk.failure = error
                chunk.state = .filled
                lane.window.append(chunk)
            }
            workAvailable.broadcast()
        }
    }
}
