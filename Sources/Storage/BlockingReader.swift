internal import HeadraceCore

/// Reads by `pread` on the calling thread, at once.
///
/// For workers that read what they parse next: from a warm page cache this is the fastest way there is, because
/// the bytes are still in the core's cache when the parser comes to them.
package final class BlockingReader: Reader {
    package let queueDepth: Int
    private var completed: [ReadCompletion] = []

    package init(queueDepth: Int = 1) {
        self.queueDepth = max(1, queueDepth)
        completed.reserveCapacity(self.queueDepth)
    }

    package var inFlight: Int { completed.count }

    package func submit(_ requests: [ReadRequest]) {
        for request in requests {
            let result: Result<Int, HeadraceError>
            switch PendingRead.start(request) {
            case .complete(let early): result = early
            case .pending(var read): result = read.runBlocking()
            }
            completed.append(ReadCompletion(ticket: request.ticket, result: result))
        }
    }

    package func wait(minimum: Int, into completions: inout [ReadCompletion]) {
        completions.append(contentsOf: completed)
        completed.removeAll(keepingCapacity: true)
    }

    /// Without the lists that others need: for many small reads these cost as much as reading.
    package func readNow(
        _ file: any StorageFile, _ ranges: ArraySlice<ScatteredRead>, into base: UnsafeMutableRawPointer
    ) -> Int {
        guard let file = file as? LocalFile else { return 0 }
        return unsafe file.readNow(ranges, into: base)
    }

    /// Nothing to do: ``wait(minimum:into:)`` never blocks.
    package func wake() {}

    package func close() { completed.removeAll() }
}
