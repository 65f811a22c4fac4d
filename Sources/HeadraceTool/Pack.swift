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
            sample. Shards of any format and codec that is read are packed again. IDX files, gzipped or not, \
            give the fields npy and cls, and so do .npy and .npz files, row by row. JSON lines (.jsonl, .ndjson) give the field json, the rows of a \
            table (.csv, .tsv) a field for each column, text (.txt) the field txt; all may be compressed. The \
            same sources and options \
            always make the same bytes. Ends by printing the pattern to read the shards with.

            Examples:
              headrace pack images/ -o 'data/train-%06d.tar.zst' --class-from-directory
              headrace pack images/ -o 'data/train-%06d.tar' --jpeg crop-ready
              headrace pack 'old/part-{000..146}.tar.gz' -o 'new/train-%06d.tar.zst' --shuffle 1
              headrace pack captions.csv -o 'captions-%03d.tar.zst' --key-field id
              headrace pack corpus.txt.gz -o 'corpus-%05d.tfrecord.zst' --text chunk:64KiB
              headrace pack train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz -o 'mnist-%03d.tfrecord'
            """)

    @Argument(help: "Directories or files; globs and brace patterns of them.") var source: [String]

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
    @Option(
        help: ArgumentHelp(
            "How text is cut into samples; makes text of any file that is nothing else.",
            valueName: "line|chunk:SIZE"),
        transform: TextSplit.argument) var text: TextSplit?
    @Option(help: ArgumentHelp("JSON member or table column that is the key.", valueName: "name"))
    var keyField: String?
    @Flag(help: "Order all samples by key.") var sort = false
    @Option(help: ArgumentHelp("Put all samples in a random order.", valueName: "seed")) var shuffle: UInt64?
    @Option(
        help: ArgumentHelp("What to do with damaged samples of a source.", valueName: "fail|skip[:N|:P%]"),
        transform: DefectPolicy.argument) var onDefect = DefectPolicy.fail
    @Option(
        help: ArgumentHelp(
            "Whether JPEGs are written anew, without loss, so that crops of them decode faster.",
            valueName: "keep|crop-ready")) var jpeg = PackJPEG.keep
    @Option(help: "Threads (one a core).") var workers: Int?
    @Option(
        help: ArgumentHelp("Memory for the list of samples at most (4GiB).", valueName: "size"),
        transform: ByteCount.argument) var inventoryLimit: ByteCount?
    @Flag(
        help:
            "Go on with a run of the same sources and options that was interrupted; done where it was finished."
    )
    var resume = false
    @Flag(help: "Replace the shards of this pattern that are there.") var overwrite = false
    @Flag(help: "Say what would be written, and write nothing.") var dryRun = false
    @OptionGroup var words: OutputFlags

    func validate() throws {
        if shardSize != nil, shardCount != nil {
            throw ValidationError("--shard-size and --shard-count exclude each other.")
        }
        if resume, overwrite { throw ValidationError("--resume and --overwrite exclude each other.") }
        if sort, shuffle != nil { throw ValidationError("--sort and --shuffle exclude each other.") }
    }

    func run() throws {
        var sourceOptions = PackSourceOptions()
        sourceOptions.text = text
        sourceOptions.keyField = keyField
        let sources = try packSources(at: LongWordLists.unfolded(source), options: sourceOptions)
        let packer = try Packer(sources, options: options)
        Interrupt.onRequest { packer.cancel() }
        if dryRun {
            let summary: PackSummary
            do throws(HeadraceError) {
                summary = try packer.plan()
            } catch {
                if error.code == .packCancelled { try Interrupt.check() }
                throw error
            }
            return try PackReport(words).write(summary, result: nil)
        }
        let bar = Progress("pack", isQuiet: words.quiet)
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
            StandardError.say(
                "headrace: interrupted; shards that were finished stay, --resume goes on from there")
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
        options.inventoryByteCount = inventoryLimit?.bytes
        options.classFromDirectory = classFromDirectory
        options.overwrite = overwrite
        options.resume = resume
        options.order = sort ? .sorted : shuffle.map { .shuffled(seed: $0) } ?? .asFound
        options.onDefect = onDefect
        options.jpeg = jpeg
        return options
    }
}

extension DefectPolicy {
    fileprivate static func argument(_ text: String) throws -> DefectPolicy {
        do throws(HeadraceError) { return try DefectPolicy(words: text) } catch {
            throw ValidationError(error.message)
        }
    }
}

extension TextSplit {
    fileprivate static func argument(_ text: String) throws -> TextSplit {
        if text == "line" { return .line }
        guard text.hasPrefix("chunk:") else {
            throw ValidationError("'\(text)' is no way to cut text; write line or chunk:SIZE (chunk:64KiB)")
        }
        return .chunk(byteCount: try ByteCount.argument(String(text.dropFirst(6))).bytes)
    }
}

extension PackFormat: ExpressibleByArgument {}
extension PackCodec: ExpressibleByArgument {}
extension PackJPEG: ExpressibleByArgument {}

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
        if let result, result.wasFinished {
            try StandardOutput.writeLine(
                "nothing was left to do: \(counted(summary.sampleCount, "sample")) had been packed into \(shards) "
                    + "before, \(ByteCount(result.byteCount)) for \(ByteCount(summary.payloadByteCount)) of payload"
            )
        } else if let result {
            try StandardOutput.writeLine(
                "packed \(what)\(shards), \(ByteCount(result.byteCount)) for "
                    + "\(ByteCount(summary.payloadByteCount)) of payload"
                    + (result.keptShardCount > 0
                        ? "; \(counted(result.keptShardCount, "shard")) had been finished before" : ""))
        } else {
            try StandardOutput.writeLine(
                "\(what)\(shards) of \(ByteCount(summary.uncompressedByteCount)) before compression; "
                    + "nothing was written"
            )
        }
        if let jpegs = result?.jpegs, summary.jpeg == .cropReady {
            try StandardOutput.writeLine(sentence(jpegs))
        }
        if result == nil, summary.jpeg == .cropReady {
            try StandardOutput.writeLine(
                "JPEGs would be written anew, and shards be cut by the sizes they have now")
        }
        try StandardOutput.writeLine(summary.readPattern)
    }

    private func sentence(_ jpegs: PackJPEGCounts) -> String {
        let kept = jpegs.kept.sorted { $0.key.rawValue < $1.key.rawValue }
            .map { "\($0.value) \($0.key.rawValue)" }
        return "\(counted(jpegs.rewritten, "JPEG")) written anew, \(ByteCount(jpegs.byteCount)) for "
            + "\(ByteCount(jpegs.sourceByteCount))"
            + (kept.isEmpty ? "" : "; left as they were: \(kept.joined(separator: ", "))")
    }

    private func sayLeftOut(_ summary: PackSummary) {
        for (reason, count) in summary.ignored.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            let examples = (summary.ignoredExamples[reason] ?? []).prefix(3).map(printable)
            // Of an end marker that is not there nothing was left out.
            let what = reason == .missingEndOfArchive ? "found" : "left out"
            StandardError.say(
                "headrace: note: \(what) \(counted(count, Self.noun(reason))) (\(reason.rawValue)): "
                    + examples.joined(separator: ", ") + (count > examples.count ? ", ..." : ""))
        }
        for (old, new) in summary.renamedFields.sorted(by: { $0.key < $1.key }).prefix(shownDefects) {
            StandardError.say(
                "headrace: note: '\(printable(old))' is the field '\(printable(new))': readers take no capitals "
                    + "and no '/'")
        }
        for rest in summary.unreadableRests.prefix(shownDefects) {
            StandardError.say(
                "headrace: note: the rest of \(printable(rest.path)), \(rest.sizeInWords), cannot be read"
                    + (rest.isCounted ? "" : "; how many samples that are is not known, they count as one"))
        }
        if summary.unreadableRests.count > shownDefects {
            StandardError.say(
                "headrace: note: nor can the rest of "
                    + "\(counted(summary.unreadableRests.count - shownDefects, "more shard"))")
        }
        if summary.spoolsSources {
            StandardError.say(
                "headrace: note: compressed sources and arrays in Fortran order go to a temporary file in the "
                    + "output's folder first, because their samples come in another order")
        }
        if !summary.leftovers.isEmpty {
            StandardError.say(
                "headrace: note: an interrupted run left "
                    + "\(counted(summary.leftovers.count, "temporary file")), "
                    + "which may be removed: "
                    + summary.leftovers.prefix(3).map(printable).joined(separator: ", "))
        }
    }

    private static func noun(_ reason: IgnoredReason) -> String {
        switch reason {
        case .dotfile, .noExtension, .symlinkLoop, .notRegular, .noIDX: "file"
        case .metaMember, .directoryMember, .notRegularMember: "member"
        case .dataAfterEnd, .missingEndOfArchive: "shard"
        case .unsetFeature: "feature"
        case .blankLine: "line"
        case .defect: "damaged sample"
        }
    }

    private func jpegMembers(_ jpegs: PackJPEGCounts) -> JSONValue {
        let kept = jpegs.kept.sorted { $0.key.rawValue < $1.key.rawValue }
        return .object([
            JSONMember("rewritten", .int(jpegs.rewritten)),
            JSONMember("source_bytes", .int(jpegs.sourceByteCount)),
            JSONMember("bytes", .int(jpegs.byteCount)),
            JSONMember("kept", .object(kept.map { JSONMember($0.key.rawValue, .int($0.value)) })),
        ])
    }

    private func members(_ summary: PackSummary, _ result: PackResult?) -> [JSONMember] {
        let ignored = summary.ignored.sorted { $0.key.rawValue < $1.key.rawValue }
        return [
            JSONMember("written", .bool(result != nil)),
            JSONMember("pattern", .string(summary.readPattern)),
            JSONMember("format", .string(summary.format.rawValue)),
            JSONMember("codec", .string(summary.codec.rawValue)),
            JSONMember("shards", .int(summary.shardCount)), JSONMember("samples", .int(summary.sampleCount)),
            JSONMember("was_finished", result.map { .bool($0.wasFinished) } ?? .null),
            JSONMember("kept_shards", result.map { .int($0.keptShardCount) } ?? .null),
            JSONMember("bytes", result.map { .int($0.byteCount) } ?? .null),
            JSONMember("uncompressed_bytes", .int(summary.uncompressedByteCount)),
            JSONMember("payload_bytes", .int(summary.payloadByteCount)),
            JSONMember("ratio", result.map { .double($0.ratio) } ?? .null),
            JSONMember("jpeg", .string(summary.jpeg.rawValue)),
            JSONMember("jpegs", result?.jpegs.map { jpegMembers($0) } ?? .null),
            JSONMember("fields", .array(summary.fields.map { .string($0) })),
            JSONMember("classes", summary.classes.map { .array($0.map { .string($0) }) } ?? .null),
            JSONMember("ignored", .object(ignored.map { JSONMember($0.key.rawValue, .int($0.value)) })),
            JSONMember(
                "renamed",
                .object(
                    summary.renamedFields.sorted { $0.key < $1.key }
                        .map { JSONMember($0.key, .string($0.value)) })),
            JSONMember(
                "source_bytes",
                .object([
                    JSONMember("parsed", .int(summary.sourceBytes.parsed)),
                    JSONMember("ignored", .int(summary.sourceBytes.ignored)),
                    JSONMember("lost", .int(summary.sourceBytes.lost)),
                ])),
            JSONMember(
                "unreadable_rests",
                .array(
                    summary.unreadableRests.map {
                        .object([
                            JSONMember("shard", .string($0.path)), JSONMember("bytes", .int($0.byteCount)),
                            JSONMember("size_known", .bool($0.isSizeKnown)),
                        ])
                    })),
            JSONMember("leftovers", .array(summary.leftovers.map { .string($0) })),
            JSONMember("manifest", result.map { .string($0.manifestPath) } ?? .null),
        ]
    }
}
