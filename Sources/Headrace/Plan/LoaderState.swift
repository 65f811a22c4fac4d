package import HeadraceCore

/// Which way a data set is walked.
public enum Walk: String, Hashable, Sendable, CaseIterable {
    /// Shards front to back, several in turn.
    case streamed
    /// Samples in any order, by an index.
    case indexed
}

/// Where a run is, and all that must be equal for another to go on from there exactly. Small, readable JSON.
///
/// The state says what comes next, not what was done: prefetched batches are not in it. Everything but ``local`` is
/// the same on all ranks at the same step, so the file of any one resumes them all.
public struct LoaderState: Sendable, Equatable {
    package static let schema = "headrace.state/1"
    /// Version of the equations of order, dealing and shuffling. A state of another version cannot be resumed exactly,
    /// so it is refused.
    package static let planVersion = 1

    package var walk: Walk
    package var data: DataFingerprint
    /// The options that decide what is delivered, by their names on the command line, as text. World and batch size are
    /// none of them in an indexed walk: the position says what they were.
    package var options: [String: String]
    package var position: EpochPosition
    package var local: Local?

    /// What one rank knows of itself: digests of what it delivered, and what it left out.
    package struct Local: Sendable, Equatable {
        package var rank: Int
        package var digest: OrderedDigest?
        package var setDigest: SetDigest?
        package var skips: Skips

        package init(
            rank: Int, digest: OrderedDigest? = nil, setDigest: SetDigest? = nil, skips: Skips = Skips()
        ) {
            self.rank = rank
            self.digest = digest
            self.setDigest = setDigest
            self.skips = skips
        }
    }

    /// Defective samples that were left out, which limits go on counting.
    package struct Skips: Sendable, Equatable {
        /// Since the run began.
        package var total: Int
        /// Of the epoch, and the samples seen in it.
        package var inEpoch: Int
        package var seenInEpoch: Int

        package init(total: Int = 0, inEpoch: Int = 0, seenInEpoch: Int = 0) {
            self.total = total
            self.inEpoch = inEpoch
            self.seenInEpoch = seenInEpoch
        }
    }

    package init(
        walk: Walk, data: DataFingerprint, options: [String: String], position: EpochPosition,
        local: Local? = nil
    ) {
        self.walk = walk
        self.data = data
        self.options = options
        self.position = position
        self.local = local
    }

    // MARK: Resuming

    /// What a loader is, for a state to be held against.
    package struct Loader: Sendable {
        package var walk: Walk
        package var shards: [DataFingerprint.Shard]
        package var options: [String: String]
        package var worldSize: Int
        package var batchSize: Int
        /// Whether an epoch can go on with another world or batch size: not in a streamed walk, not with an affinity to
        /// nodes, and not inside a window of bucketing.
        package var isElastic: Bool

        package init(
            walk: Walk, shards: [DataFingerprint.Shard], options: [String: String], worldSize: Int,
            batchSize: Int, isElastic: Bool
        ) {
            self.isElastic = isElastic
            self.walk = walk
            self.shards = shards
            self.options = options
            self.worldSize = worldSize
            self.batchSize = batchSize
        }
    }

    /// The position to go on from, with a new segment where the world or batch size is another one; throws `usage` with
    /// the difference named where the state is not one of this loader.
    package func resumed(by loader: Loader) throws(HeadraceError) -> EpochPosition {
        guard walk == loader.walk else {
            throw Self.refused(
                "it is one of the \(walk.rawValue) walk, and this loader's is \(loader.walk.rawValue)")
        }
        if let difference = Self.difference(options, loader.options) { throw Self.refused(difference) }
        if let difference = data.difference(from: loader.shards) { throw Self.refused(difference) }
        guard let last = position.segments.last else { throw Self.refused("it has no segment") }
        let isResized = last.worldSize != loader.worldSize || last.batchSize != loader.batchSize
        if isResized, walk == .streamed || !loader.isElastic {
            throw Self.refused(
                "it goes on only with \(last.worldSize) ranks and batches of \(last.batchSize), and there are "
                    + "\(loader.worldSize) ranks and batches of \(loader.batchSize); an indexed walk without affinity "
                    + "can change both, with bucketing between two of its windows ('headrace index' makes the index)"
            )
        }
        return position.continued(worldSize: loader.worldSize, batchSize: loader.batchSize)
    }

    /// What a rank that goes on takes over of its own; nil for another rank, and where the world has another size, whose
    /// ranks have other shares.
    package func carried(rank: Int, worldSize: Int) -> Local? {
        guard let local, local.rank == rank, position.segments.last?.worldSize == worldSize else {
            return nil
        }
        return local
    }

    /// Whether both are states of one step of one run, of whatever ranks.
    package func agrees(with other: LoaderState) -> Bool {
        var left = self
        var right = other
        left.local = nil
        right.local = nil
        return left == right
    }

    private static func difference(_ ours: [String: String], _ theirs: [String: String]) -> String? {
        let names = Set(ours.keys).union(theirs.keys).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let differences = names.compactMap { name -> String? in
            switch (ours[name], theirs[name]) {
            case (let ours?, let theirs?) where ours == theirs: nil
            case (let ours?, let theirs?): "'\(name)' was \(ours) and is \(theirs)"
            case (let ours?, nil): "'\(name)' was \(ours) and is not set"
            case (nil, let theirs): "'\(name)' was not set and is \(theirs ?? "")"
            }
        }
        return differences.isEmpty ? nil : "other options: " + differences.joined(separator: ", ")
    }

    private static func refused(_ reason: String) -> HeadraceError {
        HeadraceError(
            .usage,
            "the state does not fit this loader: \(reason). Restore what differs, or start without the state")
    }
}
