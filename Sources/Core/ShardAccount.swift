/// Where every byte of one shard went: parsed, ignored by rule, or lost to a defect. The three add up to the
/// shard's (uncompressed) size when its scanner has seen the end.
package struct ShardAccount: Sendable, Equatable {
    /// Samples found, defective ones included.
    package var samples = 0
    /// Tar members or TFRecord records found.
    package var members = 0
    /// Headers, payloads and padding that were understood, the end marker included.
    package var bytesParsed = 0
    /// Bytes passed over by a rule of the format, reasons in ``ignored``.
    package var bytesIgnored = 0
    /// Bytes that no sample carries because of a defect.
    package var bytesLost = 0
    /// Why members or bytes were ignored, and how many: `metaMembers`, `hiddenMembers`, `unmatchedNames`,
    /// `directories`, `links`, `specialFiles`, `dataAfterEnd` (bytes), `missingEndOfArchive` (1).
    package var ignored: [String: Int] = [:]

    package init() {}

    package mutating func ignore(_ reason: String, count: Int = 1, bytes: Int = 0) {
        ignored[reason, default: 0] += count
        bytesIgnored += bytes
    }

    package mutating func add(_ other: ShardAccount) {
        samples += other.samples
        members += other.members
        bytesParsed += other.bytesParsed
        bytesIgnored += other.bytesIgnored
        bytesLost += other.bytesLost
        ignored.merge(other.ignored, uniquingKeysWith: +)
    }
}
