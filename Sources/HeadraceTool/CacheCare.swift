internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceStorage

/// The cache that a command looks after.
struct CacheDirectory: ParsableArguments {
    @Option(help: ArgumentHelp("The cache.", valueName: "DIR")) var cache: String

    func open() throws(HeadraceError) -> CacheFolder { try CacheFolder(existing: cache) }
}

/// `headrace cache status`
struct CacheStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Says what a cache has and how much room there is.",
        discussion: "Files are counted, and the cache's own account of them is put right.")

    @OptionGroup var directory: CacheDirectory
    @Flag(help: "A line for each object that the cache has blocks of.") var objects = false
    @OptionGroup var output: OutputFlags

    func run() throws {
        let folder = try directory.open()
        folder.recount()
        let listing = folder.listing()
        let blocks = listing.reduce(0) { $0 + $1.blocks.count }
        let used = try folder.usedBytes()
        let bad = folder.quarantined().count
        if output.json {
            if objects { for object in listing { try Cache.lines.write(object.members) } }
            try Cache.lines.write([
                JSONMember("command", "status"), JSONMember("directory", .string(folder.path)),
                JSONMember("block_bytes", .int(folder.blockBytes)),
                JSONMember("objects", .int(listing.count)), JSONMember("blocks", .int(blocks)),
                JSONMember("used_bytes", .int(used)),
                JSONMember("free_bytes", folder.freeBytes().map { .int($0) } ?? .null),
                JSONMember("quarantined", .int(bad)), JSONMember("writable", .bool(folder.refusal == nil)),
            ])
            return
        }
        let free = folder.freeBytes().map { ", \(ByteCount($0)) are free beside it" } ?? ""
        try StandardOutput.writeLine(
            "\(ByteCount(used)) in \(counted(blocks, "block")) of \(counted(listing.count, "object"))\(free)")
        if bad > 0 { try StandardOutput.writeLine("  \(counted(bad, "bad block")) put away in quarantine/") }
        if folder.refusal != nil { try StandardOutput.writeLine("  it cannot be written to from here") }
        guard objects else { return }
        for object in listing {
            let of = object.objectBytes.map { " of \(ByteCount($0))" } ?? ""
            try StandardOutput.writeLine(
                "  \(ByteCount(object.fileBytes))\(of)  \(printable(object.url ?? object.key.name))")
        }
    }
}

extension CachedObjectListing {
    fileprivate var members: [JSONMember] {
        [
            JSONMember("object", .string(key.name)), JSONMember("url", url.map { .string($0) } ?? .null),
            JSONMember("bytes", objectBytes.map { .int($0) } ?? .null),
            JSONMember("blocks", .int(blocks.count)), JSONMember("file_bytes", .int(fileBytes)),
        ]
    }
}

/// `headrace cache verify`
struct CacheVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Checks blocks against their checksums, and puts bad ones away.",
        discussion: """
            A bad block is moved to quarantine/ (the last \(CacheVerify.kept) are kept), and is brought again when it is read \
            next; with --refetch, at once. Ends with status 1 where bad blocks were found and not brought again.
            """)

    private static let kept = 16

    @OptionGroup var directory: CacheDirectory
    @Option(
        help: ArgumentHelp("Check so many of the blocks, picked at random (default: all).", valueName: "P%"),
        transform: CacheVerify.share)
    var sample = 1.0
    @Option(help: "Seed of the sample.") var seed: UInt64 = 0
    @Flag(help: "Bring bad blocks again from their shards, where these are as they were.") var refetch = false
    @OptionGroup var output: OutputFlags

    func run() throws {
        let folder = try directory.open()
        let work = folder.listing().flatMap { object in
            object.blocks.filter { isPicked(object, $0.number) }.map { (object, $0.number, $0.fileBytes) }
        }
        let total = work.reduce(0) { $0 + $1.2 }
        let bar = Progress("verify", isQuiet: output.quiet)
        var outcome = VerifyOutcome()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: folder.scratchBytes, alignment: 4096)
        defer { unsafe memory.deallocate() }
        for (object, number, bytes) in work {
            if Interrupt.isRequested { break }
            switch unsafe folder.verify(object, number, scratch: memory) {
            case true?: outcome.checked += 1
            case false?:
                outcome.checked += 1
                outcome.bad.append((object, number))
            case nil: break
            }
            outcome.bytes += bytes
            bar.update(outcome.bytes, of: total, detail: "\(counted(outcome.bad.count, "bad block"))")
        }
        bar.finish()
        if refetch, !outcome.bad.isEmpty { try fetchAgain(folder, &outcome) }
        try tell(folder, outcome)
        try Interrupt.check()
        if outcome.bad.count > outcome.refetched { throw Exit(ExitStatus.badData) }
    }

    private struct VerifyOutcome {
        var checked = 0
        var bytes = 0
        var bad: [(object: CachedObjectListing, number: Int)] = []
        var refetched = 0
    }

    private func tell(_ folder: CacheFolder, _ outcome: VerifyOutcome) throws {
        if output.json {
            for (object, number) in outcome.bad {
                try Cache.lines.write([
                    JSONMember("object", .string(object.key.name)),
                    JSONMember("url", object.url.map { .string($0) } ?? .null),
                    JSONMember("block", .int(number)), JSONMember("ok", .bool(false)),
                ])
            }
            try Cache.lines.write([
                JSONMember("command", "verify"), JSONMember("directory", .string(folder.path)),
                JSONMember("checked", .int(outcome.checked)), JSONMember("bytes", .int(outcome.bytes)),
                JSONMember("bad", .int(outcome.bad.count)), JSONMember("refetched", .int(outcome.refetched)),
            ])
            return
        }
        let blocks = "\(counted(outcome.checked, "block")) (\(ByteCount(outcome.bytes)))"
        try StandardOutput.writeLine(
            outcome.bad.isEmpty
                ? "\(blocks): all good"
                : "\(outcome.bad.count) of \(blocks) were bad and are put away; \(outcome.refetched) brought again"
        )
        for (object, number) in outcome.bad {
            try StandardOutput.writeLine(
                "  BAD  block \(number) of \(printable(object.url ?? object.key.name))")
        }
    }

    private func fetchAgain(_ folder: CacheFolder, _ outcome: inout VerifyOutcome) throws {
        // What was put away has left its room.
        let used = try folder.usedBytes()
        let room = ByteCount(used + outcome.bad.count * folder.scratchBytes)
        let warmer = try CacheWarmer(CacheOptions(at: directory.cache, limit: room))
        for (object, number) in outcome.bad {
            guard let url = object.url, let path = CacheURL.localPath(url) else { continue }
            let result = warmer.fill(
                path, blocks: number..<number + 1, isCancelled: { false }, report: { _ in })
            if result.failure == nil, folder.holds(object, number) { outcome.refetched += 1 }
        }
    }

    private func isPicked(_ object: CachedObjectListing, _ number: Int) -> Bool {
        guard sample < 1 else { return true }
        let word = Array("\(seed) \(object.key.name) \(number)".utf8)
        let hash = unsafe word.withUnsafeBytes { unsafe xxh64($0) }
        return Double(hash >> 11) / Double(1 << 53) < sample
    }

    @Sendable private static func share(_ text: String) throws -> Double {
        if text.hasSuffix("%"), let percent = Double(text.dropLast()), percent > 0, percent <= 100 {
            return percent / 100
        }
        throw ValidationError("'\(text)' is no share; write a percentage such as 5%")
    }
}

