internal import HeadraceCore
internal import HeadraceFormats

/// Where every sample goes: shards and frames, cut on sizes alone, before a payload is read.
///
/// It does not depend on the number of workers, so neither do the bytes.
struct PackPlan: Sendable {
    struct Shard: Sendable {
        var samples: Range<Int>
        var frames: Range<Int>
        /// Uncompressed bytes, the end-of-archive marker included.
        var byteCount: Int
        /// Bytes of that marker.
        var endByteCount: Int
    }

    /// One unit of work: whole samples, or a piece of one that is larger than a frame.
    struct Frame: Sendable {
        var shard: Int
        var samples: Range<Int>
        /// The part of the samples' bytes that the frame holds; all of them unless the sample is cut.
        var window: Range<Int>
        /// Number of the piece and how many there are; 0 of 1 for whole samples.
        var piece = 0
        var pieceCount = 1
        var closesShard = false
    }

    let inventory: PackInventory
    let settings: PackSettings
    let classes: [String]?
    /// Frames are rendered one after the other, because sources can only be read from front to back.
    let rendersInOrder: Bool
    let turn = SourceTurn()
    /// Uncompressed bytes of each sample, headers and padding included.
    private(set) var sampleByteCounts: [Int] = []
    private(set) var shards: [Shard] = []
    private(set) var frames: [Frame] = []
    /// Bytes of all payloads.
    private(set) var payloadByteCount = 0

    private let limits = FormatLimits()

    /// Raised whenever the same samples and options make other bytes than before.
    static let version = 1

    /// A last piece shorter than this joins the one before it: a frame of its own would cost more than it
    /// holds, and a record's checksum must not be cut in two.
    static let smallestPiece = 4096

    init(
        _ inventory: PackInventory, classes: [String]?, settings: PackSettings
    ) throws(HeadraceError) {
        self.inventory = inventory
        self.settings = settings
        self.classes = classes
        rendersInOrder = !inventory.compressedSources.isEmpty && !settings.order.isAnother
        guard !inventory.samples.isEmpty else {
            let ignored = inventory.ignored.sorted { $0.key.rawValue < $1.key.rawValue }
                .map { "\($0.value) \($0.key.rawValue)" }.joined(separator: ", ")
            if inventory.ignored[.defect] != nil {
                throw HeadraceError(
                    .tooManyDefects, "no sample is left to pack; ignored: \(ignored)",
                    cause: inventory.ignoredExamples[.defect]?.first)
            }
            throw HeadraceError(
                .notFound, "there is no sample to pack" + (ignored.isEmpty ? "" : "; ignored: \(ignored)"))
        }
        try measureSamples()
        try cutShards()
        let capacity = settings.pattern.capacity
        guard shards.count <= capacity else {
            throw HeadraceError(
                .usage,
                "the samples make \(shards.count) shards, the output's name has digits for \(capacity); "
                    + "write %0\(String(shards.count - 1).utf8.count)d")
        }
    }

    /// Compressed sources, and arrays whose rows lie in columns, are brought to a temporary file first,
    /// because samples come from anywhere in them.
    var spoolsSources: Bool {
        settings.order.isAnother && !(inventory.compressedSources.isEmpty && inventory.columnArrays.isEmpty)
    }

    private mutating func measureSamples() throws(HeadraceError) {
        sampleByteCounts.reserveCapacity(inventory.samples.count)
        let tar = TarWriter()
        for sample in inventory.samples {
            let fields = inventory.fields(of: sample)
            for field in fields { payloadByteCount += field.payload.byteCount }
            sampleByteCounts.append(try byteCount(of: sample, fields, tar))
        }
    }

