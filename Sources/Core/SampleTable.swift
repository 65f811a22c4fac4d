/// One sample as a scanner found it: positions only, never bytes.
///
/// Trivial on purpose: copying a struct with a single strong reference costs ten times as much, and a slab of
/// tiny samples has tens of thousands of these.
package struct SampleRecord: Sendable {
    /// Offset of the sample's first byte (its first tar header, or its record header) in the uncompressed shard.
    package var offset: Int
    /// Where the key starts in ``SampleTable/keys``; TFRecord samples without `__key__` have no key bytes.
    package var keyOffset: Int32
    package var keyLength: Int32
    /// Index of the first field in ``SampleTable/fields``; fields keep the order of the shard.
    package var firstField: Int32
    package var fieldCount: Int32
    /// Index in ``SampleTable/defects`` of the defect that makes this sample undeliverable, or -1.
    package var defect: Int32
    /// The record was to be a tf.Example and is none: its only field is the record itself, and fields that it lacks are
    /// not absent but unknown.
    package var isUnparsed = false

    package init(
        offset: Int, keyOffset: Int32, keyLength: Int32, firstField: Int32, fieldCount: Int32,
        defect: Int32 = -1
    ) {
        self.offset = offset
        self.keyOffset = keyOffset
        self.keyLength = keyLength
        self.firstField = firstField
        self.fieldCount = fieldCount
        self.defect = defect
    }
}

/// One field of a sample: a span of the slab that was scanned.
package struct FieldRecord: Sendable {
    /// Payload start, counted from the first byte given to the scanner.
    package var offset: Int
    /// Payload length in bytes.
    package var length: Int
    /// Number of the field's name in the loader's ``FieldNames``.
    package var name: Int32
    package var encoding: FieldEncoding

    package init(offset: Int, length: Int, name: Int32, encoding: FieldEncoding = .plain) {
        self.offset = offset
        self.length = length
        self.name = name
        self.encoding = encoding
    }
}

/// How the bytes of a field stand for its value.
public enum FieldEncoding: UInt8, Hashable, Sendable {
    /// The bytes are the value.
    case plain
    /// A serialized `Feature` of a tf.Example: numbers, or other than one bytes value.
    case feature
    /// A serialized `FeatureList` of a tf.SequenceExample.
    case featureList
}

