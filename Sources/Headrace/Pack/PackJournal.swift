internal import Glibc
internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats
internal import HeadraceStorage

/// What a run leaves beside its shards until it is done, so that an interrupted one can be continued: the plan it
/// follows, and the shards that are finished.
///
/// One JSON object a line in `.headrace/PATTERN.run`: first the plan, then a line for each process that worked at
/// it and each finished shard. A line that is cut at the end was being written when the process died. The file is
/// locked while a run is at work, and gone when the set is in the manifest: what is written does not depend on it.
// Sendable: opened and read by one thread; `lock` guards appending.
final class PackJournal: @unchecked Sendable {
    static let schema = "headrace.run/1"
    static let ending = ".run"

    /// A shard as it was when it was finished.
    struct Entry: Equatable {
        var number: Int
        var byteCount: Int
        var sha256: String
        /// SHA-256 of the shard's index.
        var indexSHA256: String
        /// Its uncompressed bytes; nil where an earlier version did not note them.
        var uncompressedByteCount: Int?
        /// What became of its JPEGs.
        var jpegs = PackJPEGCounts()
    }

    /// What decides about every byte, in words that a refusal can quote.
    struct Facts: Equatable {
        var options: [String: String]
        var sampleCount: Int
        var shardCount: Int
        /// SHA-256 over keys, fields, sizes and versions of all samples.
        var sources: String
    }

    /// A shard that is there already.
    struct Kept {
        var shard: Manifest.Shard
        var jpegs: PackJPEGCounts
    }

    /// What an interrupted run noted.
    struct Contents {
        var facts: Facts
        /// When its sources were looked at, in nanoseconds since 1970; nil where that was not noted.
        var began: Int?
        var entries: [Entry] = []
        /// Numbers of the processes that worked at it.
        var processes: [Int] = []
    }

    let path: String
    private let lock = Lock()
    private var descriptor: Int32
    private let text: [UInt8]
    private var finishedCount = 0

