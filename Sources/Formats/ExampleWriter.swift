/// Writes a sample as `tf.Example`: each field a bytes_list of one value, the key a feature `__key__`.
///
/// Every length follows from the lengths of names and payloads, so that a record can be written front to back
/// without holding its payloads. Callers pass the features sorted bytewise by name: protobuf leaves the order of
/// a map open, and reproducible shards need one.
package enum ExampleWriter {
    /// The feature that carries the sample's key.
    package static let keyName = "__key__"
    /// What protobuf's own parsers accept: messages of less than 2 GiB.
    package static let largestExample = Int(Int32.max)

    /// Bytes of one feature within the features, all framing included.
    package static func featureByteCount(nameByteCount: Int, payloadByteCount: Int) -> Int {
        let entry = entryByteCount(nameByteCount, payloadByteCount)
        return 1 + varintByteCount(entry) + entry
    }

    /// Bytes of the whole example whose features add up to `featuresByteCount`.
    package static func exampleByteCount(featuresByteCount: Int) -> Int {
        1 + varintByteCount(featuresByteCount) + featuresByteCount
    }

    /// Appends what comes before the first feature.
    package static func appendHead(featuresByteCount: Int, to buffer: OutputBuffer) {
        appendTag(featuresByteCount, field: 1, to: buffer)
    }

    /// Appends all of a feature that comes before its payload; nothing comes after it.
    package static func appendFeatureHead(name: String, payloadByteCount: Int, to buffer: OutputBuffer) {
        let nameByteCount = name.utf8.count
        let list = 1 + varintByteCount(payloadByteCount) + payloadByteCount
        let feature = 1 + varintByteCount(list) + list
        appendTag(entryByteCount(nameByteCount, payloadByteCount), field: 1, to: buffer)
        appendTag(nameByteCount, field: 1, to: buffer)
        buffer.append(name)
        appendTag(feature, field: 2, to: buffer)
        appendTag(list, field: 1, to: buffer)
        appendTag(payloadByteCount, field: 1, to: buffer)
    }

    private static func entryByteCount(_ nameByteCount: Int, _ payloadByteCount: Int) -> Int {
        let list = 1 + varintByteCount(payloadByteCount) + payloadByteCount
        let feature = 1 + varintByteCount(list) + list
        return 1 + varintByteCount(nameByteCount) + nameByteCount + 1 + varintByteCount(feature) + feature
    }

    /// A length-delimited field: its tag and its length.
    private static func appendTag(_ byteCount: Int, field: UInt8, to buffer: OutputBuffer) {
        buffer.append(byte: field << 3 | 2)
        var rest = UInt64(byteCount)
        while rest >= 0x80 {
            buffer.append(byte: UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        buffer.append(byte: UInt8(rest))
    }

    private static func varintByteCount(_ value: Int) -> Int {
        max(1, (Int.bitWidth - value.leadingZeroBitCount + 6) / 7)
    }
}
