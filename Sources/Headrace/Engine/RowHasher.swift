internal import HeadraceCore

/// The key of a sample: what its shard says, or shard and ordinal where the format has no keys.
@safe struct SampleKey {
    let view: ChunkView
    let sample: SampleRecord
    let index: Int

    init(view: ChunkView, sample: SampleRecord, index: Int) {
        unsafe self.view = view
        self.sample = sample
        self.index = index
    }

    func text(in catalog: Catalog) -> String {
        var bytes: [UInt8] = []
        append(to: &bytes, catalog: catalog)
        return String(decoding: bytes, as: UTF8.self)
    }

    func append(to bytes: inout [UInt8], catalog: Catalog) {
        if sample.keyLength > 0, let keys = unsafe view.keys {
            unsafe bytes.append(
                contentsOf: UnsafeBufferPointer(
                    start: keys + Int(sample.keyOffset), count: Int(sample.keyLength)))
            return
        }
        let origin = unsafe view.origin(of: index)
        bytes.append(contentsOf: catalog.nameBytes[Int(origin.shard)])
        bytes.append(UInt8(ascii: ":"))
        let ordinal = origin.ordinal
        var divisor = 1
        while ordinal / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(ordinal / divisor % 10))
            divisor /= 10
        }
    }
}

/// Hashes what a row delivers: its key, and name and payload of its fields in bytewise order of the names. One a
/// worker, for its scratch memory.
struct RowHasher {
    private let names: FieldNames
    private let catalog: Catalog
    private var nameBytes: [[UInt8]] = []
    private var key: [UInt8] = []
    private var order: [Int] = []

    init(names: FieldNames, catalog: Catalog) {
        self.names = names
        self.catalog = catalog
    }

    /// The hash of a row that delivers the fields numbered `columns`, or all fields where `columnCount` is 0.
    mutating func hash(_ row: Int, of slot: BatchSlot, columns: [Int32?], columnCount: Int) -> UInt64 {
        let reference = unsafe slot.rows[row]
        let view = unsafe slot.views[Int(reference.chunk)]
        let sample = unsafe view.samples![Int(reference.sample)]
        key.removeAll(keepingCapacity: true)
        unsafe SampleKey(view: view, sample: sample, index: Int(reference.sample))
            .append(to: &key, catalog: catalog)
        var digest = unsafe key.withUnsafeBytes { bytes in unsafe SampleDigest(key: bytes) }
        order.removeAll(keepingCapacity: true)
        for place in Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount) {
            let name = unsafe view.fields![place].name
            if columnCount > 0 && !columns.contains(name) { continue }
            if Int(name) >= nameBytes.count { nameBytes = names.all.map { Array($0.utf8) } }
            order.append(place)
        }
        unsafe sortByName(view)
        for place in order {
            let field = unsafe view.fields![place]
            let payload = unsafe UnsafeRawBufferPointer(start: view.base! + field.offset, count: field.length)
            // A list whose serialized form happens to be another sample's plain bytes is another value.
            var isEncoded = false
            if field.encoding != .plain {
                nameBytes[Int(field.name)].append(0)
                nameBytes[Int(field.name)].append(field.encoding.rawValue)
                isEncoded = true
            }
            unsafe nameBytes[Int(field.name)].withUnsafeBytes { name in
                unsafe digest.add(name: name, payload: payload)
            }
            if isEncoded { nameBytes[Int(field.name)].removeLast(2) }
        }
        return digest.value
    }

    /// Shards of the usual writers have their fields sorted already; then this only looks.
    private mutating func sortByName(_ view: ChunkView) {
        for index in order.indices.dropFirst() {
            var at = index
            while at > 0, unsafe isOrdered(order[at], before: order[at - 1], view) {
                order.swapAt(at, at - 1)
                at -= 1
            }
        }
    }

    private func isOrdered(_ left: Int, before right: Int, _ view: ChunkView) -> Bool {
        let leftName = unsafe Int(view.fields![left].name)
        let rightName = unsafe Int(view.fields![right].name)
        return leftName != rightName && nameBytes[leftName].lexicographicallyPrecedes(nameBytes[rightName])
    }
}
