internal import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// How the features of a `tf.Example` become the fields of a tar sample.
///
/// A bytes list of one value is the value, under the feature's name: what packing a tar into TFRecord made of its
/// fields. Numbers become an array, `NAME.npy`: int64 or float32, of one dimension. Any other bytes list stays the
/// serialized `Feature`, `NAME.feature`, and a list of a `tf.SequenceExample` the serialized `FeatureList`,
/// `NAME.feature_list`. Names are turned to lower case, and a '/' to a
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
            let base = fieldName(name)
            if !base.utf8.elementsEqual(name.utf8) { inventory.noteRenamed(name, to: base) }
            let start = offset + feature.message.lowerBound
            let message = PackPayload.item(items, index: start, byteCount: feature.message.count)
            if feature.steps != nil {
                fields.append((name: base + ".feature_list", payload: message))
                continue
            }
            switch feature.kind {
            case nil: inventory.ignore(.unsetFeature, path: items.bytes.file.path)
            case .bytes where feature.count == 1:
                let value = PackPayload.item(
                    items, index: offset + feature.first.lowerBound, byteCount: feature.first.count)
                fields.append((name: base, payload: value))
            case .bytes: fields.append((name: base + ".feature", payload: message))
            case .float, .int64:
                let item = numbers.append(
                    start: start, byteCount: feature.message.count, count: feature.count,
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
        unsafe feature.steps == nil && feature.kind == .bytes && feature.count == 1
            && record[feature.name].elementsEqual(ExampleWriter.keyName.utf8)
    }
}

/// Numbers in Examples as .npy arrays.
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
        let headerByteCount = array.count
        let read = unsafe FeatureMessage(message.bytes.bytes, 0..<message.count)
        guard let feature = read, feature.kind == (list.isFloat ? .float : .int64),
            feature.count == list.count
        else {
            throw HeadraceError(
                .fileChanged, "the list of numbers is not what it was when it was listed",
                at: .init(shard: bytes.file.path, offset: list.start))
        }
        array.append(contentsOf: repeatElement(0, count: list.count * (list.isFloat ? 4 : 8)))
        unsafe array.withUnsafeMutableBytes { array in
            if list.count > 0 {
                unsafe feature.copyNumbers(message.bytes.bytes, to: array.baseAddress! + headerByteCount)
            }
            unsafe destination.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: array[offset..<offset + destination.count]))
        }
    }
}
