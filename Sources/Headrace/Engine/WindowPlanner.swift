internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Room 2 of an indexed walk: turns steps of the plan into reads. Used by one worker at a time, the one that has claimed
/// the planning.
@safe final class WindowPlanner {
    /// Bytes of one chunk at most, but for a larger sample.
    private static let chunkBytes = 1 << 20
    /// Uncompressed bytes of the frames of one chunk at most, but for a sample in larger ones.
    private static let frameBytes = 2 << 20
    /// Reads of one chunk at most.
    private static let chunkReads = 128

    private let source: IndexedSource
    /// Offsets, lengths and addresses of reads are multiples of this.
    private let alignment: Int
    /// Bytes of samples behind which a window ends, however few its steps are.
    private let windowBytes: Int
    private var epoch: IndexedEpoch
    private var bucket = Bucket()
    private var merger = ReadMerger()
    /// Brings frames that touch together; how many of them make a chunk is decided behind it.
    private var frameMerger = ReadMerger(largestRead: Int.max, largestGap: 0)
    private var planned: [PlannedRow] = []
    private var plainReads: [PlannedRead] = []
    private var frameReads: [PlannedRead] = []
    private var places: [ShardIndexRow] = []
    private var origins: [SampleOrigin] = []
    private var samples: [SamplePlace] = []
    private var orderPlaces: [Int] = []
    /// Rows of the shards that are kept in memory: without a question to an object for each row.
    private var kept: [UnsafeBufferPointer<ShardIndexRow>?]
    /// Shards that are not compressed.
    private let isPlain: [Bool]

    init(_ source: IndexedSource, _ epoch: IndexedEpoch, alignment: Int, windowBytes: Int) {
        self.source = source
        self.epoch = epoch
        self.alignment = alignment
        unsafe kept = source.rows.map { _ in nil }
        isPlain = source.rows.map { $0.frames == nil }
        self.windowBytes = windowBytes
    }

    /// Goes on with another epoch.
    func restart(_ epoch: IndexedEpoch) {
        self.epoch = epoch
        bucket = Bucket()
    }

    /// The window of these steps, or of the first of them where their samples are larger than expected. A sample whose
    /// place cannot be had becomes a defect in its turn.
    func plan(_ steps: Range<Int>) -> Window {
        let window = Window(steps: steps)
        planned.removeAll(keepingCapacity: true)
        plainReads.removeAll(keepingCapacity: true)
        frameReads.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        origins.removeAll(keepingCapacity: true)
        var failed: [(row: Int, error: HeadraceError)] = []
        var bytes = 0
        for step in steps where bytes < windowBytes {
            window.starts.append(planned.count)
            appendRows(ofStep: step)
            bytes += locate(into: &failed)
            window.steps = steps.lowerBound..<step + 1
        }
        window.starts.append(planned.count)
        for (start, end) in zip(window.starts, window.starts.dropFirst()) {
            window.repeats.append(planned[start..<end].reduce(0) { $0 + ($1.isRepeat ? 1 : 0) })
        }
        window.rows = [RowReference](repeating: RowReference(chunk: -1, sample: 0), count: planned.count)
        merger.merge(plainReads)
        cutPlainChunks(window)
        frameMerger.merge(frameReads)
        cutFrameChunks(window)
        if !failed.isEmpty { addFailures(failed, window) }
        window.pending = window.chunks.count
        window.listings = [Int32](repeating: -1, count: window.chunks.count)
        return window
    }

    // MARK: Places

