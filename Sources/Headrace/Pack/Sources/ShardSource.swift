public import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// Shards that exist already, of any format and codec that is read: repacked into others.
///
/// Into tar, samples of a tar keep key, fields and their order, and the features of a `tf.Example` become
/// fields. Into TFRecord, samples of a tar become Examples, and records stay byte for byte what they are.
/// Every shard is read twice: once to find and check its samples, once to copy them; a compressed one is
/// decompressed twice.
public struct ShardSource: PackSource {
    /// The shards, in the order in which their samples come.
    public let paths: [String]
    /// Folders that hold these shards and nothing else.
    var wholeFolders: [String] = []

    /// The samples of these shards.
    public init(_ paths: [String]) { self.paths = paths }

    /// Reads the shards once.
    public func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        let sidecars = ShardSidecars()
        for path in paths {
            do throws(HeadraceError) {
                try add(path, sidecars, &inventory)
            } catch {
                throw error.placed(shard: path)
            }
        }
    }

    private func add(
        _ path: String, _ sidecars: ShardSidecars, _ inventory: inout PackInventory
    ) throws(HeadraceError) {
        let file = try SourceFile(path)
        let names = FieldNames()
        let entry = try sidecars.entry(ofShard: path)
        let listed = entry.map {
            Shard.Listed(byteCount: $0.shard.byteCount, sampleCount: $0.shard.sampleCount)
        }
        let reader = try ShardReader(path, names: names, listed: listed)
        var listing = ShardListing(
            path: path, format: reader.format, names: names,
            bytes: inventory.bytes(of: file, codec: reader.codec))
        try reader.readChunks { (chunk) throws(HeadraceError) in
            try inventory.checkGoesOn()
            try listing.add(chunk, &inventory)
            return true
        }
        if let entry { try check(path, entry.shard, entry.set, listing, inventory) }
        let descriptor = try file.reopen()
        let opened = OpenedFile(descriptor)
        try file.check(opened.number)
        var account = reader.account
        let end = account.bytesParsed + account.bytesIgnored + account.bytesLost
        var rest = reader.cutByteCount ?? max(0, end - (listing.lastDefectOffset ?? end))
        if reader.isCutShort, end == 0 {
            // Nothing came out of its codec, so nobody knows what would have: the file's own bytes are what
            // is lost.
            account.bytesLost = file.byteCount
            rest = file.byteCount
        }
        inventory.count(account)
        noteIgnored(account, path, &inventory)
        if reader.isCutShort {
            try inventory.note(
                PackUnreadableRest(
                    path: path, byteCount: rest, isSizeKnown: reader.isSizeKnown, isCounted: entry != nil))
        }
    }

    /// Holds the file against the checksum in its manifest: the manifest of the output will vouch for its
    /// bytes again, and a payload in a plain tar has no checksum of its own.
    private func check(
        _ path: String, _ shard: Manifest.Shard, _ set: Manifest.ShardSet, _ listing: ShardListing,
        _ inventory: PackInventory
    ) throws(HeadraceError) {
        // Each record has checksums, which were verified. Damage found by them needs no other explanation.
        if listing.format == .tfrecord, listing.lastDefectOffset != nil { return }
        guard let listed = shard.sha256 else { return }
        var cancellation: HeadraceError?
        let sha256 = try FileChecksums(path).sha256 {
            do throws(HeadraceError) { try inventory.checkGoesOn() } catch { cancellation = error }
            return cancellation != nil
        }
        if let cancellation { throw cancellation }
        guard let sha256, sha256 != listed else { return }
        throw HeadraceError(
            .checksumMismatch,
            "the file's SHA-256 is \(sha256), its manifest's set '\(set.pattern)' says \(listed): any of "
                + "its samples may be damaged, so none is packed, whatever may be skipped; restore the shard, "
                + "leave it out, or, to take what can be read of it, copy it to a folder without the manifest",
            at: .init(shard: path))
    }

    /// Members and bytes that make no sample, under the names that files of a directory have for it.
    private func noteIgnored(_ account: ShardAccount, _ path: String, _ inventory: inout PackInventory) {
        let reasons: [String: IgnoredReason] = [
            "metaMembers": .metaMember, "hiddenMembers": .dotfile, "unmatchedNames": .noExtension,
            "directories": .directoryMember, "links": .notRegularMember, "specialFiles": .notRegularMember,
            "missingEndOfArchive": .missingEndOfArchive,
        ]
        for (name, count) in account.ignored.sorted(by: { $0.key < $1.key }) {
            if let reason = reasons[name] {
                inventory.ignore(reason, count, path: path)
            } else {
                // Bytes, not members: the shard counts once.
                inventory.ignore(.dataAfterEnd, path: path)
            }
        }
    }
}

