import HeadraceCore
import HeadraceTiers
import Testing

/// Keeps `depth` requests under way, each issued when the one before it ends, and measures what comes out.
struct ClosedLoop {
    var operationsPerSecond = 0.0
    var meanNanoseconds = 0.0
    var latencies: [Int] = []

    init(
        _ tier: Tier, depth: Int, byteCount: Int, requests: Int, seed: UInt64 = 1, isSequential: Bool = false
    ) throws {
        var state = try TierState(tier, seed: seed)
        var random = SplitMix64(mixed(seed, 99))
        // Sorted by end, the next one last.
        var underWay: [(end: Int, begin: Int)] = []
        var offset = 0
        var last = 0
        func next() -> TierRequest {
            defer { offset += byteCount }
            return TierRequest(
                offset: isSequential ? offset : Int(random.below(4_000_000_000_000)), byteCount: byteCount)
        }
        func issue(at time: Int) {
            let end = state.completion(of: next(), at: time)
            var low = 0
            var high = underWay.count
            while low < high {
                let middle = (low + high) / 2
                if underWay[middle].end > end { low = middle + 1 } else { high = middle }
            }
            underWay.insert((end, time), at: low)
        }
        for _ in 0..<depth { issue(at: 0) }
        while latencies.count < requests {
            let done = underWay.removeLast()
            latencies.append(done.end - done.begin)
            last = done.end
            issue(at: last)
        }
        operationsPerSecond = Double(requests) / Double(last) * 1e9
        meanNanoseconds = Double(latencies.reduce(0, +)) / Double(requests)
        latencies.sort()
    }

    func quantile(_ share: Double) -> Double { Double(latencies[Int(share * Double(latencies.count - 1))]) }
}

private func isNear(_ value: Double, _ expected: Double, within share: Double) -> Bool {
    abs(value - expected) <= share * abs(expected)
}

@Suite struct TierPresetTests {
    /// Depth 1: 77 us, 13 K requests a second. Depth 32: 98 K, and 327 us by Little's law.
    @Test func sataSSD() throws {
        let alone = try ClosedLoop(.sataSSD, depth: 1, byteCount: 4096, requests: 20_000)
        #expect(isNear(alone.meanNanoseconds, 77_000, within: 0.01), "\(alone.meanNanoseconds)")
        #expect(isNear(alone.operationsPerSecond, 13_000, within: 0.01))
        let deep = try ClosedLoop(.sataSSD, depth: 32, byteCount: 4096, requests: 50_000)
        #expect(isNear(deep.operationsPerSecond, 98_000, within: 0.01), "\(deep.operationsPerSecond)")
        #expect(isNear(deep.meanNanoseconds, 327_000, within: 0.01), "\(deep.meanNanoseconds)")
        // Without the cap it would be a pipe of fixed latency.
        var uncapped = Tier.sataSSD
        uncapped.operationsPerSecond = nil
        uncapped.linkBandwidth = nil
        let free = try ClosedLoop(uncapped, depth: 32, byteCount: 4096, requests: 50_000)
        #expect(isNear(free.operationsPerSecond, 415_000, within: 0.01))
        let large = try ClosedLoop(.sataSSD, depth: 8, byteCount: 1 << 20, requests: 2000)
        #expect(isNear(large.operationsPerSecond * Double(1 << 20), 560e6, within: 0.01))
    }

    /// Random: 12.4 ms, 80 a second, p99 below a full stroke and a turn. In a row: the track's bandwidth.
    @Test func hardDisk() throws {
        let random = try ClosedLoop(.hardDisk, depth: 1, byteCount: 4096, requests: 20_000)
        #expect(isNear(random.meanNanoseconds, 12.4e6, within: 0.01), "\(random.meanNanoseconds)")
        #expect(isNear(random.operationsPerSecond, 80, within: 0.02))
        #expect(random.quantile(0.99) > 19e6 && random.quantile(0.99) < 24e6, "\(random.quantile(0.99))")
        let row = try ClosedLoop(
            .hardDisk, depth: 1, byteCount: 1 << 20, requests: 2000, isSequential: true)
        #expect(isNear(row.operationsPerSecond * Double(1 << 20), 170e6, within: 0.02))
    }

