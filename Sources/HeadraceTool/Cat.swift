internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceStorage

/// `headrace cat`
struct Cat: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes one field of one sample, byte for byte.",
        discussion: """
            Without --field the sample must have just one; otherwise the error lists them. Of TFRecord, \
            --field names a feature of the tf.Example: one bytes value is written as it is, anything else as its \
            serialized Feature. Without --field the whole record is written.

            Examples:
              headrace cat train-000000.tar --at 0 --field jpg > first.jpg
              headrace cat train-000000.tar.zst --key n01440764_10026 --field cls
            """)

    @Argument(help: "One shard.") var shard: String
    @Option(help: "Key of the sample.") var key: String?
    @Option(help: "Number of the sample in the shard, from 0.") var at: Int?
    @Option(help: "Name of the field.") var field: String?
    @Option(name: [.customShort("o"), .long], help: "File to write instead of standard output.")
    var output: String?

    func validate() throws {
        guard (key == nil) != (at == nil) else {
            throw ValidationError("Say which sample: either --key KEY or --at N.")
        }
        if let at, at < 0 { throw ValidationError("--at counts from 0.") }
    }

    func run() throws {
        let paths = try ShardFiles.list([shard])
        guard paths.count == 1 else {
            throw HeadraceError(
                .usage, "'\(shard)' stands for \(paths.count) shards; cat reads one sample of one shard")
        }
        // A record's key and features are inside its Example.
        let parsesExamples = key != nil || (field != nil && field != "record")
        let reader = try ShardReader(paths[0], parsesExamples: parsesExamples)
        var wasFound = false
        var damage: HeadraceError?
        try reader.read { (sample) throws(HeadraceError) in
            guard isWanted(sample) else {
                if let defect = sample.defect, damage == nil { damage = defect }
                return !Interrupt.isRequested
            }
            if let defect = sample.defect { throw defect }
            wasFound = true
            try deliver(sample, of: paths[0])
            return false
        }
        try Interrupt.check()
        guard !wasFound else { return }
        // The sample may have been in what is damaged: then that is what is wrong.
        if let damage { throw damage }
        let which = key.map { "no sample with the key '\($0)'" } ?? "no sample \(at ?? 0)"
        throw HeadraceError(
            .usage, "there is \(which): the shard has \(counted(reader.account.samples, "sample"))",
            at: .init(shard: paths[0]))
    }

    private func isWanted(_ sample: ShardSample) -> Bool {
        if let at { return sample.index == at }
        guard let key, let found = sample.key ?? sample.defect?.place.key else { return false }
        return found.utf8.elementsEqual(key.utf8)
    }

    private func deliver(_ sample: ShardSample, of path: String) throws(HeadraceError) {
        var names: [String] = []
        for unsafe(name, payload) in unsafe sample.fields {
            names.append(name)
            let isIt = field.map { $0.utf8.elementsEqual(name.utf8) } ?? (unsafe sample.fields.count == 1)
            if isIt { return try unsafe write(payload) }
        }
        let list = names.map(printable).joined(separator: ", ")
        let place = HeadraceError.Place(shard: path, key: sample.key)
        guard let field else {
            throw HeadraceError(.usage, "say which field with --field: the sample has \(list)", at: place)
        }
        throw HeadraceError(.usage, "the sample has no field '\(field)'; it has \(list)", at: place)
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) {
        guard let output else { return try unsafe StandardOutput.write(bytes) }
        let file = try AtomicFile(output, replacing: true)
        try unsafe file.append(bytes)
        try file.commit()
    }
}
