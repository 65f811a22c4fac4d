internal import Headrace
internal import HeadraceCore

/// What a person reads at the end of `pipebench read`: the verdict, then what it rests on.
extension ReadResult {
    /// - Parameter runs: all runs of which this is the median.
    func text(of runs: [ReadResult]) -> [String] {
        [verdict, ""] + figures + spread(runs) + [""] + stalls + [""] + accounts + notes
    }

    private func spread(_ runs: [ReadResult]) -> [String] {
        let speeds = runs.map(\.samplesPerSecond).sorted()
        guard speeds.count > 1 else { return [] }
        return [
            Self.line(
                "runs",
                "\(speeds.count), from \(figure(speeds[0])) to \(figure(speeds[speeds.count - 1])) samples/s; "
                    + "the figures are medians")
        ]
    }

    private var figures: [String] {
        let epochs = epochs == 1 ? "1 epoch" : "\(grouped(epochs)) epochs"
        var lines = [
            Self.line(
                "delivered",
                "\(grouped(report.samples)) samples, \(grouped(report.batches)) batches, "
                    + "\(ByteCount(report.payloadBytes)) in \(figure(report.wallSeconds)) s (\(epochs))"),
            Self.line(
                "throughput",
                "\(figure(perSecond(report.samples))) samples/s, "
                    + "\(figure(perSecond(report.payloadBytes) / 1e6)) MB/s, "
                    + "\(figure(perSecond(report.batches))) batches/s"),
        ]
        let perGigabyte = cpuSecondsPerGigabyte.map { figure($0) } ?? "-"
        let cores = report.wallSeconds > 0 ? figure(report.cpuSeconds / report.wallSeconds) : "-"
        lines.append(
            Self.line(
                "CPU",
                "\(perGigabyte) s for each GB delivered (\(figure(report.cpuSeconds)) s, \(cores) cores on average)"
            ))
        lines.append(
            Self.line(
                "memory",
                "at most \(ByteCount(report.peakBytes)) of the budget of \(ByteCount(report.budgetBytes))"))
        lines.append(Self.line("bytes read", origin))
        lines += cacheLines
        lines.append(
            Self.line(
                "start",
                "open \(figure(report.openSeconds)) s, first batch after \(figure(report.firstBatchSeconds)) s"
            ))
        return lines
    }

    private var origin: String {
        let read = "\(ByteCount(report.readBytes))"
        let origins = report.origins
        var parts: [String] = []
        if origins.remote > 0 { parts.append("\(ByteCount(origins.remote)) from servers") }
        if report.cache != nil { parts.append("\(ByteCount(origins.cache)) from the cache") }
        guard let device = origins.deviceBytes, let cached = origins.pageCache else {
            if parts.isEmpty {
                return read + "; the system does not say how much of that came from the page cache"
            }
            parts.append("\(ByteCount(origins.localBytes)) from files")
            return read + ": " + parts.joined(separator: ", ")
        }
        if origins.localBytes > 0 || parts.isEmpty {
            parts =
                ["\(ByteCount(device)) from the device", "\(ByteCount(cached)) from the page cache"] + parts
        }
        return read + ": " + parts.joined(separator: ", ")
    }

    private var cacheLines: [String] {
        guard let cache = report.cache else { return [] }
        var text = "\(percent(cache.hitRate)) of the bytes asked for were in \(cache.directory)"
        text += "; \(ByteCount(cache.filledBytes)) added"
        if cache.evictedBlocks > 0 { text += ", \(grouped(cache.evictedBlocks)) blocks given up" }
        if cache.refetchedBytes > 0 { text += ", \(ByteCount(cache.refetchedBytes)) brought twice" }
        if cache.badBlocks > 0 { text += ", \(grouped(cache.badBlocks)) damaged blocks put away" }
        let epochs = report.epochOrigins.suffix(Self.shownEpochs)
        guard report.epochOrigins.count > 1 else { return [Self.line("cache", text)] }
        let rates = epochs.map { "epoch \($0.epoch) \(percent($0.hitRate))" }
        return [Self.line("cache", text), Self.line("hits", rates.joined(separator: ", "))]
    }

    /// Epochs whose hits a person reads, at most: the last ones.
    private static let shownEpochs = 8

    // MARK: Stalls

    /// Shares of the time of the threads that a room has. The workers' rooms share one set of threads, so their
    /// shares add up to at most all of it.
    private var stalls: [String] {
        let cells = ["threads", "busy", "wait for input", "wait for room"]
        var lines = [left("room", 12) + cells.map { right($0, 16) }.joined()]
        for (room, times) in report.rooms {
            let threads = report.threads(of: room)
            let time = report.wallSeconds * Double(threads.count)
            let parts = [times.busyNanoseconds, times.waitInputNanoseconds, times.waitRoomNanoseconds]
            // Waiting for the first batch begins a little before the first read, where the wall time begins.
            let shares = parts.map { time > 0 ? percent(min(1, Double($0) / 1e9 / time)) : "-" }
            let name = room.rawValue.replacing("_", with: " ")
            lines.append(left(name, 12) + ([threads.text] + shares).map { right($0, 16) }.joined())
        }
        return lines
    }

    // MARK: Accounts

    private var accounts: [String] {
        var lines = [
            Self.line(
                "samples",
                "\(grouped(report.found)) found = \(grouped(report.samples)) delivered + "
                    + "\(grouped(report.skipped)) skipped + \(grouped(report.dropped)) dropped + "
                    + "\(grouped(undelivered)) read ahead and not delivered"),
            Self.line(
                "data bytes",
                "\(grouped(report.bytesParsed + report.bytesIgnored + report.bytesLost)) seen = "
                    + "\(grouped(report.bytesParsed)) parsed + \(grouped(report.bytesIgnored)) ignored + "
                    + "\(grouped(report.bytesLost)) lost"),
        ]
        if !report.ignored.isEmpty {
            let reasons = report.ignored.sorted { $0.key < $1.key }
            let parts = reasons.map { "\($0.key) \(grouped($0.value))" }
            lines.append(Self.line("ignored", parts.joined(separator: ", ")))
        }
        for defect in report.defects { lines.append(Self.line("skipped", "\(defect)")) }
        if report.skipped > report.defects.count {
            lines.append(Self.line("skipped", "and \(grouped(report.skipped - report.defects.count)) more"))
        }
        return lines
    }

    private var notes: [String] {
        var lines = [
            Self.line(
                "engine",
                "\(report.engine); \(report.workers) workers"
                    + (report.lanes > 0 ? ", \(report.lanes) lanes" : "") + "; \(report.walk)"
                    + (report.isDirect ? ", O_DIRECT" : ""))
        ]
        if let digest = report.digest { lines.append(Self.line("digest", digest)) }
        if let digest = report.setDigest { lines.append(Self.line("set digest", digest)) }
        for note in report.notes { lines.append(Self.line("note", note)) }
        return lines
    }

    private static func line(_ name: String, _ text: String) -> String { left(name, 12) + text }
}

extension LoaderReport {
    /// The threads a room has, as a number and in words.
    fileprivate func threads(of room: Room) -> (count: Int, text: String) {
        switch room {
        case .handOver: (1, "consumer")
        case .fetch where hasFetchThread: (1, "1")
        case .fetch, .catalog, .plan, .admit, .unpack, .decode, .assemble: (workers, "\(workers)")
        }
    }
}
