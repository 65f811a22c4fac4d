package import HeadraceCore

/// How far a run is: the same on all ranks, so that the state of any one resumes them all.
package struct EpochPosition: Sendable, Hashable {
    package var epoch: Int
    /// Rows that all ranks together got in this epoch: steps × W × B, summed over the segments.
    package var position: Int
    /// World and batch sizes that the epoch was dealt to so far.
    package var segments: [RankShare.Segment]

    package init(epoch: Int, position: Int, segments: [RankShare.Segment]) {
        self.epoch = epoch
        self.position = position
        self.segments = segments
    }

    /// The start of an epoch.
    package init(startOf epoch: Int, worldSize: Int, batchSize: Int) {
        self.init(
            epoch: epoch, position: 0,
            segments: [RankShare.Segment(start: 0, worldSize: worldSize, batchSize: batchSize)])
    }

    /// The same place, to go on with these sizes: a new segment where they differ.
    package func continued(worldSize: Int, batchSize: Int) -> EpochPosition {
        guard let last = segments.last else { return self }
        if last.worldSize == worldSize, last.batchSize == batchSize { return self }
        var next = self
        // Nothing was delivered at the sizes before: they leave no trace.
        if last.start == position { next.segments.removeLast() }
        if let before = next.segments.last, before.worldSize == worldSize, before.batchSize == batchSize {
            return next
        }
        next.segments.append(RankShare.Segment(start: position, worldSize: worldSize, batchSize: batchSize))
        return next
    }

    /// The step of the last segment that comes next.
    package var nextStep: Int {
        guard let last = segments.last else { return 0 }
        return (position - last.start) / (last.worldSize * last.batchSize)
    }

    /// The position behind step `step` of `share`; behind the last one that is the start of the next epoch.
    ///
    /// All ranks count, also where the share is that of one node's ranks.
    package func after(step: Int, of share: RankShare) -> EpochPosition {
        let last = segments.last
        guard step + 1 < share.stepCount, let last else {
            return EpochPosition(
                startOf: epoch + 1, worldSize: last?.worldSize ?? share.worldSize,
                batchSize: last?.batchSize ?? share.batchSize)
        }
        var next = self
        next.position = last.start + (step + 1) * last.worldSize * last.batchSize
        return next
    }

    /// Throws where the position is none that ``after(step:of:)`` gives.
    package func check() throws(HeadraceError) {
        try PlanLimits.check(epoch, 0...PlanLimits.epoch, "the epoch")
        try PlanLimits.check(position, 0...PlanLimits.sampleCount, "the position")
        try RankShare.check(segments)
        guard let last = segments.last else { return }
        guard position >= last.start, (position - last.start) % (last.worldSize * last.batchSize) == 0 else {
            throw HeadraceError(
                .usage,
                "position \(position) is not the end of a step of \(last.worldSize) ranks with "
                    + "\(last.batchSize) rows each behind \(last.start)")
        }
    }
}
