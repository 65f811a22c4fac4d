internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceStorage

/// A bar over the bytes of many shards that are read at once.
// Sendable: `lock` guards the counts.
final class ShardProgress: @unchecked Sendable {
    private let bar: Progress
    private let sizes: [Int]
    private let total: Int
    private let lock = Lock()
    private var done: [Int: Int] = [:]
    private var doneByteCount = 0
    private var finishedShards = 0

    init(_ label: String, paths: [String], isQuiet: Bool) {
        bar = Progress(label, isQuiet: isQuiet)
        // A shard that cannot be looked at fails when it is opened; here it only counts nothing.
        sizes = bar.isShown ? paths.map { (try? LocalFiles.entry($0).size) ?? 0 } : []
        total = sizes.reduce(0, +)
    }

    /// So many bytes of shard `index` are done.
    func advance(_ index: Int, to byteCount: Int) {
        guard bar.isShown else { return }
        let (sum, shards) = lock.withLock {
            doneByteCount += byteCount - (done[index] ?? 0)
            done[index] = byteCount
            return (doneByteCount, finishedShards)
        }
        bar.update(sum, of: total, detail: "\(ByteCount(sum)) of \(ByteCount(total)), \(shards) shards done")
    }

    func finish(_ index: Int) {
        guard bar.isShown else { return }
        lock.withLock { finishedShards += 1 }
        advance(index, to: sizes[index])
    }

    func close() { bar.finish() }
}
