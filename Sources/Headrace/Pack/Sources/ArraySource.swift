public import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// Arrays of NumPy, .npy and .npz: row number 17 along the first axis of all of them is sample number 17.
///
/// A row is a field as .npy, in C order and this machine's byte order; the row of an array of integers with
/// one dimension is its number in decimal digits. The fields are called `NAME.npy` and `NAME.cls` after the
/// file, or the array in the .npz; where only one array makes the one or the other, just `npy` and `cls`, as
/// those of IDX files are.
public struct ArraySource: PackSource {
    /// The files, in any order.
    public let paths: [String]

    /// The arrays of these files, which must have equally many rows.
    public init(_ paths: [String]) { self.paths = paths }

    /// Reads the headers, and the arrays of integers.
    public func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        var arrays: [SourceArray] = []
        for path in paths {
            do throws(HeadraceError) {
                arrays += try SourceArray.open(path, &inventory)
            } catch {
                throw error.placed(shard: path)
            }
        }
        guard let first = arrays.first else { return }
        for array in arrays where array.rowCount != first.rowCount {
            throw HeadraceError(
                .shapeMismatch,
                "'\(array.name)' has \(array.rowCount) rows, '\(first.name)' has \(first.rowCount): arrays that are "
                    + "packed together need equally many", at: .init(shard: array.bytes.file.path))
        }
        let names = try Self.fieldNames(arrays)
        let keys = GeneratedKeys(
            paths.count == 1 ? paths[0] : arrays.first { !$0.isClasses }?.path ?? paths[0])
        let classCount = arrays.count { $0.isClasses }
        try inventory.checkRoom(
            sampleCount: first.rowCount, fieldCount: arrays.count, keyByteCount: keys.key(0).utf8.count,
            numberCount: classCount, claim: "array '\(first.name)' of shape \(first.header.shape)",
            path: first.path)
        let rows = arrays.map { $0.isClasses ? nil : ArrayRows($0) }
        for case let rows? in rows where rows.isInColumns { inventory.note(columnArray: rows) }
        var numbers: [NumberColumn?] = []
        for array in arrays { numbers.append(array.isClasses ? NumberColumn(array) : nil) }
        for row in 0..<first.rowCount {
            if row & 0xFFF == 0 { try inventory.checkGoesOn() }
            var fields: [(name: String, payload: PackPayload)] = []
            for column in arrays.indices {
                if let rows = rows[column] {
                    fields.append(
                        (name: names[column], payload: .item(rows, index: row, byteCount: rows.byteCount)))
                } else if let number = try numbers[column]?.next() {
                    fields.append((name: names[column], payload: .bytes(Array(number.utf8))))
                }
            }
            inventory.add(key: keys.key(row), fields: fields)
        }
        // A compressed array of integers has been read to its end: what it holds need not be read again.
        for array in arrays { array.bytes.release() }
    }

    private static func fieldNames(_ arrays: [SourceArray]) throws(HeadraceError) -> [String] {
        let classCount = arrays.count { $0.isClasses }
        let names = arrays.map { array in
            let ending = array.isClasses ? "cls" : "npy"
            let isOnly = (array.isClasses ? classCount : arrays.count - classCount) == 1
            return isOnly ? ending : "\(fieldName(array.name)).\(ending)"
        }
        var owners: [ByteName: SourceArray] = [:]
        for (array, name) in zip(arrays, names) {
            guard let other = owners.updateValue(array, forKey: ByteName(text: name)) else { continue }
            let isOneFile = other.path.utf8.elementsEqual(array.path.utf8)
            throw HeadraceError(
                .duplicateField,
                "the arrays '\(other.name)'\(isOneFile ? "" : " of \(other.path)") and '\(array.name)' both make the "
                    + "field '\(name)': names of fields are in lower case, and '/' in them becomes '.'; rename one, "
                    + "or pack them into sets of their own", at: .init(shard: array.path, field: name))
        }
        return names
    }
}
