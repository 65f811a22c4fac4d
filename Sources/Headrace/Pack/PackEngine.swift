public import HeadraceCore
internal import HeadraceFormats
internal import Synchronization

/// Renders and compresses frames on all workers, writes them in order.
///
/// Workers take frames in order; whoever ends the next frame due writes it and all that wait behind it, so no
/// thread does nothing but write. A frame is taken only within a window of the last one written: memory is bounded
/// by the window, however unequal frames are, and the frame that all wait for is always under way. Bringing a
/// shard to disk is left to a thread of its own, as it takes no processor time.
// Sendable: `lock` guards all that changes; `output` belongs to whoever has set `isCommitting`.
final class PackEngine: @unchecked Sendable {
    private let plan: PackPlan
    /// The frames of shards that are not there yet.
    private let frames: [PackPlan.Frame]
    private let journal: PackJournal
    private let window: Int
    private let report: (@Sendable (PackProgress) -> Void)?
    private let lock = Lock()
    private let changed: Condition

    private var nextFrame = 0
    /// The frame that may be rendered, where they are rendered in order.
    private var turn = 0
    private var committed = 0
    private var done: [Finished?]
    private var spare: [OutputBuffer] = []
    private var isCommitting = false
    private var output: ShardOutput?
    private var closing: [ShardOutput] = []
    private var finishedShards: [Manifest.Shard?]
    private var jpegs = PackJPEGCounts()
    private var finishedCount = 0
    private var checksums: [Int: PiecewiseChecksum] = [:]
    private var failure: (frame: Int, error: HeadraceError)?
    private var progress = PackProgress()
    private let isCancelled = Atomic(false)

    /// Shards that may wait to be brought to disk: more would only be more dirty pages.
    private static let closingLimit = 2

    private struct Finished {
        let buffer: OutputBuffer
        let row: SeekTableRow?
        /// As planned: what progress is told in.
        let uncompressedByteCount: Int
        let rendered: FrameRenderer.Rendered
    }

    /// - Parameter kept: shards that an earlier run finished, by number; nil for those to be written.
    init(
        _ plan: PackPlan, keeping kept: [PackJournal.Kept?], journal: PackJournal,
        report: (@Sendable (PackProgress) -> Void)?
    ) {
        self.plan = plan
        self.journal = journal
        frames = plan.shards.indices.filter { kept[$0] == nil }.flatMap {
            plan.frames[plan.shards[$0].frames]
        }
        self.report = report
        changed = Condition(lock)
        window = plan.settings.workers * 2 + 2
        done = Array(repeating: nil, count: window)
        finishedShards = kept.map { $0?.shard }
        for (number, earlier) in kept.enumerated() {
            guard let earlier else { continue }
            let shard = earlier.shard
            jpegs += earlier.jpegs
            finishedCount += 1
            progress.shardCount += 1
            progress.sampleCount += shard.sampleCount
            progress.byteCount += plan.shards[number].byteCount
            progress.writtenByteCount += shard.byteCount
        }
        progress.totalSampleCount = plan.inventory.samples.count
        progress.totalByteCount = plan.shards.reduce(0) { $0 + $1.byteCount }
        progress.totalShardCount = plan.shards.count
    }

    /// Writes all shards and their indexes. On failure nothing of unfinished shards stays behind.
    func run() throws(HeadraceError) -> ([Manifest.Shard], PackJPEGCounts) {
        var threads: [Thread] = []
        do throws(HeadraceError) {
            threads.append(try Thread(name: "pack-finish") { self.finishShards() })
            for number in 0..<min(plan.settings.workers, frames.count) {
                threads.append(try Thread(name: "pack-\(number)") { self.work() })
            }
        } catch {
            fail(frame: 0, error)
        }
        for thread in threads { thread.join() }
        if let failure {
            output?.abort()
            for shard in closing { shard.abort() }
            throw failure.error
        }
        return (finishedShards.map { $0! }, jpegs)
    }

    /// Ends the run with the error `cancelled`, before the next frame is begun. No lock: reports may call it.
    func cancel() { isCancelled.store(true, ordering: .releasing) }

    // MARK: - Workers

    private func work() {
        let renderer = FrameRenderer(plan)
        var compressor: (writer: any FrameWriter, input: OutputBuffer)?
        while let (index, checksum, buffer) = takeFrame() {
            do throws(HeadraceError) {
                let frame = frames[index]
                var row: SeekTableRow?
                let rendered: FrameRenderer.Rendered
                if plan.settings.codec != .none {
                    let used =
                        if let compressor { compressor } else {
                            (
                                writer: try plan.settings.codec.makeFrameWriter(level: plan.settings.level),
                                input: OutputBuffer()
                            )
                        }
                    compressor = used
                    used.input.removeAll()
                    guard let done = try render(index, renderer, checksum, into: used.input) else { return }
                    rendered = done
                    row = try unsafe used.writer.appendFrame(used.input.bytes, to: buffer)
                } else {
                    guard let done = try render(index, renderer, checksum, into: buffer) else { return }
                    rendered = done
                }
                let end = frame.closesShard ? plan.shards[frame.shard].endByteCount : 0
                deposit(
                    index,
                    Finished(
                        buffer: buffer, row: row, uncompressedByteCount: frame.window.count + end,
                        rendered: rendered))
            } catch {
                fail(frame: index, error)
            }
        }
    }

