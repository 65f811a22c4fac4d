internal import HeadraceCore

/// A plain directory as a source of samples: what `headrace pack` would pack, read where it is.
enum DirectoryListing {
    /// The samples below `path` in the order in which they would be packed.
    static func samples(
        of path: String, names: FieldNames, notes: inout [String]
    ) throws(HeadraceError) -> [FileSample] {
        var inventory = PackInventory()
        try DirectorySource(path).addSamples(to: &inventory)
        inventory.refuseDuplicateKeys()
        try inventory.check()
        for (reason, count) in inventory.ignored.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            notes.append("\(path): \(count) entries left out (\(reason.rawValue))")
        }
        var samples: [FileSample] = []
        samples.reserveCapacity(inventory.samples.count)
        for sample in inventory.samples {
            var fields: [FileSample.Field] = []
            for field in inventory.fields[sample.firstField..<sample.firstField + sample.fieldCount] {
                guard case .file(let path, let size, _) = field.payload else { continue }
                guard let number = names.number(of: Array(inventory.fieldNames[field.name].utf8)) else {
                    throw HeadraceError(
                        .limitExceeded, "more than \(FieldNames.limit) different field names",
                        at: .init(shard: path))
                }
                fields.append(.init(name: number, path: path, size: size))
            }
            samples.append(FileSample(key: Array(sample.key.utf8), fields: fields))
        }
        return samples
    }
}
