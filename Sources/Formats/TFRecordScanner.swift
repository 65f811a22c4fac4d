package import HeadraceCore

/// Finds the records of a TFRecord shard. Every record is a sample with the one field `record` and no key, or,
/// with `examples`, what the tf.Example in it says:
///
/// - a bytes list of one value is a field of the feature's name that holds the value;
/// - any other list is a field named after the feature and the kind, such as `label.int64_list`, that holds the
///   serialized list message, so that a decoder can never take one for the other;
/// - the bytes feature `__key__` is the sample's key;
/// - a feature without a kind is absent; one whose list came in several pieces is the defect `unsupported`;
/// - a record that is no Example stays the field `record`.
///
/// The CRC of a length is checked before the length is believed; if it fails, nothing after it can be found. A
/// record whose data fails its CRC is a defect with a place in the order, and the next record follows.
package final class TFRecordScanner: ShardScanner {
    private var walk: TFRecordWalk

    package init(names: FieldNames, limits: FormatLimits = FormatLimits(), examples: Bool = false) {
        walk = TFRecordWalk(names: names, limits: limits, examples: examples)
    }

    package var account: ShardAccount { walk.account }

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
