package import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// What the verification of one shard found.
package struct ShardVerdict: Sendable {
    /// Defects that are kept one by one; all are counted.
    package static let listedDefects = 1000

    package let path: String
    /// Size of the file; 0 where it could not be opened.
    package internal(set) var byteCount = 0
    /// Size of the uncompressed shard, as far as it could be decompressed.
    package internal(set) var uncompressedByteCount = 0
    package internal(set) var account = ShardAccount()
    /// The first ``listedDefects`` defects, in the order in which they were found.
    package internal(set) var defects: [HeadraceError] = []
    package internal(set) var defectCount = 0
    /// Defects that are the storage's or the machine's, not the data's.
    package internal(set) var environmentCount = 0
    /// What is no defect, but worth knowing.
    package internal(set) var notes: [String] = []
    /// False when the verification was cancelled.
    package internal(set) var isComplete = true

    package var isSound: Bool { isComplete && defectCount == 0 }

    mutating func add(_ error: HeadraceError) {
        defectCount += 1
        if error.code.category == .environment { environmentCount += 1 }
        if defects.count < Self.listedDefects { defects.append(error.placed(shard: path)) }
    }
}

extension HeadraceError.Code {
    /// Bytes of a shard that are in none of its accounts: a fault of Headrace, not of the data.
    package static let unaccounted = Self("unaccounted", .data)
}

/// Holds a shard against every checksum, count and size there is: those inside it, and those of the index and
/// the manifest beside it.
package struct ShardVerifier: Sendable {
    private let path: String
    private let sidecars: ShardSidecars
    private let memory: ByteCount
    private let images: Bool
    private let isCancelled: @Sendable () -> Bool
    private let report: @Sendable (_ doneByteCount: Int) -> Void

    /// - Parameters:
    ///   - images: whether every field that is a JPEG or PNG is decoded.
    ///   - report: told now and then how many of the file's bytes are done.
    package init(
        _ path: String, sidecars: ShardSidecars, memory: ByteCount, images: Bool = false,
        isCancelled: @escaping @Sendable () -> Bool = { false },
        report: @escaping @Sendable (_ doneByteCount: Int) -> Void = { _ in }
    ) {
        self.path = path
        self.sidecars = sidecars
        self.memory = memory
        self.images = images
        self.isCancelled = isCancelled
        self.report = report
    }

    package func verify() -> ShardVerdict {
        var verdict = ShardVerdict(path: path)
        let index = openIndex(&verdict)
        do throws(HeadraceError) {
            // Images of records are inside their Examples.
            let reader = try ShardReader(path, memory: memory, parsesExamples: images)
            verdict.byteCount = reader.fileSize
            let walked = try walk(reader, index, &verdict)
            verdict.account = reader.account
            verdict.uncompressedByteCount = reader.uncompressedByteCount
            if walked {
                checkAccount(&verdict)
                if let index { check(index, reader, &verdict) }
            }
            note(verdict.account, &verdict)
        } catch {
            // Nothing is known of a shard that cannot be opened, so there is nothing to hold against a
            // manifest.
            verdict.add(error)
            return verdict
        }
        if verdict.isComplete { checkManifest(index != nil, &verdict) }
        return verdict
    }

    // MARK: The shard itself

    /// Reads every sample; false when it was cancelled.
    private func walk(
        _ reader: ShardReader, _ index: RowCheck?, _ verdict: inout ShardVerdict
    ) throws(HeadraceError) -> Bool {
        var count = 0
        let prober = images ? try ImageProber() : nil
        var remarks = 0
        try reader.read(isCancelled: isCancelled) { (sample) throws(HeadraceError) in
            if let defect = sample.defect { verdict.add(defect) }
            index?.check(sample, &verdict)
            if let prober { Self.verifyImages(of: sample, prober, &remarks, &verdict) }
            count += 1
            if count & 1023 == 0 {
                if isCancelled() {
                    verdict.isComplete = false
                    return false
                }
                let share = Double(sample.offset) / Double(max(1, reader.uncompressedByteCount))
                report(min(reader.fileSize, Int(share * Double(reader.fileSize))))
            }
            return true
        }
        if remarks > Self.listedRemarks {
            verdict.notes.append("and \(remarks - Self.listedRemarks) more remarks on images")
        }
        if isCancelled() { verdict.isComplete = false }
        return verdict.isComplete
    }

    /// Remarks on images that are told one by one.
    private static let listedRemarks = 20

    private static func verifyImages(
        of sample: ShardSample, _ prober: ImageProber, _ remarks: inout Int, _ verdict: inout ShardVerdict
    ) {
        for unsafe(name, payload) in unsafe sample.fields where unsafe ImageProbe.isImage(payload) {
            do throws(HeadraceError) {
                guard let remark = try unsafe prober.verify(payload) else { continue }
                remarks += 1
                guard remarks <= listedRemarks else { continue }
                verdict.notes.append(
                    "sample '\(sample.key ?? "\(sample.index)")', field '\(name)': \(remark)")
            } catch {
                verdict.add(error.placed(offset: sample.offset, key: sample.key, field: name))
            }
        }
    }

    private func checkAccount(_ verdict: inout ShardVerdict) {
        let account = verdict.account
        let sum = account.bytesParsed + account.bytesIgnored + account.bytesLost
        guard sum != verdict.uncompressedByteCount else { return }
        verdict.add(
            HeadraceError(
                .unaccounted,
                "\(account.bytesParsed) bytes were parsed, \(account.bytesIgnored) ignored and "
                    + "\(account.bytesLost) lost, but the shard has \(verdict.uncompressedByteCount): "
                    + "this is a fault of headrace, please report it"))
    }

    private func note(_ account: ShardAccount, _ verdict: inout ShardVerdict) {
        if let bytes = account.ignored["dataAfterEnd"] {
            verdict.notes.append("\(bytes) bytes follow the end marker, which no reader sees")
        }
        if account.ignored["missingEndOfArchive"] != nil {
            verdict.notes.append("the archive has no end marker; only an index can tell whether it is whole")
        }
    }

    // MARK: Index

    private func openIndex(_ verdict: inout ShardVerdict) -> RowCheck? {
        do throws(HeadraceError) {
            guard let index = try ShardSidecars.index(ofShard: path) else { return nil }
            try index.verifyChecksum()
            // Rows of an index that leaves damaged samples out are not numbered as those of the shard.
            if index.header.leavesOutDamage {
                verdict.notes.append(
                    "its index leaves damaged samples out; it was not held against the shard")
                return nil
            }
            return RowCheck(index)
        } catch {
            verdict.add(error)
            return nil
        }
    }

    private func check(_ rows: RowCheck, _ reader: ShardReader, _ verdict: inout ShardVerdict) {
        let index = rows.index
        func compare<Value: Equatable>(_ what: String, _ claimed: Value, _ found: Value) {
            guard claimed != found else { return }
            verdict.add(
                HeadraceError(
                    .indexMismatch, "the index \(index.path) says \(what) \(claimed), the shard has \(found)")
            )
        }
        do throws(HeadraceError) {
            try FileChecksums(path).check(index)
        } catch {
            verdict.add(error)
        }
        compare("format", index.header.format.rawValue, reader.format.rawValue)
        compare("codec", index.header.codec.rawValue, reader.codec.rawValue)
        compare("samples", index.header.sampleCount, verdict.account.samples)
        compare("uncompressed bytes", index.header.uncompressedByteCount, verdict.uncompressedByteCount)
        if reader.format == .tar, verdict.defectCount == 0 {
            // The fields of a TFRecord's features are not looked at here.
            compare("fields", index.fields, rows.fieldNames)
        }
        compare("frames", index.frames.count, reader.frames?.count ?? 0)
        if let frames = reader.frames, frames.count == index.frames.count, frames != index.frames {
            verdict.add(
                HeadraceError(
                    .indexMismatch, "the frames of the index \(index.path) are not those of the seek table"))
        }
    }

    // MARK: Manifest

    private func checkManifest(_ hasIndex: Bool, _ verdict: inout ShardVerdict) {
        do throws(HeadraceError) {
            guard let (manifest, set, shard) = try sidecars.entry(ofShard: path) else {
                if hasIndex, let folder = try sidecars.folder(ofShard: path) {
                    verdict.notes.append("it has an index, but the manifest \(folder.path) has it not")
                }
                return
            }
            if !hasIndex { verdict.notes.append("the manifest lists it, but it has no index") }
            func compare<Value: Equatable>(_ what: String, _ claimed: Value, _ found: Value) {
                guard claimed != found else { return }
                verdict.add(
                    HeadraceError(
                        .indexMismatch,
                        "the manifest \(manifest) says \(what) \(claimed), the shard has \(found)"))
            }
            compare("bytes", shard.byteCount, verdict.byteCount)
            compare("samples", shard.sampleCount, verdict.account.samples)
            compare("uncompressed bytes", shard.uncompressedByteCount, verdict.uncompressedByteCount)
            guard let listed = shard.sha256 else { return }
            guard let sha256 = try FileChecksums(path).sha256(isCancelled: isCancelled) else {
                verdict.isComplete = false
                return
            }
            if sha256 != listed {
                verdict.add(
                    HeadraceError(
                        .checksumMismatch,
                        "the file's SHA-256 is \(sha256), the manifest's set '\(set.pattern)' says "
                            + listed
                    ))
            }
        } catch {
            verdict.add(error)
        }
    }
}

