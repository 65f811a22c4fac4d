internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

/// The line that scripts read at the end of `pipebench read --json`.
extension ReadResult {
    static let schema = "pipebench.read/1"

    var totals: [JSONMember] {
        var members: [JSONMember] = [
            .init("samples", .int(report.samples)),
            .init("batches", .int(report.batches)),
            .init("bytes", .int(report.payloadBytes)),
            .init("origin_bytes", origins),
            .init("open_s", seconds(report.openSeconds)),
            .init("index_s", seconds(report.indexSeconds)),
            .init("first_batch_s", seconds(report.firstBatchSeconds)),
            .init("wall_s", seconds(report.wallSeconds)),
            .init("cpu_s", seconds(report.cpuSeconds)),
            .init("cpu_s_per_gb", cpuSecondsPerGigabyte.map(seconds) ?? .null),
            .init("peak_bytes", .int(report.peakBytes)),
            .init("rooms", .array(report.rooms.map(room))),
        ]
        if hasConsumer { members.append(.init("stall_share", seconds(report.waitShare))) }
        members += [
            .init("skipped", .int(report.skipped)),
            .init("dropped", .int(report.dropped)),
            .init("repeated", .int(report.repeated)),
            .init("padded", .int(report.padded)),
            .init("digest", report.digest.map { .string($0) } ?? .null),
            .init("set_digest", report.setDigest.map { .string($0) } ?? .null),
            .init("verdict", .string(verdict)),
        ]
        if let failure { members.append(.init("error", failure.json)) }
        return members
    }

    private var origins: JSONValue {
        .object([
            .init("device", report.deviceBytes.map { .int($0) } ?? .null),
            .init("page_cache", report.pageCacheBytes.map { .int($0) } ?? .null),
            .init("cache", .int(0)),
            .init("ram", .int(0)),
            .init("remote", .int(0)),
        ])
    }

    private func room(_ entry: (room: Room, times: RoomTimes)) -> JSONValue {
        .object([
            .init("room", .string(entry.room.rawValue)),
            .init("busy_s", seconds(Double(entry.times.busyNanoseconds) / 1e9)),
            .init("wait_input_s", seconds(Double(entry.times.waitInputNanoseconds) / 1e9)),
            .init("wait_room_s", seconds(Double(entry.times.waitRoomNanoseconds) / 1e9)),
        ])
    }

    /// Clocks are not finer than a microsecond's worth of meaning; more digits would only look exact.
    private func seconds(_ value: Double) -> JSONValue { .double((value * 1e6).rounded() / 1e6) }
}
