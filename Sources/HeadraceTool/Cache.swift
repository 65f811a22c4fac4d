internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceStorage

/// `headrace cache`
struct Cache: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fills, examines and empties a cache of shards on a local disk.",
        discussion: """
            A loader with --cache DIR fills its cache by itself; these commands fill it before a job, and look after it. \
            Jobs may use it meanwhile. A directory that is no cache is refused, and nothing but blocks is ever removed.

            Examples:
              headrace cache fill '/nfs/train-*.tar' --cache /mnt/nvme/headrace --cache-limit 400G
              headrace cache verify --cache /mnt/nvme/headrace --sample 5%
            """,
        subcommands: [
            CacheFill.self, CacheStatus.self, CacheVerify.self, CacheEvict.self, CacheClear.self,
        ])

    static let lines = JSONLines(schema: "headrace.cache/1")
}

/// `headrace cache fill`
struct CacheFill: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fill", abstract: "Brings the blocks of shards that a cache lacks.",
        discussion: "Ends with status 3 where not all of it found room.")

    @Argument(help: "Paths, globs, brace patterns or directories of shards.") var shards: [String]
    @OptionGroup var cacheFlags: CacheFlags
    @Option(
        help: ArgumentHelp("Bytes a second that may be written to the cache.", valueName: "SIZE"),
        transform: ByteCount.argument)
    var cacheWriteRate: ByteCount?
    @Option(help: ArgumentHelp("Blocks that are brought at once.", valueName: "N")) var jobs = 8
    @OptionGroup var output: OutputFlags

    /// Blocks that one thread brings before it takes others.
    private static let blocksPerUnit = 8

    mutating func validate() throws {
        guard cacheFlags.cache != nil else { throw ValidationError("--cache DIR says where the cache is") }
        try cacheFlags.check(needsDirectory: true)
        _ = try cacheFlags.policy(CachePolicy.self)
        guard (1...1024).contains(jobs) else { throw ValidationError("--jobs is 1 to 1024") }
    }

    func run() throws {
        let paths = try ShardFiles.list(LongWordLists.unfolded(shards))
        var options = CacheOptions(
            at: cacheFlags.cache ?? "", limit: cacheFlags.cacheLimit ?? ByteCount(0),
            policy: try cacheFlags.policy(CachePolicy.self))
        options.writeRate = cacheWriteRate
        let warmer = try CacheWarmer(options)
        let units = try units(paths, warmer)
        let progress = FillProgress(
            totalBytes: try paths.reduce(0) { try $0 + LocalFiles.entry($1).size }, isQuiet: output.quiet)
        var sum = CacheWarmer.Result()
        var failures: [HeadraceError] = []
        try ShardWork.run(units.count, workers: jobs) { index in
            warmer.fill(
                units[index].path, blocks: units[index].blocks, isCancelled: { Interrupt.isRequested },
                report: progress.add)
        } consume: { _, result in
            if let failure = result.failure, failures.last?.place.shard != failure.place.shard {
                failures.append(failure)
            }
            sum.add(result)
        }
        progress.close()
        try finish(warmer, paths.count, sum, failures)
    }

    private struct Unit {
        var path: String
        var blocks: Range<Int>
    }

    private func units(_ paths: [String], _ warmer: CacheWarmer) throws -> [Unit] {
        var units: [Unit] = []
        for path in paths {
            let count = warmer.blockCount(ofBytes: try LocalFiles.entry(path).size)
            for start in stride(from: 0, to: count, by: Self.blocksPerUnit) {
                units.append(Unit(path: path, blocks: start..<min(count, start + Self.blocksPerUnit)))
            }
        }
        return units
    }

    private func finish(
        _ warmer: CacheWarmer, _ shardCount: Int, _ sum: CacheWarmer.Result, _ failures: [HeadraceError]
    ) throws {
        let used = try warmer.cache.folder.usedBytes()
        let passed = sum.passed.sorted { $0.key.rawValue < $1.key.rawValue }
        let passedBytes = passed.reduce(0) { $0 + $1.value }
        if output.json {
            try Cache.lines.write([
                JSONMember("command", "fill"), JSONMember("directory", .string(warmer.cache.folder.path)),
                JSONMember("shards", .int(shardCount)), JSONMember("held_bytes", .int(sum.heldBytes)),
                JSONMember("filled_bytes", .int(sum.filledBytes)),
                JSONMember(
                    "passed", .object(passed.map { JSONMember($0.key.rawValue, .int($0.value)) })),
                JSONMember("used_bytes", .int(used)),
                JSONMember("errors", .array(failures.map(\.json))),
            ])
        } else {
            try StandardOutput.writeLine(
                "\(counted(shardCount, "shard")): \(ByteCount(sum.filledBytes)) brought, "
                    + "\(ByteCount(sum.heldBytes)) were there; the cache has \(ByteCount(used))")
        }
        for failure in failures { say(failure) }
        if !output.quiet {
            for (reason, bytes) in passed {
                StandardError.say(
                    "headrace: \(ByteCount(bytes)) were not kept: \(reason.sentence(warmer.cache.settings))")
            }
        }
        try Interrupt.check()
        let environment = failures.filter { $0.code.category == .environment }.count
        let status = exitStatus(environment: environment, defects: failures.count - environment)
        if status != ExitStatus.done { throw Exit(status) }
        if passedBytes > 0 { throw Exit(ExitStatus.limitMissed) }
    }
}

/// A bar over the bytes that a fill goes through.
// Sendable: `lock` guards the sum.
private final class FillProgress: @unchecked Sendable {
    private let bar: Progress
    private let totalBytes: Int
    private let lock = Lock()
    private var done = 0

    init(totalBytes: Int, isQuiet: Bool) {
        bar = Progress("fill", isQuiet: isQuiet)
        self.totalBytes = totalBytes
    }

    func add(_ bytes: Int) {
        let sum = lock.withLock { () -> Int in
            done += bytes
            return done
        }
        bar.update(sum, of: totalBytes, detail: "\(ByteCount(sum)) of \(ByteCount(totalBytes))")
    }

    func close() { bar.finish() }
}
