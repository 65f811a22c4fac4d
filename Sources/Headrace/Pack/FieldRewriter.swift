internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

extension PackPlan {
    /// Whether the name says that the field is a JPEG.
    static func namesJPEG(_ field: String) -> Bool {
        let ending = field.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).last
        guard let ending else { return false }
        return ending.elementsEqual("jpg".utf8) || ending.elementsEqual("jpeg".utf8)
    }

    /// Fields of a sample that may be JPEGs. What was an Example is looked into: it counts as one.
    private func candidateCount(_ sample: PackInventory.Sample) -> Int {
        if sample.isRecord || sample.isOfExample { return 1 }
        return inventory.fields(of: sample).count { Self.namesJPEG(inventory.fieldNames[$0.name]) }
    }

    /// Whether JPEGs of this sample are written anew: then it is rendered whole.
    func rewritesJPEGs(of index: Int) -> Bool {
        settings.jpeg == .cropReady && sampleByteCounts[index] <= PackOptions.largestRewrittenSample
            && candidateCount(inventory.samples[index]) > 0
    }

    /// Whether JPEGs of any sample in the frame are.
    func rewritesJPEGs(of frame: Frame) -> Bool {
        settings.jpeg == .cropReady && frame.pieceCount == 1
            && frame.samples.contains { rewritesJPEGs(of: $0) }
    }

    /// Counts the JPEGs of a sample that is too large to be written anew.
    func countUnwritten(_ index: Int, _ counts: inout PackJPEGCounts) {
        guard settings.jpeg == .cropReady, sampleByteCounts[index] > PackOptions.largestRewrittenSample else {
            return
        }
        let count = candidateCount(inventory.samples[index])
        if count > 0 { counts.kept[.tooLarge, default: 0] += count }
    }
}

/// Writes the JPEGs among the fields of samples anew. One a worker.
final class FieldRewriter {
    private let plan: PackPlan
    private let writer: CropReadyWriter
    private var parser = ExampleParser()

    init(_ plan: PackPlan) throws(HeadraceError) {
        self.plan = plan
        writer = try CropReadyWriter()
    }

    /// The fields, which are in memory, with other payloads where these are JPEGs.
    func rewritten(
        _ fields: ArraySlice<PackInventory.Field>, of sample: PackInventory.Sample,
        _ counts: inout PackJPEGCounts
    ) throws(HeadraceError) -> ArraySlice<PackInventory.Field> {
        var fields = fields
        for index in fields.indices {
            guard case .bytes(let bytes) = fields[index].payload else { continue }
            let name = plan.inventory.fieldNames[fields[index].name]
            do throws(HeadraceError) {
                if sample.isRecord {
                    if let record = try rewrittenRecord(bytes, &counts) {
                        fields[index].payload = .bytes(record)
                    }
                } else if PackPlan.namesJPEG(name) || sample.isOfExample && Self.beginsAsJPEG(bytes[...]) {
                    if let file = try rewritten(bytes[...], &counts) { fields[index].payload = .bytes(file) }
                }
            } catch {
                throw error.placed(field: name)
            }
        }
        return fields
    }

    private static func beginsAsJPEG(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.starts(with: [0xff, 0xd8, 0xff])
    }

    /// The file written anew; nil where it stays.
    private func rewritten(
        _ bytes: ArraySlice<UInt8>, _ counts: inout PackJPEGCounts
    ) throws(HeadraceError) -> [UInt8]? {
        switch try writer.rewrite(bytes) {
        case .rewritten(let file):
            counts.rewritten += 1
            counts.sourceByteCount += bytes.count
            counts.byteCount += file.count
            return file
        case .foreign: counts.kept[.notJPEG, default: 0] += 1
        case .damaged: counts.kept[.damaged, default: 0] += 1
        case .unsupported: counts.kept[.unsupported, default: 0] += 1
        case .tooLarge: counts.kept[.tooLarge, default: 0] += 1
        }
        return nil
    }

    // MARK: - Records

