package import HeadraceCore

/// Reads one tf.Example or tf.SequenceExample in place: which features it has, of which kind, how many values, and
/// where they lie.
///
/// Bounded by the record it is given: nothing is copied and, once warm, nothing allocated. Packed and unpacked lists
/// are read, unknown fields skipped, a duplicate feature replaces the earlier one (as protobuf's maps do), groups are
/// refused.
package struct ExampleParser {
    /// One feature, or one feature list; places are counted from the record's first byte.
    package struct Feature: Sendable {
        package var name: Range<Int>
        /// The serialized `Feature` or `FeatureList`.
        package var message: Range<Int>
        /// nil for a feature whose kind is not set, which is legal and means that there is none, and for a list
        /// without values or of several kinds.
        package var kind: FeatureMessage.Kind?
        /// Values, of all steps together.
        package var count: Int
        /// The first value of a bytes list.
        package var first: Range<Int>
        /// Steps of a feature list; nil for a feature.
        package var steps: Int?
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
    /// Numbers of the features by the hash of their name, counted from 1; used for records of many features, where to
    /// look at each would take the square of their number.
    private var places: [Int32] = []
    /// Slots of ``places`` that are in use, a power of two; 0 while features are searched one by one.
    private var placeCount = 0
    /// Up to so many features are searched one by one.
    private static let searchedFeatures = 24

    /// - Parameter featureLimit: the most features of one record.
    package init(featureLimit: Int = FormatLimits().fieldsPerSample) { limit = featureLimit }

    /// Reads a record. The features are valid when the outcome is `example`.
    ///
    /// Field 1 is the features of an Example and the context of a SequenceExample: the two cannot be told apart, and
    /// need not be. Field 2 is the feature lists of a SequenceExample. An empty record is neither: it says nothing
    /// that could be lost.
    package mutating func parse(_ record: RawSpan) -> Outcome {
        features.removeAll(keepingCapacity: true)
        placeCount = 0
        var cursor = ProtobufCursor(0..<record.byteCount)
        var hasMap = false
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return .other }
            guard field <= 2 else {
                guard cursor.skip(record, wire) else { return .other }
                continue
            }
            guard wire == ProtobufCursor.Wire.lengthDelimited, let body = cursor.span(record) else {
                return .other
            }
            hasMap = true
            let outcome = parseMap(record, body, isList: field == 2)
            guard outcome == .example else { return outcome }
        }
        return hasMap ? .example : .other
    }

    /// `Features { map<string, Feature> feature = 1 }` or `FeatureLists { map<string, FeatureList> = 1 }`
    private mutating func parseMap(_ record: RawSpan, _ range: Range<Int>, isList: Bool) -> Outcome {
        var cursor = ProtobufCursor(range)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return .other }
            guard field == 1 else {
                guard cursor.skip(record, wire) else { return .other }
                continue
            }
            guard wire == ProtobufCursor.Wire.lengthDelimited, let entry = cursor.span(record),
                let feature = Self.parseEntry(record, entry, isList: isList)
            else { return .other }
            if let known = index(of: feature, record) {
                features[known] = feature
            } else {
                guard features.count < limit else { return .tooManyFeatures }
                features.append(feature)
                keepPlace(record)
            }
        }
        return .example
    }

    /// The feature that has the name of `feature` already.
    private func index(of feature: Feature, _ record: RawSpan) -> Int? {
        if placeCount == 0 { return features.firstIndex { Self.isSame(record, $0, feature) } }
        var slot = Self.hash(feature, record) & (placeCount - 1)
        while places[slot] != 0 {
            let index = Int(places[slot]) - 1
            if Self.isSame(record, features[index], feature) { return index }
            slot = (slot + 1) & (placeCount - 1)
        }
        return nil
    }

    /// Puts the last feature into the table, which is made or made larger when it is time.
    private mutating func keepPlace(_ record: RawSpan) {
        guard features.count > Self.searchedFeatures else { return }
        if features.count * 2 <= placeCount { return enter(features.count - 1, record) }
        placeCount = max(128, placeCount * 4)
        if places.count < placeCount { places = [Int32](repeating: 0, count: placeCount) }
        for slot in 0..<placeCount { places[slot] = 0 }
        for index in features.indices { enter(index, record) }
    }

    private mutating func enter(_ index: Int, _ record: RawSpan) {
        var slot = Self.hash(features[index], record) & (placeCount - 1)
        while places[slot] != 0 { slot = (slot + 1) & (placeCount - 1) }
        places[slot] = Int32(truncatingIfNeeded: index + 1)
    }

    private static func hash(_ feature: Feature, _ record: RawSpan) -> Int {
        let hash = unsafe record.extracting(feature.name).withUnsafeBytes { unsafe xxh64($0) }
        return Int(truncatingIfNeeded: hash >> 1) &+ (feature.steps == nil ? 0 : 1)
    }

    private static func isSame(_ record: RawSpan, _ one: Feature, _ other: Feature) -> Bool {
        (one.steps != nil) == (other.steps != nil) && isEqual(record, one.name, other.name)
    }

    /// One entry of the map: `{ string key = 1; value = 2 }`. Every writer puts down both, once; other messages
    /// that look like an Example from afar (a list of Examples does) do not.
    private static func parseEntry(_ record: RawSpan, _ range: Range<Int>, isList: Bool) -> Feature? {
        var cursor = ProtobufCursor(range)
        var name: Range<Int>?
        var value: Range<Int>?
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(record) else { return nil }
            guard field <= 2 else {
                guard cursor.skip(record, wire) else { return nil }
                continue
            }
            guard (field == 1 ? name : value) == nil, wire == ProtobufCursor.Wire.lengthDelimited,
                let body = cursor.span(record)
            else { return nil }
            if field == 1 { name = body } else { value = body }
        }
        guard let name, let value, isText(record, name) else { return nil }
        if isList {
            guard let list = FeatureListMessage(record, value) else { return nil }
            return Feature(
                name: name, message: value, kind: list.kind, count: list.count,
                first: value.lowerBound..<value.lowerBound, steps: list.steps)
        }
        guard let feature = FeatureMessage(record, value) else { return nil }
        return Feature(
            name: name, message: value, kind: feature.kind, count: feature.count, first: feature.first)
    }

    /// Whether a name is UTF-8, as protobuf demands.
    private static func isText(_ record: RawSpan, _ name: Range<Int>) -> Bool {
        for place in name where record.byte(place) >= 0x80 {
            return String(validating: record.copy(from: name.lowerBound, to: name.upperBound), as: UTF8.self)
                != nil
        }
        return true
    }

    private static func isEqual(_ record: RawSpan, _ one: Range<Int>, _ other: Range<Int>) -> Bool {
        guard one.count == other.count else { return false }
        for index in 0..<one.count
        where record.byte(one.lowerBound + index) != record.byte(other.lowerBound + index) {
            return false
        }
        return true
    }
}
