internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// How the features of a `tf.Example` become the fields of a tar sample.
///
/// A bytes list of one value is the value, under the feature's name: what packing a tar into TFRecord made of its
/// fields. Numbers become an array, `NAME.npy`: int64 or float32, of one dimension. Any other bytes list stays the
/// serialized `BytesList`, `NAME.bytes_list`, as a loader names it. Names are turned to lower case, and a '/' to a
/// dot: readers of tar take no other field names.
struct ExampleMembers {
    private let items: SourceItems
    private let numbers: NumberListItems
    private var parser = ExampleParser()

    init(_ items: SourceItems) {
        self.items = items
        numbers = NumberListItems(items.bytes)
    }

    /// Whether the record is an Example; throws when it has too many features.
    mutating func parse(_ record: UnsafeRawBufferPointer, at offset: Int) throws(HeadraceError) -> Bool {
        switch unsafe parser.parse(record.bytes) {
        case .example: return true
        case .other: return false
        case .tooManyFeatures:
            throw HeadraceError(
                .limitExceeded,
                "the record has more than \(FormatLimits().fieldsPerSample) features (limit fieldsPerSample)",
                at: .init(offset: offset))
        }
    }

    /// The value of `__key__`; nil when there is none.
    func key(_ record: UnsafeRawBufferPointer) throws(HeadraceError) -> String? {
        for feature in parser.features where unsafe isKey(feature, record) {
            guard let key = unsafe String(validating: Array(record[feature.first]), as: UTF8.self) else {
                throw HeadraceError(.badName, "the sample's __key__ is no UTF-8")
            }
            return key
        }
        return nil
    }

    /// The other features of the record parsed last, in its order.
    func fields(
        _ record: UnsafeRawBufferPointer, at offset: Int, _ inventory: inout PackInventory
    ) throws(HeadraceError) -> [(name: String, payload: PackPayload)] {
        var fields: [(name: String, payload: PackPayload)] = []
        for feature in parser.features where unsafe !isKey(feature, record) {
            guard let name = unsafe String(validating: Array(record[feature.name]), as: UTF8.self) else {
                throw HeadraceError(.badName, "a feature's name is no UTF-8")
            }
            guard !feature.isMerged else {
                throw HeadraceError(
                    .unsupported, "the feature's list is spread over several messages; write it as one",
                    at: .init(field: name))
            }
            let base = fieldName(name)
            if !base.utf8.elementsEqual(name.utf8) { inventory.noteRenamed(name, to: base) }
            let start = offset + feature.list.lowerBound
            switch feature.kind {
            case nil: inventory.ignore(.unsetFeature, path: items.bytes.file.path)
            case .bytes where feature.count == 1:
                fields.append(
                    (
                        name: base,
                        payload: .item(
                            items, index: offset + feature.first.lowerBound, byteCount: feature.first.count)
                    ))
            case .bytes:
                fields.append(
                    (
                        name: base + ".bytes_list",
                        payload: .item(items, index: start, byteCount: feature.list.count)
                    ))
            case .float, .int64:
                let item = numbers.append(
                    start: start, byteCount: feature.list.count, count: feature.count,
                    isFloat: feature.kind == .float)
                fields.append(
                    (
                        name: base + ".npy",
                        payload: .item(numbers, index: item.index, byteCount: item.byteCount)
                    ))
            }
        }
        return fields
    }

    private func isKey(_ feature: ExampleParser.Feature, _ record: UnsafeRawBufferPointer) -> Bool {
        unsafe feature.kind == .bytes && feature.count == 1 && !feature.isMerged
            && record[feature.name].elementsEqual(ExampleWriter.keyName.utf8)
    }
}

/// Lists of numbers in Examples as .npy arrays.
// Sendable: the list is filled while one thread lists the source, and only read after that.
private final class NumberListItems: SourceItems, @unchecked Sendable {
    private struct List {
        var start: Int
        var byteCount: Int
        var count: Int
        var isFloat: Bool
    }

    private var lists: [List] = []

    override func start(of item: Int) -> Int { lists[item].start }

    func append(start: Int, byteCount: Int, count: Int, isFloat: Bool) -> (index: Int, byteCount: Int) {
        lists.append(List(start: start, byteCount: byteCount, count: count, isFloat: isFloat))
        let width = isFloat ? 4 : 8
        return (lists.count - 1, Self.header(count, isFloat).count + width * count)
    }

    private static func header(_ count: Int, _ isFloat: Bool) -> [UInt8] {
        NpyHeader.write(isFloat ? .float32 : .int64, shape: [count])
    }

    override func read(
        item: Int, offset: Int, into destination: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        let list = lists[item]
        let message = OutputBuffer(capacity: list.byteCount)
        try unsafe message.appendInPlace(room: list.byteCount) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            try unsafe bytes.read(list.start, into: room)
            return room.count
        }
        var array = Self.header(list.count, list.isFloat)
        let isWhole = unsafe Self.append(message.bytes, isFloat: list.isFloat, to: &array)
        guard isWhole, array.count >= offset + destination.count else {
            throw HeadraceError(
                .fileChanged, "the list of numbers is not what it was when it was listed",
                at: .init(shard: bytes.file.path, offset: list.start))
        }
        unsafe array.withUnsafeBytes {
            unsafe destination.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + destination.count]))
        }
    }

    /// Appends the values of a serialized `FloatList` or `Int64List`, packed or not, as .npy stores them.
    private static func append(
        _ message: UnsafeRawBufferPointer, isFloat: Bool, to array: inout [UInt8]
    ) -> Bool {
        var position = 0
        func varint(_ end: Int) -> UInt64? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while position < end, shift < 70 {
                let byte = unsafe message[position]
                position += 1
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            return nil
        }
        func appendInteger(_ value: UInt64) {
            // In this machine's order, as the header says.
            unsafe withUnsafeBytes(of: value) { unsafe array.append(contentsOf: $0) }
        }
        while position < message.count {
            guard let tag = varint(message.count) else { return false }
            switch (tag >> 3, tag & 7, isFloat) {
            case (1, 5, true):
                guard message.count - position >= 4 else { return false }
                unsafe appendFloats(message, position..<position + 4, to: &array)
                position += 4
            case (1, 0, false):
                guard let value = varint(message.count) else { return false }
                appendInteger(value)
            case (_, 2, _):
                guard let length = varint(message.count), length <= UInt64(message.count - position) else {
                    return false
                }
                let end = position + Int(length)
                if tag >> 3 == 1, isFloat {
                    guard length % 4 == 0 else { return false }
                    unsafe appendFloats(message, position..<end, to: &array)
                } else if tag >> 3 == 1 {
                    while position < end {
                        guard let value = varint(end) else { return false }
                        appendInteger(value)
                    }
                }
                position = end
            // Unknown fields, which the parser passed over, too.
            case (_, 0, _): guard varint(message.count) != nil else { return false }
            case (_, 1, _): position += 8
            case (_, 5, _): position += 4
            default: return false
            }
        }
        return position == message.count
    }

    /// Protobuf stores floats in little-endian order, .npy in this machine's.
    private static func appendFloats(
        _ message: UnsafeRawBufferPointer, _ range: Range<Int>, to array: inout [UInt8]
    ) {
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 4) {
            let bits = UInt32(
                littleEndian: unsafe message.loadUnaligned(fromByteOffset: start, as: UInt32.self))
            unsafe withUnsafeBytes(of: bits) { unsafe array.append(contentsOf: $0) }
        }
    }
}
