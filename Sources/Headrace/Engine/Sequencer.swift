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
        /// So many good samples at the end of an epoch are left out.
        func countDropped(_ samples: Int)
    }

    private struct Cursor {
        var lane: Int
        var chunk: Int32 = -1
        var next: Int32 = 0
        var end: Int32 = 0
    }

    /// Samples that were numbered and not dealt to batches yet.
    private struct Block {
        var rows: [RowReference] = []
        var chunks: [Chunk] = []
        var order: [UInt32] = []
        var dealt = 0
        var number: UInt64 = 0
    }

    private unowned let supply: any Supply
    private let blockSize: Int?
    private let seed: UInt64
    private let keepsLast: Bool
    private var epoch = 0
    private var cursors: [Cursor] = []
    private var turn = 0
    private var filling = Block()
    private var dealing = Block()
    private var slot: BatchSlot?
    private var batchesInEpoch = 0
    private var batches = 0
    private var isSourceDry = false

    /// By chunk number: the chunk, the batch that lists it, and its place there.
    private var chunks: [Chunk?] = []
    private var listedIn: [Int] = []
    private var placeIn: [Int32] = []

    init(supply: any Supply, shuffle: Shuffle, seed: UInt64, keepsLast: Bool) {
        self.supply = supply
        self.seed = seed
        self.keepsLast = keepsLast
        if case .buffer(let size) = shuffle { blockSize = size } else { blockSize = nil }
    }

    func startEpoch(_ epoch: Int, lanes: Int) {
        self.epoch = epoch
        cursors = (0..<lanes).map { Cursor(lane: $0) }
        turn = 0
        filling.number = 0
        batchesInEpoch = 0
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
            if dealing.dealt < dealing.rows.count {
                guard dealBlock() else { return false }
            }
            let isFull = filling.rows.count == blockSize
            guard isFull || isSourceDry else { return false }
            if filling.rows.isEmpty { return finishEpoch() }
            swapBlocks()
        }
    }

    private func runInOrder() -> Bool {
        while true {
            guard let slot = currentSlot() else { return false }
            let isDry = pull(slot.capacity - slot.count) { row in list(row, in: slot) }
            if slot.count == slot.capacity { submit(slot) } else { return isDry ? finishEpoch() : false }
        }
    }

    // MARK: Lanes

    /// Hands up to `limit` samples to `take`, in order; true when no lane has any more.
    private func pull(_ limit: Int, _ take: (RowReference) -> Void) -> Bool {
        var left = limit
        while left > 0 {
            guard !cursors.isEmpty else { return true }
            if turn == cursors.count { turn = 0 }
            if cursors[turn].next < cursors[turn].end {
                take(RowReference(chunk: cursors[turn].chunk, sample: cursors[turn].next))
                cursors[turn].next += 1
                turn += 1
                left -= 1
                continue
            }
            switch advance(turn) {
            case .hasMore: continue
            case .ended: cursors.remove(at: turn)
            case .mustWait: return false
            }
        }
        return cursors.isEmpty
    }

    private enum Advance { case hasMore, ended, mustWait }

    /// Moves a cursor to its lane's next chunk.
    private func advance(_ index: Int) -> Advance {
        leave(cursors[index].chunk)
        cursors[index].chunk = -1
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
            listedIn.append(-1)
            placeIn.append(0)
        }
        chunks[number] = chunk
        listedIn[number] = -1
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
        var rows = filling.rows
        filling.rows = []
        if rows.capacity < blockSize { rows.reserveCapacity(blockSize) }
        let isDry = pull(blockSize - rows.count) { row in rows.append(row) }
        filling.rows = rows
        return isDry
    }

    private func swapBlocks() {
        let number = filling.number
        swap(&filling, &dealing)
        filling.rows.removeAll(keepingCapacity: true)
        filling.number = number + 1
        dealing.dealt = 0
        // Chunks that the cursors are still in go on into the next block; the rows of this one need a use too.
        for cursor in cursors where cursor.chunk >= 0 && cursor.next > 0 {
            guard let chunk = chunks[Int(cursor.chunk)] else { continue }
            chunk.uses.add(1, ordering: .relaxed)
            dealing.chunks.append(chunk)
        }
        let key = mixed(seed, UInt64(epoch), number, 0x626c_6f63_6b)
        shuffle(dealing.rows.count, key: key, into: &dealing.order)
    }

    /// Deals the block's rows to batches in permuted order; false when no slot is free.
    private func dealBlock() -> Bool {
        while dealing.dealt < dealing.rows.count {
            guard let slot = currentSlot() else { return false }
            let count = min(slot.capacity - slot.count, dealing.rows.count - dealing.dealt)
            for index in dealing.dealt..<dealing.dealt + count {
                list(dealing.rows[Int(dealing.order[index])], in: slot)
            }
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

    private func list(_ row: RowReference, in slot: BatchSlot) {
        let number = Int(row.chunk)
        if listedIn[number] != slot.sequence {
            guard let chunk = chunks[number] else { return }
            listedIn[number] = slot.sequence
            placeIn[number] = Int32(slot.chunks.count)
            chunk.uses.add(1, ordering: .relaxed)
            slot.chunks.append(chunk)
            unsafe slot.views.append(chunk.view)
        }
        unsafe slot.rows[slot.count] = RowReference(chunk: placeIn[number], sample: row.sample)
        slot.count += 1
    }

    private func submit(_ full: BatchSlot) {
        slot = nil
        batches += 1
        batchesInEpoch += 1
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
            if keepsLast {
                submit(partial)
            } else {
                dropRemainder(partial)
            }
        }
        return true
    }
}
