internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage
internal import Synchronization

/// The indexes of a data set's shards.
struct ShardIndexSet: Sendable {
    /// What was found for one shard.
    enum Entry: Sendable {
        case found(ShardRows)
        /// There is none.
        case missing
        /// There is one that cannot be trusted, and why. No other is looked for: who put it there should know.
        case refused(HeadraceError)
    }

    /// In the order of the shards.
    let entries: [Entry]
    /// Samples of each shard where an index tells, be it one that says no more (wids').
    let sampleCounts: [Int?]

    /// The first shard without an index that can be used, and what to say of it; nil where all have one.
    func firstWithout(_ paths: [String]) -> HeadraceError? {
        for (path, entry) in zip(paths, entries) {
            switch entry {
            case .found: continue
            case .refused(let error): return error
            case .missing:
                return HeadraceError(
                    .notFound, "this shard has no index; 'headrace index' makes one", at: .init(shard: path))
            }
        }
        return nil
    }

    /// Shards beyond this number have their indexes opened for each read: a process may not have so many files open.
    private static let largestOpenCount = 256

    /// Looks for the index of each of the shards at `paths`, and holds it against its shard.
    ///
    /// - Parameters:
    ///   - folder: where indexes lie that are not beside their shards (`--index DIR`).
    ///   - workers: threads that look.
    ///   - tableByteCount: memory that tables of rows may be kept in.
    static func open(
        _ paths: [String], folder: String? = nil, workers: Int = 1,
        tableByteCount: Int = RowRoom.defaultByteCount
    ) throws(HeadraceError) -> ShardIndexSet {
        let search = IndexSearch(
            places: IndexPlaces(folder: folder), room: RowRoom(byteCount: tableByteCount),
            keepsOpen: paths.count <= largestOpenCount)
        let entries = try search.entries(paths, workers: workers)
        let wids = WidsCounts(search.places)
        var counts: [Int?] = []
        counts.reserveCapacity(paths.count)
        for (path, entry) in zip(paths, entries) {
            if case .found(let rows) = entry {
                counts.append(rows.sampleCount)
            } else {
                counts.append(wids.count(path))
            }
        }
        return ShardIndexSet(entries: entries, sampleCounts: counts)
    }
}

/// Looks for indexes and judges them.
private struct IndexSearch: Sendable {
    let places: IndexPlaces
    let room: RowRoom
    let keepsOpen: Bool

    /// In the order of `paths`, whichever thread finds them.
    func entries(_ paths: [String], workers: Int) throws(HeadraceError) -> [ShardIndexSet.Entry] {
        let lock = Lock()
        let found = Found(count: paths.count)
        let next = Counter()
        @Sendable func work() {
            while true {
                let index = next.next()
                guard index < paths.count else { return }
                let entry = entry(paths[index])
                lock.withLock { found.entries[index] = entry }
            }
        }
        var threads: [Thread] = []
        defer { for thread in threads { thread.join() } }
        for number in 1..<max(2, min(workers, paths.count)) {
            threads.append(try Thread(name: "index-\(number)") { work() })
        }
        work()
        for thread in threads { thread.join() }
        threads = []
        return found.entries
    }

    // Sendable: the caller's lock guards the entries.
    private final class Found: @unchecked Sendable {
        var entries: [ShardIndexSet.Entry]
        init(count: Int) { entries = Array(repeating: .missing, count: count) }
    }

    private final class Counter: Sendable {
        private let value = Atomic<Int>(0)
        func next() -> Int { value.add(1, ordering: .relaxed).oldValue }
    }

    private func entry(_ shard: String) -> ShardIndexSet.Entry {
        for place in places.all(shard) {
            do throws(HeadraceError) {
                if place.isOurs {
                    return .found(try ours(place.path, shard))
                } else {
                    return .found(try dali(place.path, shard))
                }
            } catch {
                if error.code == .notFound, error.place.shard == place.path { continue }
                return .refused(error)
            }
        }
        return .missing
    }

    private func ours(_ path: String, _ shard: String) throws(HeadraceError) -> ShardRows {
        let index = try ShardIndex.read(path, keepsOpen: keepsOpen)
        try FileChecksums(shard).check(index)
        return ShardRows(index, room: room)
    }

    private func dali(_ path: String, _ shard: String) throws(HeadraceError) -> ShardRows {
        let bytes = try SmallFile.readBytes(path, limit: DALIIndex.largestByteCount)
        let file = try LocalStorage(engine: .pread).open(shard)
        let probe = ShardProbe(reader: BlockingReader())
        let layout = try probe.layout(of: file, limits: FormatLimits())
        // DALI reads plain shards only: an index of this name is about another shard, `x.idx` about the `x.tar` beside
        // this `x.tar.zst`.
        guard layout.codec == .none else {
            throw HeadraceError(.notFound, "there is no index of this shard", at: .init(shard: path))
        }
        let rows: [ByteSpan]
        switch layout.format {
        case .tar: rows = try DALIIndex.tarRows(bytes, shardByteCount: file.size, path: path)
        case .tfrecord: rows = try DALIIndex.recordRows(bytes, shardByteCount: file.size, path: path)
        }
        try ForeignRowCheck(file: file, format: layout.format, path: path).check(rows)
        return ShardRows(daliAt: path, layout.format, rows, shardByteCount: file.size, room: room)
    }
}

/// Sample counts by the indexes of wids that lie beside shards: each is read once.
// Sendable: used by one thread.
private final class WidsCounts {
    private let places: IndexPlaces
    private var indexes: [String: [String: WidsIndex.Shard]] = [:]

    init(_ places: IndexPlaces) { self.places = places }

    /// Nil where no index of wids lists the shard, or lists it with another size.
    func count(_ shard: String) -> Int? {
        for path in [places.wids(shard), IndexPlaces(folder: nil).wids(shard)] {
            if indexes[path] == nil {
                let shards = (try? WidsIndex.read(path))?.shards ?? []
                indexes[path] = Dictionary(
                    shards.map { (baseName($0.url), $0) }, uniquingKeysWith: { first, _ in first })
            }
            guard let listed = indexes[path]?[baseName(shard)] else { continue }
            let size = (try? LocalFiles.entry(shard))?.size
            if listed.byteCount == nil || listed.byteCount == size { return listed.sampleCount }
        }
        return nil
    }
}
