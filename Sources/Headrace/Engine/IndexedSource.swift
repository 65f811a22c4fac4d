internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// The shards of an indexed walk: where their samples are, and the open files.
///
/// Sendable: `lock` guards the open files.
final class IndexedSource: @unchecked Sendable {
    /// Files that are kept open at most, and the part of what the process may have open that they may be.
    private static let openFiles = 512
    private static let openShare = 4

    let catalog: Catalog
    let rows: [ShardRows]
    /// Of each data set: one, but for mixtures.
    let dataSets: [SampleNumbers]
    private let storage: any Storage
    private let lock = Lock()
    private var files: [Int32: any StorageFile] = [:]
    private let fileLimit: Int
    /// Of each shard that was open once: it must be the same file when it is opened again.
    private var versions: [Int32: FileVersion] = [:]
    /// The first file that was found changed when it was closed to make room.
    private var change: HeadraceError?

    init(_ catalog: Catalog, _ rows: [ShardRows], storage: any Storage) throws(HeadraceError) {
        self.catalog = catalog
        self.rows = rows
        self.storage = storage
        fileLimit = max(16, min(Self.openFiles, Machine.current.openFileLimit / Self.openShare))
        var dataSets: [SampleNumbers] = []
        for (start, end) in zip(catalog.dataSetStarts, catalog.dataSetStarts.dropFirst()) {
            dataSets.append(try SampleNumbers(counts: rows[start..<end].map(\.sampleCount)))
        }
        self.dataSets = dataSets
    }

    /// The shard's file; it must still have the size that it had when the loader was opened.
    func file(_ shard: Int32) throws(HeadraceError) -> any StorageFile {
        if let file = lock.withLock({ files[shard] }) { return file }
        let listed = catalog.shards[Int(shard)]
        let file = try storage.open(listed.path)
        guard file.size == listed.size else {
            throw HeadraceError(
                .fileChanged,
                "the shard had \(listed.size) bytes when the loader was opened and has \(file.size) now",
                at: .init(shard: listed.path))
        }
        let version = file.version
        let known = lock.withLock { versions[shard] }
        guard known == nil || known == version else {
            throw HeadraceError(
                .fileChanged, "the shard was replaced or written to while the loader had it closed",
                at: .init(shard: listed.path))
        }
        let evicted = lock.withLock { () -> (any StorageFile)? in
            files[shard] = file
            versions[shard] = version
            guard files.count > fileLimit, let other = files.keys.first(where: { $0 != shard }) else {
                return nil
            }
            return files.removeValue(forKey: other)
        }
        if let evicted {
            do throws(HeadraceError) { try evicted.checkUnchanged() } catch {
                // It is about samples that were delivered, not about those that made room.
                lock.withLock { change = change ?? error }
            }
        }
        return file
    }

    /// Throws where a shard was changed while it was read.
    func checkUnchanged() throws(HeadraceError) {
        if let change = lock.withLock({ change }) { throw change }
        for file in lock.withLock({ Array(files.values) }) { try file.checkUnchanged() }
    }
}
