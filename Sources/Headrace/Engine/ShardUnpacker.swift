internal import HeadraceCore
internal import HeadraceFormats
internal import Synchronization

/// Room 5 for one shard: bytes in order become samples, whatever the chunk ends cut through.
///
/// The scanner finishes with a prefix of what it is given; the rest, the open sample, must stand in front of the
/// bytes that follow. Usually it is moved into the head room before the next chunk, a few per cent of the bytes.
/// A sample too large for that gets a mapping of its own, in which chunks are collected until the scanner can go
/// on. Compressed streams are decompressed straight behind the open sample.
///
/// Used by one thread at a time.
final class ShardUnpacker {
    enum Outcome {
        /// A chunk with samples (or with none) to number; call again.
        case produced(Chunk)
        /// The input is used up.
        case needsInput
        /// So many bytes must be granted before it can go on; call again then, with the same input.
        case needsMemory(Int)
        /// The shard is done; ``account`` is final.
        case finished
    }

    /// Lost samples that are counted one by one; a manifest that promises more behind one damage is not believed.
    private static let largestLoss = 1 << 22

    let scanner: any ShardScanner
    private let decompressor: (any StreamDecompressor)?
    private let arena: ChunkArena
    /// Bytes of the uncompressed shard, where they are known.
    private let total: Int?
    private let shard: Shard

    /// Bytes in front of the next ones: the open sample, still in the chunk where it began.
    private var carry: (chunk: Chunk, start: Int, count: Int)?
    /// Offset in the uncompressed shard of the carry's first byte, or of the next byte where there is no carry.
    private var offset = 0
    /// Bytes that the scanner wants passed over.
    private var skip = 0
    /// Bytes the scanner must see at once before it can find more.
    private var wanted = 0
    /// Memory that collects a stream's output, or a sample larger than a chunk.
    private var collecting: Chunk?
    /// Where the carry ends in it.
    private var carried = 0
    private var ordinal = 0
    private var inputConsumed = 0
    /// Bytes of the budget that must stay free when memory is taken; set by who claims the lane.
    var reserve = 0
    private var isEnded = false
    /// The rest of the shard was given up, because damage hides where its samples begin.
    private(set) var isDamaged = false
    private var isConcluded = false
    private var lost = 0
    /// Bytes behind the last whole sample that came out of a codec before it failed, or all that should have
    /// come where their number is known; nil where no codec failed.
    private(set) var cutByteCount: Int?
    /// Uncompressed bytes that have come by: what the account is held against where the shard's size is unknown.
    private(set) var seen = 0

    init(
        scanner: any ShardScanner, decompressor: (any StreamDecompressor)?, arena: ChunkArena, total: Int?,
        shard: Shard
    ) {
        self.scanner = scanner
        self.decompressor = decompressor
        self.arena = arena
        self.total = total
        self.shard = shard
    }

    /// Where the shard's bytes went, so far.
    var account: ShardAccount {
        var account = scanner.account
        account.samples = ordinal
        account.bytesLost += lost
        return account
    }

    /// Counts in a chunk whose samples were found without a scanner.
    func number(_ chunk: Chunk) {
        chunk.firstOrdinal = ordinal
        ordinal += chunk.table.samples.count
        arena.charge(chunk)
    }

    /// Takes the next step with `input`, the shard's next chunk, which stays the caller's until `.needsInput` or
    /// `.finished`; an input that is returned as `.produced` itself has been taken over.
    ///
    /// The chunk produced has one use, the caller's.
    func step(_ input: Chunk, isLast: Bool) -> Outcome {
        if isEnded { return conclude() }
        guard let failure = input.failure else { return advance(input, isLast: isLast) }
        guard input.hasGoodPrefix else { return fail(failure) }
        // How many frames share a chunk depends on the budget; what is delivered must not.
        let outcome = advance(input, isLast: false)
        if case .needsInput = outcome { return fail(failure) }
        return outcome
    }

    private func advance(_ input: Chunk, isLast: Bool) -> Outcome {
        if decompressor != nil { return stepStream(input, isLast: isLast) }
        if collecting != nil || !fitsInFront(of: input, isLast: isLast) {
            return collect(input, isLast: isLast)
        }
        return stepInPlace(input, isLast: isLast)
    }

    /// Lets go of everything; the shard is given up.
    func abandon() {
        isEnded = true
        releaseCarry()
        if let chunk = collecting { arena.release(chunk) }
        collecting = nil
    }

    // MARK: In place

    /// Whether scanning the input where it lies, behind the carry, can get anywhere.
    private func fitsInFront(of input: Chunk, isLast: Bool) -> Bool {
        let count = carry?.count ?? 0
        return count <= input.start && (isLast || wanted <= count + input.count)
    }

    private func stepInPlace(_ input: Chunk, isLast: Bool) -> Outcome {
        if inputConsumed == -1 { return finishInput(isLast: isLast) }
        dropSkipped(from: input)
        putCarry(inFrontOf: input)
        inputConsumed = -1
        scan(input, isLast: isLast)
        return .produced(input)
    }

