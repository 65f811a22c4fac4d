internal import HeadraceCore

/// `.headrace/manifest.json`: what was packed into a folder or indexed in it, so that a reader knows counts and checksums without
/// opening a shard.
///
/// A folder can hold several sets (training and validation shards side by side), each written by one run and known
/// by its pattern. Names are relative and there are no times, so the file is the same wherever and whenever the
/// same data are packed.
package struct Manifest: Sendable, Equatable {
    package static let schema = "headrace.manifest/1"

    /// One shard of a set.
    package struct Shard: Sendable, Equatable {
        /// Name in the manifest's folder.
        package var name: String
        package var sampleCount: Int
        /// Size of the file.
        package var byteCount: Int
        package var uncompressedByteCount: Int
        /// In 64 lower-case hexadecimal digits; nil where nobody has read all of the file (shards that were indexed).
        package var sha256: String?

        package init(
            name: String, sampleCount: Int, byteCount: Int, uncompressedByteCount: Int, sha256: String?
        ) {
            self.name = name
            self.sampleCount = sampleCount
            self.byteCount = byteCount
            self.uncompressedByteCount = uncompressedByteCount
            self.sha256 = sha256
        }
    }

    /// The shards that one run wrote, or that were indexed and have names of one kind.
    package struct ShardSet: Sendable, Equatable {
        /// The name that the shards were written under, without the folder: `train-%06d.tar.zst`. Of shards that were
        /// indexed, what their names have in common: `train-*.tar`.
        package var pattern: String
        package var format: ShardFormatKind
        package var codec: CodecKind
        /// Level of the codec and bytes of a frame; nil without a codec.
        package var level: Int?
        package var frameByteCount: Int?
        /// Names of the fields, sorted bytewise.
        package var fields: [String]
        /// What the values of `cls` stand for, where they were made from directories.
        package var classes: [String]?
        /// Versions of the libraries that the bytes depend on.
        package var libraries: [String: String]
        /// What became of JPEGs (`crop-ready`); nil where they are as they were.
        package var jpeg: String?
        package var shards: [Shard]

        package init(
            pattern: String, format: ShardFormatKind, codec: CodecKind, level: Int? = nil,
            frameByteCount: Int? = nil, fields: [String], classes: [String]? = nil,
            libraries: [String: String], jpeg: String? = nil,
            shards: [Shard]
        ) {
            self.pattern = pattern
            self.format = format
            self.codec = codec
            self.level = level
            self.frameByteCount = frameByteCount
            self.fields = fields
            self.classes = classes
            self.libraries = libraries
            self.jpeg = jpeg
            self.shards = shards
        }
    }

    /// In bytewise order of their patterns.
    package var sets: [ShardSet]

    package init(sets: [ShardSet]) { self.sets = sets }

    /// The shard called `name`, and its set.
    package func shard(named name: String) -> (set: ShardSet, shard: Shard)? {
        for set in sets {
            if let shard = set.shards.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) {
                return (set, shard)
            }
        }
        return nil
    }

    /// Puts `set` in the place of the one with its pattern, or beside the others.
    package mutating func replace(_ set: ShardSet) {
        sets.removeAll { $0.pattern.utf8.elementsEqual(set.pattern.utf8) }
        sets.append(set)
        sets.sort { $0.pattern.utf8.lexicographicallyPrecedes($1.pattern.utf8) }
    }

    /// The file's bytes: one value a line, sorted keys, a newline at the end.
    package func encoded() -> [UInt8] {
        let json = JSONValue.object([
            JSONMember("schema", .string(Self.schema)),
            JSONMember("index_version", .int(Int(ShardIndexLayout.version))),
            JSONMember("sets", .array(sets.map(\.json))),
        ])
        return Array((json.pretty(sortedKeys: true) + "\n").utf8)
    }
}

extension Manifest.ShardSet {
    package var sampleCount: Int { shards.reduce(0) { $0 + $1.sampleCount } }
    package var byteCount: Int { shards.reduce(0) { $0 + $1.byteCount } }
    package var uncompressedByteCount: Int { shards.reduce(0) { $0 + $1.uncompressedByteCount } }

    fileprivate var json: JSONValue {
        var members = [
            JSONMember("pattern", .string(pattern)),
            JSONMember("format", .string(format.rawValue)),
            JSONMember("codec", .string(codec.rawValue)),
            JSONMember("fields", .array(fields.map { .string($0) })),
            JSONMember("libraries", .object(libraries.map { JSONMember($0.key, .string($0.value)) })),
            JSONMember("samples", .int(sampleCount)),
            JSONMember("bytes", .int(byteCount)),
            JSONMember("uncompressed_bytes", .int(uncompressedByteCount)),
            JSONMember("shards", .array(shards.map(\.json))),
        ]
        if let level { members.append(JSONMember("level", .int(level))) }
        if let frameByteCount { members.append(JSONMember("frame_bytes", .int(frameByteCount))) }
        if let classes { members.append(JSONMember("classes", .array(classes.map { .string($0) }))) }
        if let jpeg { members.append(JSONMember("jpeg", .string(jpeg))) }
        return .object(members)
    }
}

extension Manifest.Shard {
    fileprivate var json: JSONValue {
        var members = [
            JSONMember("name", .string(name)),
            JSONMember("samples", .int(sampleCount)),
            JSONMember("bytes", .int(byteCount)),
            JSONMember("uncompressed_bytes", .int(uncompressedByteCount)),
        ]
        if let sha256 { members.append(JSONMember("sha256", .string(sha256))) }
        return .object(members)
    }
}
