internal import HeadraceCore

/// What the states of one loader have in common.
struct StateBase: Sendable {
    var walk: Walk
    var data: DataFingerprint
    var options: [String: String]
    var ranks: Ranks
    /// Where the loader began.
    var start: EpochPosition
    /// What this rank takes over of its own.
    var carried: LoaderState.Local?

    func state(
        _ position: EpochPosition, _ digests: (ordered: OrderedDigest, set: SetDigest)?,
        _ skips: LoaderState.Skips
    ) -> LoaderState {
        LoaderState(
            walk: walk, data: data, options: options, position: position,
            local: LoaderState.Local(
                rank: ranks.rank, digest: digests?.ordered, setDigest: digests?.set, skips: skips))
    }
}

extension Engine {
    /// The state of a loader whose last batch was that of `slot`.
    func state(behind slot: BatchSlot) -> LoaderState? {
        guard let base = stateBase else { return nil }
        return base.state(position(behind: slot), slot.digests, slot.skips)
    }

    var stateOfDelivery: LoaderState {
        let base = stateBase!
        return lock.withLock {
            let digests = options.digest ? (delivery.digest, delivery.setDigest) : nil
            return base.state(delivery.position ?? base.start, digests, delivery.skips)
        }
    }

    /// In a streamed walk every step is as many rows, and an epoch that has no more of them ends at once.
    func position(behind slot: BatchSlot) -> EpochPosition {
        if let position = slot.position { return position }
        let ranks = stateBase?.ranks ?? .alone
        var position = EpochPosition(
            startOf: slot.epoch, worldSize: ranks.worldSize, batchSize: options.batchSize)
        position.position = (slot.indexInEpoch + 1) * ranks.worldSize * options.batchSize
        return position
    }

    /// A resumed run that has nothing left reads nothing; before its threads start.
    func endBeforeItBegins() {
        lanes = []
        isEpochOver = true
        isSourceDone = true
        terminate(.success(nil))
    }

    var batchesPerEpoch: Int? {
        if let indexed { return lock.withLock { indexed.share.stepCount } }
        if let rowLimit = lock.withLock({ rowLimit }) {
            return (rowLimit + options.batchSize - 1) / options.batchSize
        }
        return nil
    }

    var stepsOfEpoch: Int? {
        guard options.uneven == .pad, let rowLimit else { return nil }
        return (rowLimit + options.batchSize - 1) / options.batchSize
    }

    /// Rows of a streamed batch that this rank must not deliver: those that a resumed run has delivered already, and
    /// those beyond the rows that every rank gets. A batch without rows passes through, so that numbers stay in order.
    func trim(_ slot: BatchSlot) {
        guard indexed == nil, !slot.isRemainder else { return }
        if slot.epoch == resumedEpoch, slot.indexInEpoch < resumedSteps {
            let passed = slot.count
            lock.withLock { tally.account.samples -= passed }
            slot.count = 0
            slot.padding = 0
            slot.isRemainder = true
            return
        }
        guard let rowLimit = lock.withLock({ rowLimit }) else { return }
        let room = max(0, min(options.batchSize, rowLimit - slot.indexInEpoch * options.batchSize))
        slot.padding = options.uneven == .pad ? max(0, room - slot.count) : 0
        guard slot.count > room else { return }
        countDropped(slot.count - room)
        slot.count = room
        if room == 0 { slot.isRemainder = true }
    }
}
