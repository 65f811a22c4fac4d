internal import Glibc
package import HeadraceCore
package import HeadraceStorage

/// Fills a cache before a job begins, with the shards that it will read.
package final class CacheWarmer: Sendable {
    package let cache: BlockCache
    private let access: StorageAccess
    private static let pauseMicroseconds: UInt32 = 5000

    /// Opens the cache as a loader would.
    package init(_ options: CacheOptions) throws(HeadraceError) {
        var request = LoaderOptions()
        request.cache = options
        let budget = Machine.current.defaultBudget
        access = try StorageAccess.local(request).cached(request, budget: budget)
        guard let cache = access.cache else {
            throw HeadraceError(.usage, "there is no cache to fill")
        }
        self.cache = cache
    }

    /// What became of some blocks.
    package struct Result: Sendable {
        package var heldBytes = 0
        package var filledBytes = 0
        /// Bytes of blocks that were not kept, by reason.
        package var passed: [PassThrough: Int] = [:]
        package var failure: HeadraceError?

        package init() {}

        package mutating func add(_ other: Result) {
            heldBytes += other.heldBytes
            filledBytes += other.filledBytes
            passed.merge(other.passed) { $0 + $1 }
            failure = failure ?? other.failure
        }
    }

    /// Blocks of a shard of so many bytes.
    package func blockCount(ofBytes size: Int) -> Int {
        (size + cache.folder.blockBytes - 1) / cache.folder.blockBytes
    }

    /// Brings those blocks of the shard that the cache lacks. Where no more may be written per second, it waits.
    package func fill(
        _ path: String, blocks: Range<Int>, isCancelled: () -> Bool, report: (Int) -> Void
    ) -> Result {
        var result = Result()
        do throws(HeadraceError) {
            guard let file = try access.storage.open(path) as? CachedFile,
                let reader = access.workerReader() as? CachedReader
            else { return result }
            defer { reader.close() }
            let size = cache.folder.blockBytes
            for number in blocks where number * size < file.size {
                if isCancelled() { return result }
                let bytes = min(size, file.size - number * size)
                switch try touch(file, number, reader, isCancelled) {
                case .held: result.heldBytes += bytes
                case .brought: result.filledBytes += bytes
                case .passed(let reason): result.passed[reason, default: 0] += bytes
                }
                report(bytes)
            }
        } catch {
            result.failure = error.placed(shard: path)
        }
        return result
    }

    private func touch(
        _ file: CachedFile, _ number: Int, _ reader: CachedReader, _ isCancelled: () -> Bool
    ) throws(HeadraceError) -> BlockTouch {
        while true {
            let touch = try cache.touch(file, block: number, by: reader)
            guard case .passed(.writeRate) = touch, !isCancelled() else { return touch }
            // Until the rate allows the next block.
            usleep(Self.pauseMicroseconds)
        }
    }
}