    /// Uncompressed bytes of a sample with these fields, headers and padding included.
    func byteCount(
        of sample: PackInventory.Sample, _ fields: ArraySlice<PackInventory.Field>, _ tar: TarWriter
    ) throws(HeadraceError) -> Int {
        var total = 0
        if sample.isRecord {
            total = fields.reduce(0) { $0 + $1.payload.byteCount }
            total += TFRecordWriter.headByteCount + TFRecordWriter.footByteCount
        } else {
            for field in fields { total += byteCount(field, of: sample, tar) }
        }
        if !sample.isRecord, settings.format == .tfrecord {
            total += ExampleWriter.featureByteCount(
                nameByteCount: ExampleWriter.keyName.utf8.count, payloadByteCount: sample.key.utf8.count)
            total = ExampleWriter.exampleByteCount(featuresByteCount: total)
            guard total <= ExampleWriter.largestExample else {
                throw HeadraceError(
                    .limitExceeded,
                    "the sample makes an example of \(total) bytes, protobuf's limit is "
                        + "\(ExampleWriter.largestExample); pack it as tar", at: .init(key: sample.key))
            }
            total += TFRecordWriter.headByteCount + TFRecordWriter.footByteCount
        }
        guard total <= limits.sampleBytes else {
            throw HeadraceError(
                .limitExceeded, "the sample has \(total) bytes, readers accept \(limits.sampleBytes)",
                at: .init(key: sample.key))
        }
        return total
    }

    private func byteCount(_ field: PackInventory.Field, of sample: PackInventory.Sample, _ tar: TarWriter)
        -> Int
    {
        let payload = field.payload.byteCount
        let name = inventory.fieldNames[field.name]
        switch settings.format {
        case .tar:
            return tar.headerByteCount(key: sample.key, field: name, payloadByteCount: payload) + payload
                + TarWriter.paddingByteCount(payloadByteCount: payload)
        case .tfrecord:
            return ExampleWriter.featureByteCount(nameByteCount: name.utf8.count, payloadByteCount: payload)
        }
    }

    private mutating func cutShards() throws(HeadraceError) {
        var start = 0
        var byteCount = 0
        for (index, size) in sampleByteCounts.enumerated() {
            if index > start, isFull(samples: index - start, byteCount: byteCount, next: size) {
                try closeShard(start..<index, byteCount)
                start = index
                byteCount = 0
            }
            byteCount += size
        }
        try closeShard(start..<sampleByteCounts.count, byteCount)
    }

    private func isFull(samples: Int, byteCount: Int, next: Int) -> Bool {
        switch settings.shardLimit {
        case .bytes(let limit): byteCount + next > limit
        case .samples(let limit): samples >= limit
        }
    }

    private mutating func closeShard(_ samples: Range<Int>, _ byteCount: Int) throws(HeadraceError) {
        let firstFrame = frames.count
        var start = samples.lowerBound
        var frameByteCount = 0
        for index in samples {
            let size = sampleByteCounts[index]
            if index > start, frameByteCount + size > settings.frameByteCount {
                appendFrames(start..<index, frameByteCount)
                start = index
                frameByteCount = 0
            }
            frameByteCount += size
        }
        appendFrames(start..<samples.upperBound, frameByteCount)
        frames[frames.count - 1].closesShard = true
        let limit = FormatLimits().seekTableFrames
        guard frames.count - firstFrame <= limit else {
            throw HeadraceError(
                .limitExceeded,
                "a shard would have \(frames.count - firstFrame) frames, readers accept \(limit); "
                    + "choose larger frames or smaller shards")
        }
        let end = settings.format == .tar ? TarWriter.endByteCount : 0
        shards.append(
            Shard(
                samples: samples, frames: firstFrame..<frames.count, byteCount: byteCount + end,
                endByteCount: end))
    }

    private mutating func appendFrames(_ samples: Range<Int>, _ byteCount: Int) {
        let size = settings.frameByteCount
        // Where a JPEG is written anew, nobody knows what would be in a piece.
        guard byteCount > size, !rewritesJPEGs(of: samples.lowerBound) else {
            frames.append(Frame(shard: shards.count, samples: samples, window: 0..<byteCount))
            return
        }
        let rest = byteCount % size
        let count = byteCount / size + (rest >= Self.smallestPiece ? 1 : 0)
        for piece in 0..<count {
            let end = piece == count - 1 ? byteCount : (piece + 1) * size
            frames.append(
                Frame(
                    shard: shards.count, samples: samples, window: piece * size..<end, piece: piece,
                    pieceCount: count))
        }
    }
}

extension PackInventory {
    func fields(of sample: Sample) -> ArraySlice<Field> {
        fields[sample.firstField..<sample.firstField + sample.fieldCount]
    }
}
