package import HeadraceCore

/// The shard formats that Headrace reads.
package enum ShardFormatKind: String, Sendable, CaseIterable {
    case tar
    case tfrecord
}

/// The codecs that Headrace reads.
package enum CodecKind: String, Sendable, CaseIterable {
    case none
    case zstd
    case gzip
    case zlib
    case lz4
}

/// Finds the samples of one shard, one call a slab. One scanner a shard and pass; not shared between threads.
///
/// Damage never throws: it becomes a defective row of the table, at its place in the order, so that a loader can
/// deliver what precedes it, count it, or stop at it. A defect after which nothing can be found again (a bad tar
/// header, a bad record length) ends the shard.
package protocol ShardScanner: AnyObject {
    /// Scans `bytes`, the shard's (uncompressed) bytes from `offset` on, and appends the samples that are complete.
    ///
    /// - Parameters:
    ///   - offset: where `bytes` start in the uncompressed shard. Each call goes on where the last one's
    ///     `consumed` ended; where that is beyond the shard's end, at its end, with no bytes and `isLast`.
    ///   - isLast: no bytes follow these.
    ///   - total: size of the uncompressed shard where it is known, so that a claim beyond it is refused before
    ///     anything is allocated for it.
    func scan(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, isLast: Bool, total: Int?,
        into table: inout SampleTable
    ) -> ScanOutcome

    /// Finds the one sample in each of `samples`, which are rows of an index. Appends a sample or a defect for each;
    /// anything but one of them says that the index is wrong. For reads in any order: what was scanned before plays no
    /// part, and ``account`` is not kept.
    ///
    /// - Parameter base: the memory that they lie in; the places of fields are counted from here.
    /// - Returns: how many from the front gave one row each. If that is not all, the next was scanned too, and gave none
    ///   or several.
    func scanAlone(
        _ samples: ArraySlice<PlacedSample>, in base: UnsafeRawPointer, into table: inout SampleTable
    ) -> Int

    /// What was found so far; final after a scan with `isLast`.
    var account: ShardAccount { get }
}

/// Bytes of the shard that hold one sample, somewhere in memory.
package struct PlacedSample: Sendable, Equatable {
    /// In the uncompressed shard.
    package var offset: Int
    package var length: Int
    /// In the memory that it was brought to.
    package var place: Int

    package init(offset: Int, length: Int, place: Int) {
        self.offset = offset
        self.length = length
        self.place = place
    }
}

/// A scanner that can find samples by their headers alone, for an index: payloads are passed over unread.
///
/// What is known of a sample between two calls then stays in the scanner, and nothing but headers has to be presented
/// again. Rows of the table are without meaning but for the defects.
package protocol SpanScanner: ShardScanner {
    /// Call it before the first scan.
    func passPayloads()

    /// Moves the places of the samples found since the last call to the end of `spans`: the bytes in the uncompressed
    /// shard that, scanned alone, give that sample and no other. Defective ones are not among them.
    func takeSpans(into spans: inout [ByteSpan])
}

/// How far a scan came.
package struct ScanOutcome: Sendable, Equatable {
    /// Bytes that are done with. The rest must be presented again, at the front of the next call's bytes. More than
    /// were given when the scanner wants what follows passed over unread (the payload of an ignored member).
    package var consumed: Int
    /// Bytes, counted from `consumed`, that the next call must offer before more can be found; 0 when unknown.
    package var needed: Int
    /// Nothing further in this shard will be looked at: it is damaged beyond recovery.
    package var isEnded: Bool

    package init(consumed: Int, needed: Int = 0, isEnded: Bool = false) {
        self.consumed = consumed
        self.needed = needed
        self.isEnded = isEnded
    }
}

/// Caps on what a shard may claim, each with its default. Exceeding one is the defect `limitExceeded`, whose
/// message names the limit.
package struct FormatLimits: Sendable, Equatable {
    /// Bytes of one tar member or one TFRecord record.
    package var memberBytes = 16 << 30
    /// Bytes of one sample with all its members, headers included.
    package var sampleBytes = 32 << 30
    /// Bytes of a key or a member name.
    package var nameBytes = 4096
    /// Bytes of one PAX extended header or GNU long name.
    package var extendedHeaderBytes = 1 << 20
    /// Extended headers (PAX, GNU long name) in a row before one member.
    package var extendedHeaders = 64
    /// Fields of one sample.
    package var fieldsPerSample = 4096
    /// Decompressed bytes for each compressed byte, once more than `decompressionFloor` came out.
    package var decompressionRatio = 20_000
    /// Decompressed bytes that are allowed whatever the ratio.
    package var decompressionFloor = 64 << 20
    /// Window of a zstd frame, as a power of two (27: 128 MiB, what `zstd -d` accepts by default).
    package var zstdWindowLog = 27
    /// Frames in the seek table of one shard.
    package var seekTableFrames = 1 << 21
    /// Members of one zip archive inside a field.
    package var zipMembers = 4096
    /// Decompressed bytes for each compressed byte of a zip member. Deflate cannot reach more than 1032; a claim
    /// beyond is refused before anything is decompressed.
    package var zipRatio = 1032

    package init() {}
}
