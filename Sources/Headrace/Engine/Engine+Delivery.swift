internal import HeadraceCore
internal import Synchronization

/// What has been handed over, in order; guarded by the engine's lock.
struct Delivery {
    /// Sequence number of the next batch.
    var nextSequence = 0
    /// Batches of the whole loader, once the last one is known.
    var total: Int?
    /// Set once: what every further call answers.
    var terminal: Result<BatchSlot?, HeadraceError>?
    /// What is wrong with the data set as a whole, and how many batches are delivered before it is told.
    var end: (total: Int, error: HeadraceError)?
    /// A batch that could not be delivered keeps its memory until the loader is closed.
    var undelivered: BatchSlot?
    /// Batches in the consumer's hands.
    var leases = 0
    var samples = 0
    var batches = 0
    var payloadBytes = 0
    var skipped = 0
    /// Rows without a sample, and rows delivered twice, that make ranks equal.
    var padded = 0
    var repeated = 0
    /// Where to go on behind the last batch; nil before the first and in a streamed walk.
    var position: EpochPosition?
    /// The first defects, for the report.
    var defects: [HeadraceError] = []
    var digest = OrderedDigest()
    var setDigest = SetDigest()
    var waitNanoseconds = 0
    /// The epoch that is being delivered.
    var epoch = 0
    /// What limits of skipping go by: also what was skipped before the run was resumed.
    var skips = LoaderState.Skips()

    /// Defects that a report lists one by one; all are counted.
    static let listedDefects = 100
    /// Samples after which a limit by share is judged within an epoch.
    static let shareJudgedFrom = 1000
}

/// A task that waits for a batch.
struct AsyncWaiter {
    typealias Outcome = Result<BatchSlot?, HeadraceError>
    let id: Int
    /// When the wait began, for the consumer's share of waiting.
    let began: Int
    let continuation: CheckedContinuation<Outcome, Never>

    func resume(_ outcome: Outcome) { continuation.resume(returning: outcome) }
}

extension Engine {
    /// The next batch in order, waiting for it; nil after the last.
    func next() throws(HeadraceError) -> BatchSlot? {
        lock.lock()
        defer { lock.unlock() }
        let began = Clock.now()
        var waited = false
        while true {
            if isClosing { return nil }
            if let outcome = poll() {
                if waited { noteWait(since: began) }
                return try outcome.get()
            }
            waited = true
            consumersWaiting += 1
            checkForStarvation()
            if delivery.terminal == nil { batchReady.wait() }
            consumersWaiting -= 1
        }
    }

    /// The same without blocking a thread; `id` names the wait to ``cancel(_:)``.
    func nextAsync(id: Int) async -> AsyncWaiter.Outcome {
        let began = Clock.now()
        return await withCheckedContinuation { continuation in
            lock.lock()
            if isClosing || cancelled.contains(id) {
                lock.unlock()
                continuation.resume(returning: .success(nil))
            } else if let outcome = poll() {
                noteWait(since: began)
                lock.unlock()
                continuation.resume(returning: outcome)
            } else {
                waiters.append(AsyncWaiter(id: id, began: began, continuation: continuation))
                checkForStarvation()
                lock.unlock()
            }
        }
    }

    /// Ends the wait `id`, if it is still waiting, with nil; a later wait of that number ends at once.
    func cancel(_ id: Int) {
        let waiter = lock.withLock { () -> AsyncWaiter? in
            cancelled.insert(id)
            guard let place = waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return waiters.remove(at: place)
        }
        waiter?.resume(.success(nil))
    }

    func noteWait(since began: Int) {
        let waited = Clock.now() - began
        delivery.waitNanoseconds += waited
        clock[.handOver].waitInputNanoseconds += waited
    }

    /// What the consumer gets now, or nil when it must wait. The lock is held.
    func poll() -> Result<BatchSlot?, HeadraceError>? {
        if let terminal = delivery.terminal { return terminal }
        if delivery.leases >= options.heldBatches {
            return .failure(
                HeadraceError(
                    .heldBatches,
                    "the consumer holds \(delivery.leases) batches, as many as the loader budgeted for; let go of "
                        + "batches before asking for more, or raise heldBatches"))
        }
        if let known = delivery.end, known.total == delivery.nextSequence {
            return end(.failure(known.error))
        }
        if delivery.total == delivery.nextSequence {
            return end(judgeEpochEnd().map { .failure($0) } ?? .success(nil))
        }
        guard let slot = ready.removeValue(forKey: delivery.nextSequence) else { return nil }
        if let error = judge(slot) {
            delivery.undelivered = slot
            return end(.failure(error))
        }
        delivery.nextSequence += 1
        if slot.isRemainder {
            // It was only there to be judged.
            retired.append(slot)
            workAvailable.signal()
            return poll()
        }
        delivery.leases += 1
        count(slot)
        // Of several consumers one was woken for this batch; the next batch may be there already.
        if ready[delivery.nextSequence] != nil || delivery.total == delivery.nextSequence {
            batchReady.signal()
        }
        return .success(slot)
    }

    private func end(_ outcome: Result<BatchSlot?, HeadraceError>) -> Result<BatchSlot?, HeadraceError> {
        terminate(outcome)
        return outcome
    }

    /// Settles what every further call answers, and tells everybody who waits. The lock is held; resuming a task only
    /// queues it.
    func terminate(_ outcome: Result<BatchSlot?, HeadraceError>) {
        guard delivery.terminal == nil else { return }
        delivery.terminal = outcome
        for waiter in waiters { waiter.resume(outcome) }
        waiters = []
        batchReady.broadcast()
        workAvailable.broadcast()
    }

