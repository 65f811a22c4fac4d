internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceFormats

/// `headrace info`
struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Says what shards are: format, codec, sizes, samples and fields.",
        discussion: """
            Quick where the shards have an index. Sizes of fields are in no index: --full reads the shards \
            for them, as is done anyway where there is no index.

            Example:
              headrace info 'data/train-*.tar.zst'
              headrace info 'data/train-*.tar' --images
            """)

    @Argument(help: "Paths, globs, brace patterns or directories of shards.") var shards: [String]
    @Flag(help: "Read the shards even where there is an index.") var full = false
    @Flag(help: "Read the headers of JPEGs and PNGs: how many, how large (a histogram), of which kinds.")
    var images = false
    @OptionGroup var output: OutputFlags

    private typealias Outcome = Result<ShardSurvey?, HeadraceError>

    func run() throws {
        let paths = try ShardFiles.list(LongWordLists.unfolded(shards))
        let budget = ShardBudget(shardCount: paths.count)
        let progress = ShardProgress("info", paths: paths, isQuiet: output.quiet)
        let (isFull, images) = (full, images)
        var report = DefectReport()
        var total = SurveyTotal()
        try ShardWork.run(paths.count, workers: budget.workers) { index -> Outcome in
            defer { progress.finish(index) }
            func outcome(_ memory: ByteCount) -> Outcome {
                do throws(HeadraceError) {
                    return .success(
                        try ShardSurvey.make(
                            of: paths[index], isFull: isFull, images: images, memory: memory,
                            isCancelled: { Interrupt.isRequested }))
                } catch {
                    return .failure(error.placed(shard: paths[index]))
                }
            }
            let shared = outcome(budget.memory)
            guard Self.needsMemory(shared) else { return shared }
            return budget.alone(outcome)
        } consume: { _, outcome in
            report.beginShard()
            switch outcome {
            case .failure(let error): report.add(error)
            case .success(let survey?):
                total.add(survey)
                for defect in survey.defects { report.add(defect) }
                if output.json { try SurveyTotal.lines.write(survey.json) }
            case .success(nil): break
            }
        }
        progress.close()
        report.endShard()
        if output.json { try SurveyTotal.lines.write(total.json) } else { try total.print() }
        try Interrupt.check()
        try report.check()
    }
}

extension Info {
    /// Whether a shard was given up because its samples are larger than a worker's share of the memory.
    private static func needsMemory(_ outcome: Outcome) -> Bool {
        switch outcome {
        case .failure(let error): error.code == .budget
        case .success(let survey): survey?.defects.contains { $0.code == .budget } ?? false
        }
    }
}

/// The sum over shards, and what people read.
private struct SurveyTotal {
    static let lines = JSONLines(schema: "headrace.info/1")
    private var surveys: [String] = []
    private var shardCount = 0
    private var sampleCount = 0
    private var byteCount = 0
    private var uncompressedByteCount = 0
    private var kinds: Set<String> = []
    private var names: Set<String> = []
    /// Sizes by name; nil as soon as one shard has none.
    private var sizes: [String: FieldSizes]? = [:]
    private var images: [String: ImageSizes]?

    mutating func add(_ survey: ShardSurvey) {
        shardCount += 1
        sampleCount += survey.sampleCount
        byteCount += survey.byteCount
        uncompressedByteCount += survey.uncompressedByteCount
        kinds.insert(survey.kind)
        names.formUnion(survey.fieldNames)
        surveys.append(survey.line)
        for (name, sizes) in survey.images ?? [:] {
            images = (images ?? [:]).merging([name: sizes]) { $0.adding($1) }
        }
        if survey.images != nil { images = images ?? [:] }
        guard let fields = survey.fields else { return sizes = nil }
        for field in fields { sizes?[field.name, default: FieldSizes(name: field.name)].add(field) }
    }