    /// Opens the journal, or makes an empty one; throws when another run holds it.
    init(_ path: String) throws(HeadraceError) {
        self.path = path
        while true {
            descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0o666)
            guard descriptor >= 0 else { throw Self.failed("made", path, errno) }
            if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
                close(descriptor)
                throw HeadraceError(
                    .exists, "another run is packing to the same shards; wait for it, or end it",
                    at: .init(shard: path))
            }
            // Its last holder may have removed it between our two calls.
            var mine = stat()
            var there = stat()
            if unsafe fstat(descriptor, &mine) == 0, unsafe stat(path, &there) == 0,
                mine.st_ino == there.st_ino
            {
                break
            }
            close(descriptor)
        }
        do throws(HeadraceError) {
            text = try Self.read(descriptor, path)
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { release() }

    /// Lets go of the file: from here on another run may have it.
    func release() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    var isEmpty: Bool { text.isEmpty }

    /// Removes the journal: nothing is left to be continued.
    func remove() { unsafe unlink(path) }

    /// Removes it where no shard was finished.
    func removeUnlessUseful() { if lock.withLock({ finishedCount == 0 }) { remove() } }

    /// Begins a new run in place of whatever is in it.
    func begin(_ facts: Facts, at began: Int) throws(HeadraceError) {
        guard ftruncate(descriptor, 0) == 0 else { throw Self.failed("emptied", path, errno) }
        finishedCount = 0
        try append(
            .object([
                JSONMember("schema", .string(Self.schema)),
                JSONMember("options", .object(facts.options.map { JSONMember($0.key, .string($0.value)) })),
                JSONMember("samples", .int(facts.sampleCount)),
                JSONMember("shards", .int(facts.shardCount)),
                JSONMember("sources", .string(facts.sources)),
                JSONMember("began", .int(began)),
            ]))
        try noteProcess()
    }

    /// Goes on with a run that was interrupted, of which `kept` shards are whole.
    func goOn(keeping kept: Int) throws(HeadraceError) {
        finishedCount = kept
        try noteProcess()
    }

    /// Notes a shard that is on disk with its index.
    func append(_ entry: Entry) throws(HeadraceError) {
        var members = [
            JSONMember("shard", .int(entry.number)), JSONMember("bytes", .int(entry.byteCount)),
            JSONMember("sha256", .string(entry.sha256)),
            JSONMember("index_sha256", .string(entry.indexSHA256)),
        ]
        if let byteCount = entry.uncompressedByteCount {
            members.append(JSONMember("uncompressed_bytes", .int(byteCount)))
        }
        if !entry.jpegs.isEmpty { members.append(JSONMember("jpegs", .object(entry.jpegs.members))) }
        try append(.object(members))
        lock.withLock { finishedCount += 1 }
    }

    /// Temporary files carry the number of their process; by it the next run knows which were ours.
    private func noteProcess() throws(HeadraceError) {
        try append(.object([JSONMember("process", .int(Int(getpid())))]))
    }

    private func append(_ value: JSONValue) throws(HeadraceError) {
        lock.lock()
        defer { lock.unlock() }
        // A new line first: the last one may be cut.
        let line = Array(("\n" + value.line(sortedKeys: true) + "\n").utf8)
        let count = unsafe line.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress!, $0.count) }
        guard count == line.count else { throw Self.failed("written", path, count < 0 ? errno : ENOSPC) }
        guard fsync(descriptor) == 0 else { throw Self.failed("brought to disk", path, errno) }
    }

    private static func failed(_ what: String, _ path: String, _ number: Int32) -> HeadraceError {
        HeadraceError(
            .io, "the journal of the run cannot be \(what)", at: .init(shard: path),
            cause: errorDescription(number))
    }

    // MARK: - Reading

    /// A journal has some 200 bytes a shard.
    private static let byteLimit = 1 << 30

    private static func read(_ descriptor: Int32, _ path: String) throws(HeadraceError) -> [UInt8] {
        let file = try SourceFile(path, descriptor)
        guard file.byteCount <= byteLimit else {
            throw HeadraceError(
                .limitExceeded, "the journal has \(file.byteCount) bytes, \(byteLimit) are read at most",
                at: .init(shard: path))
        }
        let buffer = OutputBuffer(capacity: file.byteCount)
        try unsafe buffer.appendInPlace(room: file.byteCount) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            try unsafe fill(room, from: descriptor, offset: 0, path: path)
            return room.count
        }
        return unsafe Array(buffer.bytes)
    }

    /// What is in the journal at `path`, for those who change nothing; nothing where there is none.
    static func text(at path: String) throws(HeadraceError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return [] }
            throw failed("opened", path, errno)
        }
        defer { close(descriptor) }
        return try read(descriptor, path)
    }

    /// What the interrupted run noted.
    func contents() throws(HeadraceError) -> Contents { try Self.contents(of: text, path) }

    static func contents(of text: [UInt8], _ path: String) throws(HeadraceError) -> Contents {
        var facts: Facts?
        var began: Int?
        var entries: [Entry] = []
        var processes: [Int] = []
        for line in text.split(separator: UInt8(ascii: "\n")) {
            guard let value = try? JSONValue(parsing: Array(line)) else { continue }
            if value["schema"] != nil {
                guard facts == nil, let read = Self.facts(value) else { break }
                facts = read
                began = value["began"]?.intValue
            } else if let process = value["process"]?.intValue {
                processes.append(process)
            } else if let number = value["shard"]?.intValue,
                let byteCount = value["bytes"]?.intValue,
                let sha256 = value["sha256"]?.stringValue,
                let index = value["index_sha256"]?.stringValue
            {
                entries.append(
                    Entry(
                        number: number, byteCount: byteCount, sha256: sha256, indexSHA256: index,
                        uncompressedByteCount: value["uncompressed_bytes"]?.intValue,
                        jpegs: PackJPEGCounts(value["jpegs"])))
            }
        }
        guard let facts else {
            throw HeadraceError(
                .indexMismatch,
                "the journal of the interrupted run cannot be read; start over with --overwrite",
                at: .init(shard: path))
        }
        return Contents(facts: facts, began: began, entries: entries, processes: processes)
    }

    private static func facts(_ value: JSONValue) -> Facts? {
        guard value["schema"]?.stringValue == schema, let options = value["options"]?.objectValue,
            let samples = value["samples"]?.intValue, let shards = value["shards"]?.intValue,
            let sources = value["sources"]?.stringValue
        else { return nil }
        var words: [String: String] = [:]
        for option in options { words[option.name] = option.value.stringValue }
        return Facts(options: words, sampleCount: samples, shardCount: shards, sources: sources)
    }
}

