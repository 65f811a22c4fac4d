package import HeadraceCore

extension Manifest {
    /// Reads the manifest at `path`. Throws `notFound`, `io`, or `indexMismatch` when it is no manifest of ours or
    /// contradicts itself.
    package static func read(_ path: String) throws(HeadraceError) -> Manifest {
        let file = try IndexFile(path)
        let limit = JSONLimits().byteCount
        guard file.byteCount <= limit else {
            throw mismatch(path, "it has \(file.byteCount) bytes, more than the \(limit) that are read")
        }
        return try Manifest(parsing: try file.read(0..<file.byteCount), path: path)
    }

    /// Reads a manifest from its bytes; `path` is for messages.
    package init(parsing bytes: [UInt8], path: String) throws(HeadraceError) {
        let json: JSONValue
        do throws(HeadraceError) {
            json = try JSONValue(parsing: bytes)
        } catch {
            throw mismatch(path, "it is no JSON", cause: error.message)
        }
        guard json["schema"]?.stringValue == Self.schema else {
            throw mismatch(path, "its schema is not \(Self.schema)")
        }
        guard let sets = json["sets"]?.arrayValue else { throw mismatch(path, "it has no list of sets") }
        self.init(sets: [])
        var names = Set<[UInt8]>()
        for set in sets {
            self.sets.append(try Self.set(set, path: path))
            for shard in self.sets[self.sets.count - 1].shards
            where !names.insert(Array(shard.name.utf8)).inserted {
                throw mismatch(path, "it lists the shard '\(shard.name)' twice")
            }
        }
    }

    private static func set(_ json: JSONValue, path: String) throws(HeadraceError) -> ShardSet {
        guard let pattern = json["pattern"]?.stringValue,
            let format = json["format"]?.stringValue.flatMap(ShardFormatKind.init(rawValue:)),
            let codec = json["codec"]?.stringValue.flatMap(CodecKind.init(rawValue:)),
            let fields = strings(json["fields"]), let shards = json["shards"]?.arrayValue
        else { throw mismatch(path, "a set lacks its pattern, format, codec, fields or shards") }
        var set = ShardSet(
            pattern: pattern, format: format, codec: codec, level: json["level"]?.intValue,
            frameByteCount: json["frame_bytes"]?.intValue, fields: fields, libraries: [:], shards: [])
        if let classes = json["classes"] {
            guard let names = strings(classes) else {
                throw mismatch(path, "its classes are no list of names")
            }
            set.classes = names
        }
        if let jpeg = json["jpeg"] {
            guard let word = jpeg.stringValue else { throw mismatch(path, "what became of JPEGs is no text") }
            set.jpeg = word
        }
        for library in json["libraries"]?.objectValue ?? [] {
            guard let version = library.value.stringValue else {
                throw mismatch(path, "the version of \(library.name) is no text")
            }
            set.libraries[library.name] = version
        }
        var totals = (samples: 0, bytes: 0, uncompressed: 0)
        for item in shards {
            let shard = try shard(item, path: path)
            set.shards.append(shard)
            totals.samples = try sum(totals.samples, shard.sampleCount, path)
            totals.bytes = try sum(totals.bytes, shard.byteCount, path)
            totals.uncompressed = try sum(totals.uncompressed, shard.uncompressedByteCount, path)
        }
        guard json["samples"]?.intValue == totals.samples, json["bytes"]?.intValue == totals.bytes,
            json["uncompressed_bytes"]?.intValue == totals.uncompressed
        else { throw mismatch(path, "the totals of '\(pattern)' are not the sums over its shards") }
        return set
    }

    private static func shard(_ json: JSONValue, path: String) throws(HeadraceError) -> Shard {
        guard let name = json["name"]?.stringValue else { throw mismatch(path, "a shard has no name") }
        // A name with a '/' could point anywhere on this machine.
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(UInt8(ascii: "/")),
            !name.utf8.contains(0)
        else { throw mismatch(path, "'\(name)' cannot be the name of a shard") }
        guard let samples = json["samples"]?.intValue, let bytes = json["bytes"]?.intValue,
            let uncompressed = json["uncompressed_bytes"]?.intValue, samples >= 0, bytes >= 0,
            uncompressed >= 0
        else { throw mismatch(path, "the shard '\(name)' lacks a count or a size") }
        let sha256 = json["sha256"]?.stringValue
        guard
            sha256.map({ $0.utf8.count == 64 }) ?? (json["sha256"] == nil),
            (sha256 ?? "").utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        else { throw mismatch(path, "the SHA-256 of the shard '\(name)' is not 64 hexadecimal digits") }
        return Shard(
            name: name, sampleCount: samples, byteCount: bytes, uncompressedByteCount: uncompressed,
            sha256: sha256)
    }

    private static func sum(_ a: Int, _ b: Int, _ path: String) throws(HeadraceError) -> Int {
        let (sum, overflow) = a.addingReportingOverflow(b)
        guard !overflow else { throw mismatch(path, "its sizes add up beyond 2^63") }
        return sum
    }

    private static func strings(_ json: JSONValue?) -> [String]? {
        guard let values = json?.arrayValue else { return nil }
        let strings = values.compactMap(\.stringValue)
        return strings.count == values.count ? strings : nil
    }
}

private func mismatch(_ path: String, _ reason: String, cause: String? = nil) -> HeadraceError {
    HeadraceError(
        .indexMismatch, "the manifest cannot be trusted: \(reason); remove it or make it anew",
        at: .init(shard: path), cause: cause)
}
