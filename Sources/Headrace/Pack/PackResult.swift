/// How far a ``Packer`` has come. Reported after every frame that was written.
public struct PackProgress: Sendable, Equatable {
    /// Samples whose bytes are written.
    public internal(set) var sampleCount = 0
    /// Uncompressed bytes that are written, headers and padding included.
    public internal(set) var byteCount = 0
    /// Bytes written to storage.
    public internal(set) var writtenByteCount = 0
    /// Shards that are on disk under their names.
    public internal(set) var shardCount = 0
    /// What ``sampleCount`` will end at.
    public internal(set) var totalSampleCount = 0
    /// What ``byteCount`` will end at.
    public internal(set) var totalByteCount = 0
    /// What ``shardCount`` will end at.
    public internal(set) var totalShardCount = 0
}

/// What a ``Packer`` is going to write, as far as names and sizes tell.
public struct PackSummary: Sendable, Equatable {
    /// Words that read the shards: `data/train-{000000..000012}.tar.zst`.
    public var readPattern: String
    /// `tar` or `tfrecord`.
    public var format: PackFormat
    /// What the shards are compressed with.
    public var codec: PackCodec
    /// Shards to be written.
    public var shardCount: Int
    /// Samples in them.
    public var sampleCount: Int
    /// Bytes of all payloads.
    public var payloadByteCount: Int
    /// Bytes of the uncompressed shards. Where JPEGs are to be written anew, as if they were not, until they are.
    public var uncompressedByteCount: Int
    /// What becomes of JPEGs.
    public var jpeg: PackJPEG
    /// Names of the fields, sorted bytewise.
    public var fields: [String]
    /// What the values of `cls` stand for, where they are made from directories.
    public var classes: [String]?
    /// Fields whose names readers would not have taken: old names to new.
    public var renamedFields: [String: String]
    /// Compressed sources, and arrays whose rows lie in columns, are brought to a temporary file in the
    /// output's folder first, because samples come from anywhere in them.
    public var spoolsSources: Bool
    /// What the sources found and leave out, by reason.
    public var ignored: [IgnoredReason: Int]
    /// Some of the paths behind ``ignored``.
    public var ignoredExamples: [IgnoredReason: [String]]
    /// Where the bytes of the sources went.
    public var sourceBytes: PackSourceBytes
    /// Shards that damage hides the rest of.
    public var unreadableRests: [PackUnreadableRest]
    /// Temporary files that an interrupted run left in the output's folder; harmless, and free to be removed
    /// when no other run is at work there.
    public var leftovers: [String]
}

/// Where the uncompressed bytes of the sources went: each byte of each file is in one of the three.
///
/// Of a .npz these are the bytes of its arrays as .npy files, without the archive around them. Of a compressed
/// shard that nothing could be decompressed of, the bytes of its file are lost.
public struct PackSourceBytes: Sendable, Equatable {
    /// Headers, payloads, line ends and padding that were understood.
    public var parsed = 0
    /// Passed over by a rule of the format: blank lines, byte order marks, members and files that are no field.
    public var ignored = 0
    /// Lost to damage: what was left out.
    public var lost = 0
}

/// The end of a source shard behind damage that hides where its samples begin.
public struct PackUnreadableRest: Sendable, Equatable {
    /// Path of the shard.
    public var path: String
    /// Uncompressed bytes that are lost with it. Where the size is not known: those that were decompressed and
    /// make no whole sample; those of the shard's file where nothing could be decompressed.
    public var byteCount: Int
    /// Whether the file or its seek table tells how many uncompressed bytes there should be.
    public var isSizeKnown: Bool
    /// Whether a manifest tells how many samples those were. Else they count as one.
    public var isCounted: Bool

    /// Its size in words.
    package var sizeInWords: String {
        isSizeKnown ? "\(byteCount) bytes" : "of unknown size (\(byteCount) bytes count as lost)"
    }
}

/// Why a JPEG was not written anew.
public enum KeptJPEGReason: String, Sendable, CaseIterable {
    /// It is damaged: whoever decodes it is told.
    case damaged
    /// It is of a kind that is not decoded, or whose pixels would be others: 12 bits a channel, lossless, incomplete
    /// progressive scans.
    case unsupported
    /// It has too many pixels, or its sample is larger than ``PackOptions/largestRewrittenSample``.
    case tooLarge
    /// Only its name is that of a JPEG.
    case notJPEG
}

/// What became of JPEGs that were to be written anew.
public struct PackJPEGCounts: Sendable, Equatable {
    /// Those that were.
    public var rewritten = 0
    /// Bytes that they had in the sources.
    public var sourceByteCount = 0
    /// Bytes that they have now.
    public var byteCount = 0
    /// Those that stayed as they are.
    public var kept: [KeptJPEGReason: Int] = [:]

    /// No JPEG so far.
    public init() {}

    var isEmpty: Bool { rewritten == 0 && kept.isEmpty }

    static func += (sum: inout PackJPEGCounts, other: PackJPEGCounts) {
        sum.rewritten += other.rewritten
        sum.sourceByteCount += other.sourceByteCount
        sum.byteCount += other.byteCount
        sum.kept.merge(other.kept, uniquingKeysWith: +)
    }
}

/// One shard that was written.
public struct PackedShard: Sendable, Equatable {
    /// Name in the output's folder.
    public var name: String
    /// Samples in it.
    public var sampleCount: Int
    /// Size of the file.
    public var byteCount: Int
    /// Size of its uncompressed bytes.
    public var uncompressedByteCount: Int
    /// SHA-256 of the file in hexadecimal digits.
    public var sha256: String
}

/// What a ``Packer`` has written.
public struct PackResult: Sendable, Equatable {
    /// What was planned, and came about.
    public var summary: PackSummary
    /// The shards, in order.
    public var shards: [PackedShard]
    /// What became of JPEGs, in shards that an interrupted run had finished too; nil where a whole set was there.
    public var jpegs: PackJPEGCounts?
    /// How many of them an interrupted run had finished.
    public var keptShardCount: Int
    /// An earlier run had finished the whole set, and this one had nothing left to do.
    public var wasFinished: Bool
    /// Path of the manifest.
    public var manifestPath: String

    /// Size of all shards.
    public var byteCount: Int { shards.reduce(0) { $0 + $1.byteCount } }

    /// Uncompressed bytes for each byte written.
    public var ratio: Double { Double(summary.uncompressedByteCount) / Double(max(1, byteCount)) }
}
