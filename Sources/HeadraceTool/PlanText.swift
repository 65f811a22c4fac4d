internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

// A plan as JSON and as lines for people.

extension PlanSummary {
    var members: [JSONMember] {
        func number(_ value: Int?) -> JSONValue { value.map { .int($0) } ?? .null }
        var members = [
            JSONMember("walk", .string(walk.rawValue)), JSONMember("walk_reason", .string(walkReason)),
            JSONMember("shuffle", .string(shuffle)), JSONMember("bucket_window", number(bucketWindow)),
            JSONMember("shards", .int(shardCount)), JSONMember("bytes", .int(byteCount)),
            JSONMember("samples", number(sampleCount)), JSONMember("world_size", .int(worldSize)),
            JSONMember("nodes", .int(nodeCount)),
            JSONMember("affinity", .string(affinity.rawValue)), JSONMember("batch", .int(batchSize)),
            JSONMember("epochs", .int(epochs)), JSONMember("batches_per_rank", number(batchesPerRank)),
            JSONMember("rows_per_rank", number(rowsPerRank)), JSONMember("dropped", number(droppedCount)),
            JSONMember("padded", number(paddedCount)), JSONMember("repeated", number(repeatedCount)),
            JSONMember("least_samples", number(leastSamples)),
            JSONMember("most_samples", number(mostSamples)),
        ]
        members += [
            JSONMember("requests", .int(requests.count)),
            JSONMember("mean_request_bytes", .int(requests.meanByteCount)),
            JSONMember("read_bytes", .int(requests.readByteCount)),
            JSONMember("delivered_bytes", number(requests.deliveredByteCount)),
        ]
        if walk == .indexed {
            members += [
                JSONMember("window_batches", .int(requests.windowSteps)),
                JSONMember("planned_batches", .int(requests.plannedBatches)),
                JSONMember("batches", .int(requests.batches)),
            ]
        }
        if !dataSets.isEmpty {
            members.append(JSONMember("data_sets", .array(dataSets.map { .object($0.members) })))
        }
        if let cache {
            members += [
                JSONMember("cache_limit", .int(cache.limit)),
                JSONMember("node_bytes", .int(cache.nodeByteCount)),
                JSONMember("first_epoch_hits", .double(cache.firstEpochHits)),
                JSONMember("second_epoch_hits", .double(cache.secondEpochHits)),
            ]
        }
        if let cacheHeldBytes { members.append(JSONMember("cache_held_bytes", .int(cacheHeldBytes))) }
        return members + [JSONMember("warnings", .array(warnings.map { .string($0) }))]
    }

    var lines: [String] {
        var lines = [verdict]
        let samples = sampleCount.map { counted($0, "sample") } ?? "samples without a count"
        lines.append(
            "  data      \(counted(shardCount, "shard")), \(samples), \(ByteCount(byteCount))")
        let reason = isAutomatic ? " (auto: \(printable(walkReason)); --walk pins it)" : ""
        let lengths = bucketWindow.map { ", like lengths within \(counted($0, "step"))" } ?? ""
        lines.append("  order     \(walk.rawValue) walk\(reason), shuffle \(shuffle)\(lengths)")
        for dataSet in dataSets { lines.append(dataSet.line) }
        if let least = leastSamples, let most = mostSamples, worldSize > 1 {
            let holder = walk == .indexed ? "a node" : "a rank"
            lines.append("  shares    whole shards: \(least) to \(most) samples for \(holder)")
        }
        if let dropped = droppedCount, let padded = paddedCount, let repeated = repeatedCount {
            lines.append(
                "  \(dataSets.isEmpty ? "tail  " : "in all")    \(dropped) dropped, \(padded) padded, \(repeated) repeated in an epoch"
            )
        }
        if requests.count > 0 { lines.append(requests.line) }
        if let cache {
            lines.append(
                "  cache     \(ByteCount(cache.limit)) a node for \(ByteCount(cache.nodeByteCount)) an epoch: hits "
                    + "\(percent(cache.firstEpochHits)) of epoch 1, \(percent(cache.secondEpochHits)) of epoch 2"
                    + (cacheHeldBytes.map { "; it has \(ByteCount($0)) of the shards already" } ?? ""))
        }
        return lines
    }

    private var verdict: String {
        guard let batchesPerRank, let rowsPerRank else {
            return "one rank reads all there is: \(counted(shardCount, "shard")) without sample counts"
        }
        let last = rowsPerRank - (batchesPerRank - 1) * batchSize
        let size = last == batchSize || batchesPerRank == 0 ? "" : ", the last of \(last)"
        let passes = epochs > 1 ? ", in each of \(epochs) epochs" : ""
        return "\(counted(worldSize, "rank")) \(worldSize == 1 ? "makes" : "make") "
            + "\(batchesPerRank) \(batchesPerRank == 1 ? "batch" : "batches") of \(batchSize)\(size)\(passes)"
    }

    private func percent(_ share: Double) -> String {
        let tenths = Int((share * 1000).rounded())
        return "\(tenths / 10).\(tenths % 10) %"
    }
}

extension PlanSummary.Requests {
    fileprivate var line: String {
        var line =
            "  requests  \(count) an epoch, mean \(ByteCount(meanByteCount)); \(ByteCount(readByteCount)) read"
        if let deliveredByteCount { line += " for \(ByteCount(deliveredByteCount)) delivered" }
        if windowSteps > 0 {
            line += ", in windows of \(windowSteps) \(windowSteps == 1 ? "batch" : "batches")"
        }
        if plannedBatches < batches { line += " (from \(plannedBatches) of \(batches) batches)" }
        return line
    }
}

extension PlanSummary.DataSet {
    fileprivate var line: String {
        "  data set  \(printable(words)), weight \(weight): \(counted(sampleCount, "sample")), \(deliveredCount) delivered, "
            + "\(repeatedCount) repeated, \(leftOutCount) left out in an epoch"
    }

    fileprivate var members: [JSONMember] {
        [
            JSONMember("shards", .string(words)), JSONMember("weight", .int(weight)),
            JSONMember("samples", .int(sampleCount)), JSONMember("delivered", .int(deliveredCount)),
            JSONMember("repeated", .int(repeatedCount)), JSONMember("left_out", .int(leftOutCount)),
        ]
    }
}
