import Glibc
import HeadraceCore
import HeadraceStorage

@testable import Headrace

/// The local files, each read of which takes a stated time longer.
struct SlowedStorage: Storage {
    let local: LocalStorage
    let delay: TimeSpan

    init(delay: TimeSpan) throws {
        local = try LocalStorage(engine: .pread)
        self.delay = delay
    }

    func open(_ path: String) throws(HeadraceError) -> any StorageFile { try local.open(path) }

    func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader { reader }

    var reader: SlowedReader { SlowedReader(delay: delay) }

    /// For a loader: read by the workers, or by a thread of its own.
    func access(hasFetchThread: Bool) -> StorageAccess {
        StorageAccess(storage: self, hasFetchThread: hasFetchThread, reason: "slowed for a test") { reader }
    }
}

/// One read at a time, each after a sleep.
final class SlowedReader: Reader {
    private let reader = BlockingReader()
    private let delay: TimeSpan

    init(delay: TimeSpan) { self.delay = delay }

    var queueDepth: Int { 1 }
    var inFlight: Int { reader.inFlight }

    func submit(_ requests: [ReadRequest]) { reader.submit(requests) }

    func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        if reader.inFlight > 0 { pause(delay) }
        reader.wait(minimum: minimum, into: &completions)
    }

    func wake() {}
    func close() { reader.close() }
}

/// Sleeps, as a device or a network would let a thread wait.
func pause(_ span: TimeSpan) {
    usleep(UInt32(span.nanoseconds / 1000))
}
