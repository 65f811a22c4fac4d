import Foundation
import HeadraceCore
import HeadraceFormats

/// One damage done to a shard.
enum Damage: Sendable, Hashable, CustomStringConvertible {
    /// Only the first bytes are left.
    case cut(to: Int)
    /// One byte has some of its bits turned over.
    case flip(at: Int, mask: UInt8)

    var description: String {
        switch self {
        case .cut(let count): "cut to \(count)"
        case .flip(let offset, let mask): "byte \(offset) ^ \(mask)"
        }
    }

    /// The damaged copy, exactly as large as its bytes, so that a read beyond them is seen by the address sanitizer.
    func applied(to original: [UInt8]) -> [UInt8] {
        switch self {
        case .cut(let count): return Array(original[..<count])
        case .flip(let offset, let mask):
            var copy = original
            copy[offset] ^= mask
            return copy
        }
    }

    /// Every cut of a file of `count` bytes, and every byte with each of `masks`.
    static func everywhere(in count: Int, masks: [UInt8]) -> [Damage] {
        (0..<count).map { .cut(to: $0) }
            + (0..<count).flatMap { offset in masks.map { .flip(at: offset, mask: $0) } }
    }

    /// `damageCount` of them, evenly spread over ``everywhere(in:masks:)`` with all eight bits and the whole byte.
    static func spread(in count: Int, damageCount: Int) -> [Damage] {
        let all = everywhere(in: count, masks: [1, 2, 4, 8, 16, 32, 64, 128, 255])
        guard damageCount < all.count else { return all }
        return (0..<damageCount).map { all[$0 * all.count / damageCount] }
    }
}

/// What a reader made of a shard.
struct ShardReading: Sendable, Equatable {
    /// Digests of the samples that were delivered as good, in order: key, field names and payloads.
    var samples: [UInt64] = []
    /// Whether anything was reported as wrong.
    var isDefective = false
    /// For failed expectations.
    var report = ""
}

/// What became of a row of damages. Every one of them is in exactly one of the counts.
struct DamageTally: Sendable, CustomStringConvertible {
    /// Reported, and what was delivered before or behind it is what had been written.
    var detectedCount = 0
    /// Reported, but only after a changed sample had been delivered: what a checksum at the end of a stream allows.
    var detectedLate: [Damage] = []
    /// Not reported, and every sample is what had been written: the bits meant nothing.
    var harmlessCount = 0
    /// Not reported, samples are missing, those delivered are right: only a count kept elsewhere can tell.
    var lost: [Damage] = []
    /// Not reported, and a sample is not what had been written. There must be none.
    var changed: [Damage] = []

    var triedCount: Int {
        detectedCount + detectedLate.count + harmlessCount + lost.count + changed.count
    }

    var counts: String {
        "\(triedCount) damages: \(detectedCount) detected, \(detectedLate.count) detected late, "
            + "\(harmlessCount) harmless, \(lost.count) lost, \(changed.count) changed"
    }

    var description: String {
        "\(counts); lost \(lost.prefix(10)), changed \(changed.prefix(10)), late \(detectedLate.prefix(3))"
    }

    mutating func add(_ other: DamageTally) {
        detectedCount += other.detectedCount
        detectedLate += other.detectedLate
        harmlessCount += other.harmlessCount
        lost += other.lost
        changed += other.changed
    }
}

/// Damages `original` in each of the ways, reads what is left with `read`, and compares with `baseline`, the digests
/// of the samples of the undamaged shard.
func cutAndFlip(
    _ original: [UInt8], baseline: [UInt64], _ damages: some Sequence<Damage>,
    read: ([UInt8]) -> ShardReading
) -> DamageTally {
    var tally = DamageTally()
    for damage in damages {
        let reading = read(damage.applied(to: original))
        let isSame = reading.samples == baseline
        let isRight = isSame || isSubsequence(reading.samples, of: baseline)
        switch (reading.isDefective, isRight) {
        case (true, true): tally.detectedCount += 1
        case (true, false): tally.detectedLate.append(damage)
        case (false, true) where isSame: tally.harmlessCount += 1
        case (false, true): tally.lost.append(damage)
        case (false, false): tally.changed.append(damage)
        }
    }
    return tally
}

/// Whether `part` is `whole` with some elements left out.
private func isSubsequence(_ part: [UInt64], of whole: [UInt64]) -> Bool {
    var place = 0
    for element in part {
        while place < whole.count, whole[place] != element { place += 1 }
        if place == whole.count { return false }
        place += 1
    }
    return true
}

/// Reads an uncompressed shard as its scanner does.
///
/// - Parameter isLast: false where the shard was cut off by a failure of its codec: what is open at the end is no
///   sample then.
func readPlainShard(_ bytes: [UInt8], _ format: ShardFormatKind, isLast: Bool = true) -> ShardReading {
    let names = FieldNames()
    let scanner = format.makeScanner(names: names)
    var table = SampleTable()
    return bytes.withUnsafeBytes { buffer in
        _ = scanner.scan(buffer, at: 0, isLast: isLast, total: nil, into: &table)
        var reading = ShardReading()
        reading.isDefective = !table.defects.isEmpty
        reading.report = table.defects.first.map { "\($0)" } ?? ""
        for sample in table.samples where sample.defect < 0 {
            reading.samples.append(digest(sample, table, buffer, names))
        }
        return reading
    }
}

private func digest(
    _ sample: SampleRecord, _ table: SampleTable, _ bytes: UnsafeRawBufferPointer, _ names: FieldNames
) -> UInt64 {
    let keyStart = Int(sample.keyOffset)
    var digest = table.keys[keyStart..<keyStart + Int(sample.keyLength)].withUnsafeBytes { xxh64($0) }
    for index in Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount) {
        let field = table.fields[index]
        var name = names.name(of: field.name)
        digest = name.withUTF8 { xxh64(UnsafeRawBufferPointer($0), seed: digest) }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[field.offset..<field.offset + field.length])
        digest = xxh64(payload, seed: digest)
    }
    return digest
}

/// How many damages a test tries: all of them with `HEADRACE_FAULTS=full`, else as many as take a moment.
enum FaultCount {
    static let isFull = ProcessInfo.processInfo.environment["HEADRACE_FAULTS"] == "full"

    static func damages(in byteCount: Int, full: Int, quick: Int) -> [Damage] {
        Damage.spread(in: byteCount, damageCount: isFull ? full : quick)
    }
}
