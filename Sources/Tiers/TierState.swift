internal import Glibc
public import HeadraceCore

/// One read that a tier is asked for.
public struct TierRequest: Hashable, Sendable {
    /// Where on the storage; decides seeks.
    public var offset: Int
    /// How many bytes.
    public var byteCount: Int

    /// A read; negative numbers count as 0.
    public init(offset: Int, byteCount: Int) {
        self.offset = max(0, offset)
        self.byteCount = max(0, byteCount)
    }
}

/// A tier at work: the one state machine behind the simulator (virtual time) and the emulation (real time).
///
/// A request waits for a free server and for its turn under the cap on requests; then it takes its latency,
/// its seek and its own bytes' time; and it ends no earlier than its bytes have come through the shared
/// pipes, which serve one byte after the other. All randomness comes from the seed, so a run can be repeated.
public struct TierState: Sendable {
    /// What is being modelled.
    public let tier: Tier

    /// A request split into more parts than this is split into fewer, larger ones: no request may take for
    /// ever.
    private static let mostParts = 4096
    /// About 146 years: later is an overflow.
    private static let lastTime = Int.max / 2

    private var random: SplitMix64
    private var servers: ServerHeap
    private var nextTurn = 0.0
    private var aggregateFree = 0.0
    private var linkFree = 0.0
    private var head = 0
    /// Standard deviation of the logarithm of the latency.
    private let spread: Double

    /// A tier at rest at time 0. Throws `usage` for a tier that makes no sense.
    public init(_ tier: Tier, seed: UInt64) throws(HeadraceError) {
        try tier.validate()
        self.tier = tier
        random = SplitMix64(seed)
        servers = ServerHeap(count: tier.servers)
        let ratio = Double(tier.latency.p99.nanoseconds) / Double(max(1, tier.latency.median.nanoseconds))
        // 2.326 standard deviations above the median lies the 99th percentile.
        spread = ratio > 1 ? log(ratio) / 2.326_347_874 : 0
    }

    /// When `request`, issued at `time` (nanoseconds), will be complete. Times of successive calls must not
    /// go back.
    public mutating func completion(of request: TierRequest, at time: Int) -> Int {
        let begin = Double(min(max(0, time), Self.lastTime))
        var part = max(1, tier.requestSplit ?? request.byteCount)
        part = max(part, request.byteCount / Self.mostParts + 1)
        var end = begin
        var done = 0
        repeat {
            let count = min(part, request.byteCount - done)
            end = max(end, serve(request.offset &+ done, count, at: begin))
            done += count
        } while done < request.byteCount
        // The next whole nanosecond: a completion may be late by a rounding, never early.
        return Int(min(end.rounded(.up), Double(Self.lastTime)))
    }

    private mutating func serve(_ offset: Int, _ byteCount: Int, at time: Double) -> Double {
        var start = max(time, servers.earliest)
        if let rate = tier.operationsPerSecond {
            start = max(start, nextTurn)
            nextTurn = start + 1e9 / rate
        }
        let bytes = Double(byteCount)
        var end = start + latency() + seek(to: offset, byteCount)
        if let bandwidth = tier.streamBandwidth { end += bytes / bandwidth * 1e9 }
        if let bandwidth = tier.aggregateBandwidth {
            aggregateFree = max(aggregateFree, start) + bytes / bandwidth * 1e9
            end = max(end, aggregateFree)
        }
        if let bandwidth = tier.linkBandwidth {
            linkFree = max(linkFree, start) + bytes / bandwidth * 1e9
            end = max(end, linkFree)
        }
        servers.replaceEarliest(with: end)
        return end
    }

    /// Drawn even where the distribution is constant, so that one parameter changed does not reorder the
    /// others' randomness.
    private mutating func latency() -> Double {
        let deviate = (-2 * log(1 - random.unit())).squareRoot() * cos(2 * .pi * random.unit())
        let choice = random.unit()
        var median = Double(tier.latency.median.nanoseconds)
        if let slow = tier.latency.slow, choice < slow.share { median = Double(slow.median.nanoseconds) }
        return median * exp(spread * deviate)
    }

    private mutating func seek(to offset: Int, _ byteCount: Int) -> Double {
        guard let model = tier.seek else { return 0 }
        let capacity = model.capacity.bytes
        let place = offset % capacity
        defer { head = (place + byteCount % capacity) % capacity }
        let turn = random.unit()
        guard place != head else { return 0 }
        let distance = Double(abs(place - head)) / Double(capacity)
        let stroke = Double(model.fullStroke.nanoseconds - model.trackToTrack.nanoseconds)
        return Double(model.trackToTrack.nanoseconds) + stroke * distance.squareRoot()
            + Double(model.revolution.nanoseconds) * turn
    }
}

/// When each server will be free, the earliest first: a binary heap, for a tier may have hundreds of servers
/// and serve millions of requests in a simulated second.
private struct ServerHeap: Sendable {
    private var times: [Double]

    init(count: Int) { times = [Double](repeating: 0, count: count) }

    var earliest: Double { times[0] }

    mutating func replaceEarliest(with time: Double) {
        var at = 0
        while true {
            var child = 2 * at + 1
            guard child < times.count else { break }
            if child + 1 < times.count, times[child + 1] < times[child] { child += 1 }
            guard times[child] < time else { break }
            times[at] = times[child]
            at = child
        }
        times[at] = time
    }
}