extension PackJournal.Facts {
    init(_ plan: PackPlan) {
        options = plan.settings.words
        sampleCount = plan.inventory.samples.count
        shardCount = plan.shards.count
        sources = plan.inventory.fingerprint()
    }

    /// Why a run with `other` facts is not the same; nil when it is. `changed` is a source that something was
    /// done to in between.
    func difference(from other: PackJournal.Facts, changed: @autoclosure () -> String?) -> String? {
        for name in Set(options.keys).union(other.options.keys).sorted()
        where options[name] != other.options[name] {
            return "the interrupted run had \(name) \(options[name] ?? "none"), this one has "
                + "\(other.options[name] ?? "none")"
        }
        if sampleCount != other.sampleCount {
            return "the interrupted run had \(sampleCount) samples, the sources now have \(other.sampleCount)"
        }
        guard self != other else { return nil }
        return "the sources are not what they were when the interrupted run listed them"
            + (changed().map {
                ": '\($0)' was changed since (what counts is not only its content: rights, owner, links and times "
                    + "do, too)"
            } ?? " (others, in another order, or other fields of them)")
    }
}

extension PackSettings {
    /// Versions of the libraries that the bytes depend on.
    var libraries: [String: String] {
        var versions = codec.libraryVersion.map { [codec.rawValue: $0] } ?? [:]
        if jpeg == .cropReady { versions["libjpeg-turbo"] = CropReadyWriter.libraryVersion }
        return versions
    }

    /// All that decides about the bytes, beside the samples.
    var words: [String: String] {
        var words = [
            "format": format.rawValue, "codec": codec.rawValue, "level": "\(level)",
            "frame_bytes": "\(codec == .none ? 0 : frameByteCount)", "plan_version": "\(PackPlan.version)",
        ]
        switch shardLimit {
        case .bytes(let limit): words["shard_bytes"] = "\(limit)"
        case .samples(let limit): words["shard_samples"] = "\(limit)"
        }
        if jpeg != .keep { words["jpeg"] = jpeg.rawValue }
        for (name, version) in libraries { words["library_\(name)"] = version }
        return words
    }
}

extension PackInventory {
    /// SHA-256 over everything that decides about the samples' bytes, in their order. Payloads are not read: path,
    /// number and times of a file stand for them. The time of change is among these, because that of modification
    /// can be set, and copies often have that of the original.
    func fingerprint() -> String {
        var hash = SHA256()
        let buffer = OutputBuffer(capacity: 1 << 16)
        var versions: [ObjectIdentifier: String] = [:]
        func put(_ text: String) {
            buffer.append(littleEndian: UInt64(text.utf8.count))
            buffer.append(text)
        }
        for sample in samples {
            put(sample.key)
            buffer.append(byte: sample.isRecord ? 1 : 0)
            buffer.append(littleEndian: UInt64(sample.fieldCount))
            for field in fields(of: sample) {
                put(fieldNames[field.name])
                buffer.append(littleEndian: UInt64(field.payload.byteCount))
                switch field.payload {
                case .file(let path, _, let modified):
                    put(path)
                    put(FileIdentity(path)?.version ?? "")
                    buffer.append(littleEndian: UInt64(bitPattern: Int64(modified)))
                case .bytes(let bytes): unsafe bytes.withUnsafeBytes { unsafe buffer.append($0) }
                case .item(let items, let index, _):
                    let identity = ObjectIdentifier(items)
                    let version = versions[identity] ?? items.version
                    versions[identity] = version
                    put(version)
                    buffer.append(littleEndian: UInt64(bitPattern: Int64(index)))
                }
            }
            if buffer.count >= 1 << 15 {
                unsafe hash.update(buffer.bytes)
                buffer.removeAll()
            }
        }
        for path in readPaths.sorted() {
            put(path)
            put(FileIdentity(path)?.version ?? "")
        }
        unsafe hash.update(buffer.bytes)
        return hash.hexadecimal()
    }
}