    /// Renders a frame when its turn has come; nil when it never will.
    private func render(
        _ index: Int, _ renderer: FrameRenderer, _ checksum: PiecewiseChecksum?, into bytes: OutputBuffer
    ) throws(HeadraceError) -> FrameRenderer.Rendered? {
        let frame = frames[index]
        guard plan.rendersInOrder else {
            return try renderer.render(frame, checksum: checksum, into: bytes)
        }
        lock.lock()
        while failure == nil, turn != index { changed.wait() }
        let isOver = failure != nil
        lock.unlock()
        if isOver { return nil }
        // JPEGs are rewritten when others have their turn.
        var rendered: FrameRenderer.Rendered?
        if plan.rewritesJPEGs(of: frame) {
            try renderer.gather(frame)
        } else {
            rendered = try renderer.render(frame, checksum: checksum, into: bytes)
        }
        lock.lock()
        turn = index + 1
        changed.broadcast()
        lock.unlock()
        if let rendered { return rendered }
        return try renderer.render(frame, checksum: checksum, into: bytes)
    }

    /// The next frame with a buffer for it; nil when there is none or the run has failed.
    private func takeFrame() -> (Int, PiecewiseChecksum?, OutputBuffer)? {
        lock.lock()
        defer { lock.unlock() }
        while failure == nil, nextFrame < frames.count, nextFrame - committed >= window {
            changed.wait()
        }
        if isCancelled.load(ordering: .acquiring) { noteFailure(nextFrame, .packCancelled) }
        guard failure == nil, nextFrame < frames.count else { return nil }
        let index = nextFrame
        nextFrame += 1
        let buffer = spare.popLast() ?? OutputBuffer()
        buffer.removeAll()
        let frame = frames[index]
        guard frame.pieceCount > 1, plan.settings.format == .tfrecord else { return (index, nil, buffer) }
        let sample = frame.samples.lowerBound
        let checksum = checksums[sample] ?? PiecewiseChecksum(pieceCount: frame.pieceCount)
        checksums[sample] = checksum
        return (index, checksum, buffer)
    }

    /// Hands a frame in, and writes what is due unless another worker is at it.
    private func deposit(_ index: Int, _ finished: Finished) {
        lock.lock()
        let frame = frames[index]
        if frame.pieceCount > 1, frame.piece == frame.pieceCount - 1 {
            checksums[frame.samples.lowerBound] = nil
        }
        done[index % window] = finished
        guard !isCommitting else { return lock.unlock() }
        isCommitting = true
        while failure == nil, let due = done[committed % window] {
            let frame = committed
            done[frame % window] = nil
            lock.unlock()
            do throws(HeadraceError) {
                try write(due, frame)
            } catch {
                fail(frame: frame, error)
            }
            lock.lock()
            spare.append(due.buffer)
            committed += 1
            changed.broadcast()
        }
        isCommitting = false
        lock.unlock()
    }

    private func write(_ due: Finished, _ index: Int) throws(HeadraceError) {
        let frame = frames[index]
        let shard = if let output { output } else { try ShardOutput(frame.shard, plan) }
        output = shard
        let before = shard.byteCount
        try unsafe shard.append(due.buffer.bytes, frame: due.row, due.rendered)
        lock.lock()
        if frame.piece == frame.pieceCount - 1 { progress.sampleCount += frame.samples.count }
        progress.byteCount += due.uncompressedByteCount
        progress.writtenByteCount += shard.byteCount - before
        // Under the lock, so that a caller sees one figure after the other and never an older one last.
        report?(progress)
        if frame.closesShard {
            output = nil
            closing.append(shard)
            changed.broadcast()
            while closing.count > Self.closingLimit, failure == nil { changed.wait() }
        }
        lock.unlock()
    }

    // MARK: - Finishing

    private func finishShards() {
        lock.lock()
        defer { lock.unlock() }
        while failure == nil, finishedCount < plan.shards.count {
            guard let shard = closing.first else {
                changed.wait()
                continue
            }
            lock.unlock()
            let result: Result<Manifest.Shard, HeadraceError>
            do throws(HeadraceError) {
                let (entry, sha256, indexSHA256) = try shard.finish()
                try journal.append(
                    .init(
                        number: shard.number, byteCount: entry.byteCount, sha256: sha256,
                        indexSHA256: indexSHA256, uncompressedByteCount: entry.uncompressedByteCount,
                        jpegs: shard.jpegs))
                result = .success(entry)
            } catch {
                result = .failure(error)
            }
            lock.lock()
            switch result {
            case .success(let entry):
                closing.removeFirst()
                finishedShards[shard.number] = entry
                jpegs += shard.jpegs
                finishedCount += 1
                progress.shardCount += 1
                report?(progress)
            case .failure(let error):
                noteFailure(frames.lastIndex { $0.shard == shard.number } ?? 0, error)
            }
            changed.broadcast()
        }
    }

    // MARK: - Failure

    private func fail(frame: Int, _ error: HeadraceError) {
        lock.lock()
        noteFailure(frame, error)
        lock.unlock()
    }

    /// Keeps the error of the earliest frame, so that the message does not depend on timing more than it must.
    private func noteFailure(_ frame: Int, _ error: HeadraceError) {
        if let failure, failure.frame <= frame || error.code == .packCancelled { return }
        failure = (frame, error)
        for checksum in checksums.values { checksum.abandon() }
        changed.broadcast()
    }
}

extension HeadraceError.Code {
    /// Packing was cancelled by the caller.
    public static let packCancelled = Self("cancelled", .environment)
}

extension HeadraceError {
    static var packCancelled: HeadraceError {
        HeadraceError(.packCancelled, "the packing was cancelled; shards that were finished stay")
    }
}
