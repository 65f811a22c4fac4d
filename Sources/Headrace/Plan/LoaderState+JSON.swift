public import HeadraceCore

/// Caps of a state that is read.
package enum LoaderStateLimits {
    /// Bytes of the file. Options make up most of it.
    package static let byteCount = 4 << 20
    /// Arrays and objects inside one another.
    package static let depth = 8
}

extension LoaderState {
    /// The file's bytes: sorted keys, a newline at the end, the same for the same state.
    public func encoded() -> [UInt8] { Array((json.pretty(sortedKeys: true) + "\n").utf8) }

    /// The state as JSON.
    package var json: JSONValue {
        .object([
            JSONMember("schema", .string(Self.schema)),
            JSONMember("plan_version", .int(Self.planVersion)),
            JSONMember("walk", .string(walk.rawValue)),
            JSONMember("data", data.json),
            JSONMember("options", .object(options.map { JSONMember($0.key, .string($0.value)) })),
            JSONMember("options_hash", .string(Self.optionsHash(options).hexadecimal)),
            JSONMember("epoch", .int(position.epoch)),
            JSONMember("position", .int(position.position)),
            JSONMember("segments", .array(position.segments.map(\.json))),
            JSONMember("local", local.map(\.json) ?? .null),
        ])
    }

    /// Reads a state. What it claims is checked as far as it can be without the data: a state that is not one of
    /// ours, was cut or edited is refused.
    public init(parsing bytes: [UInt8]) throws(HeadraceError) {
        var limits = JSONLimits()
        limits.byteCount = LoaderStateLimits.byteCount
        limits.depth = LoaderStateLimits.depth
        let members = try StateMembers(try JSONValue(parsing: bytes, limits: limits), "the state")
        let schema = try members.text("schema")
        guard schema == Self.schema else {
            throw StateMembers.refused(
                "its schema is '\(schema)', and this version reads \(Self.schema)", code: .unsupported)
        }
        let version = try members.number("plan_version")
        guard version == Self.planVersion else {
            throw StateMembers.refused(
                "it was made by version \(version) of the plan, whose orders differ from those of this one, "
                    + "\(Self.planVersion); resume it with the release that made it", code: .unsupported)
        }
        try members.expect([
            "schema", "plan_version", "walk", "data", "options", "options_hash", "epoch", "position",
            "segments",
            "local",
        ])
        guard let walk = Walk(rawValue: try members.text("walk")) else {
            throw StateMembers.refused("its walk is neither streamed nor indexed")
        }
        self.walk = walk
        data = try DataFingerprint(json: try members.value("data"))
        options = try Self.options(members)
        position = EpochPosition(
            epoch: try members.number("epoch"), position: try members.number("position"),
            segments: try members.list(
                "segments", limit: PlanLimits.segmentCount, RankShare.Segment.init(json:)))
        do throws(HeadraceError) {
            try position.check()
        } catch {
            throw StateMembers.refused(error.message)
        }
        let local = try members.value("local")
        self.local = local == .null ? nil : try Local(json: local)
    }

    private static func options(_ members: StateMembers) throws(HeadraceError) -> [String: String] {
        guard let list = try members.value("options").objectValue else {
            throw StateMembers.refused("its options are no object")
        }
        var options: [String: String] = [:]
        for member in list {
            guard let text = member.value.stringValue else {
                throw StateMembers.refused("its option '\(member.name)' is no text")
            }
            options[member.name] = text
        }
        guard try members.hash("options_hash") == optionsHash(options) else {
            throw StateMembers.refused("its options do not fit their hash: it was edited or damaged")
        }
        return options
    }

    /// Of names and values in the order of the names.
    private static func optionsHash(_ options: [String: String]) -> UInt64 {
        options.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.reduce(0) {
            mixed($0, textHash($1.key), textHash($1.value))
        }
    }
}

extension RankShare.Segment {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("start", .int(start)), JSONMember("world_size", .int(worldSize)),
            JSONMember("batch", .int(batchSize)),
        ])
    }

    fileprivate init(json: JSONValue) throws(HeadraceError) {
        let members = try StateMembers(json, "a segment")
        try members.expect(["start", "world_size", "batch"])
        self.init(
            start: try members.number("start"), worldSize: try members.number("world_size"),
            batchSize: try members.number("batch"))
    }
}

