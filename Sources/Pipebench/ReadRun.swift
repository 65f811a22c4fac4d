internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCompute
internal import HeadraceCore

/// One run of a loader with a consumer that does nothing but count, or works for a set time on each batch.
struct ReadRun {
    var dataset: Dataset
    var device: ComputeDevice
    var pageCache: PageCacheState
    /// How long the consumer works on a batch; nil for one that only takes them.
    var stepTime: TimeSpan?
    var timeLimit: TimeSpan?
    var stopAfterBatches: Int?
    var interval: TimeSpan?
    var isQuiet: Bool
    var label: String
    /// Where to go on from.
    var start: LoaderState?

    /// Reads until the data, the time or the user says so. Throws what opening throws; what ends a run that has
    /// begun is in its result, beside what was delivered before.
    func measure() throws(HeadraceError) -> ReadResult {
        var notes: [String] = []
        if pageCache != .keep { notes = try pageCache.prepare(try dataset.filePaths()) }
        let loader = try dataset.loader(on: device, resuming: start)
        let totalBytes = dataset.options.epochs.flatMap { epochs -> Int? in
            let (bytes, overflow) = loader.shardByteCount.multipliedReportingOverflow(by: epochs)
            return overflow ? nil : bytes
        }
        let progress = RunProgress(
            interval: interval, isQuiet: isQuiet, label: label,
            totalBytes: stopAfterBatches == nil ? totalBytes : nil, timeLimit: timeLimit)
        let watch = try RunWatch(loader, timeLimit: timeLimit, progress: progress)
        var result = ReadResult(hasConsumer: stepTime != nil)
        do throws(HeadraceError) {
            result.epochs = try consume(loader, watch)
        } catch {
            result.failure = error
        }
        result.state = loader.state
        watch.end()
        progress.finish()
        // Threads add their last times when they end, so the report is taken after that.
        loader.close()
        result.stop = watch.stop
        result.report = loader.report()
        result.report.notes = notes + result.report.notes
        return result
    }

    /// Takes batches; returns the number of epochs that were begun.
    private func consume(_ loader: Loader, _ watch: RunWatch) throws(HeadraceError) -> Int {
        var batches = 0
        var epochs = 0
        while watch.stop == nil, batches < stopAfterBatches ?? Int.max, let batch = try loader.next() {
            batches += 1
            epochs = batch.epoch + 1
            // The batch is kept during the step, as a training loop keeps it.
            if let stepTime { withExtendedLifetime(batch) { watch.step(stepTime.nanoseconds) } }
        }
        return epochs
    }
}

/// What one run came to.
struct ReadResult {
    var report = LoaderReport()
    let hasConsumer: Bool
    /// Epochs of which something was delivered.
    var epochs = 0
    /// What ended the run before its time.
    var failure: HeadraceError?
    var stop: RunWatch.Stop?
    /// Where a run goes on from behind the last batch.
    var state: LoaderState?

    init(hasConsumer: Bool) { self.hasConsumer = hasConsumer }

    var verdict: String {
        let samples = "\(grouped(report.samples)) samples"
        if let failure { return "stopped by an error after \(samples): \(failure)" }
        let judged = Verdict(report, hasConsumer: hasConsumer).description
        return stop == .interrupted ? "interrupted after \(samples); \(judged)" : judged
    }

    var samplesPerSecond: Double { perSecond(report.samples) }

    /// `count` by the wall time; 0 where there is none, as when a single batch was read.
    func perSecond(_ count: Int) -> Double {
        report.wallSeconds > 0 ? Double(count) / report.wallSeconds : 0
    }

    /// CPU seconds for 10^9 payload bytes; nil where nothing was delivered.
    var cpuSecondsPerGigabyte: Double? {
        report.payloadBytes > 0 ? report.cpuSeconds / (Double(report.payloadBytes) / 1e9) : nil
    }

    /// Samples that were found and had not reached the consumer when the run ended.
    var undelivered: Int { report.found - report.samples - report.skipped - report.dropped }
}