    private var fields: [FieldSizes]? {
        sizes?.values.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private var fieldNames: [String] { names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    var json: [JSONMember] {
        [
            JSONMember("shards", .int(shardCount)), JSONMember("samples", .int(sampleCount)),
            JSONMember("bytes", .int(byteCount)),
            JSONMember("uncompressed_bytes", .int(uncompressedByteCount)),
            JSONMember("ratio", ratio(uncompressedByteCount, byteCount)),
            JSONMember("fields", fieldsJSON(fieldNames, fields)),
        ] + (images.map { [JSONMember("images", imagesJSON($0))] } ?? [])
    }

    func print() throws {
        let kind = kinds.count == 1 ? kinds.first! + ", " : ""
        try StandardOutput.writeLine(
            "\(counted(shardCount, "shard")): \(kind)\(counted(sampleCount, "sample")), "
                + "\(ByteCount(byteCount))"
                + ratioText(uncompressedByteCount, byteCount))
        for line in surveys { try StandardOutput.writeLine("  " + line) }
        if let fields {
            for field in fields {
                try StandardOutput.writeLine(
                    "  field \(printable(field.name)): \(field.count) times, \(ByteCount(field.least)) to "
                        + "\(ByteCount(field.most)), mean \(ByteCount(Int(field.mean)))")
            }
        } else {
            let list = fieldNames.map(printable).joined(separator: ", ")
            let known = list.isEmpty ? "not in the index" : list
            try StandardOutput.writeLine("  fields: \(known) (--full reads the shards for their sizes)")
        }
        for line in images.map(imageLines) ?? [] { try StandardOutput.writeLine("  " + line) }
    }
}

extension ShardSurvey {
    fileprivate var kind: String { codec == .none ? format.rawValue : "\(format.rawValue).\(codec.rawValue)" }

    fileprivate var json: [JSONMember] {
        [
            JSONMember("shard", .string(path)), JSONMember("format", .string(format.rawValue)),
            JSONMember("codec", .string(codec.rawValue)), JSONMember("bytes", .int(byteCount)),
            JSONMember("uncompressed_bytes", .int(uncompressedByteCount)),
            JSONMember("ratio", ratio(uncompressedByteCount, byteCount)),
            JSONMember("frames", frameCount.map { .int($0) } ?? .null),
            JSONMember("samples", .int(sampleCount)), JSONMember("fields", fieldsJSON(fieldNames, fields)),
            JSONMember("from", .string(fields == nil ? "index" : "shard")),
        ] + (images.map { [JSONMember("images", imagesJSON($0))] } ?? [])
    }

    fileprivate var line: String {
        var text = "\(printable(path)): \(kind), \(counted(sampleCount, "sample")), \(ByteCount(byteCount))"
        text += ratioText(uncompressedByteCount, byteCount)
        if let frameCount { text += ", \(counted(frameCount, "frame"))" }
        return defectCount > 0 ? text + ", DAMAGED" : text
    }
}

private func ratio(_ uncompressed: Int, _ bytes: Int) -> JSONValue {
    bytes > 0 ? .double(Double(uncompressed) / Double(bytes)) : .null
}

private func ratioText(_ uncompressed: Int, _ bytes: Int) -> String {
    guard bytes > 0, uncompressed != bytes else { return "" }
    let hundredths = Int(Double(uncompressed) / Double(bytes) * 100)
    let cents = hundredths % 100
    return " of \(ByteCount(uncompressed)) (ratio \(hundredths / 100).\(cents < 10 ? "0" : "")\(cents))"
}

/// Counts and sizes are null where only names are known.
private func fieldsJSON(_ names: [String], _ fields: [FieldSizes]?) -> JSONValue {
    guard let fields else {
        return .array(
            names.map {
                ["name": .string($0), "count": nil, "bytes": nil, "min": nil, "mean": nil, "max": nil]
            })
    }
    return .array(
        fields.map { field in
            [
                "name": .string(field.name), "count": .int(field.count), "bytes": .int(field.byteCount),
                "min": .int(field.least), "mean": .double(field.mean), "max": .int(field.most),
            ]
        })
}
