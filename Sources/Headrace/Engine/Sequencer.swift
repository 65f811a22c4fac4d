internal import HeadraceCore
internal import Synchronization

/// Gives every sample its number and every number its row.
///
/// One sample of each live lane in turn; a lane that has ended is passed over. Then each block of N consecutive
/// samples is permuted by a key made of seed, epoch and block number. None of this looks at a clock or at what
/// happens to be ready, so the order is the same for any number of workers, any engine and any queue depth.
///
/// Used by one worker at a time, the one that has claimed it.
final class Sequencer {
    /// Where the sequencer gets what it needs; the engine.
    protocol Supply: AnyObject {
        /// The lane's next unpacked chunk, with one use; nil when it has none now.
        func takeOutput(ofLane lane: Int) -> Chunk?
        func isEnded(lane: Int) -> Bool
        /// A slot that nobody uses; nil when all are in use.
        func takeSlot() -> BatchSlot?
        /// Takes a filled slot to be decoded.
        func submit(_ slot: BatchSlot)
        func release(_ chunk: Chunk)
        /// Takes a slot back unused.
        func drop(_ slot: BatchSlot)
        /// Batches that every rank makes in this epoch; nil: as many as there are samples for.
        var stepsOfEpoch: Int? { get }
        /// So many good samples at the end of an epoch are left out.
        func countDropped(_ samples: Int)
    }

    private struct Cursor {
        var lane: Int
        var chunk: Int32 = -1
        /// What rows call the chunk where they are being put; -1 until one is.
        var name: Int32 = -1
        var next: Int32 = 0
        var end: Int32 = 0
    }

    /// Where a batch lists a chunk.
    private struct Listing {
        var batch = -1
        var place: Int32 = 0
    }

    private unowned let supply: any Supply
    private let blockSize: Int?
    private let seed: UInt64
    private let keepsLast: Bool
    private var epoch = 0
    private var cursors: [Cursor] = []
    private var turn = 0
    private var filling: RowBlock
    private var dealing: RowBlock
    private var slot: BatchSlot?
    private var batchesInEpoch = 0
    /// Rows of the epoch's batches so far.
    private(set) var rowsInEpoch = 0
    private var batches = 0
    private var isSourceDry = false

    /// By chunk number: the chunk, and the last batch that lists it.
    private var chunks: [Chunk?] = []
    private var listings: [Listing] = []

    init(supply: any Supply, shuffle: Shuffle, seed: UInt64, keepsLast: Bool) {
        self.supply = supply
        self.seed = seed
        self.keepsLast = keepsLast
        if case .buffer(let size) = shuffle { blockSize = size } else { blockSize = nil }
        filling = RowBlock(capacity: blockSize ?? 0)
        dealing = RowBlock(capacity: blockSize ?? 0)
    }

    func startEpoch(_ epoch: Int, lanes: Int) {
        self.epoch = epoch
        cursors = (0..<lanes).map { Cursor(lane: $0) }
        turn = 0
        filling.number = 0
        batchesInEpoch = 0
        rowsInEpoch = 0
        isSourceDry = false
        if let slot {
            slot.epoch = epoch
            slot.indexInEpoch = 0
        }
    }

    /// Batches handed to the decoders so far.
    var batchCount: Int { batches }
    /// Those of the epoch.
    var batchesOfEpoch: Int { batchesInEpoch }

    /// Goes as far as lanes and slots allow; true when the epoch is over.
    func run() -> Bool {
        guard blockSize != nil else { return runInOrder() }
        while true {
            // The next block fills even while no slot is free for this one.
            if !isSourceDry { isSourceDry = fillBlock() }
            if dealing.dealt < dealing.count {
                guard dealBlock() else { return false }
            }
            let isFull = filling.count == blockSize
            guard isFull || isSourceDry else { return false }
            if filling.count == 0 { return finishEpoch() }
            swapBlocks()
        }
    }