/// What a scanner found in one slab. Reused from slab to slab, so that a warm loader allocates nothing.
package struct SampleTable: Sendable {
    package var samples: [SampleRecord] = []
    package var fields: [FieldRecord] = []
    /// The keys' UTF-8 bytes, one after the other.
    package var keys: [UInt8] = []
    package var defects: [HeadraceError] = []

    package init() {}

    package mutating func removeAll() {
        samples.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
        keys.removeAll(keepingCapacity: true)
        defects.removeAll(keepingCapacity: true)
    }

    /// Bytes this table occupies, for the memory budget.
    package var byteCount: Int {
        samples.capacity * MemoryLayout<SampleRecord>.stride
            + fields.capacity * MemoryLayout<FieldRecord>.stride + keys.capacity
    }

    /// Appends an undeliverable sample; every framed or lost record keeps its place in the order.
    package mutating func appendDefect(_ error: HeadraceError, offset: Int, key: [UInt8] = []) {
        samples.append(
            SampleRecord(
                offset: offset, keyOffset: Int32(keys.count), keyLength: Int32(key.count),
                firstField: Int32(fields.count), fieldCount: 0, defect: Int32(defects.count)))
        keys.append(contentsOf: key)
        let name = key.isEmpty ? nil : String(decoding: key, as: UTF8.self)
        defects.append(error.placed(offset: offset, key: name))
    }

    /// Appends `count` further undeliverable samples that share the last defect: samples that are known to exist and
    /// cannot be found.
    package mutating func appendLost(_ count: Int, offset: Int) {
        guard count > 0, !defects.isEmpty else { return }
        let lost = SampleRecord(
            offset: offset, keyOffset: Int32(keys.count), keyLength: 0, firstField: Int32(fields.count),
            fieldCount: 0, defect: Int32(defects.count - 1))
        samples.append(contentsOf: repeatElement(lost, count: count))
    }

    /// Appends samples without a key whose only field is `name`: the payloads of records with 12 bytes before each.
    ///
    /// - Parameters:
    ///   - spans: The payloads, counted from `position`.
    ///   - position: Where in the scanned bytes the spans are counted from.
    ///   - shardOffset: Place of the first scanned byte in the shard.
    package mutating func appendRecords(
        _ spans: UnsafeBufferPointer<ByteSpan>, behind position: Int, shardOffset: Int, name: Int32
    ) {
        let key = Int32(truncatingIfNeeded: keys.count)
        let first = fields.count
        fields.append(addingCapacity: spans.count) { output in
            for index in spans.indices {
                let span = unsafe spans[index]
                output.append(
                    FieldRecord(offset: position + span.offset, length: span.length, name: name))
            }
        }
        samples.append(addingCapacity: spans.count) { output in
            for index in spans.indices {
                output.append(
                    SampleRecord(
                        offset: shardOffset + position + (unsafe spans[index].offset) - 12, keyOffset: key,
                        keyLength: 0, firstField: Int32(truncatingIfNeeded: first + index), fieldCount: 1))
            }
        }
    }

    /// Appends the samples that `members` are: each begins where a member does not continue the one before.
    ///
    /// - Parameters:
    ///   - bytes: Where the members' places are counted from; they stand `position` behind the first scanned byte.
    ///   - shardOffset: Place of the first scanned byte in the shard.
    /// - Returns: how many samples there are, and how many fields the last one has.
    package mutating func appendMembers(
        _ members: UnsafeBufferPointer<PlainMember>, of bytes: UnsafeRawBufferPointer, behind position: Int,
        shardOffset: Int
    ) -> (samples: Int, fieldsOfLast: Int) {
        let before = samples.count
        let firstField = fields.count
        fields.append(addingCapacity: members.count) { output in
            for index in members.indices {
                let member = unsafe members[index]
                output.append(
                    FieldRecord(
                        offset: position + member.offset + 512, length: member.length,
                        name: Int32(member.field)))
            }
        }
        var keyBytes = 0
        for index in members.indices where unsafe !members[index].continues {
            keyBytes += unsafe Int(members[index].keyLength)
        }
        var keyOffset = keys.count
        keys.append(addingCapacity: keyBytes) { output in
            for index in members.indices where unsafe !members[index].continues {
                let member = unsafe members[index]
                for place in member.offset..<member.offset + Int(member.keyLength) {
                    unsafe output.append(bytes[place])
                }
            }
        }
        samples.append(addingCapacity: members.count) { output in
            var index = 0
            while index < members.count {
                let first = unsafe members[index]
                var end = index + 1
                while end < members.count, unsafe members[end].continues { end += 1 }
                output.append(
                    SampleRecord(
                        offset: shardOffset + position + first.offset,
                        keyOffset: Int32(truncatingIfNeeded: keyOffset), keyLength: Int32(first.keyLength),
                        firstField: Int32(truncatingIfNeeded: firstField + index),
                        fieldCount: Int32(truncatingIfNeeded: end - index)))
                keyOffset += Int(first.keyLength)
                index = end
            }
        }
        return (samples.count - before, Int(samples.last?.fieldCount ?? 0))
    }

    /// Takes the samples from `first` on out again, and what they have of fields and keys.
    package mutating func removeSamples(from first: Int) {
        guard first < samples.count else { return }
        fields.removeLast(max(0, fields.count - Int(samples[first].firstField)))
        keys.removeLast(max(0, keys.count - Int(samples[first].keyOffset)))
        samples.removeLast(samples.count - first)
    }

    package func key(of sample: SampleRecord) -> String {
        let start = Int(sample.keyOffset)
        return String(decoding: keys[start..<start + Int(sample.keyLength)], as: UTF8.self)
    }
}

/// The field names of a data set, numbered in the order in which they were first seen.
///
/// Numbers depend on timing when several lanes meet new names at once, so they never leave the process: whatever
/// is printed, hashed or ordered uses the name.
package final class FieldNames: @unchecked Sendable {  // Sendable: `lock` guards both tables.
    /// More distinct names than this in one data set mean that names carry data; refused.
    package static let limit = 4096

    private let lock = Lock()
    private var numbers: [[UInt8]: Int32] = [:]
    private var names: [String] = []

    package init() {}

    /// The number of `name`, given as UTF-8; nil when ``limit`` names exist already.
    package func number(of name: [UInt8]) -> Int32? {
        lock.withLock {
            if let known = numbers[name] { return known }
            guard names.count < Self.limit else { return nil }
            let number = Int32(names.count)
            numbers[name] = number
            names.append(String(decoding: name, as: UTF8.self))
            return number
        }
    }

    package func name(of number: Int32) -> String {
        lock.withLock { names[Int(number)] }
    }

    /// The number of a name that has been seen; nil when no sample had it yet.
    package func known(_ name: String) -> Int32? {
        lock.withLock { numbers[Array(name.utf8)] }
    }

    package var all: [String] { lock.withLock { names } }
}
