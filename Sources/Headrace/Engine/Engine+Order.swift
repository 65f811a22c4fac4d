internal import HeadraceCore

extension Engine {
    /// Room 5's ordered stage for a lane: the worker that has claimed the lane steps on until its chunk is used up,
    /// memory lacks, or the sequencer has enough of this lane.
    func unpack(_ lane: Lane, _ input: Chunk) {
        guard let pass = input.pass else { return }
        let isLast = input.index == pass.chunks.count - 1
        if !pass.directory.isEmpty {
            pass.unpacker.number(input)
            putOut(input, of: pass, in: lane)
            return leave(lane, input, of: pass, isTaken: true, isFinished: isLast)
        }
        var taken: Chunk?
        var isTaken = false
        while true {
            let releasesBefore = releases
            switch pass.unpacker.step(input, isLast: isLast) {
            case .produced(let chunk) where chunk === input:
                // Put out only once the unpacker is done with it: after that it may be recycled at any time.
                taken = chunk
                isTaken = true
            case .produced(let chunk):
                if let done = taken.take() { putOut(done, of: pass, in: lane) }
                chunk.pass = pass
                // Behind a chunk that was taken there is one short one at most, and the input must not be seen again.
                if !putOut(chunk, of: pass, in: lane), !isTaken { return release(lane) }
            case .needsInput:
                if let taken { putOut(taken, of: pass, in: lane) }
                return leave(lane, input, of: pass, isTaken: isTaken, isFinished: false)
            case .finished:
                if let taken { putOut(taken, of: pass, in: lane) }
                return leave(lane, input, of: pass, isTaken: isTaken, isFinished: true)
            case .needsMemory(let bytes):
                if bytes > 0 { return release(lane, parkedAt: releasesBefore) }
            }
        }
    }

    /// Publishes a chunk for the sequencer; false when the lane should pause there.
    @discardableResult
    private func putOut(_ chunk: Chunk, of pass: ShardPass, in lane: Lane) -> Bool {
        lock.withLock {
            lane.output.append(chunk)
            sequencerHasWork = true
            workAvailable.signal()
            return lane.output.count < unpackedLimit
        }
    }

    /// Gives the lane up without having used up its chunk.
    private func release(_ lane: Lane, parkedAt releases: Int? = nil) {
        lock.withLock {
            lane.isUnpacking = false
            lane.parkedAt = releases
            workAvailable.signal()
        }
    }

    /// Gives the lane up after its first chunk; after the last chunk of a shard, or behind damage, the pass too. A
    /// chunk that was taken may have been recycled already, so nothing of it is looked at.
    private func leave(_ lane: Lane, _ input: Chunk, of pass: ShardPass, isTaken: Bool, isFinished: Bool) {
        var discarded: [Chunk] = []
        lock.withLock {
            lane.window.removeFirst()
            lane.parkedAt = nil
            lane.isUnpacking = false
            if isFinished { discarded = finish(pass, in: lane) }
            if lane.isEnded { sequencerHasWork = true }
            workAvailable.broadcast()
        }
        if !isTaken { arena.release(input) }
        for chunk in discarded { arena.release(chunk) }
    }

    /// Ends a pass: what was read ahead of damage is given back, but for chunks somebody still fills.
    private func finish(_ pass: ShardPass, in lane: Lane) -> [Chunk] {
        pass.isOver = true
        tally.account.add(pass.unpacker.account)
        pass.unpacker.abandon()
        if lane.pass === pass { lane.pass = nil }
        ringQueue.removeAll { $0.pass === pass }
        let ours = lane.window.filter { $0.pass === pass }
        lane.window.removeAll { $0.pass === pass }
        return ours.filter { $0.state != .filling }
    }

    // MARK: Batches

    /// Takes the outcome of a decoded run of rows; the last run closes the batch.
    func finish(_ job: DecodeJob, outcome: DecodeOutcome) {
        lock.lock()
        let slot = job.slot
        slot.payloadBytes += outcome.payloadBytes
        slot.defects.append(contentsOf: outcome.defects)
        slot.pendingRuns -= 1
        let isClosed = slot.pendingRuns == 0
        if isClosed {
            undecodedSlots -= 1
            if sequencerWantsSlot && !freeSlots.isEmpty {
                sequencerHasWork = true
                workAvailable.signal()
            }
        }
        lock.unlock()
        guard isClosed else { return }
        // Nobody else touches the slot now: all its runs are in, and it is not in the queue yet.
        slot.closeUp()
        place(slot)
    }