    /// A record whose values that begin as JPEGs do are written anew; nil where nothing changes.
    private func rewrittenRecord(
        _ record: [UInt8], _ counts: inout PackJPEGCounts
    ) throws(HeadraceError) -> [UInt8]? {
        var replacements: [RecordReplacement] = []
        var own = PackJPEGCounts()
        for range in images(in: record) {
            guard let file = try rewritten(record[range], &own) else { continue }
            replacements.append(RecordReplacement(range: range, bytes: file))
        }
        replacements.sort { $0.range.lowerBound < $1.range.lowerBound }
        let new = replacements.isEmpty ? nil : RecordReplacement.record(record, with: replacements)
        if new == nil, !replacements.isEmpty {
            own = PackJPEGCounts()
            own.kept[.unsupported] = replacements.count
        }
        counts += own
        return new
    }

    /// Values of bytes lists that begin as JPEGs do.
    private func images(in record: [UInt8]) -> [Range<Int>] {
        unsafe record.withUnsafeBytes { buffer in
            let bytes = unsafe buffer.bytes
            guard parser.parse(bytes) == .example else { return [] }
            var ranges: [Range<Int>] = []
            func add(_ message: FeatureMessage) {
                guard message.kind == .bytes else { return }
                message.forEachString(bytes) { range in
                    if Self.beginsAsJPEG(record[range]) { ranges.append(range) }
                }
            }
            for feature in parser.features {
                if feature.steps != nil {
                    FeatureListMessage.forEachStep(bytes, feature.message) { add($0) }
                } else if let message = FeatureMessage(bytes, feature.message) {
                    add(message)
                }
            }
            return ranges
        }
    }
}

/// Bytes of a protobuf message that become others. They are the whole of a field, in fields of fields, whose lengths
/// change with them; all else stays.
private struct RecordReplacement {
    var range: Range<Int>
    var bytes: [UInt8]

    /// The record with these replacements, which are in order; nil where it is not well-formed down to each of them.
    static func record(_ record: [UInt8], with replacements: [RecordReplacement]) -> [UInt8]? {
        unsafe record.withUnsafeBytes { buffer in
            var copy: [UInt8] = []
            copy.reserveCapacity(replacements.reduce(record.count + 64) { $0 + max(0, $1.bytes.count) })
            let isWhole = append(
                0..<record.count, of: record, unsafe buffer.bytes, with: replacements[...], to: &copy)
            return isWhole ? copy : nil
        }
    }

    private static func append(
        _ message: Range<Int>, of record: [UInt8], _ bytes: RawSpan,
        with replacements: ArraySlice<RecordReplacement>, to copy: inout [UInt8]
    ) -> Bool {
        var cursor = ProtobufCursor(message)
        var rest = replacements
        while let first = rest.first {
            let start = cursor.position
            guard let (_, wire) = cursor.tag(bytes) else { return false }
            let tagEnd = cursor.position
            guard wire == ProtobufCursor.Wire.lengthDelimited else {
                guard cursor.skip(bytes, wire) else { return false }
                copy += record[start..<cursor.position]
                continue
            }
            guard let content = cursor.span(bytes) else { return false }
            let own = rest.prefix { $0.range.upperBound <= content.upperBound }
            rest = rest.dropFirst(own.count)
            copy += record[start..<(own.isEmpty ? content.upperBound : tagEnd)]
            if own.isEmpty { continue }
            var inner = first.bytes
            if content != first.range {
                inner = []
                guard append(content, of: record, bytes, with: own, to: &inner) else { return false }
            }
            append(varint: inner.count, to: &copy)
            copy += inner
        }
        copy += record[cursor.position..<message.upperBound]
        return true
    }

    private static func append(varint number: Int, to bytes: inout [UInt8]) {
        var value = number
        while value >= 0x80 {
            bytes.append(UInt8(value & 0x7f) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }
}

extension PackJPEGCounts {
    var members: [JSONMember] {
        [
            JSONMember("rewritten", .int(rewritten)), JSONMember("source_bytes", .int(sourceByteCount)),
            JSONMember("bytes", .int(byteCount)),
            JSONMember(
                "kept",
                .object(
                    kept.sorted { $0.key.rawValue < $1.key.rawValue }
                        .map { JSONMember($0.key.rawValue, .int($0.value)) })),
        ]
    }

    /// Nothing where there is nothing.
    init(_ json: JSONValue?) {
        rewritten = json?["rewritten"]?.intValue ?? 0
        sourceByteCount = json?["source_bytes"]?.intValue ?? 0
        byteCount = json?["bytes"]?.intValue ?? 0
        for member in json?["kept"]?.objectValue ?? [] {
            if let reason = KeptJPEGReason(rawValue: member.name) { kept[reason] = member.value.intValue }
        }
    }
}
