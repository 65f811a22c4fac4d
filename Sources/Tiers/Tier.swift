public import HeadraceCore

/// How fast a storage is: a pure model, which reads nothing.
///
/// One description serves three uses: closed forms (``throughput(queueDepth:byteCount:)``), a simulator in
/// virtual time and an emulation in real time, both through ``TierState``. What is simulated is what is
/// emulated.
public struct Tier: Hashable, Sendable {
    /// The name by which the tools know it.
    public var name: String
    /// Requests that it works on at once: 1 for a disk with one arm, flash dies, connections to an object
    /// store.
    public var servers: Int
    /// Time until the first byte of a request, apart from seeks and from waiting for others.
    public var latency: LatencyDistribution
    /// Bytes a second of one request alone; nil where only the shared limits count.
    public var streamBandwidth: Double?
    /// Bytes a second of all requests together, at the storage itself.
    public var aggregateBandwidth: Double?
    /// Bytes a second of the way to this host: a network or bus.
    public var linkBandwidth: Double?
    /// Requests a second.
    public var operationsPerSecond: Double?
    /// Time that depends on where the last request was; nil where there is nothing to move.
    public var seek: SeekModel?
    /// Requests larger than this many bytes are split and counted apart; nil where they are not.
    public var requestSplit: Int?
    /// What it costs; nil where no source is at hand.
    public var cost: TierCost?

    /// A tier; leave out the limits that it does not have.
    public init(
        name: String, servers: Int, latency: LatencyDistribution, streamBandwidth: Double? = nil,
        aggregateBandwidth: Double? = nil, linkBandwidth: Double? = nil, operationsPerSecond: Double? = nil,
        seek: SeekModel? = nil, requestSplit: Int? = nil, cost: TierCost? = nil
    ) {
        self.name = name
        self.servers = servers
        self.latency = latency
        self.streamBandwidth = streamBandwidth
        self.aggregateBandwidth = aggregateBandwidth
        self.linkBandwidth = linkBandwidth
        self.operationsPerSecond = operationsPerSecond
        self.seek = seek
        self.requestSplit = requestSplit
        self.cost = cost
    }

    /// Most servers that a tier may have.
    public static let mostServers = 65_536
    /// Smallest request that a tier may split into: a block.
    public static let smallestSplit = 512
    /// Longest time that a tier's description may name. Also keeps all arithmetic on times within 64 bits.
    public static let longestTime = TimeSpan.seconds(3600)

    /// Most bytes that a seek model may cover.
    public static let largestCapacity = ByteCount.gigabytes(1_000_000_000)

    /// Throws `usage` for a description that makes no sense, naming what is wrong: tiers come from files too.
    public func validate() throws(HeadraceError) {
        func require(_ condition: Bool, _ what: String) throws(HeadraceError) {
            guard condition else { throw HeadraceError(.usage, "the tier '\(name)' makes no sense: \(what)") }
        }
        try require(servers >= 1 && servers <= Self.mostServers, "servers is not 1 to \(Self.mostServers)")
        let rates = [
            ("streamBandwidth", streamBandwidth), ("aggregateBandwidth", aggregateBandwidth),
            ("linkBandwidth", linkBandwidth), ("operationsPerSecond", operationsPerSecond),
        ]
        for (field, rate) in rates {
            guard let rate else { continue }
            // Slower than one a second would be a mistake in the unit.
            try require(rate.isFinite && rate >= 1, "\(field) is not a number of at least 1 a second")
        }
        let slow = latency.slow
        try require(latency.median <= latency.p99, "the median latency exceeds its p99")
        try require(latency.median.nanoseconds > 0 || latency.p99.nanoseconds == 0, "the median latency is 0")
        try require(slow.map { $0.share >= 0 && $0.share <= 1 } ?? true, "the slow share is not 0 to 1")
        let times = [
            latency.p99, slow?.median, seek?.trackToTrack, seek?.fullStroke, seek?.revolution,
        ].compactMap { $0 }
        try require(times.allSatisfy { $0 <= Self.longestTime }, "a time exceeds \(Self.longestTime)")
        try require(seek.map { $0.trackToTrack <= $0.fullStroke } ?? true, "trackToTrack exceeds fullStroke")
        try require(
            seek.map { $0.capacity.bytes > 0 && $0.capacity <= Self.largestCapacity } ?? true,
            "the capacity to seek over is not 1 byte to \(Self.largestCapacity)")
        try require(
            requestSplit.map { $0 >= Self.smallestSplit } ?? true,
            "requestSplit is below \(Self.smallestSplit)")
    }
}

/// Lognormal, as first-byte times of drives and networks nearly are, and where they are not, a second mode.
public struct LatencyDistribution: Hashable, Sendable {
    /// Half of the requests are faster.
    public var median: TimeSpan
    /// 99 of 100 requests are faster; equal to the median for a constant.
    public var p99: TimeSpan
    /// Rare slow requests: object stores and flash that collects garbage. p50 and p99 are those of the
    /// others.
    public var slow: SlowMode?

    /// A distribution by two of its quantiles.
    public init(median: TimeSpan, p99: TimeSpan, slow: SlowMode? = nil) {
        self.median = median
        self.p99 = p99
        self.slow = slow
    }

    /// Always the same time.
    public static func constant(_ time: TimeSpan) -> LatencyDistribution { .init(median: time, p99: time) }
}

/// The share of requests that are slow, and how slow.
public struct SlowMode: Hashable, Sendable {
    /// From 0 to 1.
    public var share: Double
    /// Median of the slow requests; they spread as the others do.
    public var median: TimeSpan

    /// A slow mode.
    public init(share: Double, median: TimeSpan) {
        self.share = share
        self.median = median
    }
}

/// An arm over a turning disk: seek time grows with the square root of the distance, then comes up to one
/// turn.
public struct SeekModel: Hashable, Sendable {
    /// To the neighbouring track.
    public var trackToTrack: TimeSpan
    /// From end to end.
    public var fullStroke: TimeSpan
    /// One turn.
    public var revolution: TimeSpan
    /// What the stroke covers.
    public var capacity: ByteCount

    /// A seek model.
    public init(trackToTrack: TimeSpan, fullStroke: TimeSpan, revolution: TimeSpan, capacity: ByteCount) {
        self.trackToTrack = trackToTrack
        self.fullStroke = fullStroke
        self.revolution = revolution
        self.capacity = capacity
    }

    /// Mean over all pairs of places: the mean square root of the distance between two of them is 8/15.
    public var meanNanoseconds: Double {
        let spread = Double(fullStroke.nanoseconds - trackToTrack.nanoseconds)
        return Double(trackToTrack.nanoseconds) + spread * 8 / 15 + Double(revolution.nanoseconds) / 2
    }
}

/// Prices, in US dollars.
public struct TierCost: Hashable, Sendable {
    /// Of a terabyte (10^12 bytes), once or a month.
    public var dollarsPerTerabyte: Double
    /// The price is for a month's use, not for buying.
    public var isMonthly: Bool

    /// A price.
    public init(dollarsPerTerabyte: Double, isMonthly: Bool = false) {
        self.dollarsPerTerabyte = dollarsPerTerabyte
        self.isMonthly = isMonthly
    }
}
