internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// The shards of an indexed walk: where their samples are, and the open files.
///
/// Sendable: `lock` guards the open files.
final class IndexedSource: @unchecked Sendable {
    /// Files that are kept open at most.
    private static let openFiles = 512

    let catalog: Catalog
    let rows: [ShardRows]
    /// Of each data set: one, but for mixtures.
    let dataSets: [SampleNumbers]
    private let storage: any Storage
    private let lock = Lock()
    private var files: [Int32: any StorageFile] = [:]

    init(_ catalog: Catalog, _ rows: [ShardRows], storage: any Storage) throws(HeadraceError) {
        self.catalog = catalog
        self.rows = rows
        self.storage = storage
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
        let evicted = lock.withLock { () -> (any StorageFile)? in
            files[shard] = file
            guard files.count > Self.openFiles, let other = files.keys.first(where: { $0 != shard }) else {
                return nil
            }
            return files.removeValue(forKey: other)
        }
        try evicted?.checkUnchanged()
        return file
    }

    /// Throws where a shard was changed while it was read.
    func checkUnchanged() throws(HeadraceError) {
        for file in lock.withLock({ Array(files.values) }) { try file.checkUnchanged() }
    }
}
