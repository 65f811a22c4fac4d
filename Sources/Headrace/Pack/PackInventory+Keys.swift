internal import HeadraceCore
internal import HeadraceFormats

/// Keys that cannot stay, and what to do about them.
extension PackInventory {
    /// Refuses keys that occur twice, whichever sources they come from. Records that are kept as they are
    /// may: their keys are not written, and whatever they hold was there before.
    mutating func refuseDuplicateKeys() {
        func precedes(_ a: Int, _ b: Int) -> Bool {
            byteOrder(samples[a].key, samples[b].key) < 0
        }
        var order = samples.indices.filter { !samples[$0].isRecord }
        // One directory, or one file after the other, comes sorted already: no need to sort ten million keys.
        guard !zip(order, order.dropFirst()).allSatisfy({ precedes($0, $1) }) else { return }
        // The second of two that are equal is the one that is refused, so their order must not be chance.
        order.sort { precedes($0, $1) || (!precedes($1, $0) && $0 < $1) }
        for (a, b) in zip(order, order.dropFirst()) where !precedes(a, b) {
            refuseDuplicate(samples[b], of: samples[a])
        }
    }

    private mutating func refuseDuplicate(_ sample: Sample, of other: Sample) {
        let there = fields[other.firstField].payload.place
        let here = Self.place(fields[sample.firstField].payload, key: sample.key)
        refuse(
            .duplicateKey,
            "two samples have this key, the other is \(Self.words(there)); "
                + duplicateAdvice(sample.key, here.shard, there.shard), at: here)
    }

    private func duplicateAdvice(_ key: String, _ here: String?, _ there: String?) -> String {
        if let here, let name = keyFields[here] {
            let others = here == there ? "'\(name)' does not tell them apart: " : ""
            return others + "name another key field (--key-field), or none to have them numbered"
        }
        guard let here, let there, here != there else {
            return
                "a key must tell its sample from all others: rename one of them in the source, or take it out"
        }
        if GeneratedKeys(here).makes(key), GeneratedKeys(there).makes(key) {
            return
                "keys are made of the files' names, which are equal but for folder and ending: rename one of the "
                + "files, or pack them into sets of their own"
        }
        return "rename one of them, or pack the sources into sets of their own"
    }

    /// What to do about a key that cannot stay; empty where something else is wrong.
    func keyAdvice(_ key: String, _ field: String, _ payload: PackPayload) -> String {
        guard let path = payload.place.shard, let name = keyFields[path],
            Self.problem(key: "key", field: field, byteCount: payload.byteCount, limits) == nil
        else { return "" }
        return
            "; change its '\(name)', name another key field (--key-field), or none to have keys made of numbers"
    }

    /// A place as part of a sentence.
    static func words(_ place: HeadraceError.Place) -> String {
        guard let path = place.shard else { return "in memory" }
        return "in \(path)" + (place.offset.map { " at byte \($0)" } ?? "")
    }
}
