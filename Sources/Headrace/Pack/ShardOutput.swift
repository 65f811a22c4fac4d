internal import HeadraceCore
internal import HeadraceFormats
internal import HeadraceStorage

/// One shard on its way to disk: takes frames in order, and learns on the way what index and manifest will say.
/// Used by one thread at a time.
// Sendable: handed from the committing worker to the finishing thread under the lock of `PackEngine`.
final class ShardOutput: @unchecked Sendable {
    let number: Int
    private let plan: PackPlan
    private let file: AtomicFile
    private let path: String
    private var sha256 = SHA256()
    private var headCRC32C: UInt32 = 0
    /// The last bytes written, at most ``ShardIndexLayout/sampledByteCount``.
    private var tail: [UInt8] = []
    private var frames: [SeekTableRow] = []
    private var sampleByteCounts: [Int] = []
    /// What became of the JPEGs in it.
    private(set) var jpegs = PackJPEGCounts()

    init(_ number: Int, _ plan: PackPlan) throws(HeadraceError) {
        self.number = number
        self.plan = plan
        path = plan.settings.pattern.path(number)
        file = try AtomicFile(path, replacing: plan.settings.overwrite)
    }

    /// Bytes written so far.
    var byteCount: Int { file.byteCount }

    func append(
        _ bytes: UnsafeRawBufferPointer, frame: SeekTableRow?, _ rendered: FrameRenderer.Rendered
    ) throws(HeadraceError) {
        sampleByteCounts += rendered.sampleByteCounts
        jpegs += rendered.jpegs
        if let frame { frames.append(frame) }
        try unsafe write(bytes)
    }

    /// Removes what was written.
    func abort() { file.abort() }

    /// Closes the shard, brings it to disk under its name, and writes its index.
    func finish() throws(HeadraceError) -> (shard: Manifest.Shard, sha256: String, indexSHA256: String) {
        if let seekTable = SeekTable.of(plan.settings.codec) {
            let table = OutputBuffer()
            seekTable.append(frames, to: table)
            try unsafe write(table.bytes)
        }
        try file.commit()
        let shard = plan.shards[number]
        let uncompressedByteCount = sampleByteCounts.reduce(shard.endByteCount, +)
        let header = ShardIndexHeader(
            format: plan.settings.format, codec: plan.settings.codec, shardByteCount: file.byteCount,
            uncompressedByteCount: uncompressedByteCount, sampleCount: shard.samples.count,
            headCRC32C: headCRC32C,
            tailCRC32C: unsafe tail.withUnsafeBytes { unsafe crc32c($0) })
        let index = OutputBuffer()
        ShardIndexWriter.append(
            header, fields: plan.fieldNames(of: shard.samples), frames: frames,
            sampleByteCounts: sampleByteCounts[...], to: index)
        let indexFile = try AtomicFile(
            ShardIndexLayout.path(forShard: path), replacing: plan.settings.overwrite)
        try unsafe indexFile.append(index.bytes)
        try indexFile.commit()
        let digest = sha256.hexadecimal()
        return (
            plan.manifestEntry(
                number, byteCount: file.byteCount, uncompressedByteCount: uncompressedByteCount,
                sha256: digest), digest,
            unsafe SHA256.hexadecimal(index.bytes)
        )
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) {
        let sampled = ShardIndexLayout.sampledByteCount
        if file.byteCount < sampled {
            let head = unsafe UnsafeRawBufferPointer(
                rebasing: bytes[..<min(bytes.count, sampled - file.byteCount)])
            headCRC32C = unsafe crc32c(head, continuing: headCRC32C)
        }
        if bytes.count >= sampled {
            tail = unsafe Array(bytes[(bytes.count - sampled)...])
        } else {
            tail.removeFirst(max(0, tail.count + bytes.count - sampled))
            unsafe tail.append(contentsOf: bytes)
        }
        unsafe sha256.update(bytes)
        try unsafe file.append(bytes)
    }
}

extension OutputPattern {
    func path(_ number: Int) -> String { directory + name(number) }
}

extension PackPlan {
    /// What the manifest says of a finished shard.
    ///
    /// - Parameter uncompressedByteCount: nil: as planned.
    func manifestEntry(
        _ number: Int, byteCount: Int, uncompressedByteCount: Int? = nil, sha256: String?
    ) -> Manifest.Shard {
        Manifest.Shard(
            name: settings.pattern.name(number), sampleCount: shards[number].samples.count,
            byteCount: byteCount, uncompressedByteCount: uncompressedByteCount ?? shards[number].byteCount,
            sha256: sha256)
    }

    /// Names of the fields of `samples`, sorted bytewise.
    func fieldNames(of samples: Range<Int>) -> [String] {
        var isUsed = [Bool](repeating: false, count: inventory.fieldNames.count)
        for sample in inventory.samples[samples] {
            for field in inventory.fields(of: sample) { isUsed[field.name] = true }
        }
        return inventory.fieldNames.indices.filter { isUsed[$0] }.map { inventory.fieldNames[$0] }
            .sorted { byteOrder($0, $1) < 0 }
    }
}
