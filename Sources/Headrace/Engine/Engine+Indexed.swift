internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage
internal import Synchronization

// The indexed walk: windows instead of lanes.
extension Engine {
    /// The steps of the next window, if it is time to plan it; the lock is held.
    func nextToPlan(_ order: IndexedOrder) -> Range<Int>? {
        guard !order.isPlanning, order.windows.count < indexedWindowsAhead, !isEpochOver else { return nil }
        return order.nextWindow
    }

    /// Plans a window, without the lock.
    func plan(_ steps: Range<Int>, _ order: IndexedOrder) {
        let window = order.planner.plan(steps)
        lock.withLock {
            order.windows.append(window)
            order.nextPlanned = window.steps.upperBound
            order.isPlanning = false
            if window.isFilled { sequencerHasWork = true }
            workAvailable.broadcast()
        }
    }

    /// Grants memory for the windows' chunks in order; the lock is held.
    func admitPlanned(_ order: IndexedOrder) {
        isMemoryShort = false
        for window in order.windows {
            while window.admitted < window.chunks.count {
                let plan = window.chunks[window.admitted]
                guard let chunk = grant(plan) else {
                    isMemoryShort = true
                    return
                }
                window.admitted += 1
                plan.chunk = chunk
                if ringDepth != nil, !plan.fetches.isEmpty {
                    ringQueue.append(chunk)
                    ringWork.signal()
                    wakeRing?()
                } else {
                    order.fillQueue.append(chunk)
                }
            }
        }
    }

    private func grant(_ plan: PlannedChunk) -> Chunk? {
        // All of it or nothing, so that no chunk waits for its second half.
        func room(_ bytes: Int) -> Int {
            bytes == 0 ? 0 : bytes <= arena.pool.slabBytes ? arena.pool.slabBytes : SlabPool.sizeClass(bytes)
        }
        let scratch = plan.keepsSamplesAlone ? plan.frameBytes : 0
        let needsMemory = plan.outputBytes > 0 || !plan.fetches.isEmpty
        guard needsMemory else {
            let chunk = arena.takeEmpty()
            chunk.prepare(plan)
            return chunk
        }
        guard
            let chunk = arena.take(
                atLeast: max(1, plan.outputBytes), keeping: room(plan.inputBytes) + room(scratch))
        else { return nil }
        if plan.inputBytes > 0 { chunk.input = arena.takeSlab(plan.inputBytes, keeping: room(scratch)) }
        if scratch > 0 { chunk.scratch = arena.takeSlab(scratch) }
        guard (chunk.input != nil || plan.inputBytes == 0) && (chunk.scratch != nil || scratch == 0) else {
            arena.putBack(chunk)
            memoryReturned.add(1, ordering: .relaxed)
            return nil
        }
        chunk.prepare(plan)
        return chunk
    }

    /// Memory of the first planned chunk that has none; the lock is held.
    var plannedShortage: Int {
        for window in indexed?.windows ?? [] where window.admitted < window.chunks.count {
            let plan = window.chunks[window.admitted]
            return plan.outputBytes + plan.inputBytes + (plan.keepsSamplesAlone ? plan.frameBytes : 0)
        }
        return 0
    }

    /// The next chunk that a worker has to fill; the lock is held.
    func nextPlannedToFill(_ order: IndexedOrder) -> Chunk? {
        guard order.filled < order.fillQueue.count else { return nil }
        let chunk = order.fillQueue[order.filled]
        order.filled += 1
        if order.filled == order.fillQueue.count {
            order.fillQueue.removeAll(keepingCapacity: true)
            order.filled = 0
        }
        chunk.state = .filling
        return chunk
    }

    func fillPlanned(
        _ chunk: Chunk, _ plan: PlannedChunk, filler: PlannedFiller, times: inout RoomClock, began: Int
    ) {
        let fetched = filler.fill(chunk, plan)
        times[.fetch].busyNanoseconds += fetched.fetchCPU
        times[.fetch].waitInputNanoseconds += max(0, fetched.fetchWall - fetched.fetchCPU)
        times[.unpack].busyNanoseconds += max(0, Clock.now() - began - fetched.fetchWall)
        var account = ShardAccount()
        account.samples = plan.samples.count
        for (index, sample) in plan.samples.enumerated() {
            if chunk.table.samples[index].defect >= 0 {
                account.bytesLost += sample.length
            } else {
                account.bytesParsed += sample.length
            }
        }
        lock.withLock {
            tally.account.add(account)
            chunk.state = .filled
            if fetched.requests > 0 {
                noteFetch(
                    bytes: fetched.bytes, requests: fetched.requests, began: began, fetched.sources,
                    epoch: epoch)
            }
            plan.window.pending -= 1
            if plan.window.isFilled { sequencerHasWork = true }
            workAvailable.signal()
        }
    }
}

extension Engine: IndexedOrder.Supply {
    func filledWindow() -> Window? {
        lock.withLock {
            guard let window = indexed?.windows.first, window.isFilled,
                window.admitted == window.chunks.count
            else { return nil }
            return window
        }
    }

    func countLeftOut(_ samples: Int) {
        lock.withLock {
            tally.droppedSamples += samples
            tally.account.samples += samples
        }
    }

    func end(_ error: HeadraceError) {
        lock.withLock {
            delivery.end = delivery.end ?? (order.batchCount, error)
            batchReady.broadcast()
            serveWaiters()
        }
    }

    func dropWindow() {
        lock.withLock {
            indexed?.windows.removeFirst()
            workAvailable.broadcast()
        }
    }
}
