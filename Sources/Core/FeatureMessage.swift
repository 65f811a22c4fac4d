/// One `Feature` of a tf.Example in its serialized form: of which kind it is, and how many values it has.
///
/// `Feature { oneof kind { BytesList = 1; FloatList = 2; Int64List = 3 } }`, each list `repeated value = 1`. Lists
/// may be packed or not and in pieces: pieces of one kind add up, of two kinds the last one counts, as protobuf has
/// it. Nothing is copied; places are counted from the first byte of the span that was given.
package struct FeatureMessage: Sendable {
    /// The kind of a feature's list.
    package enum Kind: String, Sendable { case bytes, float, int64 }

    /// nil for a feature whose kind is not set, which is legal and means that there is none.
    package private(set) var kind: Kind?
    /// Values in the list.
    package private(set) var count = 0
    /// The first value of a bytes list.
    package private(set) var first: Range<Int>
    /// Where the lists that count begin; those before were replaced by one of another kind.
    private var start: Int
    private let end: Int

    /// Reads the message in `range`; nil when it is no feature, or cut.
    package init?(_ bytes: RawSpan, _ range: Range<Int>) {
        start = range.lowerBound
        end = range.upperBound
        first = start..<start
        var cursor = ProtobufCursor(range)
        while !cursor.isAtEnd {
            let before = cursor.position
            guard let (field, wire) = cursor.tag(bytes) else { return nil }
            guard let kind = Self.kind(field) else {
                guard cursor.skip(bytes, wire) else { return nil }
                continue
            }
            guard wire == ProtobufCursor.Wire.lengthDelimited, let list = cursor.span(bytes) else {
                return nil
            }
            if kind != self.kind {
                self.kind = kind
                start = before
                count = 0
            }
            guard addValues(bytes, kind, list) else { return nil }
        }
    }

    @inline(__always)
    private static func kind(_ field: UInt64) -> Kind? {
        switch field {
        case 1: .bytes
        case 2: .float
        case 3: .int64
        default: nil
        }
    }

    /// Counts the values of one list; false where it is malformed.
    private mutating func addValues(_ bytes: RawSpan, _ kind: Kind, _ list: Range<Int>) -> Bool {
        var cursor = ProtobufCursor(list)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(bytes) else { return false }
            guard field == 1 else {
                guard cursor.skip(bytes, wire) else { return false }
                continue
            }
            switch (kind, wire) {
            case (.bytes, ProtobufCursor.Wire.lengthDelimited):
                guard let value = cursor.span(bytes) else { return false }
                if count == 0 { first = value }
                count += 1
            case (.float, ProtobufCursor.Wire.lengthDelimited):
                guard let run = cursor.span(bytes), run.count % 4 == 0 else { return false }
                count += run.count / 4
            case (.float, ProtobufCursor.Wire.fixed32), (.int64, ProtobufCursor.Wire.varint):
                guard cursor.skip(bytes, wire) else { return false }
                count += 1
            case (.int64, ProtobufCursor.Wire.lengthDelimited):
                guard let run = cursor.span(bytes), let more = Self.varintCount(bytes, run) else {
                    return false
                }
                count += more
            default:
                return false
            }
        }
        return true
    }

    /// Numbers in a packed run; nil when the last one is cut or one is longer than ten bytes.
    private static func varintCount(_ bytes: RawSpan, _ run: Range<Int>) -> Int? {
        var cursor = ProtobufCursor(run)
        var count = 0
        while !cursor.isAtEnd {
            guard cursor.varint(bytes) != nil else { return nil }
            count += 1
        }
        return count
    }

    // MARK: Values

    /// Writes the numbers of an int64 or float list, eight or four bytes each, in this machine's byte order:
    /// exactly ``count`` of them. A bytes list has none.
    package func copyNumbers(_ bytes: RawSpan, to target: UnsafeMutableRawPointer) {
        var target = unsafe target
        var cursor = ProtobufCursor(start..<end)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(bytes) else { return }
            guard let kind, Self.kind(field) == kind, let list = cursor.span(bytes) else {
                guard cursor.skip(bytes, wire) else { return }
                continue
            }
            switch kind {
            case .int64: unsafe target = Self.copyIntegers(bytes, list, to: target)
            case .float: unsafe target = Self.copyFloats(bytes, list, to: target)
            case .bytes: return
            }
        }
    }

    private static func copyIntegers(
        _ bytes: RawSpan, _ list: Range<Int>, to target: UnsafeMutableRawPointer
    ) -> UnsafeMutableRawPointer {
        var target = unsafe target
        var cursor = ProtobufCursor(list)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(bytes) else { break }
            guard field == 1 else {
                guard cursor.skip(bytes, wire) else { break }
                continue
            }
            // A single number is a packed run of one.
            let single = wire == ProtobufCursor.Wire.varint
            guard let run = single ? cursor.position..<list.upperBound : cursor.span(bytes) else { break }
            var numbers = ProtobufCursor(run)
            while !numbers.isAtEnd, let value = numbers.varint(bytes) {
                unsafe target.storeBytes(of: value, as: UInt64.self)
                unsafe target += 8
                if single { break }
            }
            if single { cursor = ProtobufCursor(numbers.position..<list.upperBound) }
        }
        return unsafe target
    }

    private static func copyFloats(
        _ bytes: RawSpan, _ list: Range<Int>, to target: UnsafeMutableRawPointer
    ) -> UnsafeMutableRawPointer {
        var target = unsafe target
        var cursor = ProtobufCursor(list)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(bytes) else { break }
            let from = cursor.position
            guard field == 1, wire == ProtobufCursor.Wire.lengthDelimited else {
                guard cursor.skip(bytes, wire) else { break }
                if field == 1 { unsafe copyWords(bytes, from..<from + 4, to: &target) }
                continue
            }
            guard let run = cursor.span(bytes) else { break }
            unsafe copyWords(bytes, run, to: &target)
        }
        return unsafe target
    }

    /// Copies little-endian words of four bytes.
    @inline(__always)
    private static func copyWords(
        _ bytes: RawSpan, _ run: Range<Int>, to target: inout UnsafeMutableRawPointer
    ) {
        #if _endian(little)
            unsafe bytes.extracting(run).withUnsafeBytes { source in
                guard let start = source.baseAddress else { return }
                unsafe target.copyMemory(from: start, byteCount: source.count)
            }
        #else
            for place in stride(from: 0, to: run.count, by: 4) {
                let word = unsafe bytes.unsafeLoadUnaligned(
                    fromByteOffset: run.lowerBound + place, as: UInt32.self)
                unsafe target.storeBytes(
                    of: UInt32(littleEndian: word), toByteOffset: place, as: UInt32.self)
            }
        #endif
        unsafe target += run.count
    }

    /// Calls `body` with the place of each value of a bytes list, in order.
    package func forEachString(_ bytes: RawSpan, _ body: (Range<Int>) -> Void) {
        guard kind == .bytes else { return }
        var cursor = ProtobufCursor(start..<end)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(bytes) else { return }
            guard field == 1, let list = cursor.span(bytes) else {
                guard cursor.skip(bytes, wire) else { return }
                continue
            }
            var values = ProtobufCursor(list)
            while !values.isAtEnd {
                guard let (field, wire) = values.tag(bytes) else { return }
                if field == 1, let value = values.span(bytes) {
                    body(value)
                } else if field == 1 || !values.skip(bytes, wire) {
                    return
                }
            }
        }
    }
}