/// Holds the samples of a shard against the rows of its index, fetched a block at a time.
private final class RowCheck {
    private static let blockRows = 4096
    let index: ShardIndex
    private var rows: [ShardIndexRow] = []
    private var first = 0
    private var hasFailed = false
    private var names: Set<String> = []

    /// Names of the fields that were seen, sorted bytewise.
    var fieldNames: [String] { names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    init(_ index: ShardIndex) { self.index = index }

    /// One wrong row says it all: those behind it are likely wrong too.
    func check(_ sample: ShardSample, _ verdict: inout ShardVerdict) {
        for unsafe(name, _) in unsafe sample.fields { names.insert(name) }
        guard !hasFailed, sample.index < index.header.sampleCount else { return }
        do throws(HeadraceError) {
            if !(first..<first + rows.count).contains(sample.index) {
                first = sample.index
                rows.removeAll(keepingCapacity: true)
                let end = min(index.header.sampleCount, first + Self.blockRows)
                try index.rows(first..<end, into: &rows)
            }
            let row = rows[sample.index - first]
            guard row.offset != sample.offset else { return }
            throw HeadraceError(
                .indexMismatch,
                "the index \(index.path) says that sample \(sample.index) begins at byte \(row.offset)",
                at: .init(offset: sample.offset, key: sample.key))
        } catch {
            hasFailed = true
            verdict.add(error)
        }
    }
}