    /// The input was handed on as a chunk of its own; the caller asks what now.
    private func finishInput(isLast: Bool) -> Outcome {
        inputConsumed = 0
        guard isLast else { return .needsInput }
        isEnded = true
        releaseCarry()
        return conclude()
    }

    /// A shard that seems whole is held against what its manifest promises, once.
    private func conclude() -> Outcome {
        guard !isConcluded else { return .finished }
        isConcluded = true
        guard !isDamaged, let error = shard.disagreement(found: ordinal) else { return .finished }
        return .produced(lastRow(error, at: offset))
    }

    /// A chunk of nothing but a defect.
    private func lastRow(_ error: HeadraceError, at place: Int) -> Chunk {
        let chunk = arena.takeEmpty()
        chunk.table.removeAll()
        chunk.firstOrdinal = ordinal
        chunk.table.appendDefect(error, offset: place)
        ordinal += 1
        appendMissing(to: chunk, at: place)
        return chunk
    }

    /// The samples that the manifest promises behind the damage are lost one by one: a limit on skipped samples counts
    /// them all, and the batches of an epoch stay as many as planned.
    private func appendMissing(to chunk: Chunk, at place: Int) {
        let missing = min((shard.listed?.sampleCount ?? 0) - ordinal, Self.largestLoss)
        guard missing > 0 else { return }
        chunk.table.appendLost(missing, offset: place)
        ordinal += missing
        arena.charge(chunk)
    }

    private func dropSkipped(from input: Chunk) {
        guard skip > 0, carry == nil else { return }
        let dropped = min(skip, input.count)
        input.start += dropped
        offset += dropped
        skip -= dropped
    }

    private func putCarry(inFrontOf input: Chunk) {
        guard let carry, let slab = input.slab else { return }
        input.start -= carry.count
        unsafe (slab.base + input.start).copyMemory(
            from: carry.chunk.slab!.base + carry.start, byteCount: carry.count)
        releaseCarry()
    }

    // MARK: Collecting a large sample

    private func collect(_ input: Chunk, isLast: Bool) -> Outcome {
        if inputConsumed == -1 { return finishInput(isLast: isLast) }
        if collecting == nil {
            let carried = carry?.count ?? 0
            let size = max(wanted, 2 * carried) + input.count
            if let refusal = open(collectingFor: size) { return refusal }
        }
        guard let target = collecting, let slab = target.slab else { return .needsInput }
        if target.end + input.count > slab.capacity { return outgrow(input) }
        unsafe (slab.base + target.end).copyMemory(
            from: input.slab!.base + input.start, byteCount: input.count)
        target.end += input.count
        guard isLast || target.count >= wanted else { return .needsInput }
        collecting = nil
        inputConsumed = -1
        scan(target, isLast: isLast)
        return .produced(target)
    }

    /// The sample is larger than it said when its memory was taken: what is there becomes the carry of a larger one.
    private func outgrow(_ input: Chunk) -> Outcome {
        guard let small = collecting else { return .needsInput }
        let size = 2 * small.count + max(wanted, input.count)
        carry = (small, small.start, small.count)
        collecting = nil
        if let refusal = open(collectingFor: size) {
            if case .needsMemory = refusal {
                collecting = small
                carry = nil
            }
            return refusal
        }
        return .needsMemory(0)
    }

    /// Takes memory for `size` bytes and moves the carry to its start.
    private func open(collectingFor size: Int) -> Outcome? {
        guard SlabPool.sizeClass(size) <= arena.pool.limit else {
            let message =
                "a sample needs \(ByteCount(size)) of memory at once, more than the budget of "
                + "\(ByteCount(arena.pool.limit)); only a reader with a larger memory budget can take it"
            return fail(HeadraceError(.budget, message))
        }
        guard let chunk = arena.take(atLeast: size, keeping: reserve) else { return .needsMemory(size) }
        collect(in: chunk)
        return nil
    }

    /// The same with more memory than is needed, while at least a half of the budget is free.
    private func openWherePlenty(collectingFor size: Int) -> Bool {
        guard let chunk = arena.take(atLeast: size, keeping: max(reserve, arena.pool.limit / 2)) else {
            return false
        }
        collect(in: chunk)
        return true
    }

    private func collect(in chunk: Chunk) {
        chunk.start = 0
        chunk.end = 0
        carried = 0
        if let carry {
            carried = carry.count
            unsafe chunk.slab!.base.copyMemory(
                from: carry.chunk.slab!.base + carry.start, byteCount: carry.count)
            chunk.end = carry.count
            releaseCarry()
        }
        collecting = chunk
    }

    // MARK: Streams

