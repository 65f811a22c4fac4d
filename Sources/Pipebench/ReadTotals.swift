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
            .init("origin_bytes", report.origins.json),
            .init("open_s", seconds(report.openSeconds)),
            .init("index_s", seconds(report.indexSeconds)),
            .init("first_batch_s", seconds(report.firstBatchSeconds)),
            .init("wall_s", seconds(report.wallSeconds)),
            .init("cpu_s", seconds(report.cpuSeconds)),
            .init("cpu_s_per_gb", cpuSecondsPerGigabyte.map(seconds) ?? .null),
            .init("peak_bytes", .int(report.peakBytes)),
            .init("rooms", .array(report.rooms.map(room))),
        ]
        if let cache = report.cache { members.append(.init("cache", cache.json)) }
        members.append(.init("epochs", .array(report.epochOrigins.map(epoch))))
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

    private func epoch(_ epoch: EpochOrigins) -> JSONValue {
        .object([
            .init("epoch", .int(epoch.epoch)), .init("origin_bytes", epoch.origins.json),
            .init("hit_rate", seconds(epoch.hitRate)),
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

extension OriginBytes {
    /// As reports carry it.
    var json: JSONValue {
        .object([
            .init("device", deviceBytes.map { .int($0) } ?? .null),
            .init("page_cache", pageCache.map { .int($0) } ?? .null),
            .init("cache", .int(cache)),
            .init("ram", .int(ram)),
            .init("remote", .int(remote)),
        ])
    }
}

extension CacheReport {
    fileprivate var json: JSONValue {
        .object([
            .init("directory", .string(directory)), .init("limit", .int(limit)),
            .init("policy", .string(policy.rawValue)), .init("hits", .int(hits)),
            .init("hit_bytes", .int(hitBytes)), .init("missed_bytes", .int(missedBytes)),
            .init("hit_rate", .double((hitRate * 1e6).rounded() / 1e6)),
            .init("fills", .int(fills)), .init("filled_bytes", .int(filledBytes)),
            .init("refetched_bytes", .int(refetchedBytes)), .init("bad_blocks", .int(badBlocks)),
            .init("evicted_blocks", .int(evictedBlocks)),
            .init(
                "passed",
                .array(
                    passed.map {
                        .object([
                            .init("reason", .string($0.reason)), .init("reads", .int($0.reads)),
                            .init("bytes", .int($0.bytes)),
                        ])
                    })),
        ])
    }
}
