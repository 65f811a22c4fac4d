/// What limits a run, in one sentence.
public struct Verdict: Sendable, Equatable, CustomStringConvertible {
    /// What the run was limited by.
    public enum Limit: String, Sendable {
        /// Too little was measured to say.
        case unknown = "too_short"
        /// The consumer: the loader could deliver more.
        case consumer
        /// Reading from storage.
        case storage
        /// Decompressing and parsing.
        case unpack
        /// Decoding fields.
        case decode
        /// No one room: work and waiting are spread.
        case balanced
    }

    /// Seconds below which a run says nothing.
    public static let shortestSeconds = 2.0
    /// Share of waiting below which a consumer counts as served.
    public static let servedShare = 0.05
    /// Share of a thread's time from which a room counts as busy.
    public static let busyShare = 0.5

    /// What the run was limited by.
    public let limit: Limit
    /// The sentence.
    public let description: String

    /// Judges a report. `hasConsumer`: the consumer did work of its own between batches (a training step), so that its
    /// waiting tells whether the loader keeps up.
    public init(_ report: LoaderReport, hasConsumer: Bool) {
        let wall = report.wallSeconds
        guard wall >= Self.shortestSeconds else {
            limit = .unknown
            description =
                "too short to judge: \(Self.format(wall)) s measured, at least \(Self.format(Self.shortestSeconds)) s "
                + "are needed (read more epochs)"
            return
        }
        let waited = Self.percent(report.waitShare)
        if hasConsumer && report.waitShare < Self.servedShare {
            limit = .consumer
            description = "compute-bound: the consumer waited \(waited) of the time, the loader keeps up"
            return
        }
        // Shares of the time of all workers, so that they add up to at most one.
        let workerTime = wall * Double(max(1, report.workers))
        func share(_ room: Room, _ part: KeyPath<RoomTimes, Int>) -> Double {
            let times = report.rooms.first { $0.room == room }?.times ?? RoomTimes()
            return Double(times[keyPath: part]) / 1e9 / workerTime
        }
        let fetchWaits = share(.fetch, \.waitInputNanoseconds)
        let storage =
            report.engine.hasPrefix("pread by the workers")
            ? fetchWaits + share(.fetch, \.busyNanoseconds) : share(.unpack, \.waitInputNanoseconds)
        let unpack = share(.unpack, \.busyNanoseconds) + share(.plan, \.busyNanoseconds)
        let decode = share(.decode, \.busyNanoseconds) + share(.assemble, \.busyNanoseconds)
        let ranked = [(Limit.storage, storage), (.unpack, unpack), (.decode, decode)].sorted { $0.1 > $1.1 }
        let lead = hasConsumer ? "input-bound: the consumer waited \(waited) of the time; " : ""
        let top = ranked[0]
        guard top.1 >= Self.busyShare || top.1 > 2 * ranked[1].1 else {
            limit = .balanced
            description =
                lead + "no one room limits: the workers spent \(Self.percent(storage)) reading, "
                + "\(Self.percent(unpack)) unpacking, \(Self.percent(decode)) decoding"
            return
        }
        limit = top.0
        description = lead + Self.sentence(top.0, share: top.1, fetchWaits: fetchWaits, report: report)
    }

    private static func sentence(_ limit: Limit, share: Double, fetchWaits: Double, report: LoaderReport)
        -> String
    {
        let part = percent(share)
        switch limit {
        case .storage:
            let fromDevice =
                report.readBytes > 0 && Double(report.deviceBytes ?? 0) > 0.5 * Double(report.readBytes)
            if fromDevice || fetchWaits > share / 2 {
                return
                    "storage-bound: the workers spent \(part) of their time waiting for bytes from the device"
            }
            return "bound by reading from the page cache: \(part) of the workers' time; the data is in memory"
        case .unpack:
            return "CPU-bound in unpacking (codec and format): \(part) of the workers' time"
        case .decode:
            return "CPU-bound in decoding fields: \(part) of the workers' time"
        case .consumer, .balanced, .unknown:
            return "no one room limits"
        }
    }

    private static func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }

    private static func format(_ value: Double) -> String {
        "\((value * 10).rounded() / 10)"
    }
}