/// `headrace cache evict`
struct CacheEvict: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evict", abstract: "Removes the blocks of some shards, or the oldest ones.",
        discussion:
            "The shards themselves are never touched. Of a shard that changed, the blocks of all its states go."
    )

    @Argument(help: "Shards whose blocks are removed; they need not be there any more.") var shards:
        [String] = []
    @OptionGroup var directory: CacheDirectory
    @Option(
        help: ArgumentHelp("Remove the oldest blocks until no more than this is used.", valueName: "SIZE"),
        transform: ByteCount.argument)
    var to: ByteCount?
    @OptionGroup var output: OutputFlags

    mutating func validate() throws {
        if shards.isEmpty && to == nil {
            throw ValidationError("name shards, or --to SIZE; 'headrace cache clear' removes all blocks")
        }
    }

    func run() throws {
        let folder = try directory.open()
        var removed = (blocks: 0, bytes: 0)
        if !shards.isEmpty {
            var urls: Set<String> = []
            for word in LongWordLists.unfolded(shards) {
                let paths = (try? ShardFiles.list([word])) ?? [word]
                for path in paths { urls.insert(CacheURL.canonical(path)) }
            }
            for object in folder.listing() where object.url.map(urls.contains) ?? false {
                let part = folder.remove(object)
                removed.blocks += part.blocks
                removed.bytes += part.bytes
            }
        }
        if let to {
            let part = folder.removeOldest(to: to.bytes)
            removed.blocks += part.blocks
            removed.bytes += part.bytes
        }
        try tellRemoval("evict", folder, removed, output)
    }
}

/// `headrace cache clear`
struct CacheClear: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clear", abstract: "Removes all blocks of a cache; the cache stays, empty.")

    @OptionGroup var directory: CacheDirectory
    @OptionGroup var output: OutputFlags

    func run() throws {
        let folder = try directory.open()
        try tellRemoval("clear", folder, folder.clear(), output)
    }
}

private func tellRemoval(
    _ command: String, _ folder: CacheFolder, _ removed: (blocks: Int, bytes: Int), _ output: OutputFlags
) throws {
    if let refusal = folder.refusal {
        throw HeadraceError(
            .io, "nothing could be removed: the cache cannot be written to (\(refusal.rawValue))",
            at: .init(shard: folder.path))
    }
    let used = try folder.usedBytes()
    if output.json {
        try Cache.lines.write([
            JSONMember("command", .string(command)), JSONMember("directory", .string(folder.path)),
            JSONMember("removed_blocks", .int(removed.blocks)),
            JSONMember("removed_bytes", .int(removed.bytes)), JSONMember("used_bytes", .int(used)),
        ])
    } else {
        try StandardOutput.writeLine(
            "\(counted(removed.blocks, "block")) removed (\(ByteCount(removed.bytes))); "
                + "the cache has \(ByteCount(used))")
    }
}
