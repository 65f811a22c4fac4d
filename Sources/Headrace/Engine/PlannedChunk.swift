internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Where a sample of an indexed walk comes from.
struct SampleOrigin: Sendable {
    /// The shard's number in the catalog.
    var shard: Int32
    /// How often a mixture has walked through the shard's data set before, in this epoch.
    var pass: UInt32 = 0
    /// Ordinal in the shard.
    var ordinal: Int
}

/// What an indexed walk brings into one chunk: reads that lie anywhere, and the samples that are found in them.
///
/// Sendable: belongs to whoever has the chunk.
final class PlannedChunk: @unchecked Sendable {
    unowned let window: Window
    /// The reads, of whole blocks where they are direct; `file` is the shard's number in the catalog.
    var fetches: [ScatteredRead] = []
    /// Where the samples lie in the shards, and in the uncompressed bytes of the chunk.
    var samples: [PlacedSample] = []
    /// Of each sample.
    var origins: [SampleOrigin] = []
    /// The fetch that brings it, of each sample.
    var fetchOfSample: [Int32] = []
    /// Frames that the read brings, of one shard; empty where it is not compressed.
    var frames: [Frame] = []
    /// Where the compressed bytes of the first frame lie in the read.
    var frameLead = 0
    /// Memory for the uncompressed bytes of all frames.
    var frameBytes = 0
    /// Only the samples of the frames are kept, because they are a small part.
    var keepsSamplesAlone = false
    /// Memory for what batches refer to.
    var outputBytes = 0
    /// Memory for what is read and compressed.
    var inputBytes = 0
    /// Once its memory is granted.
    var chunk: Chunk?
    /// Defects known before anything was read: samples without a place.
    var failures: [(sample: Int, error: HeadraceError)] = []
    /// What went wrong with a fetch: the samples that it was to bring are defects, and no others.
    private(set) var fetchFailures: [Int32: HeadraceError] = [:]
    /// The reads under way, and the fetch that each is a part of. Files are open for as long as they are listed here: a
    /// window may need more of them than a process may have open.
    private(set) var requests: [ReadRequest] = []
    private var owners: [Int32] = []

    init(_ window: Window) { self.window = window }

    /// Bits of a ticket that are the number of a read.
    static let readBits: UInt64 = 20

    /// Memory that the reads go to.
    func target(_ chunk: Chunk) -> Slab? { frames.isEmpty ? chunk.slab : chunk.input }

    /// Opens the files and lists the reads, all or those of `part`; the ticket of each is `ticket` and its number.
    func prepareRequests(
        into chunk: Chunk, _ source: IndexedSource, ticket: UInt64, part: Set<Int>? = nil
    ) {
        requests.removeAll()
        owners.removeAll()
        guard let target = target(chunk) else { return }
        requests.reserveCapacity(fetches.count)
        owners.reserveCapacity(fetches.count)
        var open: (shard: Int32, file: any StorageFile)?
        for (number, fetch) in fetches.enumerated() where part?.contains(number) != false {
            if open?.shard != fetch.file {
                open = nil
                do throws(HeadraceError) {
                    open = (fetch.file, try source.file(fetch.file))
                } catch {
                    fetchFailures[Int32(number)] = error
                }
            }
            guard let file = open?.file else { continue }
            var done = 0
            while done < fetch.length {
                let length = min(ChunkGeometry.requestBytes, fetch.length - done)
                unsafe requests.append(
                    ReadRequest(
                        ticket: ticket << Self.readBits | UInt64(requests.count), file: file,
                        offset: fetch.offset + done, length: length,
                        destination: target.base + fetch.place + done, slab: target))
                owners.append(Int32(number))
                done += length
            }
        }
    }

    /// Takes the outcome of a read.
    func settle(_ completion: ReadCompletion) {
        let number = Int(completion.ticket & (1 << Self.readBits - 1))
        let owner = owners[number]
        switch completion.result {
        case .success(let count):
            let request = requests[number]
            let expected = min(request.length, request.file.size - request.offset)
            if expected > 0, count >= expected { return }
            fetchFailures[owner] = HeadraceError(
                .fileChanged, "the file ended early while it was read; it must not be changed",
                at: .init(shard: request.file.path, offset: request.offset + count))
        case .failure(let error):
            fetchFailures[owner] = error
        }
    }

    /// Lets go of the files.
    func finishReading() {
        requests = []
        owners = []
    }
}

/// Some consecutive batches of an indexed walk: their rows are planned, read and found together.
///
/// Sendable: made by the worker that plans, then guarded by the engine's lock.
final class Window: @unchecked Sendable {
    /// Steps of the current segment.
    var steps: Range<Int>
    var chunks: [PlannedChunk] = []
    /// The window's rows in order: the place of the chunk in `chunks` and the sample in it; chunk -1 for padding.
    var rows: [RowReference] = []
    /// First row of each step, and the end.
    var starts: [Int] = []
    /// Rows that only make ranks equal, by step.
    var repeats: [Int] = []
    /// Chunks that have no memory yet start here.
    var admitted = 0
    /// Chunks that are not filled yet.
    var pending = 0
    /// The next step to be dealt.
    var nextStep = 0
    /// Where the current batch lists each chunk; -1: not yet.
    var listings: [Int32] = []

    init(steps: Range<Int>) { self.steps = steps }

    var isFilled: Bool { pending == 0 }
}