    /// Looks up the places of the rows that were planned last; returns their bytes, and adds those that cannot be had to
    /// `failed`.
    private func locate(into failed: inout [(row: Int, error: HeadraceError)]) -> Int {
        let first = places.count
        findSamples(from: first)
        // Lists are taken out for the loop: asking this object for its own with each row costs more than the rest.
        var samples: [SamplePlace] = []
        var places: [ShardIndexRow] = []
        var plainReads: [PlannedRead] = []
        swap(&samples, &self.samples)
        swap(&places, &self.places)
        swap(&plainReads, &self.plainReads)
        let shards = epoch.shards
        let isPlain = isPlain
        var bytes = 0
        for (index, sample) in samples.enumerated() {
            let row = first + index
            guard sample.ordinal >= 0 else {
                places.append(ShardIndexRow(offset: 0, length: 0))
                continue
            }
            let shard = shards.number(of: sample)
            do throws(HeadraceError) {
                let place = try place(sample.ordinal, ofShard: shard)
                places.append(place)
                bytes += place.length
                if isPlain[shard] {
                    plainReads.append(
                        PlannedRead(
                            file: Int32(shard), offset: place.offset, length: place.length, row: Int32(row)))
                } else {
                    try addFrames(of: place, shard: shard, row: row)
                }
            } catch {
                if places.count == row { places.append(ShardIndexRow(offset: 0, length: 0)) }
                failed.append((row, error))
            }
        }
        swap(&samples, &self.samples)
        swap(&places, &self.places)
        swap(&plainReads, &self.plainReads)
        return bytes
    }

    /// Finds which samples the planned rows from `first` on are, and asks for their rows of the indexes: they lie all
    /// over tables that are larger than any cache.
    private func findSamples(from first: Int) {
        // Padding is behind all samples of a step.
        let end = planned[first...].firstIndex { $0.isPadding } ?? planned.count
        orderPlaces.removeAll(keepingCapacity: true)
        for row in planned[first..<end] { orderPlaces.append(row.place) }
        samples.removeAll(keepingCapacity: true)
        epoch.walk.append(orderPlaces, to: &samples)
        let shards = epoch.shards
        let kept = unsafe kept
        var samples: [SamplePlace] = []
        var origins: [SampleOrigin] = []
        swap(&samples, &self.samples)
        swap(&origins, &self.origins)
        for (index, sample) in samples.enumerated() {
            let shard = shards.number(of: sample)
            if sample.pass > 0 { planned[first + index].isRepeat = true }
            if let base = unsafe kept[shard]?.baseAddress { unsafe prefetch(base + sample.ordinal) }
            origins.append(
                SampleOrigin(
                    shard: Int32(shard), pass: UInt32(truncatingIfNeeded: sample.pass),
                    ordinal: sample.ordinal))
        }
        for _ in end..<planned.count {
            origins.append(SampleOrigin(shard: -1, ordinal: 0))
            samples.append(SamplePlace(dataSet: 0, pass: 0, shard: -1, ordinal: -1))
        }
        swap(&samples, &self.samples)
        swap(&origins, &self.origins)
    }

    @inline(__always)
    private func place(_ ordinal: Int, ofShard shard: Int) throws(HeadraceError) -> ShardIndexRow {
        if let rows = unsafe kept[shard], ordinal < rows.count { return unsafe rows[ordinal] }
        return try firstPlace(ordinal, ofShard: shard)
    }

    private func firstPlace(_ ordinal: Int, ofShard shard: Int) throws(HeadraceError) -> ShardIndexRow {
        let place = try source.rows[shard].row(ordinal)
        unsafe kept[shard] = source.rows[shard].keptRows
        return place
    }

    private func addFrames(of place: ShardIndexRow, shard: Int, row: Int) throws(HeadraceError) {
        let frames = source.rows[shard].frames ?? []
        let range = Self.frames(of: place, in: frames)
        guard !range.isEmpty else {
            throw HeadraceError(
                .indexMismatch, "the index has a sample where the shard has no frame; make the index anew",
                at: .init(shard: source.catalog.shards[shard].path, offset: place.offset))
        }
        let first = frames[range.lowerBound]
        let last = frames[range.upperBound - 1]
        frameReads.append(
            PlannedRead(
                file: Int32(shard), offset: first.compressedOffset,
                length: last.compressedOffset + last.compressedLength - first.compressedOffset,
                row: Int32(row)))
    }

