import Foundation
import HeadraceCore
import HeadraceTiers
import Testing

private func isNear(_ value: Double, _ expected: Double, within share: Double) -> Bool {
    abs(value - expected) <= share * abs(expected)
}

@Suite struct ClosedFormTests {
    /// Measured: 32 requests of 1.310 ms under way gave 24.3 K a second.
    @Test func little() {
        #expect(isNear(Queueing.throughput(concurrency: 32, nanoseconds: 1_310_000), 24_300, within: 0.01))
        #expect(isNear(Queueing.nanoseconds(concurrency: 32, throughput: 98_000), 327_000, within: 0.01))
        #expect(Queueing.throughput(concurrency: 1, nanoseconds: 0) == .infinity)
    }

    @Test(arguments: [(0.0, 0.0), (0.5, 0.5), (0.8, 2.0), (0.9, 4.5), (1.0, .infinity), (2.0, .infinity)])
    func waits(utilisation: Double, wait: Double) {
        let constant = Queueing.waitConstantService(utilisation: utilisation)
        #expect(constant == wait || isNear(constant, wait, within: 1e-9))
        #expect(Queueing.waitRandomService(utilisation: utilisation) == 2 * constant)
    }

    /// The state machine with one server, constant service and random arrivals is an M/D/1 queue.
    @Test(arguments: [0.3, 0.6, 0.8]) func theStateMachineWaitsAsTheFormulaSays(utilisation: Double) throws {
        let service = 100_000.0
        let tier = Tier(name: "t", servers: 1, latency: .constant(.microseconds(100)))
        var state = try TierState(tier, seed: 0)
        var random = SplitMix64(7)
        var time = 0.0
        var waited = 0.0
        let requests = 200_000
        for _ in 0..<requests {
            time += -log(1 - random.unit()) * service / utilisation
            let begin = Int(time)
            waited +=
                Double(state.completion(of: TierRequest(offset: 0, byteCount: 1), at: begin) - begin)
                - service
        }
        let expected = Queueing.waitConstantService(utilisation: utilisation) * service
        #expect(
            isNear(waited / Double(requests), expected, within: 0.04),
            "\(waited / Double(requests)) \(expected)")
    }

    // Values of the wait model that tf.data tunes itself by.
    @Test(arguments: [
        (0.8, [0.556, 0.410, 0.298, 0.231, 0.205]), (1.0, [0.5, 0.333, 0.2, 0.111, 0.059]),
        (1.25, [0.444, 0.262, 0.122, 0.039, 0.006]),
    ]) func emptyBuffers(ratio: Double, expected: [Double]) {
        for (slots, probability) in zip([1, 2, 4, 8, 16], expected) {
            let found = Queueing.emptyBufferProbability(consumerTime: ratio, producerTime: 1, slots: slots)
            #expect(abs(found - probability) < 0.0006, "\(slots): \(found)")
        }
        #expect(Queueing.emptyBufferProbability(consumerTime: 1, producerTime: 0, slots: 4) == 0)
        #expect(Queueing.emptyBufferProbability(consumerTime: 0, producerTime: 1, slots: 4) == 1)
    }

    @Test func tailsOfBatches() {
        #expect(abs(Queueing.quantileOfOne(forSlowestOf: 400, quantile: 0.99) - 0.999975) < 1e-6)
        #expect(Queueing.quantileOfOne(forSlowestOf: 1, quantile: 0.99) == 0.99)
    }

    /// Formula and state machine must agree where both apply.
    @Test(arguments: [
        (Tier.sataSSD, 1, 4096), (.sataSSD, 4, 4096), (.sataSSD, 32, 4096), (.sataSSD, 8, 1 << 20),
        (.hardDisk, 1, 4096),
        (.nvmeGen4, 1, 4096), (.nvmeGen4, 64, 1 << 20), (.nvmeGen5, 16, 4096),
        (.objectStoreExpress, 1, 1 << 20),
        (.objectStoreExpress, 64, 8 << 20), (.parallelFileSystem, 4, 64 << 20), (.memory, 1, 1 << 20),
        (.memory, 8, 1 << 20),
    ]) func formulaAndStateMachineAgree(tier: Tier, depth: Int, byteCount: Int) throws {
        let loop = try ClosedLoop(tier, depth: depth, byteCount: byteCount, requests: 4000)
        let formula = tier.throughput(queueDepth: depth, byteCount: byteCount)
        #expect(
            isNear(loop.operationsPerSecond, formula, within: 0.05), "\(loop.operationsPerSecond) \(formula)")
    }

    @Test func knee() {
        // 98 K requests a second of 77 us each: 7.5 under way.
        #expect(Tier.sataSSD.kneeQueueDepth(byteCount: 4096) == 8)
        #expect(Tier.hardDisk.kneeQueueDepth(byteCount: 4096) == 1)
        // 8 GB/s of connections at 93 MB/s, less what they wait for their first bytes.
        let connections = Tier.objectStoreExpress.kneeQueueDepth(byteCount: 64 << 20)
        #expect((86...88).contains(connections), "\(connections)")
    }
}

@Suite struct ShuffledHitTests {
    /// Rates that were simulated over 20,000 items.
    @Test(arguments: [
        (0.2, 0.021), (0.35, 0.071), (0.5, 0.152), (0.65, 0.284), (0.8, 0.480), (0.9, 0.674),
    ])
    func leastRecentlyUsed(share: Double, simulated: Double) {
        #expect(abs(ShuffledHits.leastRecentlyUsed(cachedShare: share) - simulated) < 0.005)
        #expect(ShuffledHits.noEvict(cachedShare: share) == share)
    }

    @Test func theEnds() {
        for share in [0, -1.0] { #expect(ShuffledHits.leastRecentlyUsed(cachedShare: share) == 0) }
        for share in [1, 7.0] {
            #expect(ShuffledHits.leastRecentlyUsed(cachedShare: share) == 1)
            #expect(ShuffledHits.noEvict(cachedShare: share) == 1)
        }
    }
}
