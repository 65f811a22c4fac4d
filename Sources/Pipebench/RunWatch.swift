internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

/// Ends a run from outside: when its time is over, or when the user interrupts it, even while the consumer waits for
/// storage that does not answer. Also tells how far the run is.
///
/// Sendable: `lock` guards all mutable state.
final class RunWatch: @unchecked Sendable {
    /// Why a run ended before its data did.
    enum Stop {
        case interrupted
        case time
    }

    private let loader: Loader
    private let progress: RunProgress
    private let deadline: Int?
    private let lock = Lock()
    private let changed: Condition
    private var stopped: Stop?
    private var isOver = false
    private var thread: Thread?

    /// Starts to watch; the time limit counts from here.
    init(_ loader: Loader, timeLimit: TimeSpan?, progress: RunProgress) throws(HeadraceError) {
        self.loader = loader
        self.progress = progress
        let now = Clock.now()
        deadline = timeLimit.map { limit in now.addingReportingOverflow(limit.nanoseconds) }
            .map { $0.overflow ? Int.max : $0.partialValue }
        changed = Condition(lock)
        let started = try Thread(name: "run-watch") { [self] in watch() }
        lock.withLock { thread = started }
        Interrupt.onRequest { [self] in
            lock.withLock {
                stopped = stopped ?? .interrupted
                changed.broadcast()
            }
        }
    }

    /// Why the run must end; nil while it may go on.
    var stop: Stop? { lock.withLock { stopped } }

    /// Works as a training step does: takes time without using the CPU. Cut short when the run must end.
    func step(_ nanoseconds: Int) {
        let end = Clock.now() + nanoseconds
        lock.withLock {
            while stopped == nil {
                let left = end - Clock.now()
                if left <= 0 { break }
                _ = changed.wait(nanoseconds: left)
            }
        }
    }

    /// Stops watching; afterwards nobody but the caller uses the loader.
    func end() {
        Interrupt.onRequest {}
        let running = lock.withLock { () -> Thread? in
            isOver = true
            changed.broadcast()
            return thread
        }
        running?.join()
    }

    private func watch() {
        lock.lock()
        while stopped == nil && !isOver {
            let now = Clock.now()
            if let deadline, now >= deadline {
                stopped = .time
                changed.broadcast()
                break
            }
            if let tick = progress.nextTick, now >= tick {
                lock.unlock()
                progress.tell(loader.report())
                lock.lock()
                continue
            }
            switch (deadline, progress.nextTick) {
            case (nil, nil): changed.wait()
            case (let deadline?, let tick?): _ = changed.wait(nanoseconds: min(deadline, tick) - now)
            case (let end?, nil), (nil, let end?): _ = changed.wait(nanoseconds: end - now)
            }
        }
        let mustClose = stopped != nil && !isOver
        lock.unlock()
        if mustClose { loader.close() }
    }
}

/// Tells how far a run is: a line at each interval where one was asked for, else a bar where a person looks on.
///
/// Sendable: used by the watching thread only.
final class RunProgress: @unchecked Sendable {
    private static let barIntervalNanoseconds = 200_000_000

    private let began = Clock.now()
    private let intervalNanoseconds: Int?
    private let bar: Progress?
    private let totalBytes: Int?
    private let timeLimit: TimeSpan?
    private var last = LoaderReport()
    private var lastTime: Int
    /// When to call ``tell(_:)`` next; nil: never.
    private(set) var nextTick: Int?

    /// - Parameters:
    ///   - interval: between lines; nil for a bar.
    ///   - totalBytes: bytes of all epochs' shards, where the run reads them to the end.
    init(interval: TimeSpan?, isQuiet: Bool, label: String, totalBytes: Int?, timeLimit: TimeSpan?) {
        self.totalBytes = totalBytes
        self.timeLimit = timeLimit
        intervalNanoseconds = interval?.nanoseconds
        lastTime = began
        if let interval {
            bar = nil
            nextTick = began + interval.nanoseconds
        } else {
            let isShown = !isQuiet && StandardError.isTerminal
            bar = isShown ? Progress(label, isQuiet: isQuiet) : nil
            nextTick = isShown ? began + Self.barIntervalNanoseconds : nil
        }
    }

    func tell(_ report: LoaderReport) {
        let now = Clock.now()
        let seconds = max(1e-9, Double(now - lastTime) / 1e9)
        let samples = Double(report.samples - last.samples) / seconds
        let bytes = Double(report.payloadBytes - last.payloadBytes) / seconds
        let rates = "\(figure(samples)) samples/s, \(figure(bytes / 1e6)) MB/s"
        if let bar {
            bar.update(Int(share(report, now) * 1e6), of: 1_000_000, detail: rates)
            nextTick = now + Self.barIntervalNanoseconds
            // The rate of a moment jumps about; the bar shows it over a second or so.
            guard seconds >= 1 else { return }
        } else if let intervalNanoseconds {
            StandardError.say(
                "\(decimal(Double(now - began) / 1e9, 1)) s: \(grouped(report.samples)) samples in "
                    + "\(grouped(report.batches)) batches, now \(rates)")
            nextTick = now + intervalNanoseconds
        }
        last = report
        lastTime = now
    }

    func finish() { bar?.finish() }

    private func share(_ report: LoaderReport, _ now: Int) -> Double {
        var share = 0.0
        if let totalBytes, totalBytes > 0 { share = Double(report.readBytes) / Double(totalBytes) }
        if let timeLimit, timeLimit.nanoseconds > 0 {
            share = max(share, Double(now - began) / Double(timeLimit.nanoseconds))
        }
        return share
    }
}
