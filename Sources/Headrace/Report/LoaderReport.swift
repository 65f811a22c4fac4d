public import HeadraceCore
internal import HeadraceStorage

/// What a loader has done so far: throughput, where its time went, and where every sample and byte is.
///
/// Times are in seconds, sizes in bytes. Samples found = delivered + skipped + dropped + in flight; the last is
/// zero once the loader has come to its end.
public struct LoaderReport: Sendable {
    /// Samples delivered, repeats in later epochs included.
    public var samples = 0
    /// Batches delivered.
    public var batches = 0
    /// Payload bytes delivered, undecoded.
    public var payloadBytes = 0
    /// Bytes of shards read from the storage.
    public var readBytes = 0
    /// From where the bytes came; of blocks that a cache brought for a part of them, all.
    public var origins = OriginBytes()
    /// The same by epoch, of the last 64.
    public var epochOrigins: [EpochOrigins] = []
    /// What the cache did; nil where there is none.
    public var cache: CacheReport?
    /// Time to open the loader.
    public var openSeconds = 0.0
    /// Of that, time to find and check the shards' indexes.
    public var indexSeconds = 0.0
    /// From opening to the first batch.
    public var firstBatchSeconds = 0.0
    /// From the first read to the last batch.
    public var wallSeconds = 0.0
    /// CPU time of the process since opening.
    public var cpuSeconds = 0.0
    /// The most memory of the budget that was resident at once.
    public var peakBytes = 0
    /// The memory budget.
    public var budgetBytes = 0
    /// Time of each room, summed over threads.
    public var rooms: [(room: Room, times: RoomTimes)] = []
    /// Share of the wall time that the consumer waited for batches.
    public var waitShare = 0.0
    /// Defective samples left out.
    public var skipped = 0
    /// Samples left out at the end of epochs.
    public var dropped = 0
    /// Rows without a sample, that made ranks equal.
    public var padded = 0
    /// Rows delivered a second time in their epoch, that made ranks equal.
    public var repeated = 0
    /// Which way the data set was walked, and why.
    public var walk = ""
    /// The first defects that were skipped.
    public var defects: [HeadraceError] = []
    /// Members and bytes that the formats' rules pass over, by reason.
    public var ignored: [String: Int] = [:]
    /// Uncompressed bytes parsed, ignored and lost.
    public var bytesParsed = 0
    /// Uncompressed bytes passed over by a rule of the format.
    public var bytesIgnored = 0
    /// Uncompressed bytes that no sample carries because of a defect.
    public var bytesLost = 0
    /// Samples found by the formats.
    public var found = 0
    /// Order-sensitive digest of everything delivered; nil unless asked for.
    public var digest: String?
    /// Digest of the set of samples delivered, whatever their order; nil unless asked for.
    public var setDigest: String?
    /// How files are read, and why so.
    public var engine = ""
    /// Decode workers.
    public var workers = 0
    /// Lanes.
    public var lanes = 0
    /// Whether the page cache was bypassed.
    public var isDirect = false
    /// Whether a thread of its own fetches; else the workers read for themselves.
    public var hasFetchThread = false
    /// What the user should know of how the data set was understood.
    public var notes: [String] = []

    package init() {}

    /// Bytes of local files that came from a device, by the kernel's count for the whole process; the rest was in the
    /// page cache. Nil where the system does not tell.
    public var deviceBytes: Int? {
        get { origins.deviceBytes }
        set { origins.deviceBytes = newValue }
    }

    /// Bytes of local files that were in the page cache already; nil where the system does not tell.
    public var pageCacheBytes: Int? { origins.pageCache }
}

extension Loader {
    /// What has been done so far.
    public func report() -> LoaderReport { engine.report(opening) }
}

extension Engine {
    func report(_ opening: LoaderOpening) -> LoaderReport {
        let deviceBytes = ProcessIO.now()?.deviceBytes
        var report = LoaderReport()
        report.openSeconds = seconds(opening.openNanoseconds)
        report.cpuSeconds = seconds(Clock.processCPU() - opening.cpuAtOpen)
        report.peakBytes = arena.pool.peakBytes
        report.budgetBytes = opening.budget
        report.engine = opening.engineReason
        report.workers = opening.workers
        report.lanes = opening.lanes
        report.isDirect = opening.isDirect
        report.hasFetchThread = ringDepth != nil
        report.notes = opening.notes + (cache?.notes ?? [])
        report.cache = cache.map { CacheReport($0) }
        report.walk = opening.walk
        report.indexSeconds = seconds(opening.indexNanoseconds)
        lock.withLock {
            addDelivery(to: &report)
            let started = tally.firstReadAt
            report.readBytes = tally.fetchedBytes
            let sources = tally.origins.total
            var fromDevice: Int?
            if opening.isDirect {
                fromDevice = sources.local
            } else if let deviceBytes, let before = opening.ioAtOpen?.deviceBytes {
                // The kernel also counts what it reads ahead and the first look at the shards.
                fromDevice = deviceBytes - before
            }
            report.origins = OriginBytes(sources, deviceBytes: fromDevice)
            report.epochOrigins = tally.origins.report(
                deviceBytes: deviceBytes, isDirect: opening.isDirect)
            report.firstBatchSeconds =
                tally.firstBatchAt == 0 ? 0 : seconds(tally.firstBatchAt - opening.openedAt)
            report.wallSeconds = started == 0 ? 0 : seconds(max(0, tally.lastBatchAt - started))
            report.rooms = Room.allCases.map { ($0, clock[$0]) }
            if report.wallSeconds > 0 {
                report.waitShare = min(1, seconds(delivery.waitNanoseconds) / report.wallSeconds)
            }
            report.dropped = tally.droppedSamples
            report.ignored = tally.account.ignored
            report.bytesParsed = tally.account.bytesParsed
            report.bytesIgnored = tally.account.bytesIgnored
            report.bytesLost = tally.account.bytesLost
            report.found = tally.account.samples
        }
        return report
    }

    private func addDelivery(to report: inout LoaderReport) {
        report.samples = delivery.samples
        report.batches = delivery.batches
        report.payloadBytes = delivery.payloadBytes
        report.skipped = delivery.skipped
        report.padded = delivery.padded
        report.repeated = delivery.repeated
        report.defects = delivery.defects
        guard options.digest else { return }
        report.digest = delivery.digest.hexadecimal
        report.setDigest = delivery.setDigest.hexadecimal
    }

    private func seconds(_ nanoseconds: Int) -> Double { Double(nanoseconds) / 1e9 }
}