    private func runInOrder() -> Bool {
        while true {
            guard let slot = currentSlot() else { return false }
            let (count, isDry) = unsafe pull(slot.capacity - slot.count, into: slot.rows + slot.count) {
                chunk in
                list(chunk, in: slot)
            }
            slot.count += count
            if slot.count == slot.capacity { submit(slot) } else { return isDry ? finishEpoch() : false }
        }
    }

    // MARK: Lanes

    /// Writes up to `limit` samples to `rows`, in order; dry when no lane has any more. `name` tells what rows shall
    /// call a chunk.
    private func pull(
        _ limit: Int, into rows: UnsafeMutablePointer<RowReference>, name: (Int32) -> Int32
    ) -> (count: Int, isDry: Bool) {
        for index in cursors.indices { cursors[index].name = -1 }
        var done = 0
        while !cursors.isEmpty {
            unsafe done += deal(limit - done, into: rows + done, name: name)
            if done == limit { break }
            switch advance(turn) {
            case .hasMore: continue
            case .ended: cursors.remove(at: turn)
            case .mustWait: return (done, false)
            }
        }
        return (done, cursors.isEmpty)
    }

    /// Deals turn by turn until the lane whose turn it is has used up its chunk. Millions of rows a second come
    /// through here, so nothing in the loop asks for an object's property.
    private func deal(
        _ limit: Int, into rows: UnsafeMutablePointer<RowReference>, name: (Int32) -> Int32
    ) -> Int {
        var turn = turn
        defer { self.turn = turn }
        return unsafe cursors.withUnsafeMutableBufferPointer { cursors in
            var done = 0
            while true {
                if turn == cursors.count { turn = 0 }
                guard done < limit, unsafe cursors[turn].next < cursors[turn].end else { return done }
                if unsafe cursors[turn].name < 0 { unsafe cursors[turn].name = name(cursors[turn].chunk) }
                unsafe rows[done] = RowReference(chunk: cursors[turn].name, sample: cursors[turn].next)
                unsafe cursors[turn].next += 1
                turn += 1
                done += 1
            }
        }
    }

    private enum Advance { case hasMore, ended, mustWait }

    /// Moves a cursor to its lane's next chunk.
    private func advance(_ index: Int) -> Advance {
        leave(cursors[index].chunk)
        cursors[index].chunk = -1
        cursors[index].name = -1
        cursors[index].next = 0
        cursors[index].end = 0
        // Asked in this order: a lane that has ended may have put out its last chunk just before.
        let ended = supply.isEnded(lane: cursors[index].lane)
        guard let chunk = supply.takeOutput(ofLane: cursors[index].lane) else {
            return ended ? .ended : .mustWait
        }
        enter(chunk)
        cursors[index].chunk = chunk.number
        cursors[index].end = Int32(chunk.table.samples.count)
        return .hasMore
    }

    private func enter(_ chunk: Chunk) {
        let number = Int(chunk.number)
        while chunks.count <= number {
            chunks.append(nil)
            listings.append(Listing())
        }
        chunks[number] = chunk
        listings[number].batch = -1
    }

    /// A cursor is done with a chunk. In a block, rows still name it, so its use passes to the block.
    private func leave(_ number: Int32) {
        guard number >= 0, let chunk = chunks[Int(number)] else { return }
        if blockSize != nil {
            filling.chunks.append(chunk)
        } else {
            chunks[Int(number)] = nil
            supply.release(chunk)
        }
    }

    // MARK: Blocks

    /// Numbers samples into the block; true when there are no more in this epoch.
    private func fillBlock() -> Bool {
        guard let blockSize else { return true }
        let (count, isDry) = unsafe pull(blockSize - filling.count, into: filling.rows + filling.count) { $0 }
        filling.count += count
        return isDry
    }