    /// Gives waiting tasks what is there for them. The lock is held.
    func serveWaiters() {
        while let waiter = waiters.first, let outcome = poll() {
            // `poll` has served all of them where it ended the loader.
            guard !waiters.isEmpty else { return }
            waiters.removeFirst()
            noteWait(since: waiter.began)
            waiter.resume(outcome)
        }
    }

    /// Applies the defect policy to a batch, in order; the error that ends the loader, if one does.
    private func judge(_ slot: BatchSlot) -> HeadraceError? {
        if let failure = slot.placementFailure { return failure }
        if slot.epoch != delivery.epoch {
            if let error = judgeEpochEnd() { return error }
            delivery.epoch = slot.epoch
            delivery.skips.seenInEpoch = 0
            delivery.skips.inEpoch = 0
        }
        delivery.skips.seenInEpoch += slot.count
        for (_, error) in slot.defects {
            // Only damaged data can be skipped; a machine that cannot read is not the data's fault.
            if error.code.category != .data { return error }
            if options.onDefect == .fail { return error }
            delivery.skips.seenInEpoch += 1
            delivery.skipped += 1
            delivery.skips.total += 1
            delivery.skips.inEpoch += 1
            if delivery.defects.count < Delivery.listedDefects { delivery.defects.append(error) }
            if case .skip(let limit) = options.onDefect, delivery.skips.total > limit {
                return tooMany(
                    "\(delivery.skips.total) defective samples are more than the limit of \(limit)", error)
            }
        }
        return delivery.skips.seenInEpoch >= Delivery.shareJudgedFrom ? judgeEpochEnd() : nil
    }

    private func judgeEpochEnd() -> HeadraceError? {
        guard case .skipShare(let share) = options.onDefect else { return nil }
        guard Double(delivery.skips.inEpoch) > share * Double(delivery.skips.seenInEpoch) else { return nil }
        let percent = (share * 10_000).rounded() / 100
        return tooMany(
            "\(delivery.skips.inEpoch) of \(delivery.skips.seenInEpoch) samples are defective, more than \(percent) %",
            delivery.defects.last)
    }

    /// - Parameter last: none where all were skipped before the run was resumed.
    private func tooMany(_ text: String, _ last: HeadraceError?) -> HeadraceError {
        HeadraceError(
            .tooManyDefects, text, at: last?.place ?? HeadraceError.Place(), cause: last?.description)
    }

    private func count(_ slot: BatchSlot) {
        let now = Clock.now()
        if tally.firstBatchAt == 0 { tally.firstBatchAt = now }
        tally.lastBatchAt = now
        delivery.samples += slot.count
        delivery.batches += 1
        delivery.payloadBytes += slot.payloadBytes
        delivery.padded += slot.padding
        delivery.repeated += slot.repeated
        delivery.position = position(behind: slot)
        slot.skips = delivery.skips
        defer {
            if options.digest { slot.digests = (delivery.digest, delivery.setDigest) }
        }
        guard let hashes = unsafe slot.hashes else { return }
        for row in 0..<slot.count {
            let hash = unsafe hashes[row]
            delivery.digest.add(hash)
            delivery.setDigest.add(hash)
        }
    }

    /// Takes a batch back from the consumer.
    func takeBack(_ slot: BatchSlot) {
        slot.unplace(backend)
        for chunk in slot.chunks { arena.release(chunk) }
        // Staging memory came back too, and with it perhaps what a parked lane waits for.
        memoryReturned.add(1, ordering: .relaxed)
        lock.withLock {
            slot.reset()
            freeSlots.append(slot)
            delivery.leases -= 1
            if sequencerWantsSlot || slotsWantMemory { sequencerHasWork = true }
            workAvailable.broadcast()
        }
    }

    /// Ends the loader with the budget's figure when nobody can go on: all workers are idle, no read is under way, no
    /// batch is ready, the consumer waits, and yet lanes want memory. The lock is held.
    func checkForStarvation() {
        guard idleWorkers == workerCount, consumersWaiting > 0 || !waiters.isEmpty, !isClosing else { return }
        guard ringInFlight == 0, ringQueue.isEmpty, !isSequencing, delivery.terminal == nil else { return }
        guard placing.isEmpty, placementsUnderWay == 0 else { return }
        guard ready[delivery.nextSequence] == nil, delivery.total != delivery.nextSequence,
            delivery.end?.total != delivery.nextSequence
        else { return }
        // A worker that was woken counts as idle until it has the lock: what it was woken for must not be missed.
        admit()
        if hasWork {
            workAvailable.signal()
            return
        }
        // What is held now, and what every lane needs besides: an estimate from below, but never below the limit.
        let needed = max(arena.pool.bytesInUse, arena.pool.limit) + max(laneReserve, plannedShortage)
        let cure =
            indexed == nil
            ? "make batches smaller or lower the shuffle buffer"
            : "make batches smaller, or samples in their shards"
        var held = ""
        if delivery.leases > 0 { held = "; the consumer holds \(delivery.leases) batches" }
        let error = HeadraceError(
            .budget,
            "the memory budget of \(ByteCount(arena.pool.limit)) is used up by what has been read ahead and "
                + "cannot be let go (\(indexed == nil ? "shuffle buffer, " : "")batches)\(held); it takes "
                + "\(ByteCount(needed)) or more: raise the budget, \(cure)")
        terminate(.failure(error))
    }
}