    /// Takes the end of a sequencer's run; at the end of an epoch the next one begins.
    func finishSequencing(epochIsOver: Bool) {
        lock.withLock {
            isSequencing = false
            if epochIsOver { finishEpoch() }
            workAvailable.broadcast()
        }
    }

    /// What to say where this rank found fewer samples than all ranks were to deliver: without them it would be done
    /// while the others wait for it. The lock is held.
    private func shortfall() -> HeadraceError? {
        guard let rowLimit, options.uneven != .pad, sequencer.rowsInEpoch < rowLimit else { return nil }
        let ranks = stateBase?.ranks ?? .alone
        return HeadraceError(
            .usage,
            "rank \(ranks.rank) of \(ranks.worldSize) found \(sequencer.rowsInEpoch) samples in epoch \(epoch), and "
                + "every rank was to deliver \(rowLimit): the number of steps is too large, or what counts the samples "
                + "is wrong (make fewer steps, pad, or count anew with 'headrace index --rebuild')")
    }

    /// Begins the next epoch, or lets the consumer see the end; the lock is held.
    private func finishEpoch() {
        isEpochOver = true
        if indexed == nil, let error = shortfall() {
            delivery.end = delivery.end ?? (order.batchCount, error)
            isSourceDone = true
            batchReady.broadcast()
            serveWaiters()
            return
        }
        if let epochs = options.epochs, epoch + 1 >= epochs {
            isSourceDone = true
            delivery.total = order.batchCount
            batchReady.broadcast()
            serveWaiters()
        } else if order.batchesOfEpoch == 0, options.epochs == nil, indexed?.position.position ?? 0 == 0 {
            terminate(
                .failure(
                    HeadraceError(
                        .usage,
                        "an epoch yields no batch, and the number of epochs is not limited: the data set has fewer "
                            + "samples than a batch (keep the last batch, or make batches smaller)")))
        } else {
            startEpoch(epoch + 1)
        }
    }
}

extension Engine: Sequencer.Supply {
    func takeOutput(ofLane lane: Int) -> Chunk? {
        lock.withLock {
            guard !lanes[lane].output.isEmpty else { return nil }
            workAvailable.signal()
            return lanes[lane].output.removeFirst()
        }
    }

    func isEnded(lane: Int) -> Bool { lock.withLock { lanes[lane].isEnded } }

    func takeSlot() -> BatchSlot? {
        let free = lock.withLock { () -> BatchSlot? in
            sequencerWantsSlot = freeSlots.isEmpty || undecodedSlots >= undecodedLimit
            return sequencerWantsSlot ? nil : freeSlots.popLast()
        }
        guard let slot = free else { return nil }
        let releasesBefore = releases
        do throws(HeadraceError) {
            if try slot.equip(backend) { return slot }
            lock.withLock {
                freeSlots.append(slot)
                // What came back meanwhile told nobody.
                if releases != releasesBefore { sequencerHasWork = true } else { slotsWantMemory = true }
            }
        } catch {
            lock.withLock { freeSlots.append(slot) }
            // Batches that were given out before are delivered first; one of them may say more.
            end(error)
        }
        return nil
    }

    /// Batches that wait for a worker to decode them, at most: as many as keep all workers busy. Where columns have memory of
    /// their own, each batch that is dealt further ahead would only touch more of it.
    private var undecodedLimit: Int {
        guard slotBytes >= Self.largeSlot else { return Int.max }
        return 1 + (workerCount * rowsPerRun + options.batchSize - 1) / options.batchSize
    }

    private static let largeSlot = 1 << 20

    func submit(_ slot: BatchSlot) {
        trim(slot)
        lock.withLock {
            let runs = max(1, (slot.count + rowsPerRun - 1) / rowsPerRun)
            slot.pendingRuns = runs
            undecodedSlots += 1
            for run in 0..<runs {
                let start = run * rowsPerRun
                let end = min(slot.count, start + rowsPerRun)
                decodeQueue.append(DecodeJob(slot: slot, rows: start..<end))
            }
            if runs > 1 { workAvailable.broadcast() } else { workAvailable.signal() }
        }
    }

    func release(_ chunk: Chunk) { arena.release(chunk) }

    func drop(_ slot: BatchSlot) {
        slot.unplace(backend)
        for chunk in slot.chunks { arena.release(chunk) }
        lock.withLock {
            slot.reset()
            freeSlots.append(slot)
        }
    }

    func countDropped(_ samples: Int) { lock.withLock { tally.droppedSamples += samples } }
}
