package import HeadraceCore

/// Finds the samples of a tar shard by WebDataset's rules.
///
/// Between calls it knows only what precedes the open sample (global PAX records, the account, whether the end
/// came): the open sample is presented again, so a sample is always whole in one slab.
///
/// What is refused where WebDataset is silent: a damaged or missing header is a defect, not the end; a sample with
/// a truncated member is never delivered in part. A sample before a damaged header might go on in the member that
/// cannot be read: it is delivered if it has at least as many fields as the sample before it, and is else part of
/// the defect.
package final class TarScanner: SpanScanner {
    private var walk: TarWalk

    package init(names: FieldNames, limits: FormatLimits = FormatLimits()) {
        walk = TarWalk(names: names, limits: limits)
    }

    /// Called once for every member that is present whole, samples' or not, in the order of the shard. For
    /// listings and verification; it must not call the scanner.
    package var onMember: ((TarMember) -> Void)? {
        get { walk.onMember }
        set { walk.onMember = newValue }
    }

    package var account: ShardAccount { walk.tally.account }

    package func passPayloads() { walk.passesPayloads = true }

    package func takeSpans(into spans: inout [ByteSpan]) {
        spans += walk.spans
        walk.spans.removeAll(keepingCapacity: true)
    }

    package func scanAlone(
        _ samples: ArraySlice<PlacedSample>, in base: UnsafeRawPointer, into table: inout SampleTable
    ) -> Int {
        var count = 0
        for sample in samples {
            let before = table.samples.count
            let bytes = unsafe UnsafeRawBufferPointer(start: base + sample.place, count: sample.length)
            unsafe walk.scanAlone(bytes.bytes, at: sample.offset, shift: sample.place, into: &table)
            guard table.samples.count == before + 1 else { break }
            count += 1
        }
        return count
    }

    package func scan(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, isLast: Bool, total: Int?,
        into table: inout SampleTable
    ) -> ScanOutcome {
        unsafe walk.scan(bytes.bytes, at: offset, isLast: isLast, total: total, into: &table)
    }
}

/// One member of a tar archive.
package struct TarMember: Sendable, Equatable {
    /// Full name, extended headers and prefix applied.
    package var name: [UInt8]
    /// The type flag as stored.
    package var type: UInt8
    /// Payload bytes in the archive; 0 for links and directories.
    package var size: Int
    /// Place of the member's first header, extended ones included, in the uncompressed shard.
    package var offset: Int
    /// Place of its payload in the uncompressed shard.
    package var payloadOffset: Int
    /// Stored with holes left out.
    package var isSparse: Bool

    /// Whether it is a field of a sample, by WebDataset's rules.
    package var isField: Bool { key != nil }

    /// The key of the sample that it is a field of; nil for what is none.
    package var key: ArraySlice<UInt8>? {
        switch type {
        case TarType.regular, TarType.contiguous, TarType.gnuSparse: break
        case TarType.regularOld: if name.last == UInt8(ascii: "/") { return nil }
        default: return nil
        }
        let kind = unsafe name.withUnsafeBytes { unsafe WebDatasetName($0.bytes) }
        guard case .field(let keyLength) = kind else { return nil }
        return name[..<keyLength]
    }
}

/// Running totals of one shard, in plain numbers: the dictionary of ``ShardAccount`` is made when asked for.
struct TarTally {
    /// Why bytes are no part of any sample.
    enum Reason: Int, CaseIterable {
        case metaMembers, hiddenMembers, unmatchedNames, directories, links, specialFiles

        var name: String {
            switch self {
            case .metaMembers: "metaMembers"
            case .hiddenMembers: "hiddenMembers"
            case .unmatchedNames: "unmatchedNames"
            case .directories: "directories"
            case .links: "links"
            case .specialFiles: "specialFiles"
            }
        }
    }

    /// Members passed over, by reason, and their bytes with headers and padding.
    struct Ignored {
        private var counts = SIMD8<Int32>(repeating: 0)
        var bytes = 0

        mutating func add(_ reason: Reason, bytes count: Int) {
            counts[reason.rawValue] &+= 1
            bytes += count
        }

        subscript(reason: Reason) -> Int { Int(counts[reason.rawValue]) }
    }

    var samples = 0
    var members = 0
    var bytesParsed = 0
    var bytesLost = 0
    var ignored = [Int](repeating: 0, count: Reason.allCases.count)
    var bytesIgnored = 0
    var dataAfterEnd = 0
    var isEndMarkerMissing = false

    mutating func add(_ other: Ignored) {
        guard other.bytes > 0 else { return }
        for reason in Reason.allCases { ignored[reason.rawValue] += other[reason] }
        bytesIgnored += other.bytes
    }

    var account: ShardAccount {
        var account = ShardAccount()
        account.samples = samples
        account.members = members
        account.bytesParsed = bytesParsed
        account.bytesIgnored = bytesIgnored + dataAfterEnd
        account.bytesLost = bytesLost
        for reason in Reason.allCases where ignored[reason.rawValue] > 0 {
            account.ignored[reason.name] = ignored[reason.rawValue]
        }
        if dataAfterEnd > 0 { account.ignored["dataAfterEnd"] = dataAfterEnd }
        if isEndMarkerMissing { account.ignored["missingEndOfArchive"] = 1 }
        return account
    }
}
