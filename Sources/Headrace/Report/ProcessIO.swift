internal import HeadraceStorage

/// What the kernel says this process has read, from `/proc/self/io`: the check on our own counters.
struct ProcessIO: Sendable {
    /// Bytes that read calls returned, from whatever source.
    var readBytes = 0
    /// Bytes that came from a block device.
    var deviceBytes = 0

    /// Nil where the kernel does not count, or hides its counts from this process.
    static func now() -> ProcessIO? {
        guard let text = try? SmallFile.read("/proc/self/io") else { return nil }
        var counts = ProcessIO()
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard parts.count == 2, let value = Int(parts[1]) else { continue }
            if parts[0] == "rchar:" { counts.readBytes = value }
            if parts[0] == "read_bytes:" { counts.deviceBytes = value }
        }
        return counts
    }
}