    private func swapBlocks() {
        let number = filling.number
        swap(&filling, &dealing)
        filling.count = 0
        filling.number = number + 1
        dealing.dealt = 0
        // Chunks that the cursors are still in go on into the next block; the rows of this one need a use too.
        for cursor in cursors where cursor.chunk >= 0 && cursor.next > 0 {
            guard let chunk = chunks[Int(cursor.chunk)] else { continue }
            chunk.uses.add(1, ordering: .relaxed)
            dealing.chunks.append(chunk)
        }
        let key = mixed(seed, UInt64(epoch), number, 0x626c_6f63_6b)
        shuffle(dealing.count, key: key, into: &dealing.order)
    }

    /// Deals the block's rows to batches in permuted order; false when no slot is free.
    private func dealBlock() -> Bool {
        while dealing.dealt < dealing.count {
            guard let slot = currentSlot() else { return false }
            let count = min(slot.capacity - slot.count, dealing.count - dealing.dealt)
            deal(dealing.dealt..<dealing.dealt + count, of: dealing, to: slot)
            dealing.dealt += count
            if slot.count == slot.capacity { submit(slot) }
        }
        for chunk in dealing.chunks { supply.release(chunk) }
        dealing.chunks.removeAll(keepingCapacity: true)
        return true
    }

    // MARK: Batches

    private func currentSlot() -> BatchSlot? {
        if let slot { return slot }
        guard let fresh = supply.takeSlot() else { return nil }
        fresh.sequence = batches
        fresh.epoch = epoch
        fresh.indexInEpoch = batchesInEpoch
        slot = fresh
        return fresh
    }

    /// Appends rows of a block, in its permuted order, to a batch.
    private func deal(_ range: Range<Int>, of block: RowBlock, to slot: BatchSlot) {
        // Taken out for the loop: asking an object for a property of its own with every row costs more than the rest.
        var listings: [Listing] = []
        swap(&listings, &self.listings)
        let rows = unsafe slot.rows + slot.count
        let source = unsafe block.rows
        unsafe block.order.withUnsafeBufferPointer { order in
            for index in range {
                let row = unsafe source[Int(order[index])]
                let number = Int(row.chunk)
                if listings[number].batch != slot.sequence { list(number, in: slot, &listings) }
                unsafe rows[index - range.lowerBound] = RowReference(
                    chunk: listings[number].place, sample: row.sample)
            }
        }
        slot.count += range.count
        swap(&listings, &self.listings)
    }

    /// The chunk's place in the batch, which lists it from now on.
    private func list(_ number: Int32, in slot: BatchSlot) -> Int32 {
        if listings[Int(number)].batch != slot.sequence { list(Int(number), in: slot, &listings) }
        return listings[Int(number)].place
    }

    private func list(_ number: Int, in slot: BatchSlot, _ listings: inout [Listing]) {
        guard let chunk = chunks[number] else { return }
        listings[number] = Listing(batch: slot.sequence, place: Int32(slot.chunks.count))
        chunk.uses.add(1, ordering: .relaxed)
        slot.list(chunk)
    }

    private func submit(_ full: BatchSlot) {
        slot = nil
        batches += 1
        batchesInEpoch += 1
        rowsInEpoch += full.count
        supply.submit(full)
    }

    /// Leaves the samples out that fill no batch. Defects among them are judged all the same: a shard that was cut
    /// shows it in its last row.
    private func dropRemainder(_ partial: BatchSlot) {
        slot = nil
        let dropped = partial.keepDefectiveRows()
        supply.countDropped(dropped)
        guard partial.count > 0 else { return supply.drop(partial) }
        partial.isRemainder = true
        batches += 1
        supply.submit(partial)
    }

    private func finishEpoch() -> Bool {
        if let partial = slot, partial.count > 0 {
            // Where ranks are padded to whole batches, this one is too.
            if keepsLast || supply.stepsOfEpoch != nil {
                submit(partial)
            } else {
                dropRemainder(partial)
            }
        }
        // Other ranks have more: without batches of its own this one would leave them waiting for it.
        while let steps = supply.stepsOfEpoch, batchesInEpoch < steps {
            guard let padding = currentSlot() else { return false }
            submit(padding)
        }
        return true
    }
}
