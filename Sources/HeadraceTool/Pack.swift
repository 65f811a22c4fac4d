public import ArgumentParser
public import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

/// `headrace pack`
struct Pack: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Packs files into shards, with an index and a manifest in .headrace/ beside them.",
        discussion: """
            A directory is packed sample by sample: the files of one stem (a/dog.jpg, a/dog.cls) are a \
            sample. IDX files, gzipped or not, give the fields npy and cls. The same sources and options \
            always make the same bytes. Ends by printing the pattern to read the shards with.

            Examples:
              headrace pack images/ -o 'data/train-%06d.tar.zst' --class-from-directory
              headrace pack train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz -o 'mnist-%03d.tfrecord'
            """)

    @Argument(help: "Directories or IDX files.") var source: [String]

    @Option(
        name: [.customShort("o"), .long],
        help: "Where shards go: a path with %d or %06d for their number. Its ending says format and codec.")
    var output: String

    @Option(help: "tar or tfrecord, where the output's name does not say.") var format: PackFormat?
    @Option(help: "none, zstd or lz4, where the output's name does not say.") var codec: PackCodec?

    @Option(parsing: .unconditional, help: "Level of the codec (zstd: 3, lz4: 1).") var level: Int?

    @Option(
        help: ArgumentHelp("Uncompressed bytes of a shard at most (256MiB).", valueName: "size"),
        transform: ByteCount.argument) var shardSize: ByteCount?
    @Option(help: ArgumentHelp("Samples of a shard.", valueName: "n")) var shardCount: Int?
    @Option(
        help: ArgumentHelp("Uncompressed bytes of a frame at most (2MiB).", valueName: "size"),
        transform: ByteCount.argument) var frameSize: ByteCount?

    @Flag(help: "Add the field cls: the number of the sample's top directory.") var classFromDirectory = false
    @Option(help: "Threads (one a core).") var workers: Int?
    @Flag(help: "Replace the shards of this pattern that are there.") var overwrite = false
    @Flag(help: "Say what would be written, and write nothing.") var dryRun = false
    @OptionGroup var words: OutputFlags

    func validate() throws {
        if shardSize != nil, shardCount != nil {
            throw ValidationError("--shard-size and --shard-count exclude each other.")
        }
    }

    func run() throws {
        let packer = try Packer(try packSources(at: LongWordLists.unfolded(source)), options: options)
        if dryRun { return try PackReport(words).write(try packer.plan(), result: nil) }
        let bar = Progress("pack", isQuiet: words.quiet)
        Interrupt.onRequest { packer.cancel() }
        let result: PackResult
        do throws(HeadraceError) {
            result = try packer.run { progress in
                bar.update(
                    progress.byteCount, of: progress.totalByteCount,
                    detail: "\(progress.sampleCount) of \(counted(progress.totalSampleCount, "sample")), "
                        + "\(ByteCount(progress.writtenByteCount)) written")
            }
        } catch {
            bar.finish()
            guard Interrupt.isRequested, error.code == .packCancelled else { throw error }
            StandardError.say("headrace: interrupted; shards that were finished stay, there is no manifest")
            try Interrupt.check()
            throw error
        }
        bar.finish()
        try PackReport(words).write(result.summary, result: result)
    }

    private var options: PackOptions {
        var options = PackOptions(output: output)
        options.format = format
        options.codec = codec
        options.level = level
        if let shardSize { options.shardLimit = .bytes(shardSize.bytes) }
        if let shardCount { options.shardLimit = .samples(shardCount) }
        options.frameByteCount = frameSize?.bytes
        options.workers = workers
        options.classFromDirectory = classFromDirectory
        options.overwrite = overwrite
        return options
    }
}

extension PackFormat: ExpressibleByArgument {}
extension PackCodec: ExpressibleByArgument {}

/// What was packed, for scripts and for people.
private struct PackReport {
    private let words: OutputFlags

    init(_ words: OutputFlags) { self.words = words }

    /// `result` is nil for what was only planned.
    func write(_ summary: PackSummary, result: PackResult?) throws {
        if !words.quiet { sayLeftOut(summary) }
        if words.json { return try JSONLines(schema: "headrace.pack/1").write(members(summary, result)) }
        let what = "\(counted(summary.sampleCount, "sample")) \(result == nil ? "would go " : "")into "
        let shards = counted(summary.shardCount, "shard")
        if let result {
            try StandardOutput.writeLine(
                "packed \(what)\(shards), \(ByteCount(result.byteCount)) for "
                    + "\(ByteCount(summary.payloadByteCount)) of payload")
        } else {
            try StandardOutput.writeLine(
                "\(what)\(shards) of \(ByteCount(summary.uncompressedByteCount)) before compression; "
                    + "nothing was written"
            )
        }
        try StandardOutput.writeLine(summary.readPattern)
    }

    private func sayLeftOut(_ summary: PackSummary) {
        for (reason, count) in summary.ignored.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            let examples = (summary.ignoredExamples[reason] ?? []).prefix(3).map(printable)
            StandardError.say(
                "headrace: note: left out \(counted(count, "file")) (\(reason.rawValue)): "
                    + examples.joined(separator: ", ") + (count > examples.count ? ", ..." : ""))
        }
        if !summary.leftovers.isEmpty {
            StandardError.say(
                "headrace: note: an interrupted run left "
                    + "\(counted(summary.leftovers.count, "temporary file")), "
                    + "which may be removed: "
                    + summary.leftovers.prefix(3).map(printable).joined(separator: ", "))
        }
    }

    private func members(_ summary: PackSummary, _ result: PackResult?) -> [JSONMember] {
        let ignored = summary.ignored.sorted { $0.key.rawValue < $1.key.rawValue }
        return [
            JSONMember("written", .bool(result != nil)),
            JSONMember("pattern", .string(summary.readPattern)),
            JSONMember("format", .string(summary.format.rawValue)),
            JSONMember("codec", .string(summary.codec.rawValue)),
            JSONMember("shards", .int(summary.shardCount)), JSONMember("samples", .int(summary.sampleCount)),
            JSONMember("bytes", result.map { .int($0.byteCount) } ?? .null),
            JSONMember("uncompressed_bytes", .int(summary.uncompressedByteCount)),
            JSONMember("payload_bytes", .int(summary.payloadByteCount)),
            JSONMember("ratio", result.map { .double($0.ratio) } ?? .null),
            JSONMember("fields", .array(summary.fields.map { .string($0) })),
            JSONMember("classes", summary.classes.map { .array($0.map { .string($0) }) } ?? .null),
            JSONMember("ignored", .object(ignored.map { JSONMember($0.key.rawValue, .int($0.value)) })),
            JSONMember("leftovers", .array(summary.leftovers.map { .string($0) })),
            JSONMember("manifest", result.map { .string($0.manifestPath) } ?? .null),
        ]
    }
}
