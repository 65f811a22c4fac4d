/// Reads one tf.Example in place: which features it has, of which kind, how many values, and where they lie.
///
/// A reader of three small protobuf messages, bounded by the record it is given: nothing is copied and, once warm,
/// nothing allocated. Packed and unpacked lists are read, unknown fields skipped, a duplicate feature replaces the
/// earlier one (as protobuf's maps do), groups are refused.
package struct ExampleParser {
    /// The kind of a feature's list.
    package enum Kind: Sendable { case bytes, float, int64 }

    /// One feature; places are counted from the record's first byte.
    package struct Feature: Sendable {
        package var name: Range<Int>
        /// nil for a feature whose kind is not set, which is legal and means that there is none.
        package var kind: Kind?
        /// The serialized `BytesList`, `FloatList` or `Int64List`.
        package var list: Range<Int>
        /// Values in the list.
        package var count: Int
        /// The first value of a bytes list; the first packed run of a float list.
        package var first: Range<Int>
        /// The kind was given more than once: protobuf would merge the lists, so no single place holds them.
        package var isMerged: Bool
    }

    /// What a record turned out to be.
    package enum Outcome: Sendable, Equatable {
        case example
        /// Something else, or damaged; a record like any other.
        case other
        /// More features than allowed.
        case tooManyFeatures
    }

    /// The features of the last record that was an Example, in its order.
    package private(set) var features: [Feature] = []
    private let limit: Int

    /// - Parameter featureLimit: the most features of one record.
    package init(featureLimit: Int = FormatLimits().fieldsPerSample) { limit = featureLimit }

    /// Protobuf wire types.
    private enum Wire { static let varint = 0, fixed64 = 1, lengthDelimited = 2, fixed32 = 5 }

    /// Reads a record. The features are valid when the outcome is `example`.
    ///
    /// An Example has nothing known but field 1; a record with a field 2 is a SequenceExample or another message
    /// that happens to begin alike. An empty record is no Example either: it says nothing that could be lost.
    package mutating func parse(_ record: RawSpan) -> Outcome {
        features.removeAll(keepingCapacity: true)
        var cursor = Cursor(0..<record.byteCount)
        var hasFeatures = false
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return .other }
            switch field {
            case 1:
                guard wire == Wire.lengthDelimited, let body = cursor.span(record) else { return .other }
                hasFeatures = true
                let outcome = parseFeatures(record, body)
                guard outcome == .example else { return outcome }
            case 2:
                return .other
            default:
                guard cursor.skip(record, wire) else { return .other }
            }
        }
        return hasFeatures ? .example : .other
    }

    /// `Features { map<string, Feature> feature = 1 }`
    private mutating func parseFeatures(_ record: RawSpan, _ range: Range<Int>) -> Outcome {
        var cursor = Cursor(range)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return .other }
            guard field == 1 else {
                guard cursor.skip(record, wire) else { return .other }
                continue
            }
            guard wire == Wire.lengthDelimited, let entry = cursor.span(record),
                let feature = Self.parseEntry(record, entry)
            else { return .other }
            if let known = features.firstIndex(where: { Self.isEqual(record, $0.name, feature.name) }) {
                features[known] = feature
            } else {
                guard features.count < limit else { return .tooManyFeatures }
                features.append(feature)
            }
        }
        return .example
    }

    /// One entry of the map: `{ string key = 1; Feature value = 2 }`. Every writer puts down both, once; other
    /// messages that look like an Example from afar (a list of Examples does) do not.
    private static func parseEntry(_ record: RawSpan, _ range: Range<Int>) -> Feature? {
        var cursor = Cursor(range)
        var name: Range<Int>?
        var value: Range<Int>?
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return nil }
            switch field {
            case 1:
                guard name == nil, wire == Wire.lengthDelimited, let body = cursor.span(record) else {
                    return nil
                }
                name = body
            case 2:
                guard value == nil, wire == Wire.lengthDelimited, let body = cursor.span(record) else {
                    return nil
                }
                value = body
            default:
                guard cursor.skip(record, wire) else { return nil }
            }
        }
        guard let name, let value else { return nil }
        return parseFeature(record, name: name, value)
    }

    /// `Feature { oneof kind { BytesList = 1; FloatList = 2; Int64List = 3 } }`
    private static func parseFeature(_ record: RawSpan, name: Range<Int>, _ range: Range<Int>) -> Feature? {
        let nothing = range.lowerBound..<range.lowerBound
        var feature = Feature(
            name: name, kind: nil, list: nothing, count: 0, first: nothing, isMerged: false)
        var cursor = Cursor(range)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return nil }
            let kind: Kind
            switch field {
            case 1: kind = .bytes
            case 2: kind = .float
            case 3: kind = .int64
            default:
                guard cursor.skip(record, wire) else { return nil }
                continue
            }
            guard wire == Wire.lengthDelimited, let list = cursor.span(record) else { return nil }
            // Of two different kinds the last is set; two of one kind would be merged.
            feature.isMerged = feature.kind == kind
            feature.kind = kind
            feature.list = list
            guard parseList(record, kind, &feature) else { return nil }
        }
        return feature
    }

    /// `repeated value = 1` of each kind: counts, and finds the first.
    private static func parseList(_ record: RawSpan, _ kind: Kind, _ feature: inout Feature) -> Bool {
        var cursor = Cursor(feature.list)
        feature.count = 0
        feature.first = feature.list.lowerBound..<feature.list.lowerBound
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return false }
            guard field == 1 else {
                guard cursor.skip(record, wire) else { return false }
                continue
            }
            switch (kind, wire) {
            case (.bytes, Wire.lengthDelimited):
                guard let value = cursor.span(record) else { return false }
                if feature.count == 0 { feature.first = value }
                feature.count += 1
            case (.float, Wire.lengthDelimited):
                guard let run = cursor.span(record), run.count % 4 == 0 else { return false }
                if feature.count == 0 { feature.first = run }
                feature.count += run.count / 4
            case (.float, Wire.fixed32), (.int64, Wire.varint):
                guard cursor.skip(record, wire) else { return false }
                feature.count += 1
            case (.int64, Wire.lengthDelimited):
                guard let run = cursor.span(record), let count = varintCount(record, run) else {
                    return false
                }
                feature.count += count
            default:
                return false
            }
        }
        return true
    }

    /// Numbers in a packed run; nil when the last one is cut or one is longer than ten bytes.
    private static func varintCount(_ record: RawSpan, _ run: Range<Int>) -> Int? {
        var cursor = Cursor(run)
        var count = 0
        while !cursor.isAtEnd {
            guard cursor.varint(record) != nil else { return nil }
            count += 1
        }
        return count
    }

    static func isEqual(_ record: RawSpan, _ one: Range<Int>, _ other: Range<Int>) -> Bool {
        guard one.count == other.count else { return false }
        for index in 0..<one.count
        where record.byte(one.lowerBound + index) != record.byte(other.lowerBound + index) {
            return false
        }
        return true
    }

    /// A place in one message; never moves beyond its end.
    private struct Cursor {
        private var position: Int
        private let end: Int

        init(_ range: Range<Int>) {
            position = range.lowerBound
            end = range.upperBound
        }

        var isAtEnd: Bool { position >= end }

        /// A base-128 number of at most ten bytes; what exceeds 64 bits is dropped, as protobuf does.
        @inline(__always)
        mutating func varint(_ bytes: RawSpan) -> UInt64? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while position < end, shift < 70 {
                let byte = bytes.byte(position)
                position += 1
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            return nil
        }

        mutating func tag(_ bytes: RawSpan) -> (field: UInt64, wire: Int)? {
            guard let tag = varint(bytes), tag >> 3 > 0, tag >> 32 == 0 else { return nil }
            return (tag >> 3, Int(tag & 7))
        }

        /// The body of a length-delimited field.
        mutating func span(_ bytes: RawSpan) -> Range<Int>? {
            guard let length = varint(bytes), length <= UInt64(end - position) else { return nil }
            let start = position
            position += Int(length)
            return start..<position
        }

        /// Passes over a field; false where it is cut, or is a group (which no message here ever had).
        mutating func skip(_ bytes: RawSpan, _ wire: Int) -> Bool {
            switch wire {
            case Wire.varint: return varint(bytes) != nil
            case Wire.lengthDelimited: return span(bytes) != nil
            case Wire.fixed64, Wire.fixed32:
                let count = wire == Wire.fixed64 ? 8 : 4
                guard end - position >= count else { return false }
                position += count
                return true
            default: return false
            }
        }
    }
}