    /// The frames that a sample lies in.
    private static func frames(of place: ShardIndexRow, in frames: [Frame]) -> Range<Int> {
        func frame(holding byte: Int) -> Int {
            var low = 0
            var high = frames.count
            while low < high {
                let middle = (low + high) / 2
                if frames[middle].offset + frames[middle].length <= byte {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            return low
        }
        let first = frame(holding: place.offset)
        let last = frame(holding: place.offset + max(1, place.length) - 1)
        return first..<min(frames.count, last + 1)
    }

    // MARK: Lengths

    /// The rows of the steps that are arranged together, in their arranged order.
    private struct Bucket {
        var steps = 0..<0
        var rows: [PlannedRow] = []
    }

    /// Puts the rows of a step behind those planned.
    private func appendRows(ofStep step: Int) {
        guard let size = epoch.bucketSteps else {
            return epoch.share.append(step: step, rank: epoch.rank, to: &planned)
        }
        if !bucket.steps.contains(step) { arrange(window: step / size, of: size) }
        let start = (step - bucket.steps.lowerBound) * epoch.share.batchSize
        let end = min(bucket.rows.count, start + epoch.share.batchSize)
        planned.append(contentsOf: bucket.rows[start..<end])
    }

    /// Arranges the whole steps of a window by the lengths of their samples.
    private func arrange(window: Int, of size: Int) {
        let share = epoch.share
        bucket.steps = window * size..<min(share.stepCount, (window + 1) * size)
        bucket.rows.removeAll(keepingCapacity: true)
        for step in bucket.steps { share.append(step: step, rank: epoch.rank, to: &bucket.rows) }
        // Rows without a sample are at the end of an epoch and stay there.
        let samples = bucket.rows.firstIndex { $0.isPadding } ?? bucket.rows.count
        var walk = epoch.walk
        let lengths = bucket.rows[..<(samples / share.batchSize * share.batchSize)].map { row in
            let sample = walk.sample(at: row.place)
            // One whose place cannot be had becomes a defect in its turn.
            return (try? place(sample.ordinal, ofShard: epoch.shards.number(of: sample)).length) ?? 0
        }
        var order: [Int] = []
        Bucketing.arrange(
            lengths: lengths, rowsPerStep: share.batchSize, key: epoch.bucketKey(window), into: &order)
        let before = bucket.rows
        for (index, row) in order.enumerated() { bucket.rows[index] = before[row] }
    }

    // MARK: Chunks

    /// Puts merged reads together until a chunk is worth a hand-over.
    private func cutPlainChunks(_ window: Window) {
        let pieces = merger.pieces
        let step = max(64, alignment)
        var fetches: [ScatteredRead] = []
        var samples: [PlacedSample] = []
        var owners: [Int32] = []
        var origins: [SampleOrigin] = []
        // Lists are taken out for the loop, as in `locate`.
        var rows: [RowReference] = []
        swap(&rows, &window.rows)
        let places = places
        let allOrigins = self.origins
        var outputBytes = 0
        func close() {
            guard !fetches.isEmpty else { return }
            let chunk = PlannedChunk(window)
            chunk.fetches = fetches
            chunk.samples = samples
            chunk.origins = origins
            chunk.fetchOfSample = owners
            chunk.outputBytes = outputBytes
            window.chunks.append(chunk)
            fetches.removeAll(keepingCapacity: true)
            samples.removeAll(keepingCapacity: true)
            origins.removeAll(keepingCapacity: true)
            owners.removeAll(keepingCapacity: true)
            outputBytes = 0
        }
        for read in merger.reads {
            let start = read.offset / alignment * alignment
            let end = (read.offset + read.length + alignment - 1) / alignment * alignment
            if outputBytes + end - start > Self.chunkBytes || fetches.count == Self.chunkReads { close() }
            // Samples begin at a cache line of their own.
            let place = (outputBytes + step - 1) / step * step
            for index in Int(read.pieces.lowerBound)..<Int(read.pieces.upperBound) {
                let piece = pieces[index]
                let row = Int(piece.row)
                rows[row] = RowReference(
                    chunk: Int32(window.chunks.count), sample: Int32(truncatingIfNeeded: samples.count))
                samples.append(
                    PlacedSample(
                        offset: places[row].offset, length: places[row].length,
                        place: place + read.offset - start + piece.offset))
                origins.append(allOrigins[row])
                owners.append(Int32(truncatingIfNeeded: fetches.count))
            }
            fetches.append(ScatteredRead(file: read.file, offset: start, length: end - start, place: place))
            outputBytes = place + end - start
        }
        close()
        swap(&rows, &window.rows)
    }

    /// A chunk for each run of frames that samples need and that touch: one read, and each frame decoded once.
    private func cutFrameChunks(_ window: Window) {
        for read in frameMerger.reads {
            guard let all = source.rows[Int(read.file)].frames else { continue }
            var run = 0..<0
            var rows: [Int] = []
            for piece in frameMerger.pieces[Int(read.pieces.lowerBound)..<Int(read.pieces.upperBound)] {
                let frames = Self.frames(of: places[Int(piece.row)], in: all)
                let joined = run.lowerBound..<max(run.upperBound, frames.upperBound)
                if rows.isEmpty {
                    run = frames
                } else if frames.lowerBound >= run.lowerBound, joined == run || Self.isChunk(all[joined]) {
                    run = joined
                } else {
                    append(all[run], of: read.file, rows, window)
                    rows.removeAll(keepingCapacity: true)
                    run = frames
                }
                rows.append(Int(piece.row))
            }
            append(all[run], of: read.file, rows, window)
        }
    }

    /// Whether so many frames can be one chunk.
    private static func isChunk(_ frames: ArraySlice<Frame>) -> Bool {
        guard let first = frames.first, let last = frames.last else { return true }
        return last.compressedOffset + last.compressedLength - first.compressedOffset <= chunkBytes
            && last.offset + last.length - first.offset <= frameBytes
    }

    /// The chunk of a run of frames and the samples in it.
    private func append(_ frames: ArraySlice<Frame>, of shard: Int32, _ rows: [Int], _ window: Window) {
        guard let first = frames.first, let last = frames.last else { return }
        let target = PlannedChunk(window)
        window.chunks.append(target)
        let start = first.compressedOffset / alignment * alignment
        let wanted = last.compressedOffset + last.compressedLength
        let end = (wanted + alignment - 1) / alignment * alignment
        target.fetches = [ScatteredRead(file: shard, offset: start, length: end - start, place: 0)]
        target.inputBytes = end - start
        target.frameLead = first.compressedOffset - start
        target.frames = Array(frames)
        target.frameBytes = frames.reduce(0) { $0 + $1.length }
        let needed = rows.reduce(0) { $0 + places[$1].length }
        target.keepsSamplesAlone = 2 * needed < target.frameBytes
        var place = 0
        for row in rows {
            let inFrames = places[row].offset - first.offset
            put(row, in: target, window, place: target.keepsSamplesAlone ? place : inFrames)
            place += (places[row].length + 63) / 64 * 64
        }
        target.outputBytes = target.keepsSamplesAlone ? place : target.frameBytes
    }

    private func put(_ row: Int, in chunk: PlannedChunk, _ window: Window, place: Int) {
        window.rows[row] = RowReference(
            chunk: Int32(window.chunks.count - 1), sample: Int32(chunk.samples.count))
        chunk.samples.append(
            PlacedSample(offset: places[row].offset, length: places[row].length, place: place))
        chunk.origins.append(origins[row])
        chunk.fetchOfSample.append(Int32(chunk.fetches.count - 1))
    }

    private func addFailures(_ failed: [(row: Int, error: HeadraceError)], _ window: Window) {
        let chunk = PlannedChunk(window)
        window.chunks.append(chunk)
        for (row, error) in failed {
            chunk.failures.append((chunk.samples.count, error))
            put(row, in: chunk, window, place: 0)
        }
    }
}
