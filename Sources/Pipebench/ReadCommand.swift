internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceStorage

/// `pipebench read`: drives the loader over a data set and reports what came of it.
struct ReadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "read",
        abstract: "Read a data set through the loader and say how fast it came and what limited it.",
        discussion: """
            Example: pipebench read 'data/train-{000000..000012}.tar.zst' --shuffle buffer:4096 --epochs 3 --digest
            With --step-time the consumer works that long on each batch, as a training step does; the verdict then \
            says whether the loader keeps up. Times are from a monotonic clock; bytes are payload before decoding.

            With --json the last line is the total. Values of parts that a run does not have are zero (no cache, no \
            index, no padding), what was not asked for or cannot be known is null (digests, cpu_s_per_gb of no bytes).
            """)

    @Argument(
        help: ArgumentHelp(
            "Shards: paths, globs or brace patterns; or a directory, of shards or of plain files.",
            valueName: "SHARDS|DIRECTORY"))
    var shards: [String]

    @OptionGroup(title: "Pipeline") var pipeline: PipelineOptions

    @Option(
        help: ArgumentHelp("Time the consumer works on each batch, such as 120ms.", valueName: "TIME"),
        transform: TimeSpan.argument)
    var stepTime: TimeSpan?

    @Option(
        help: ArgumentHelp("Stop after this time, such as 60s, if the data last longer.", valueName: "TIME"),
        transform: TimeSpan.argument)
    var time: TimeSpan?

    @Option(help: ArgumentHelp("Stop after so many batches.", valueName: "BATCHES"))
    var stopAfter: Int?

    @Option(
        help: ArgumentHelp(
            "Go on from where this state says, which --save wrote; it must be of these data and options.",
            valueName: "STATE"))
    var start: String?

    @Option(help: ArgumentHelp("Write the state behind the last batch to this file.", valueName: "STATE"))
    var save: String?

    @Option(name: .customLong("repeat"), help: "Runs; with more than one, the last line has the medians.")
    var runs = 1

    @Option(
        help: ArgumentHelp("Tell on standard error how far the run is, each so often.", valueName: "TIME"),
        transform: TimeSpan.argument)
    var interval: TimeSpan?

    @Flag(help: "Compute the digests of everything delivered: one of the order, one of the set.")
    var digest = false

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Also write the total to this file, as JSON.", valueName: "REPORT.json"))
    var output: String?

    @OptionGroup var flags: OutputFlags

    mutating func validate() throws {
        if runs < 1 { throw ValidationError("--repeat must be at least 1") }
        if runs > 1, start != nil || save != nil {
            throw ValidationError("--repeat runs the same again: it goes with neither --start nor --save")
        }
        if let stopAfter, stopAfter < 1 { throw ValidationError("--stop-after must be at least 1") }
        if let interval, interval < .milliseconds(10) {
            throw ValidationError("--interval must be at least 10ms")
        }
        if interval != nil && flags.quiet {
            throw ValidationError("--interval writes on standard error, which --quiet forbids")
        }
    }

    func run() throws {
        var options = try pipeline.loaderOptions()
        options.digest = digest
        let state = try start.map {
            try LoaderState(parsing: SmallFile.readBytes($0, limit: LoaderStateLimits.byteCount))
        }
        let lines = JSONLines(schema: ReadResult.schema)
        var results: [ReadResult] = []
        for number in 1...runs {
            let label = runs == 1 ? "read" : "run \(number) of \(runs)"
            let run = ReadRun(
                dataset: Dataset(shards: shards, options: options), device: pipeline.device,
                pageCache: pipeline.pageCache,
                stepTime: stepTime, timeLimit: time, stopAfterBatches: stopAfter, interval: interval,
                isQuiet: flags.quiet, label: label, start: state)
            let result = try run.measure()
            results.append(result)
            // For people they are part of the report.
            if flags.json && !flags.quiet && number == 1 {
                for note in result.report.notes { StandardError.say("pipebench: note: \(note)") }
            }
            if runs > 1 { try tell(result, number: number, lines) }
            if result.failure != nil || result.stop == .interrupted { break }
        }
        // What ended the last run must not vanish in a median.
        let endedEarly = results.last.map { $0.failure != nil || $0.stop == .interrupted } ?? false
        let total = endedEarly ? results[results.count - 1] : ReadMedian.of(results)
        if flags.json {
            try lines.write(total.totals)
        } else {
            for line in total.text(of: results) { try StandardOutput.writeLine(line) }
        }
        try write(total, results)
        if let save, let state = results.last?.state {
            let file = try AtomicFile(save, replacing: true)
            try file.write(String(decoding: state.encoded(), as: UTF8.self))
            try file.commit()
        }
        if let failure = total.failure { throw failure }
        try checkDigests(results)
    }

    private func tell(_ result: ReadResult, number: Int, _ lines: JSONLines) throws(HeadraceError) {
        if flags.json {
            try lines.write([JSONMember("run", .int(number))] + result.totals)
            try StandardOutput.flush()
        } else if !flags.quiet {
            StandardError.say(
                "run \(number) of \(runs): \(figure(result.samplesPerSecond)) samples/s, "
                    + "\(figure(result.perSecond(result.report.payloadBytes) / 1e6)) MB/s, "
                    + "\(figure(result.report.wallSeconds)) s; \(result.verdict)")
        }
    }

    private func write(_ total: ReadResult, _ results: [ReadResult]) throws(HeadraceError) {
        guard let output else { return }
        var members = [JSONMember("schema", .string(ReadResult.schema))] + total.totals
        if runs > 1 { members.append(JSONMember("runs", .array(results.map { .object($0.totals) }))) }
        let text = JSONValue.object(members).pretty() + "\n"
        let file = try AtomicFile(output, replacing: true)
        try file.write(text)
        try file.commit()
    }

    /// Runs of the same data to their end must deliver the same; if they did not, the data changed under them.
    private func checkDigests(_ results: [ReadResult]) throws {
        let complete = results.filter { $0.stop == nil }
        guard digest, Set(complete.map { $0.report.digest ?? "" }).count > 1 else { return }
        StandardError.say("pipebench: the runs delivered different data: the shards changed between them")
        throw Exit(ExitStatus.badData)
    }
}

extension AtomicFile {
    fileprivate func write(_ text: String) throws(HeadraceError) {
        let bytes = Array(text.utf8)
        let result = unsafe bytes.withUnsafeBytes { bytes -> Result<Void, HeadraceError> in
            do throws(HeadraceError) { return .success(try unsafe append(bytes)) } catch {
                return .failure(error)
            }
        }
        try result.get()
    }
}
