internal import HeadraceCompute
internal import HeadraceCore
internal import Synchronization

// Batches on their way to a device. On the host they are where they are wanted, and nobody is on the way.

extension Engine {
    /// Whether bringing a batch to where it is wanted takes time, so that a thread of its own sees to it.
    var hasPlacer: Bool { backend.device != .host }

    /// Takes a batch whose rows are all there; nobody else touches it now.
    func place(_ slot: BatchSlot) {
        // A remainder is only there to be judged.
        guard hasPlacer, !slot.isRemainder else {
            if !slot.isRemainder {
                slot.startPlacing(backend)
                slot.finishPlacing(backend)
            }
            return lock.withLock { deliver(slot) }
        }
        lock.withLock {
            placing.append(slot)
            placingWork.signal()
        }
    }

    /// The placing thread's life: starts what is ready, oldest first, and waits for copies when there is nothing to
    /// start, so that several are under way while workers go on.
    func servePlacing() {
        var started: [BatchSlot] = []
        lock.lock()
        while !isClosing {
            if let place = placing.indices.min(by: { placing[$0].sequence < placing[$1].sequence }) {
                let slot = placing.remove(at: place)
                placementsUnderWay += 1
                lock.unlock()
                let began = Clock.now()
                slot.startPlacing(backend)
                started.append(slot)
                lock.lock()
                clock[.handOver].busyNanoseconds += Clock.now() - began
            } else if let oldest = started.first {
                lock.unlock()
                oldest.finishPlacing(backend)
                started.removeFirst()
                lock.lock()
                placementsUnderWay -= 1
                noteStagingReturned()
                deliver(oldest)
            } else {
                placingWork.wait()
            }
        }
        lock.unlock()
        // Copies that are under way read memory that is freed next.
        for slot in started {
            slot.finishPlacing(backend)
            slot.unplace(backend)
        }
    }

    /// Staging memory is free again as soon as a batch has arrived; the lock is held.
    private func noteStagingReturned() {
        memoryReturned.add(1, ordering: .relaxed)
        if slotsWantMemory || sequencerWantsSlot {
            slotsWantMemory = false
            sequencerHasWork = true
        }
        workAvailable.broadcast()
    }

    /// Lays a batch out for the consumer; the lock is held.
    private func deliver(_ slot: BatchSlot) {
        ready[slot.sequence] = slot
        // Waking the consumer costs more than a run of raw rows: where more of those are waiting, it finds several
        // batches when it comes. Whoever does the last of them wakes it.
        let isFewer = rowsPerRun < DecodeJob.longestRun || ready.count >= options.prefetch
        if isFewer || decodeQueue.isEmpty || hasPlacer {
            if ready[delivery.nextSequence] != nil { batchReady.signal() }
            serveWaiters()
        }
    }
}
