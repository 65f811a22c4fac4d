internal import HeadraceCore
internal import HeadraceTiers

// What somebody should know before a job is started.
extension PlanSummary {
    /// Share of the samples that may be lost or doubled to make ranks equal before that is worth a word.
    private static let unevenShare = 0.01
    /// Share of a tier's bandwidth below which requests are called too small for it.
    private static let smallRequestShare = 0.25
    /// Requests that a process has under way.
    private static let depth = LoaderOptions().queueDepth
    /// Bytes of one read that is large for any storage.
    private static let largeRequest = 1 << 20

    mutating func addWarnings(_ request: PlanRequest) {
        if let sampleCount, Double(tailCount) > Self.unevenShare * Double(sampleCount), worldSize > 1 {
            let verb = request.options.uneven == .drop ? "leave out" : "add"
            let cure =
                switch (walk, affinity) {
                case (.streamed, _): "an indexed walk shares by samples, not by shards"
                case (.indexed, .node): "more and smaller shards can be dealt to nodes more evenly"
                case (.indexed, .none): "longer epochs or smaller batches lose a smaller share"
                }
            warnings.append(
                "equal ranks \(verb) \(tailCount) of \(sampleCount) samples in each epoch: \(cure)")
        }
        if batchesPerRank == 0, sampleCount ?? 0 > 0 {
            warnings.append(
                "an epoch yields no batch: there are too few samples for the ranks and the batch size")
        }
        if let tier = request.tier { warn(of: tier) }
        if let cache { warn(of: cache) }
    }

    private mutating func warn(of cache: NodeCache) {
        guard affinity == .none, nodeCount > 1, dataSets.isEmpty, cache.secondEpochHits < 0.9 else { return }
        let own = byteCount / nodeCount
        let affine = NodeCache(
            limit: cache.limit, readByteCount: requests.readByteCount / nodeCount, ownByteCount: own,
            poolByteCount: own)
        guard affine.secondEpochHits > cache.secondEpochHits + 0.1 else { return }
        warnings.append(
            "each node reads another share in every epoch, so its cache hits \(Self.percent(cache.secondEpochHits)); "
                + "with --affinity node it would be about \(Self.percent(affine.secondEpochHits))")
    }

    private mutating func warn(of tier: Tier) {
        guard walk == .indexed, requests.count > 0 else { return }
        func bandwidth(_ byteCount: Int) -> Double {
            tier.throughput(queueDepth: Self.depth, byteCount: byteCount) * Double(byteCount)
        }
        let mean = max(1, requests.meanByteCount)
        let share = bandwidth(mean) / bandwidth(max(mean, Self.largeRequest))
        guard share < Self.smallRequestShare else { return }
        let megabytes = Int(bandwidth(mean) / 1e6)
        warnings.append(
            "\(tier.name) is walked by sample: requests of \(ByteCount(mean)) get \(max(1, megabytes)) MB/s out of it, "
                + "\(Self.percent(share)) of what it gives to large ones; --shuffle block:N or a streamed "
                + "walk (--shuffle buffer:N) reads in large requests")
    }

    private static func percent(_ share: Double) -> String {
        let tenths = Int((share * 1000).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10) %" : "\(tenths / 10).\(tenths % 10) %"
    }
}
