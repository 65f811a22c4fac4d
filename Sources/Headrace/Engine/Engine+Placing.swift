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
        // The copy is under way at once, behind those of other batches; nobody has to wait for those first.
        let began = Clock.now()
        slot.startPlacing(backend)
        lock.withLock {
            clock[.handOver].busyNanoseconds += Clock.now() - began
            placing.append(slot)
            placingWork.signal()
        }
    }

    /// The placing thread's life: waits for copies, and lays batches out that have arrived.
    func servePlacing() {
        lock.lock()
        while !isClosing {
            guard let place = placing.indices.min(by: { placing[$0].sequence < placing[$1].sequence }) else {
                placingWork.wait()
                continue
            }
            let slot = placing.remove(at: place)
            placementsUnderWay += 1
            lock.unlock()
            slot.finishPlacing(backend)
            lock.lock()
            placementsUnderWay -= 1
            noteStagingReturned()
            deliver(slot)
        }
        lock.unlock()
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