    /// Bytes a second with 1 MiB requests at a depth that fills the tier, as the sources deliver.
    @Test(arguments: [
        (Tier.nvmeGen3, 3.5e9), (.nvmeGen4, 5.97e9), (.nvmeGen5, 10e9), (.nvmeOverTCP, 10e9),
        (.nvmeOverRDMA, 10e9),
        (.parallelFileSystem, 14.7e9), (.memory, 85.8e9),
    ]) func bandwidth(tier: Tier, bytesPerSecond: Double) throws {
        let loop = try ClosedLoop(tier, depth: 64, byteCount: 1 << 20, requests: 5000)
        #expect(isNear(loop.operationsPerSecond * Double(1 << 20), bytesPerSecond, within: 0.02))
    }

    @Test(arguments: [(Tier.nvmeGen3, 840_000.0), (.nvmeGen4, 1_000_000), (.nvmeGen5, 3_300_000)])
    func smallReads(tier: Tier, operationsPerSecond: Double) throws {
        // 512 bytes, so that the cap on requests and not the bandwidth decides.
        let loop = try ClosedLoop(tier, depth: 256, byteCount: 512, requests: 30_000)
        #expect(
            isNear(loop.operationsPerSecond, operationsPerSecond, within: 0.03), "\(loop.operationsPerSecond)"
        )
    }

    /// 93 MB/s for one connection, 8 GB/s for many, 5,500 small requests a second.
    @Test func objectStore() throws {
        var steady = Tier.objectStore
        steady.latency.slow = nil
        let one = try ClosedLoop(steady, depth: 1, byteCount: 1 << 30, requests: 50)
        #expect(isNear(one.operationsPerSecond * Double(1 << 30), 93e6, within: 0.01))
        let many = try ClosedLoop(.objectStore, depth: 240, byteCount: 16 << 20, requests: 10_000)
        #expect(isNear(many.operationsPerSecond * Double(16 << 20), 8e9, within: 0.05))
        let small = try ClosedLoop(.objectStore, depth: 1000, byteCount: 100, requests: 20_000)
        #expect(isNear(small.operationsPerSecond, 5500, within: 0.05), "\(small.operationsPerSecond)")
    }

    @Test func everyPresetIsSoundAndFoundByName() throws {
        #expect(Set(Tier.presets.map(\.name)).count == Tier.presets.count)
        for tier in Tier.presets {
            try tier.validate()
            #expect(Tier.preset(tier.name) == tier)
        }
        #expect(Tier.preset("floppy") == nil)
    }
}

@Suite struct TierStateTests {
    @Test func latencyHasItsQuantiles() throws {
        let tier = Tier(
            name: "t", servers: 1, latency: .init(median: .milliseconds(10), p99: .milliseconds(40)))
        let loop = try ClosedLoop(tier, depth: 1, byteCount: 1, requests: 30_000)
        #expect(isNear(loop.quantile(0.5), 10e6, within: 0.02))
        #expect(isNear(loop.quantile(0.99), 40e6, within: 0.04))
        #expect(isNear(loop.meanNanoseconds, tier.latency.meanNanoseconds, within: 0.02))
    }

    @Test func slowModeShowsInTheTailOnly() throws {
        var tier = Tier(
            name: "t", servers: 1, latency: .init(median: .milliseconds(10), p99: .milliseconds(15)))
        tier.latency.slow = SlowMode(share: 0.01, median: .milliseconds(1000))
        let loop = try ClosedLoop(tier, depth: 1, byteCount: 1, requests: 30_000)
        #expect(isNear(loop.quantile(0.5), 10e6, within: 0.02))
        #expect(loop.quantile(0.98) < 20e6 && loop.quantile(0.995) > 500e6)
        #expect(isNear(loop.meanNanoseconds, tier.latency.meanNanoseconds, within: 0.1))
    }

