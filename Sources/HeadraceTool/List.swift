internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceFormats

/// `headrace ls`
struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "Lists the samples of shards.",
        discussion: """
            One line a sample. Of a damaged shard everything that can be delivered is listed; what cannot \
            is said on standard error, and the exit status is 1.

            Examples:
              headrace ls train-000000.tar
              headrace ls -j --sha256 'train-*.tfrecord' | head -1
            """)

    @Argument(help: "Paths, globs, brace patterns or directories of shards.") var shards: [String]
    @Flag(help: "With the SHA-256 of every field or record.") var sha256 = false
    @Flag(help: "TFRecord: with the features of each tf.Example, their kinds and counts.") var example = false
    @OptionGroup var output: OutputFlags

    func run() throws {
        var report = DefectReport()
        for path in try ShardFiles.list(LongWordLists.unfolded(shards)) {
            report.beginShard()
            do throws(HeadraceError) {
                let reader = try ShardReader(path)
                guard reader.format == .tfrecord || !example else {
                    throw HeadraceError(
                        .usage, "--example is about TFRecord shards, and this one is a tar",
                        at: .init(shard: path))
                }
                try list(reader, &report)
            } catch {
                if error.code.category == .usage { throw error }
                report.add(error.placed(shard: path))
            }
            try Interrupt.check()
            // Nobody reads on: what was asked for has been delivered.
            guard StandardOutput.isOpen else { break }
        }
        report.endShard()
        try report.check()
    }

    private func list(_ reader: ShardReader, _ report: inout DefectReport) throws(HeadraceError) {
        let lines = SampleLines(
            path: reader.path, format: reader.format, hasSHA256: sha256, hasExample: example)
        try reader.read { (sample) throws(HeadraceError) in
            if let defect = sample.defect {
                report.add(defect)
            } else if output.json {
                try lines.write(sample)
            } else {
                try StandardOutput.writeLine(lines.text(sample))
            }
            return StandardOutput.isOpen && !Interrupt.isRequested
        }
    }
}

/// Samples of one shard as lines.
private struct SampleLines {
    private static let json = JSONLines(schema: "headrace.ls/1")
    let path: String
    let format: ShardFormatKind
    let hasSHA256: Bool
    let hasExample: Bool

    func write(_ sample: ShardSample) throws(HeadraceError) {
        var members = [JSONMember("shard", .string(path)), JSONMember("index", .int(sample.index))]
        switch format {
        case .tar:
            members.append(JSONMember("key", sample.key.map { .string($0) } ?? .null))
            members.append(JSONMember("offset", .int(sample.offset)))
            var fields: [JSONValue] = []
            for unsafe(name, payload) in unsafe sample.fields {
                var field = [JSONMember("name", .string(name)), JSONMember("bytes", .int(payload.count))]
                if hasSHA256 {
                    field.append(JSONMember("sha256", unsafe .string(SHA256.hexadecimal(payload))))
                }
                fields.append(.object(field))
            }
            members.append(JSONMember("fields", .array(fields)))
        case .tfrecord:
            members.append(JSONMember("offset", .int(sample.offset)))
            for unsafe(_, record) in unsafe sample.fields {
                members.append(JSONMember("bytes", .int(record.count)))
                if hasSHA256 {
                    members.append(JSONMember("sha256", unsafe .string(SHA256.hexadecimal(record))))
                }
                if hasExample { members.append(JSONMember("example", unsafe Self.example(record))) }
            }
        }
        try Self.json.write(members)
    }

    func text(_ sample: ShardSample) -> String {
        var parts: [String] = []
        for unsafe(name, payload) in unsafe sample.fields {
            var part = format == .tfrecord ? "\(payload.count)" : "\(printable(name)) \(payload.count)"
            if hasSHA256 { part += unsafe " " + SHA256.hexadecimal(payload) }
            if hasExample { part += unsafe "  " + Self.exampleText(payload) }
            parts.append(part)
        }
        let key = sample.key.map { " " + printable($0) } ?? ""
        return "\(printable(path)) #\(sample.index)\(key)  \(parts.joined(separator: ", "))"
    }

    /// The features of a record that is a tf.Example or tf.SequenceExample; null for any other.
    private static func example(_ record: UnsafeRawBufferPointer) -> JSONValue {
        guard let features = unsafe features(record) else { return .null }
        func members(_ features: [Feature]) -> JSONValue {
            .object(
                features.map { feature in
                    var members = [
                        JSONMember("kind", feature.kind.map { .string($0) } ?? .null),
                        JSONMember("count", .int(feature.count)),
                    ]
                    if let steps = feature.steps { members.append(JSONMember("steps", .int(steps))) }
                    return JSONMember(feature.name, .object(members))
                })
        }
        var parts = [JSONMember("features", members(features.filter { $0.steps == nil }))]
        let lists = features.filter { $0.steps != nil }
        if !lists.isEmpty { parts.append(JSONMember("feature_lists", members(lists))) }
        return .object(parts)
    }

    private static func exampleText(_ record: UnsafeRawBufferPointer) -> String {
        guard let features = unsafe features(record) else { return "(no tf.Example)" }
        return features.map { feature in
            let kind = feature.kind ?? "unset"
            guard let steps = feature.steps else {
                return "\(printable(feature.name)):\(kind)[\(feature.count)]"
            }
            return "feature_lists/\(printable(feature.name)):\(kind)[\(steps) steps, \(feature.count)]"
        }.joined(separator: " ")
    }

    private struct Feature {
        var name: String
        var kind: String?
        var count: Int
        var steps: Int?
    }

    private static func features(_ record: UnsafeRawBufferPointer) -> [Feature]? {
        var parser = ExampleParser()
        guard unsafe parser.parse(record.bytes) == .example else { return nil }
        return parser.features.map { feature in
            Feature(
                name: unsafe String(decoding: record[feature.name], as: UTF8.self),
                kind: feature.kind.map { "\($0.rawValue)_list" }, count: feature.count, steps: feature.steps)
        }
    }
}
