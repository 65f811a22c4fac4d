package import HeadraceCore

/// Finds the records of a TFRecord shard. Every record is a sample with the one field `record` and no key, or,
/// with `examples`, what the tf.Example or tf.SequenceExample in it says:
///
/// - a feature (of the context) is a field of its name. One bytes value is the field's bytes; anything else is the
///   serialized `Feature`, marked as such (``FieldEncoding``), so that a decoder can never take one for the other;
/// - a feature list is a field `feature_lists/NAME`, the serialized `FeatureList`;
/// - the bytes feature `__key__` is the sample's key;
/// - a feature without a kind is absent;
/// - a record that is neither message stays the field `record`.
///
/// The CRC of a length is checked before the length is believed; if it fails, nothing after it can be found. A
/// record whose data fails its CRC is a defect with a place in the order, and the next record follows.
package final class TFRecordScanner: SpanScanner {
    private var walk: TFRecordWalk

    package init(names: FieldNames, limits: FormatLimits = FormatLimits(), examples: Bool = false) {
        walk = TFRecordWalk(names: names, limits: limits, examples: examples)
    }

    package var account: ShardAccount { walk.account }

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
            unsafe walk.scanAlone(bytes, at: sample.offset, shift: sample.place, into: &table)
            guard table.samples.count == before + 1 else { break }
            count += 1
        }
        return count
    }

    package func scan(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, isLast: Bool, total: Int?,
        into table: inout SampleTable
    ) -> ScanOutcome {
        unsafe walk.scan(bytes, at: offset, isLast: isLast, total: total, into: &table)
    }

    /// Whether 12 bytes are a length and its CRC.
    package static func hasValidLength(_ header: UnsafeRawBufferPointer) -> Bool {
        guard header.count >= TFRecordWalk.headerBytes else { return false }
        let length = unsafe UnsafeRawBufferPointer(rebasing: header[..<8])
        return unsafe maskedCRC32C(length) == header.bytes.littleEndian32(8)
    }
}
