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

    @OptionGroup var sample: OneSample
    @Option(help: "Name of the field.") var field: String?
    @Option(name: [.customShort("o"), .long], help: "File to write instead of standard output.")
    var output: String?

    func run() throws {
        // A record's key and features are inside its Example.
        let parsesExamples = sample.key != nil || (field != nil && field != "record")
        try sample.find(parsesExamples: parsesExamples) { (found, path) throws(HeadraceError) in
            let payload = try unsafe Self.field(field, of: found, in: path)
            try unsafe write(payload)
        }
    }

    /// The payload of the field of that name; without a name, of the only one.
    static func field(
        _ field: String?, of sample: ShardSample, in path: String
    ) throws(HeadraceError) -> UnsafeRawBufferPointer {
        var names: [String] = []
        for unsafe(name, payload) in unsafe sample.fields {
            names.append(name)
            let isIt = field.map { $0.utf8.elementsEqual(name.utf8) } ?? (unsafe sample.fields.count == 1)
            if isIt { return unsafe payload }
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