/// The samples of one shard as they are found.
private struct ShardListing {
    let path: String
    let format: ShardFormatKind
    let names: FieldNames
    let bytes: SourceBytes
    /// Where the last damaged sample begins.
    private(set) var lastDefectOffset: Int?
    private let items: SourceItems
    private let keys: GeneratedKeys
    private var examples: ExampleMembers

    init(path: String, format: ShardFormatKind, names: FieldNames, bytes: SourceBytes) {
        self.path = path
        self.format = format
        self.names = names
        self.bytes = bytes
        items = SourceItems(bytes)
        keys = GeneratedKeys(path)
        examples = ExampleMembers(items)
    }

    mutating func add(_ chunk: Chunk, _ inventory: inout PackInventory) throws(HeadraceError) {
        let table = chunk.table
        var lastDefect: Int32 = -1
        for (index, sample) in table.samples.enumerated() {
            if sample.defect >= 0 {
                // Samples that a manifest promises behind damage have the defect of the damage.
                if sample.defect != lastDefect { lastDefectOffset = sample.offset }
                lastDefect = sample.defect
                try inventory.leaveOut(table.defects[Int(sample.defect)].placed(shard: path))
                continue
            }
            let fields = table.fields[Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount)]
            if format == .tfrecord {
                guard let field = fields.first else { continue }
                do throws(HeadraceError) {
                    try addRecord(field, chunk, ordinal: chunk.firstOrdinal + index, &inventory)
                } catch {
                    try inventory.leaveOut(error.placed(shard: path, offset: sample.offset))
                }
                continue
            }
            let named = fields.map { field in
                (
                    name: names.name(of: field.name),
                    payload: PackPayload.item(
                        items, index: chunk.shardOffset + field.offset, byteCount: field.length)
                )
            }
            inventory.add(key: table.key(of: sample), fields: named, keepsOrder: true)
        }
    }

    private mutating func addRecord(
        _ field: FieldRecord, _ chunk: Chunk, ordinal: Int, _ inventory: inout PackInventory
    ) throws(HeadraceError) {
        let record = unsafe UnsafeRawBufferPointer(
            start: chunk.view.base! + field.offset, count: field.length)
        let offset = chunk.shardOffset + field.offset
        let payload = PackPayload.item(items, index: offset, byteCount: field.length)
        guard unsafe try examples.parse(record, at: offset) else {
            let key = keys.key(ordinal)
            if inventory.format == .tfrecord {
                inventory.addRecord(key: key, payload: payload)
            } else {
                inventory.add(key: key, fields: [(name: "record", payload: payload)])
            }
            return
        }
        let key = try unsafe examples.key(record) ?? keys.key(ordinal)
        if inventory.format == .tfrecord { return inventory.addRecord(key: key, payload: payload) }
        do throws(HeadraceError) {
            let fields = try unsafe examples.fields(record, at: offset, &inventory)
            inventory.add(key: key, fields: fields, keepsOrder: true, isOfExample: true)
        } catch {
            throw error.placed(key: key)
        }
    }
}

/// Keys for samples that have none: the file's name without the endings that say what it is, and a number.
/// The number is padded to a fixed width, so that keys sort in the order of the file and stay the same when
/// it grows.
///
/// Only known endings go: in `train.tfrecord-00001-of-00002` the number stands behind a dot. A dot would end
/// the key, so those that stay become '-'.
struct GeneratedKeys {
    private static let digits = 9
    private static let endings: Set<String> = [
        "tar", "tfrecord", "tfrecords", "tfr", "txt", "text", "csv", "tsv", "json", "jsonl", "ndjson", "npy",
        "npz",
        "gz", "tgz", "zlib", "zst", "zstd", "lz4",
    ]
    private let stem: String

    init(_ path: String) {
        let dot = UInt8(ascii: ".")
        var words = baseName(path).utf8.split(separator: dot, omittingEmptySubsequences: false).map {
            String(decoding: Array($0), as: UTF8.self)
        }
        while words.count > 1, Self.endings.contains(words[words.count - 1].lowercased()) {
            words.removeLast()
        }
        stem = words.joined(separator: "-")
    }

    /// Whether `key` is one that is made for this file.
    func makes(_ key: String) -> Bool {
        let head = stem + "-"
        let number = key.utf8.dropFirst(head.utf8.count)
        return key.utf8.starts(with: head.utf8) && number.count >= Self.digits
            && number.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    func key(_ ordinal: Int) -> String {
        let number = String(ordinal)
        return "\(stem)-\(String(repeating: "0", count: max(0, Self.digits - number.utf8.count)))\(number)"
    }
}

/// The folder with its '/' at the end; empty where the path names none.
func folderPrefix(_ path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "" }
    return String(path[..<path.utf8.index(after: slash)])
}

/// What stands behind the last '/'.
func baseName(_ path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return path }
    return String(path[path.utf8.index(after: slash)...])
}