extension LoaderState.Local {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("rank", .int(rank)),
            JSONMember("digest", digest.map { .string($0.hexadecimal) } ?? .null),
            JSONMember("set_digest", setDigest.map { .string($0.hexadecimal) } ?? .null),
            JSONMember("skipped", .int(skips.total)), JSONMember("skipped_in_epoch", .int(skips.inEpoch)),
            JSONMember("seen_in_epoch", .int(skips.seenInEpoch)),
        ])
    }

    fileprivate init(json: JSONValue) throws(HeadraceError) {
        let members = try StateMembers(json, "the rank's own part")
        try members.expect([
            "rank", "digest", "set_digest", "skipped", "skipped_in_epoch", "seen_in_epoch",
        ])
        let rank = try members.number("rank")
        guard rank < PlanLimits.worldSize else { throw StateMembers.refused("its rank \(rank) cannot be") }
        self.init(
            rank: rank, digest: try members.optionalHash("digest").map(OrderedDigest.init(value:)),
            setDigest: try members.optionalHash("set_digest").map(SetDigest.init(value:)),
            skips: LoaderState.Skips(
                total: try members.number("skipped"), inEpoch: try members.number("skipped_in_epoch"),
                seenInEpoch: try members.number("seen_in_epoch")))
        guard [skips.total, skips.inEpoch, skips.seenInEpoch].allSatisfy({ $0 <= PlanLimits.sampleCount })
        else { throw StateMembers.refused("its counts of samples cannot be") }
    }
}

extension DataFingerprint {
    fileprivate var json: JSONValue {
        .object([
            JSONMember("shards", .int(shardCount)), JSONMember("bytes", .int(byteCount)),
            JSONMember("samples", sampleCount.map { .int($0) } ?? .null),
            JSONMember("hash", .string(hash.hexadecimal)),
            JSONMember("count_hash", countHash.map { .string($0.hexadecimal) } ?? .null),
            // Eight digits a run of shards, in one string: a list would make the file unreadable.
            JSONMember("groups", .string(groups.map { String(UInt64($0).hexadecimal.suffix(8)) }.joined())),
        ])
    }

    fileprivate init(json: JSONValue) throws(HeadraceError) {
        let members = try StateMembers(json, "the fingerprint of the data")
        try members.expect(["shards", "bytes", "samples", "hash", "count_hash", "groups"])
        let samples = try members.value("samples")
        self.init(
            shardCount: try members.number("shards"), byteCount: try members.number("bytes"),
            sampleCount: samples == .null ? nil : try members.number("samples"),
            hash: try members.hash("hash"), countHash: try members.optionalHash("count_hash"), groups: [])
        var digits = Array(try members.text("groups").utf8)[...]
        guard digits.count == 8 * Self.groupCount(shardCount) else {
            throw StateMembers.refused("its fingerprint of the data has not one hash for each run of shards")
        }
        while !digits.isEmpty {
            let text = "00000000" + String(decoding: digits.prefix(8), as: UTF8.self)
            guard let value = UInt64(hexadecimal: text) else {
                throw StateMembers.refused("its fingerprint of the data holds something that is no hash")
            }
            groups.append(UInt32(value))
            digits = digits.dropFirst(8)
        }
    }
}

/// The members of an object in a state, with a sentence for each that is not what it should be.
private struct StateMembers {
    private let json: JSONValue
    private let what: String

    init(_ json: JSONValue, _ what: String) throws(HeadraceError) {
        guard json.objectValue != nil else { throw Self.refused("\(what) is no object") }
        self.json = json
        self.what = what
    }

    static func refused(_ reason: String, code: HeadraceError.Code = .badValue) -> HeadraceError {
        HeadraceError(code, "this is no loader state to resume from: \(reason)")
    }

    /// A member nobody knows may be one that matters: it is refused.
    func expect(_ names: Set<String>) throws(HeadraceError) {
        for member in json.objectValue ?? [] where !names.contains(member.name) {
            throw Self.refused("\(what) has a member '\(member.name)', which is unknown")
        }
    }

    func value(_ name: String) throws(HeadraceError) -> JSONValue {
        guard let value = json[name] else { throw Self.refused("\(what) lacks '\(name)'") }
        return value
    }

    func text(_ name: String) throws(HeadraceError) -> String {
        guard let text = try value(name).stringValue else {
            throw Self.refused("'\(name)' of \(what) is no text")
        }
        return text
    }

    func number(_ name: String) throws(HeadraceError) -> Int {
        guard let number = try value(name).intValue, number >= 0 else {
            throw Self.refused("'\(name)' of \(what) is no whole number of at least 0")
        }
        return number
    }

    func hash(_ name: String) throws(HeadraceError) -> UInt64 {
        guard let value = UInt64(hexadecimal: try text(name)) else {
            throw Self.refused("'\(name)' of \(what) is not sixteen hexadecimal digits")
        }
        return value
    }

    func optionalHash(_ name: String) throws(HeadraceError) -> UInt64? {
        try value(name) == .null ? nil : try hash(name)
    }

    func list<Element>(
        _ name: String, limit: Int, _ element: (JSONValue) throws(HeadraceError) -> Element
    ) throws(HeadraceError) -> [Element] {
        guard let values = try value(name).arrayValue, values.count <= limit else {
            throw Self.refused("'\(name)' of \(what) is no list of at most \(limit) entries")
        }
        var elements: [Element] = []
        for value in values { elements.append(try element(value)) }
        return elements
    }
}
