package import HeadraceCore
package import HeadraceFormats

/// How often a field occurs, and how large it is.
package struct FieldSizes: Sendable, Equatable {
    package let name: String
    package internal(set) var count = 0
    package internal(set) var byteCount = 0
    package internal(set) var least = Int.max
    package internal(set) var most = 0

    package init(name: String) { self.name = name }

    package var mean: Double { Double(byteCount) / Double(max(1, count)) }

    mutating func add(_ bytes: Int) {
        count += 1
        byteCount += bytes
        least = min(least, bytes)
        most = max(most, bytes)
    }

    package mutating func add(_ other: FieldSizes) {
        count += other.count
        byteCount += other.byteCount
        least = min(least, other.least)
        most = max(most, other.most)
    }
}

/// What a shard is, in numbers.
package struct ShardSurvey: Sendable {
    package let path: String
    package internal(set) var format: ShardFormatKind
    package internal(set) var codec: CodecKind
    /// Size of the file.
    package internal(set) var byteCount: Int
    package internal(set) var uncompressedByteCount: Int
    /// Frames of a seekable compressed shard; nil where it cannot be read at random.
    package internal(set) var frameCount: Int?
    package internal(set) var sampleCount: Int
    /// Names of the fields, sorted bytewise.
    package internal(set) var fieldNames: [String]
    /// How often each occurs and how large it is, in the same order; nil when only the index was looked at.
    package internal(set) var fields: [FieldSizes]?
    /// The images of each field; nil when they were not looked for.
    package internal(set) var images: [String: ImageSizes]?
    /// What is wrong with the shard, as far as that came to light.
    package internal(set) var defects: [HeadraceError] = []
    package internal(set) var defectCount = 0

    mutating func add(_ error: HeadraceError) {
        defectCount += 1
        if defects.count < ShardVerdict.listedDefects { defects.append(error.placed(shard: path)) }
    }

    /// Surveys the shard at `path`: by its index where there is one that fits, unless `isFull`; else by a
    /// walk through all of it, as images need, too. Nil when it was cancelled.
    package static func make(
        of path: String, isFull: Bool, images: Bool = false, memory: ByteCount,
        isCancelled: () -> Bool = { false }
    ) throws(HeadraceError) -> ShardSurvey? {
        var mismatch: HeadraceError?
        if !isFull, !images {
            do throws(HeadraceError) {
                if let index = try ShardSidecars.index(ofShard: path) {
                    let file = try FileChecksums(path)
                    try file.check(index)
                    return ShardSurvey(path, index)
                }
            } catch {
                guard error.code == .indexMismatch else { throw error }
                mismatch = error
            }
        }
        var survey = try walk(path, images: images, memory: memory, isCancelled: isCancelled)
        if let mismatch { survey?.add(mismatch) }
        return survey
    }

    private init(_ path: String, _ index: ShardIndex) {
        self.path = path
        format = index.header.format
        codec = index.header.codec
        byteCount = index.header.shardByteCount
        uncompressedByteCount = index.header.uncompressedByteCount
        frameCount = index.frames.isEmpty ? nil : index.frames.count
        sampleCount = index.header.sampleCount
        fieldNames = index.fields
        fields = nil
    }

    private init(_ reader: ShardReader) {
        path = reader.path
        format = reader.format
        codec = reader.codec
        byteCount = reader.fileSize
        uncompressedByteCount = 0
        frameCount = reader.frames?.count
        sampleCount = 0
        fieldNames = []
        fields = []
    }

    private static func walk(
        _ path: String, images: Bool, memory: ByteCount, isCancelled: () -> Bool
    ) throws(HeadraceError) -> ShardSurvey? {
        let reader = try ShardReader(path, memory: memory, parsesExamples: true)
        var survey = ShardSurvey(reader)
        var places: [String: Int] = [:]
        var fields: [FieldSizes] = []
        let surveyor = images ? try ImageSurveyor() : nil
        try reader.read(isCancelled: isCancelled) { (sample) throws(HeadraceError) in
            if let defect = sample.defect { survey.add(defect) }
            for unsafe(name, payload) in unsafe sample.fields {
                let place: Int
                if let known = places[name] {
                    place = known
                } else {
                    place = fields.count
                    places[name] = place
                    fields.append(FieldSizes(name: name))
                }
                fields[place].add(payload.count)
                if let error = unsafe surveyor?.add(name, payload) {
                    survey.add(error.placed(offset: sample.offset, key: sample.key, field: name))
                }
            }
            return sample.index & 1023 != 0 || !isCancelled()
        }
        if isCancelled() { return nil }
        survey.uncompressedByteCount = reader.uncompressedByteCount
        survey.sampleCount = reader.account.samples
        survey.fields = fields.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        survey.fieldNames = survey.fields!.map(\.name)
        survey.images = surveyor?.fields
        return survey
    }
}
