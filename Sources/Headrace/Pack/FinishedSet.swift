internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// A set that is in the manifest already, held against what this run would make.
///
/// The journal that could tell for certain is gone with the run that wrote it. What is left says much: the
/// manifest has the options that decide about bytes, the indexes have the size of every sample, and the first
/// frame of each shard can be made again. What lies behind it in files that nobody has touched since is taken
/// on trust.
struct FinishedSet {
    let set: Manifest.ShardSet
    let plan: PackPlan

    /// Rows of an index that are compared at once.
    private static let rowsAtOnce = 4096

    /// Why the set is not what the plan would make; nil when it is, as far as can be told.
    ///
    /// - Parameter rendersHeads: whether to make the first frames again, which reads sources.
    func difference(
        rendersHeads: Bool, isCancelled: () -> Bool
    ) throws(HeadraceError) -> String? {
        if let difference = differenceOfOptions() ?? differenceOfShards() { return difference }
        let renderer = FrameRenderer(plan)
        var oldest: (path: String, time: Int)?
        for number in plan.shards.indices {
            if isCancelled() { throw HeadraceError.packCancelled }
            if let difference = try differenceOfIndex(number) { return difference }
            let shard = try SourceFile(plan.settings.pattern.path(number))
            if shard.modificationNanoseconds < oldest?.time ?? .max {
                oldest = (shard.path, shard.modificationNanoseconds)
            }
            guard rendersHeads else { continue }
            if try !beginsAlike(shard, number, renderer) {
                return "the samples that '\(shard.path)' begins with are others now, or in another order"
            }
        }
        guard let oldest else { return nil }
        return plan.inventory.sourceChanged(after: oldest.time).map {
            "'\($0)' was changed after '\(oldest.path)' was written, so that nobody can tell whether they agree"
        }
    }

    private func differenceOfOptions() -> String? {
        let settings = plan.settings
        let isPlain = settings.codec == .none
        func other(_ name: String, _ old: String?, _ new: String?) -> String? {
            old == new ? nil : "the set has \(name) \(old ?? "none"), this run \(new ?? "none")"
        }
        func list(_ words: [String: String]) -> String {
            words.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }
        return other("format", set.format.rawValue, settings.format.rawValue)
            ?? other("codec", set.codec.rawValue, settings.codec.rawValue)
            ?? other("level", set.level.map(String.init), isPlain ? nil : "\(settings.level)")
            ?? other(
                "frame_bytes", set.frameByteCount.map(String.init),
                isPlain ? nil : "\(settings.frameByteCount)")
            ?? other("jpeg", set.jpeg, settings.jpeg == .keep ? nil : settings.jpeg.rawValue)
            ?? other("libraries", list(set.libraries), list(settings.libraries))
            ?? other("samples", "\(set.sampleCount)", "\(plan.inventory.samples.count)")
            ?? other(
                "fields", set.fields.joined(separator: ", "),
                plan.fieldNames(of: plan.inventory.samples.indices).joined(separator: ", "))
            ?? other("classes", set.classes?.joined(separator: ", "), plan.classes?.joined(separator: ", "))
            ?? other("shards", "\(set.shards.count)", "\(plan.shards.count)")
    }

    private func differenceOfShards() -> String? {
        for (number, shard) in set.shards.enumerated() {
            guard shard.sha256 != nil else {
                return "the manifest has no SHA-256 of '\(shard.name)': it was changed and indexed anew since"
            }
            // What JPEGs that are written anew will take is not known before.
            let planned = plan.manifestEntry(
                number, byteCount: shard.byteCount,
                uncompressedByteCount: plan.settings.jpeg == .keep ? nil : shard.uncompressedByteCount,
                sha256: shard.sha256)
            guard shard != planned else { continue }
            return
                "'\(shard.name)' has \(shard.sampleCount) samples of \(shard.uncompressedByteCount) bytes, it "
                + "would have \(planned.sampleCount) of \(planned.uncompressedByteCount) now"
        }
        return nil
    }

    private func differenceOfIndex(_ number: Int) throws(HeadraceError) -> String? {
        let path = plan.settings.pattern.path(number)
        guard try LocalFiles.kind(path) == .file,
            try LocalFiles.entry(path).size == set.shards[number].byteCount
        else { return "'\(path)' is missing, or has not the size that the manifest says" }
        do throws(HeadraceError) {
            let index = try ShardIndex.read(ShardIndexLayout.path(forShard: path))
            try index.check(shardByteCount: set.shards[number].byteCount)
            let samples = plan.shards[number].samples
            guard index.header.sampleCount == samples.count else {
                return "the index of '\(path)' is another's"
            }
            if plan.settings.jpeg != .keep { return nil }
            var rows: [ShardIndexRow] = []
            for start in stride(from: 0, to: samples.count, by: Self.rowsAtOnce) {
                let range = start..<min(samples.count, start + Self.rowsAtOnce)
                rows.removeAll(keepingCapacity: true)
                try index.rows(range, into: &rows)
                for (row, sample) in zip(rows, samples[range])
                where row.length != plan.sampleByteCounts[sample] {
                    return
                        "sample '\(plan.inventory.samples[sample].key)' would have other bytes, or another place"
                }
            }
            return nil
        } catch  where error.code == .notFound || error.code == .indexMismatch {
            return "the index of '\(path)' cannot tell (\(error.message))"
        }
    }

    /// Makes the first frame of a shard again, and holds it against the file.
    private func beginsAlike(
        _ shard: SourceFile, _ number: Int, _ renderer: FrameRenderer
    ) throws(HeadraceError) -> Bool {
        var bytes = OutputBuffer()
        _ = try renderer.render(
            plan.frames[plan.shards[number].frames.lowerBound], checksum: nil, into: bytes)
        if plan.settings.codec != .none {
            let frame = OutputBuffer()
            let writer = try plan.settings.codec.makeFrameWriter(level: plan.settings.level)
            _ = try unsafe writer.appendFrame(bytes.bytes, to: frame)
            bytes = frame
        }
        return unsafe try shard.head(bytes.count).elementsEqual(bytes.bytes)
    }
}

extension PackInventory {
    /// A source that something was done to after `time`; nil where there is none.
    func sourceChanged(after time: Int) -> String? {
        sourcePaths.first { path in
            guard let identity = FileIdentity(path) else { return true }
            return identity.changeTime > time
        }
    }
}
