package import HeadraceCore

/// Any storage with a cache of blocks before it.
///
/// The origin is only ever read. Which versions of an object are the same is the origin's to say
/// (``StorageFile/cacheVersion``); what has no version is read as if there were no cache.
package struct CachedStorage: Storage {
    package let origin: any Storage
    package let cache: BlockCache
    /// Reads are done by threads of the reader's own, each with a reader of the origin; else by the thread that asks.
    private let isPooled: Bool

    package init(_ origin: any Storage, cache: BlockCache, isPooled: Bool) {
        self.origin = origin
        self.cache = cache
        self.isPooled = isPooled
    }

    package func open(_ path: String) throws(HeadraceError) -> any StorageFile {
        CachedFile(try origin.open(path), cache)
    }

    package func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader {
        guard isPooled else { return CachedReader(origin: try origin.makeReader(queueDepth: queueDepth)) }
        let origin = origin
        return try PooledReader(queueDepth: queueDepth) { () throws(HeadraceError) -> any Reader in
            CachedReader(origin: try origin.makeReader(queueDepth: 1))
        }
    }
}

/// A file of the origin, and what the cache has of it.
package final class CachedFile: StorageFile {
    package let origin: any StorageFile
    let cache: BlockCache
    /// Nil where the origin tells no version.
    let object: CachedObject?

    package init(_ origin: any StorageFile, _ cache: BlockCache) {
        self.origin = origin
        self.cache = cache
        object = cache.object(of: origin)
    }

    deinit { if let object { cache.order.close(object.key) } }

    package var path: String { origin.path }
    package var size: Int { origin.size }
    /// Without a version all reads are the origin's own.
    package var alignment: Int { object == nil ? origin.alignment : 1 }
    package var version: FileVersion? { origin.version }
    package var cacheVersion: String? { origin.cacheVersion }

    package func checkUnchanged() throws(HeadraceError) { try origin.checkUnchanged() }
}

/// A reader of the origin that does one read after the other, and keeps account of what it read.
@safe final class OriginAccess {
    private let reader: any Reader
    var sources = ByteSources()
    private var completions: [ReadCompletion] = []

    init(_ reader: any Reader) { self.reader = reader }

    func read(
        _ file: any StorageFile, offset: Int, length: Int, into target: UnsafeMutableRawPointer
    ) -> Result<Int, HeadraceError> {
        unsafe read(
            ReadRequest(ticket: 0, file: file, offset: offset, length: length, destination: target))
    }

    func read(_ request: ReadRequest) -> Result<Int, HeadraceError> {
        completions.removeAll(keepingCapacity: true)
        reader.submit([request])
        while completions.isEmpty { reader.wait(minimum: 1, into: &completions) }
        let result = completions[0].result
        if let told = reader.takeSources() {
            sources.add(told)
        } else if case .success(let count) = result {
            sources.local += count
        }
        return result
    }

    func close() { reader.close() }
}

/// Reads on the calling thread: from the cache, or from the origin with a reader of its own.
package final class CachedReader: Reader {
    package let queueDepth: Int
    let origin: OriginAccess
    private var completed: [ReadCompletion] = []

    package init(origin: any Reader) {
        queueDepth = origin.queueDepth
        self.origin = OriginAccess(origin)
    }

    package var inFlight: Int { completed.count }

    package func submit(_ requests: [ReadRequest]) {
        for request in requests {
            let result =
                if let file = request.file as? CachedFile {
                    file.cache.read(request, of: file, by: origin)
                } else {
                    origin.read(request)
                }
            completed.append(ReadCompletion(ticket: request.ticket, result: result))
        }
    }

    package func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        completions.append(contentsOf: completed)
        completed.removeAll(keepingCapacity: true)
    }

    /// From blocks that are open already; whatever else there is to do is done by reads that are submitted.
    package func readNow(
        _ file: any StorageFile, _ ranges: ArraySlice<ScatteredRead>, into base: UnsafeMutableRawPointer
    ) -> Int {
        guard let file = file as? CachedFile, let object = file.object,
            file.cache.settings.eviction == .noEvict
        else { return 0 }
        var count = 0
        for range in ranges {
            let read = unsafe readNow(
                range.offset, range.length, of: object, size: file.size, into: base + range.place)
            guard read else { break }
            count += 1
        }
        return count
    }

    private func readNow(
        _ offset: Int, _ length: Int, of object: CachedObject, size: Int,
        into destination: UnsafeMutableRawPointer
    ) -> Bool {
        guard offset >= 0, length > 0, offset < size else { return false }
        let number = offset / object.blockBytes
        let start = offset - number * object.blockBytes
        let count = min(length, size - offset)
        guard start + count <= object.blockBytes, let handle = object.openHandle(number),
            unsafe handle.read(at: start, count, into: destination) == nil
        else { return false }
        object.noteHit(count)
        origin.sources.cache += count
        return true
    }

    package func takeSources() -> ByteSources? {
        defer { origin.sources = ByteSources() }
        return origin.sources
    }

    /// Nothing to do: ``wait(minimum:into:)`` never blocks.
    package func wake() {}

    package func close() {
        completed.removeAll()
        origin.close()
    }
}
