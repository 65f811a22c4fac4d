internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

/// `headrace verify`
struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Checks shards against every checksum, count and size there is.",
        discussion: """
            Header checksums, record CRCs, frame and stream checksums, seek tables, and where .headrace/ \
            lies beside the shards, their index and manifest: sizes, counts, offsets and the SHA-256 of \
            each file. Every byte of a shard must be accounted for. --images decodes every JPEG and PNG, too.

            Example:
              headrace verify 'data/train-{000000..000146}.tar.zst'
            """)

    @Argument(help: "Paths, globs, brace patterns or directories of shards.") var shards: [String]
    @Flag(help: "Decode every field that is a JPEG or PNG, all of it.") var images = false
    @OptionGroup var output: OutputFlags

    func run() throws {
        let paths = try ShardFiles.list(LongWordLists.unfolded(shards))
        let budget = ShardBudget(shardCount: paths.count)
        let sidecars = ShardSidecars()
        let images = images
        let progress = ShardProgress("verify", paths: paths, isQuiet: output.quiet)
        var verdicts = VerdictList(isJSON: output.json, isQuiet: output.quiet, shardCount: paths.count)
        try ShardWork.run(paths.count, workers: budget.workers) { index in
            defer { progress.finish(index) }
            func verdict(_ memory: ByteCount) -> ShardVerdict {
                ShardVerifier(
                    paths[index], sidecars: sidecars, memory: memory, images: images,
                    isCancelled: { Interrupt.isRequested },
                    report: { progress.advance(index, to: $0) }
                ).verify()
            }
            let shared = verdict(budget.memory)
            guard shared.defects.contains(where: { $0.code == .budget }) else { return shared }
            return budget.alone(verdict)
        } consume: { _, verdict in
            try verdicts.add(verdict)
        }
        progress.close()
        try verdicts.finish(missing: try sidecars.missingShards())
        try Interrupt.check()
        if verdicts.status != ExitStatus.done { throw Exit(verdicts.status) }
    }
}

/// What was found so far: printed as it comes for scripts, the verdict first for people.
private struct VerdictList {
    private let isJSON: Bool
    private let isQuiet: Bool
    private let shardCount: Int
    private let lines = JSONLines(schema: "headrace.verify/1")
    private var people: [String] = []
    private var notes: [String] = []
    private var verified = 0
    private var damaged = 0
    /// Shards of which the machine, not the data, kept us from a verdict.
    private var unreadable = 0
    private var environment = 0
    private var samples = 0

    init(isJSON: Bool, isQuiet: Bool, shardCount: Int) {
        self.isJSON = isJSON
        self.isQuiet = isQuiet
        self.shardCount = shardCount
    }

    var status: Int32 { exitStatus(environment: environment, defects: damaged) }

    mutating func add(_ verdict: ShardVerdict) throws {
        // A shard that was interrupted half-way has no verdict, unless it is known to be bad already.
        guard verdict.isComplete || verdict.defectCount > 0 else { return }
        verified += 1
        samples += verdict.account.samples
        environment += verdict.environmentCount
        if verdict.isUnreadable { unreadable += 1 } else if verdict.defectCount > 0 { damaged += 1 }
        notes += verdict.notes.map { "\(verdict.path): \($0)" }
        if isJSON {
            try lines.write(verdict.json)
        } else {
            people += verdict.lines
        }
    }

    func finish(missing: [String]) throws {
        if !isJSON {
            try StandardOutput.writeLine(sentence)
            for line in people { try StandardOutput.writeLine(line) }
        }
        guard !isQuiet else { return }
        for note in notes { StandardError.say("headrace: note: \(printable(note))") }
        guard !missing.isEmpty else { return }
        let named =
            missing.prefix(5).map(printable).joined(separator: ", ") + (missing.count > 5 ? ", ..." : "")
        StandardError.say(
            "headrace: note: the manifest lists \(counted(missing.count, "shard")) more, not there now: "
                + named
        )
    }

    private var sentence: String {
        if verified < shardCount {
            return
                "interrupted: \(verified) of \(shardCount) shards were verified, "
                + "\(damaged) of them are damaged"
        }
        let shards = counted(shardCount, "shard")
        let refused = unreadable == 0 ? "" : ", \(unreadable) could not be read"
        if damaged > 0 {
            return "\(damaged) of \(shards) \(damaged == 1 ? "is" : "are") damaged" + refused
        }
        if unreadable > 0 { return "\(unreadable) of \(shards) could not be read" }
        return "\(counted(shardCount, "shard")), \(counted(samples, "sample")): all good"
    }
}

extension ShardVerdict {
    fileprivate var isUnreadable: Bool { environmentCount > 0 && environmentCount == defectCount }

    fileprivate var json: [JSONMember] {
        let ignored = account.ignored.sorted { $0.key < $1.key }.map { JSONMember($0.key, .int($0.value)) }
        var members = [
            JSONMember("shard", .string(path)), JSONMember("ok", .bool(isSound)),
            JSONMember("samples", .int(account.samples)), JSONMember("members", .int(account.members)),
            JSONMember("bytes", .int(byteCount)),
            JSONMember("uncompressed_bytes", .int(uncompressedByteCount)),
            JSONMember("parsed_bytes", .int(account.bytesParsed)),
            JSONMember("ignored_bytes", .int(account.bytesIgnored)),
            JSONMember("lost_bytes", .int(account.bytesLost)),
            JSONMember("defects", .array(defects.map { $0.json(inShard: path) })),
            JSONMember("ignored", .object(ignored)),
        ]
        if defectCount > defects.count { members.append(JSONMember("defect_count", .int(defectCount))) }
        if !notes.isEmpty { members.append(JSONMember("notes", .array(notes.map { .string($0) }))) }
        return members
    }

    fileprivate var lines: [String] {
        let name = printable(path)
        guard defectCount > 0 else {
            return ["ok       \(name)  \(counted(account.samples, "sample")), \(ByteCount(byteCount))"]
        }
        var lines = [
            "\(isUnreadable ? "UNREAD " : "DAMAGED")  \(name)  \(counted(defectCount, "defect")), "
                + "\(counted(account.samples, "sample")) found, \(account.bytesLost) bytes lost"
        ]
        lines += defects.prefix(shownDefects).map { "         \(printable($0.placed(in: path).description))" }
        let more = defectCount - min(shownDefects, defects.count)
        if more > 0 { lines.append("         and \(counted(more, "more defect"))") }
        return lines
    }
}
