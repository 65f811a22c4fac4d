internal import Glibc
internal import HeadraceCore

extension Tier {
    /// Mean time of one request of `byteCount` bytes with nothing else going on, in nanoseconds.
    ///
    /// With a seek model, of a request at a random place.
    public func meanServiceNanoseconds(byteCount: Int) -> Double {
        let parts = partCount(byteCount)
        let waves = Double((parts - 1) / servers + 1)
        let pipe = [aggregateBandwidth, linkBandwidth].compactMap { $0 }.min().map {
            Double(byteCount) / $0 * 1e9
        }
        return max(waves * partNanoseconds(byteCount, parts), pipe ?? 0)
    }

    /// Requests a second with `queueDepth` of them, of `byteCount` bytes each, always under way: the least of
    /// what Little's law, the servers, the cap on requests and the shared pipes allow.
    public func throughput(queueDepth: Int, byteCount: Int) -> Double {
        let parts = partCount(byteCount)
        let depth = Double(max(1, queueDepth))
        let perRequest = Double(max(1, byteCount))
        let service = meanServiceNanoseconds(byteCount: byteCount)
        let busyServers = Double(parts) * partNanoseconds(byteCount, parts)
        return [
            Queueing.throughput(concurrency: depth, nanoseconds: service),
            Queueing.throughput(concurrency: Double(servers), nanoseconds: busyServers),
            operationsPerSecond.map { $0 / Double(parts) } ?? .infinity,
            aggregateBandwidth.map { $0 / perRequest } ?? .infinity,
            linkBandwidth.map { $0 / perRequest } ?? .infinity,
        ].min()!
    }

    /// The queue depth from which more requests under way no longer help.
    public func kneeQueueDepth(byteCount: Int) -> Int {
        let most = throughput(queueDepth: .max, byteCount: byteCount)
        return max(1, Int((most * meanServiceNanoseconds(byteCount: byteCount) / 1e9).rounded(.up)))
    }

    /// Time of one part at its server.
    private func partNanoseconds(_ byteCount: Int, _ parts: Int) -> Double {
        let firstByte = latency.meanNanoseconds + (seek?.meanNanoseconds ?? 0)
        return firstByte + (streamBandwidth.map { Double(byteCount) / Double(parts) / $0 * 1e9 } ?? 0)
    }

    private func partCount(_ byteCount: Int) -> Int {
        guard let requestSplit, byteCount > requestSplit else { return 1 }
        return (byteCount - 1) / requestSplit + 1
    }
}

extension LatencyDistribution {
    /// The mean, which lies above the median.
    public var meanNanoseconds: Double {
        let spread = median.nanoseconds > 0 ? log(p99.seconds / median.seconds) / 2.326_347_874 : 0
        let factor = exp(spread * spread / 2)
        guard let slow else { return Double(median.nanoseconds) * factor }
        let mixed =
            Double(median.nanoseconds) * (1 - slow.share) + Double(slow.median.nanoseconds) * slow.share
        return mixed * factor
    }
}

/// Formulas of queueing theory that the model rests on.
public enum Queueing {
    /// Little's law: completions a second with `concurrency` under way, each for `nanoseconds`.
    public static func throughput(concurrency: Double, nanoseconds: Double) -> Double {
        nanoseconds > 0 ? concurrency / nanoseconds * 1e9 : .infinity
    }

    /// Little's law the other way: the mean time of each, in nanoseconds.
    public static func nanoseconds(concurrency: Double, throughput: Double) -> Double {
        throughput > 0 ? concurrency / throughput * 1e9 : .infinity
    }

    /// Mean wait before a server with constant service time and random arrivals (M/D/1), in units of that
    /// time; infinite from a utilisation of 1 on.
    public static func waitConstantService(utilisation: Double) -> Double {
        guard utilisation < 1 else { return .infinity }
        return utilisation <= 0 ? 0 : utilisation / (2 * (1 - utilisation))
    }

    /// Mean wait where service times are random too (M/M/1): twice that of constant ones.
    public static func waitRandomService(utilisation: Double) -> Double {
        2 * waitConstantService(utilisation: utilisation)
    }

    /// The chance that a consumer finds a prefetch buffer of `slots` empty (M/M/1/n), where a batch takes
    /// `consumerTime` to use and `producerTime` to make. Real pipelines are steadier, so this is an upper bound.
    public static func emptyBufferProbability(consumerTime: Double, producerTime: Double, slots: Int)
        -> Double
    {
        guard producerTime > 0 else { return 0 }
        guard consumerTime > 0 else { return 1 }
        let ratio = consumerTime / producerTime
        // Where the ratio is all but 1 the quotient below loses all its digits.
        guard abs(ratio - 1) > 1e-9 else { return 1 / Double(slots + 1) }
        return (1 - ratio) / (1 - pow(ratio, Double(slots + 1)))
    }

    /// Which quantile of one read decides the given quantile of the slowest of `count` independent reads: the
    /// 99th percentile of a batch of 400 samples is the 99.9975th of one sample.
    public static func quantileOfOne(forSlowestOf count: Int, quantile: Double) -> Double {
        pow(quantile, 1 / Double(max(1, count)))
    }
}

/// Hit rates of a cache that holds a part of what every epoch reads once, in a new random order each time.
public enum ShuffledHits {
    /// Of one that keeps what it has: as much as it holds.
    public static func noEvict(cachedShare share: Double) -> Double { min(1, max(0, share)) }

    /// Of one that gives up what was used longest ago. What was read at place u of one epoch (0 to 1) and is wanted at
    /// place v of the next is still there when no more than fits was read between, 1 - u (1 - v) of all: over all u and
    /// v that is x + (1 - x) ln(1 - x), 7 % for a third of the data.
    public static func leastRecentlyUsed(cachedShare share: Double) -> Double {
        guard share < 1 else { return 1 }
        guard share > 0 else { return 0 }
        return share + (1 - share) * log(1 - share)
    }
}