    private func stepStream(_ input: Chunk, isLast: Bool) -> Outcome {
        guard let decompressor else { return .finished }
        while true {
            if collecting == nil {
                // A small stream gets a small output; what comes out beyond it starts another.
                let likely = max(128 << 10, 8 * (input.inputEnd - input.inputStart))
                let held = carry?.count ?? 0
                let useful = max(likely, held + decompressor.preferredRoom)
                let size = max(wanted, 2 * held, min(useful, arena.pool.slabBytes))
                // Blocks larger than a slab would all be copied once more.
                let roomy = held + decompressor.preferredRoom
                if roomy <= size || !openWherePlenty(collectingFor: roomy),
                    let refusal = open(collectingFor: size)
                {
                    return refusal
                }
            }
            guard let output = collecting, let slab = output.slab else { return .needsInput }
            if slab.capacity - output.end < decompressor.preferredRoom, output.end > carried,
                output.count >= wanted
            {
                return handOver(output, isLast: false)
            }
            let room = unsafe UnsafeMutableRawBufferPointer(
                start: slab.base + output.end, count: slab.capacity - output.end)
            let compressed = unsafe UnsafeRawBufferPointer(
                start: input.input!.base + input.inputStart + inputConsumed,
                count: input.inputEnd - input.inputStart - inputConsumed)
            do throws(HeadraceError) {
                let (consumed, produced) = try unsafe decompressor.decompress(compressed, into: room)
                inputConsumed += consumed
                accept(produced, in: output)
                let isDrained = output.end < slab.capacity && consumed == compressed.count
                if isDrained && !isLast {
                    inputConsumed = 0
                    return .needsInput
                }
                if isDrained { try decompressor.finish() }
                guard isDrained || output.end == slab.capacity else { continue }
                if output.count < wanted && !isDrained {
                    if let refusal = outgrowStream(output) { return refusal }
                    continue
                }
                return handOver(output, isLast: isDrained)
            } catch {
                accept(decompressor.producedBeforeError, in: output)
                return fail(error)
            }
        }
    }

    private func handOver(_ output: Chunk, isLast: Bool) -> Outcome {
        collecting = nil
        scan(output, isLast: isLast)
        if isLast { isEnded = true }
        if isEnded { releaseCarry() }
        return .produced(output)
    }

    /// Counts decompressed bytes in, less those the scanner wants passed over.
    private func accept(_ produced: Int, in output: Chunk) {
        output.end += produced
        guard skip > 0 else { return }
        // Nothing is carried while bytes are being skipped, so all of the output is what just came.
        let dropped = min(skip, output.count)
        skip -= dropped
        offset += dropped
        output.start += dropped
        if output.count == 0 {
            output.start = 0
            output.end = 0
        }
    }

    private func outgrowStream(_ output: Chunk) -> Outcome? {
        carry = (output, output.start, output.count)
        collecting = nil
        let size = max(wanted, 2 * output.count)
        guard let refusal = open(collectingFor: size) else { return nil }
        if case .needsMemory = refusal {
            carry = nil
            collecting = output
        }
        return refusal
    }

    // MARK: Scanning

    private func scan(_ chunk: Chunk, isLast: Bool) {
        chunk.table.removeAll()
        chunk.firstOrdinal = ordinal
        chunk.shardOffset = offset
        let bytes = unsafe UnsafeRawBufferPointer(
            start: chunk.slab.map { unsafe $0.base + chunk.start }, count: chunk.count)
        seen = max(seen, offset + chunk.count)
        let outcome = unsafe scanner.scan(bytes, at: offset, isLast: isLast, total: total, into: &chunk.table)
        ordinal += chunk.table.samples.count
        arena.charge(chunk)
        wanted = outcome.needed
        offset += min(outcome.consumed, chunk.count)
        skip = max(0, outcome.consumed - chunk.count)
        let rest = chunk.count - min(outcome.consumed, chunk.count)
        if outcome.isEnded || isLast {
            if outcome.isEnded { appendMissing(to: chunk, at: offset) }
            isEnded = outcome.isEnded || isEnded
            isDamaged = outcome.isEnded || isDamaged
        } else if rest > 0 {
            chunk.uses.add(1, ordering: .relaxed)
            carry = (chunk, chunk.end - rest, rest)
        }
    }

    /// Ends the shard with `error` as its last row, at the offset where the trouble began.
    private func fail(_ error: HeadraceError) -> Outcome {
        let chunk: Chunk
        if let collected = collecting {
            // What was decompressed before the damage is good: its complete samples come first.
            chunk = collected
            collecting = nil
            scan(chunk, isLast: false)
        } else {
            chunk = arena.takeEmpty()
            chunk.table.removeAll()
            chunk.firstOrdinal = ordinal
        }
        let place = offset + (carry?.count ?? 0)
        let cut = total.map { max(0, $0 - offset) } ?? carry?.count ?? 0
        lost += cut
        cutByteCount = cut
        chunk.table.appendDefect(error, offset: place)
        ordinal += 1
        appendMissing(to: chunk, at: place)
        isEnded = true
        isDamaged = true
        releaseCarry()
        return .produced(chunk)
    }

    private func releaseCarry() {
        if let carry { arena.release(carry.chunk) }
        carry = nil
    }
}
