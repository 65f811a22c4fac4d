internal import HeadraceCore

/// A scanner's private copy of the field numbers it has met, so that a warm scanner asks the shared
/// ``FieldNames`` (a lock, a dictionary, an allocation) nothing.
///
/// Samples of a data set have the same fields in the same order almost always, hence the first guess is the
/// field that the last sample had at the same position.
struct FieldNameCache {
    /// What turns the bytes of a shard into a field's name.
    enum Spelling: UInt8 {
        /// WebDataset: lower case.
        case extensionOfMember
        /// tf.Example: as it is.
        case feature
        /// tf.SequenceExample: a feature list, which may have the name of a context feature.
        case featureList

        var prefix: String { self == .featureList ? "feature_lists/" : "" }
    }

    private struct Entry {
        var start: Int
        var length: Int
        var spelling: Spelling
        var number: Int32
    }

    /// Searched one by one when the guess is wrong; beyond that the shared table is faster.
    private static let searched = 32
    /// Spellings remembered at most (`JPG` and `jpg` are two spellings of one name).
    private static let capacity = 2 * FieldNames.limit

    private let names: FieldNames
    private var bytes: [UInt8] = []
    private var entries: [Entry] = []
    /// Entry that was found at each position of the last samples.
    private var guesses: [Int] = []

    init(_ names: FieldNames) { self.names = names }

    /// The number of the field spelt `raw` at place `position` of its sample; nil when there are too many names.
    @inline(__always)
    mutating func number(of raw: RawSpan, _ spelling: Spelling, at position: Int) -> Int32? {
        if position < guesses.count {
            let entry = entries[guesses[position]]
            if isEqual(entry, raw, spelling) { return entry.number }
        }
        return search(raw, spelling, at: position)
    }

    @inline(__always)
    private func isEqual(_ entry: Entry, _ raw: RawSpan, _ spelling: Spelling) -> Bool {
        entry.length == raw.byteCount && entry.spelling == spelling
            && raw.matches(bytes, from: entry.start, count: entry.length, at: 0)
    }

    @inline(never)
    private mutating func search(_ raw: RawSpan, _ spelling: Spelling, at position: Int) -> Int32? {
        for index in 0..<min(entries.count, Self.searched) where isEqual(entries[index], raw, spelling) {
            remember(index, at: position)
            return entries[index].number
        }
        var name = raw.copy(from: 0, to: raw.byteCount)
        if spelling == .extensionOfMember {
            name = WebDatasetName.lowercased(name)
        } else {
            name.insert(contentsOf: spelling.prefix.utf8, at: 0)
        }
        guard let number = names.number(of: name) else { return nil }
        if entries.count < Self.capacity {
            entries.append(
                Entry(start: bytes.count, length: raw.byteCount, spelling: spelling, number: number))
            raw.append(to: &bytes)
            remember(entries.count - 1, at: position)
        }
        return number
    }

    private mutating func remember(_ index: Int, at position: Int) {
        if position < guesses.count {
            guesses[position] = index
        } else if position == guesses.count {
            guesses.append(index)
        }
    }

    func name(of number: Int32) -> String { names.name(of: number) }
}
