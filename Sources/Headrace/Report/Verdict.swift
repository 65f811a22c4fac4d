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
        /// Decompressing and parsing by fewer threads than there are, because a stream has but one front.
        case serialUnpack = "serial_unpack"
        /// Decoding fields.
        case decode
        /// The memory budget.
        case memory
        /// No one room: work and waiting are spread.
        case balanced
    }

    /// Seconds below which a run says nothing.
    public static let shortestSeconds = 2.0
    /// Share of waiting below which a consumer counts as served.
    public static let servedShare = 0.05
    /// Share of the workers' time from which a room counts as the limit.
    public static let busyShare = 0.5
    /// Share of the workers' time without anything to do from which they count as idle.
    public static let idleShare = 0.3
    /// Share of their busy time that threads run below which others take the CPU from them.
    public static let runningShare = 0.7

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
                "too short to judge: \(Self.oneDecimal(wall)) s measured, at least "
                + "\(Self.oneDecimal(Self.shortestSeconds)) s are needed (read more epochs)"
            return
        }
        let shares = WorkerShares(report)
        var sentence = ""
        if hasConsumer {
            let consumer = ConsumerWait(report)
            if consumer.steadyShare < Self.servedShare {
                limit = .consumer
                description = "compute-bound: \(consumer.sentence), the loader keeps up"
                return
            }
            sentence = "input-bound: \(consumer.sentence); "
        }
        limit = shares.limit
        sentence += shares.sentence(for: limit, report)
        if let running = shares.runningShare, running < Self.runningShare {
            sentence +=
                "; the threads ran only \(Self.percent(running)) of the time they had work: "
                + (limit == .decode ? "a decoder waits for something, or " : "")
                + "other processes or a quota took the CPU"
        }
        description = sentence
    }

    static func percent(_ share: Double) -> String {
        share > 0 && share < 0.005 ? "<1 %" : "\(Int((share * 100).rounded())) %"
    }

    private static func oneDecimal(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
}

/// How long a consumer waited; the first batch is told apart, since everybody has to wait for that one.
private struct ConsumerWait {
    private let share: Double
    private let firstShare: Double

    init(_ report: LoaderReport) {
        share = report.waitShare
        let first = max(0, report.firstBatchSeconds - report.openSeconds)
        firstShare = min(share, first / report.wallSeconds)
    }

    var steadyShare: Double { share - firstShare }

    var sentence: String {
        let text = "the consumer waited \(Verdict.percent(share)) of the time"
        // Below that it does not matter where a share came from.
        guard firstShare >= 0.02 else { return text }
        return text + " (\(Verdict.percent(firstShare)) of it for the first batch)"
    }
}

/// Where the workers' time went, as shares of all of it; they add up to one, but for what was not counted.
private struct WorkerShares {
    /// Bytes were not there yet, or were being copied from the page cache.
    private let storage: Double
    private let unpack: Double
    private let decode: Double
    /// Memory of the budget was not free.
    private let memory: Double
    /// There was nothing to do: what there was, others did.
    private let idle: Double
    /// Of the time that threads had work, the share that they ran; nil where they had little.
    let runningShare: Double?

    init(_ report: LoaderReport) {
        let workerTime = report.wallSeconds * Double(max(1, report.workers))
        func share(_ room: Room, _ part: KeyPath<RoomTimes, Int>) -> Double {
            let times = report.rooms.first { $0.room == room }?.times ?? RoomTimes()
            return Double(times[keyPath: part]) / 1e9 / workerTime
        }
        // A thread of its own fetches: its time is none of the workers', who wait for what it brings.
        let fetching =
            report.hasFetchThread
            ? 0 : share(.fetch, \.busyNanoseconds) + share(.fetch, \.waitInputNanoseconds)
        storage = fetching + share(.unpack, \.waitInputNanoseconds)
        unpack = share(.unpack, \.busyNanoseconds) + share(.plan, \.busyNanoseconds)
        decode = share(.decode, \.busyNanoseconds) + share(.assemble, \.busyNanoseconds)
        memory = share(.unpack, \.waitRoomNanoseconds) + share(.admit, \.waitRoomNanoseconds)
        idle = share(.decode, \.waitInputNanoseconds)
        let busySeconds = report.rooms.reduce(0) { $0 + Double($1.times.busyNanoseconds) / 1e9 }
        let isMeaningful = busySeconds > report.wallSeconds / 4
        runningShare = isMeaningful ? min(1, report.cpuSeconds / busySeconds) : nil
    }

    var limit: Verdict.Limit {
        let ranked: [(limit: Verdict.Limit, share: Double)] = [
            (.storage, storage), (.unpack, unpack), (.decode, decode), (.memory, memory),
        ].sorted { $0.1 > $1.1 }
        if ranked[0].limit == .unpack, idle >= Verdict.idleShare { return .serialUnpack }
        let leads = ranked[0].share >= Verdict.busyShare || ranked[0].share > 2 * ranked[1].share
        return leads ? ranked[0].limit : .balanced
    }

    func sentence(for limit: Verdict.Limit, _ report: LoaderReport) -> String {
        let percent = Verdict.percent
        switch limit {
        case .storage:
            return storageSentence(report)
        case .unpack:
            return "CPU-bound in unpacking (codec and format): \(percent(unpack)) of the workers' time"
        case .serialUnpack:
            return
                "bound by unpacking on too few threads: of the workers' time \(percent(unpack)) went into it while "
                + "\(percent(idle)) had nothing to do; more shards read in turn would use them"
        case .decode:
            // Who decodes may wait instead of computing; that shows in the time that threads ran.
            let isComputing = runningShare ?? 1 >= Verdict.runningShare
            return
                "\(isComputing ? "CPU-bound in" : "bound by") decoding fields: \(percent(decode)) of the workers' time"
        case .memory:
            return
                "bound by the memory budget: the workers waited \(percent(memory)) of their time for memory to "
                + "come back; a larger budget or smaller shuffle buffer would help"
        case .balanced, .consumer, .unknown:
            let parts = [
                "\(percent(storage)) reading", "\(percent(unpack)) unpacking", "\(percent(decode)) decoding",
            ]
            let rest = idle >= 0.05 ? ", \(percent(idle)) without work" : ""
            return "no one room limits: the workers spent \(parts.joined(separator: ", "))\(rest)"
        }
    }

    private func storageSentence(_ report: LoaderReport) -> String {
        let part = Verdict.percent(storage)
        let rate = "\(Int(Double(report.readBytes) / report.wallSeconds / 1e6)) MB/s"
        guard let device = report.deviceBytes else {
            return "bound by reading: \(part) of the workers' time, at \(rate)"
        }
        // Where most bytes were in memory already, waiting is not the device's doing.
        if Double(device) > 0.5 * Double(report.readBytes) {
            return
                "storage-bound: the workers waited \(part) of their time for bytes from the device, at \(rate)"
        }
        return "bound by reading from the page cache: \(part) of the workers' time, at \(rate)"
    }
}