/// One `FeatureList` of a tf.SequenceExample: `{ repeated Feature feature = 1 }`, a feature for each step.
package struct FeatureListMessage: Sendable {
    /// Features in the list.
    package private(set) var steps = 0
    /// The kind of all features that have one; nil when none has, or they differ.
    package private(set) var kind: FeatureMessage.Kind?
    package private(set) var isMixed = false
    /// Values of all steps together.
    package private(set) var count = 0
    /// Values of every step; nil when steps differ, or there are none.
    package private(set) var countPerStep: Int?

    /// Reads the message in `range`; nil when it is no list of features, or cut.
    package init?(_ bytes: RawSpan, _ range: Range<Int>) {
        var isEven = true
        let isGood = Self.forEachStep(bytes, range) { feature in
            if let kind = feature.kind {
                isMixed = isMixed || self.kind.map { $0 != kind } ?? false
                self.kind = kind
            }
            if steps > 0, feature.count != countPerStep { isEven = false }
            countPerStep = feature.count
            steps += 1
            count += feature.count
        }
        guard isGood else { return nil }
        if isMixed { kind = nil }
        if !isEven { countPerStep = nil }
    }

    /// Calls `body` with each feature in order; false where the message is malformed.
    @discardableResult
    package static func forEachStep(
        _ bytes: RawSpan, _ range: Range<Int>, _ body: (FeatureMessage) -> Void
    ) -> Bool {
        var cursor = ProtobufCursor(range)
        while !cursor.isAtEnd {
            guard let (field, wire) = cursor.tag(bytes) else { return false }
            guard field == 1 else {
                guard cursor.skip(bytes, wire) else { return false }
                continue
            }
            guard wire == ProtobufCursor.Wire.lengthDelimited, let place = cursor.span(bytes),
                let feature = FeatureMessage(bytes, place)
            else { return false }
            body(feature)
        }
        return true
    }
}
