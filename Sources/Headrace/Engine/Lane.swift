internal import HeadraceCore

/// One of the shards-in-turn of the streamed walk: lane `j` of `C` reads shards j, j + C, ... of the epoch's order.
///
/// Everything is guarded by the engine's lock; the worker that has set `isOpening` or `isUnpacking` works on the
/// pass it took along without it.
final class Lane {
    let number: Int
    /// Catalog numbers of this epoch's shards, in order.
    var shards: [Int] = []
    var nextShard = 0
    var isOpening = false
    /// The pass whose chunks are being admitted, and the next of them.
    var pass: ShardPass?
    var nextChunk = 0
    /// Chunks that have memory and are not unpacked yet, in order.
    var window: [Chunk] = []
    var isUnpacking = false
    /// Unpacked chunks that the sequencer has not taken yet, in order.
    var output: [Chunk] = []
    /// The count of releases when unpacking last lacked memory; it is tried again after the next release.
    var parkedAt: Int?

    init(number: Int) { self.number = number }

    /// Nothing more will come out of this lane in this epoch.
    var isEnded: Bool {
        nextShard == shards.count && !isOpening && pass == nil && window.isEmpty && !isUnpacking
            && output.isEmpty
    }

    /// Nothing is ready and nothing is under way: the sequencer will wait for this lane.
    var isStarving: Bool { window.isEmpty && output.isEmpty && !isUnpacking }

    func restart(shards: [Int]) {
        self.shards = shards
        nextShard = 0
        pass = nil
        nextChunk = 0
        parkedAt = nil
    }
}