    @Test func sameSeedSameTimes() throws {
        let first = try ClosedLoop(.objectStore, depth: 4, byteCount: 1000, requests: 500, seed: 3)
        let second = try ClosedLoop(.objectStore, depth: 4, byteCount: 1000, requests: 500, seed: 3)
        let other = try ClosedLoop(.objectStore, depth: 4, byteCount: 1000, requests: 500, seed: 4)
        #expect(first.latencies == second.latencies)
        #expect(first.latencies != other.latencies)
    }

    @Test func constantTimesAreExact() throws {
        let tier = Tier(
            name: "t", servers: 2, latency: .constant(.microseconds(10)), streamBandwidth: 1e9,
            operationsPerSecond: 1e6)
        var state = try TierState(tier, seed: 0)
        let request = TierRequest(offset: 0, byteCount: 1000)
        // 10 us and 1 us for the bytes; the second waits for its turn, the third for a server.
        #expect(state.completion(of: request, at: 0) == 11_000)
        #expect(state.completion(of: request, at: 0) == 12_000)
        #expect(state.completion(of: request, at: 0) == 22_000)
        // At rest again much later: nothing was saved up.
        #expect(state.completion(of: request, at: 1_000_000) == 1_011_000)
        #expect(state.completion(of: TierRequest(offset: -5, byteCount: -5), at: 2_000_000) == 2_010_000)
    }

    @Test func splitRequestsUseManyServers() throws {
        var tier = Tier(name: "t", servers: 4, latency: .constant(.milliseconds(1)), streamBandwidth: 100e6)
        tier.requestSplit = 1_000_000
        var state = try TierState(tier, seed: 0)
        // Four parts of 10 ms side by side, and the fifth after them.
        #expect(state.completion(of: TierRequest(offset: 0, byteCount: 4_000_000), at: 0) == 11_000_000)
        state = try TierState(tier, seed: 0)
        #expect(state.completion(of: TierRequest(offset: 0, byteCount: 5_000_000), at: 0) == 22_000_000)
    }

    /// No request may hang, trap or come back before it was issued.
    @Test func extremes() throws {
        for tier in Tier.presets {
            var state = try TierState(tier, seed: 0)
            for (offset, count) in [
                (0, 0), (Int.max, Int.max), (Int.min, Int.min), (Int.max, 1), (0, Int.max),
            ] {
                for time in [Int.min, 0, 1 << 40, Int.max] {
                    let end = state.completion(of: TierRequest(offset: offset, byteCount: count), at: time)
                    #expect(end >= min(time, Int.max / 2))
                }
            }
        }
    }

    @Test func nonsenseIsRefusedByName() {
        func refusal(_ change: (inout Tier) -> Void) -> String? {
            var tier = Tier.hardDisk
            change(&tier)
            do throws(HeadraceError) {
                _ = try TierState(tier, seed: 0)
                return nil
            } catch {
                #expect(error.code == .usage)
                return error.message
            }
        }
        #expect(refusal { _ in } == nil)
        #expect(refusal { $0.servers = 0 }?.contains("servers") == true)
        #expect(refusal { $0.servers = .max }?.contains("servers") == true)
        for rate in [0, -1, .nan, .infinity, 0.5] {
            #expect(refusal { $0.streamBandwidth = rate }?.contains("streamBandwidth") == true)
            #expect(refusal { $0.aggregateBandwidth = rate }?.contains("aggregateBandwidth") == true)
            #expect(refusal { $0.linkBandwidth = rate }?.contains("linkBandwidth") == true)
            #expect(refusal { $0.operationsPerSecond = rate }?.contains("operationsPerSecond") == true)
        }
        #expect(refusal { $0.latency.median = .seconds(1) }?.contains("median") == true)
        #expect(refusal { $0.latency = .constant(.seconds(4000)) }?.contains("a time exceeds") == true)
        #expect(
            refusal { $0.latency.slow = SlowMode(share: 2, median: .seconds(1)) }?.contains("share") == true)
        #expect(refusal { $0.seek?.capacity = .bytes(0) }?.contains("capacity") == true)
        #expect(refusal { $0.seek?.trackToTrack = .seconds(1) }?.contains("trackToTrack") == true)
        #expect(refusal { $0.requestSplit = 0 }?.contains("requestSplit") == true)
    }
}
