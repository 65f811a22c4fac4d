package import HeadraceCore

/// Where bytes are: stateless, shared by all threads. Readers do the reading.
///
/// Implementations: ``LocalStorage``. Wrappers (``CachedStorage``, a modelled tier) are storages too. Every implementation
/// passes the one conformance suite in `Tests/StorageTests`.
package protocol Storage: Sendable {
    /// Opens one file or object for ranged reads. Throws `notFound` or `io` with the path and errno.
    func open(_ path: String) throws(HeadraceError) -> any StorageFile

    /// A reader for the calling thread alone. It must be made, used and dropped on that thread.
    func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader
}

/// One state of a file.
package struct FileVersion: Equatable, Sendable {
    package var inode: UInt64
    package var modificationNanoseconds: Int
}

extension StorageFile {
    /// Nothing is known.
    package var version: FileVersion? { nil }

    /// Inode and time, where the file has them.
    package var cacheVersion: String? { version.map { "\($0.inode)-\($0.modificationNanoseconds)" } }
}

/// An open file or object, with the identity it had when it was opened.
package protocol StorageFile: AnyObject, Sendable {
    var path: String { get }
    /// Size in bytes at open.
    var size: Int { get }
    /// Offsets, lengths and buffer addresses of direct reads are multiples of this; 1 where anything goes.
    var alignment: Int { get }
    /// What tells the file from another of its name and size; nil where nothing does.
    var version: FileVersion? { get }
    /// What tells this state of the object from any other under the same URL and of the same size, for as long as a cache
    /// lives: an ETag, say. nil where nothing does; then it is not cached. An origin that holds every answer against it
    /// gives no ``version``: that is what ``checkUnchanged()`` is asked for before a block is kept.
    var cacheVersion: String? { get }
    /// Throws `fileChanged` when size or modification time differ from those at open.
    func checkUnchanged() throws(HeadraceError)
}

/// One read of a range into memory that the caller keeps alive and untouched until its completion.
@safe package struct ReadRequest {
    /// Comes back in the completion; the caller's to choose.
    package var ticket: UInt64
    package var file: any StorageFile
    package var offset: Int
    /// Bytes wanted. At the unaligned end of a direct file ask for the aligned length: the read ends with the file.
    package var length: Int
    package var destination: UnsafeMutableRawPointer
    /// The slab's ``Slab/index`` where `destination` lies in one, so that an engine may register the buffer.
    package var slab: Slab?

    package init(
        ticket: UInt64, file: any StorageFile, offset: Int, length: Int,
        destination: UnsafeMutableRawPointer, slab: Slab? = nil
    ) {
        self.ticket = ticket
        self.file = file
        self.offset = offset
        self.length = length
        unsafe self.destination = destination
        self.slab = slab
    }
}

/// One of many ranges that are read into one piece of memory.
package struct ScatteredRead: Sendable, Equatable {
    /// The caller's number of the file.
    package var file: Int32
    package var offset: Int
    package var length: Int
    /// Where it goes, from the start of the memory.
    package var place: Int

    package init(file: Int32, offset: Int, length: Int, place: Int) {
        self.file = file
        self.offset = offset
        self.length = length
        self.place = place
    }
}

/// The end of one read.
package struct ReadCompletion {
    package var ticket: UInt64
    /// Bytes read: all that were asked for, or fewer only because the file, as it was at open, ends there. A file
    /// that ends earlier than at open is the error `fileChanged`, never a short result.
    package var result: Result<Int, HeadraceError>

    package init(ticket: UInt64, result: Result<Int, HeadraceError>) {
        self.ticket = ticket
        self.result = result
    }
}

/// From where bytes came.
package struct ByteSources: Equatable, Sendable {
    /// Files of this machine, or of file systems that look like it: through the page cache or not.
    package var local = 0
    /// A cache's block files.
    package var cache = 0
    /// A cache in memory.
    package var ram = 0
    /// Servers.
    package var remote = 0

    package init() {}

    package mutating func add(_ other: ByteSources) {
        local += other.local
        cache += other.cache
        ram += other.ram
        remote += other.remote
    }
}

/// Reads ranges for the thread that owns it.
package protocol Reader: AnyObject {
    /// Reads that may be under way at once; submit no more than this many before waiting.
    var queueDepth: Int { get }
    /// Reads submitted and not completed yet.
    var inFlight: Int { get }
    /// Queues reads. They are started now or in the next ``wait(minimum:into:)``, in any order.
    func submit(_ requests: [ReadRequest])
    /// Waits until at least `minimum` reads are complete (0: do not block) and appends all that are. Asked for more
    /// than are in flight, it waits for those that are.
    func wait(minimum: Int, into completions: inout [ReadCompletion])
    /// The same, and waits a little longer for `hoped` reads to be complete: waking up for each read of a deep queue costs
    /// more than the read.
    func wait(minimum: Int, hoping hoped: Int, into completions: inout [ReadCompletion])
    /// Reads on the calling thread, if that is what this reader does anyway and nothing speaks against it: all of each
    /// range that the file has, to its place behind `base`. Returns how many from the front were read. What is left
    /// begins with one to be submitted, which tells why it failed, if it does.
    func readNow(
        _ file: any StorageFile, _ ranges: ArraySlice<ScatteredRead>, into base: UnsafeMutableRawPointer
    ) -> Int
    /// From where the bytes came that were read since it was last asked; of reads by ``submit(_:)``, those whose
    /// completions were handed over. A cache brings more than it is asked for. nil: it keeps no account, and all that was
    /// asked for came from local files.
    func takeSources() -> ByteSources?
    /// Makes a blocked or the next ``wait(minimum:into:)`` return early. The one call that other threads may make.
    func wake()
    /// Waits until nothing is in flight, then frees what the reader holds. The reader is unusable afterwards.
    func close()
}

extension Reader {
    /// Everything is to be submitted.
    package func readNow(
        _ file: any StorageFile, _ ranges: ArraySlice<ScatteredRead>, into base: UnsafeMutableRawPointer
    ) -> Int { 0 }

    /// No account is kept.
    package func takeSources() -> ByteSources? { nil }

    /// For readers to which waking up costs nothing.
    package func wait(minimum: Int, hoping hoped: Int, into completions: inout [ReadCompletion]) {
        wait(minimum: minimum, into: &completions)
    }
}
