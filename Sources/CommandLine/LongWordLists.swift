/// Long runs of plain words on a command line, taken past the argument parser.
///
/// A shell turns `data/*.tar` into as many words as there are shards, and the parser's time grows with the
/// square of their number: minutes for what takes no time. So all but the first two of a long run are kept
/// here and a stand-in goes through the parser in their place. It holds a NUL, which no word from a shell
/// can.
package enum LongWordLists {
    /// Runs up to this length are left alone.
    private static let shortCount = 64
    /// The first word may be an option's value, or the name of a command.
    private static let keptCount = 2
    // Written once, before anything else runs.
    nonisolated(unsafe) private static var lists: [[String]] = []

    /// The arguments with every long run replaced.
    static func folded(_ arguments: [String]) -> [String] {
        var folded: [String] = []
        var rest = arguments[...]
        while let word = rest.first {
            let run =
                word.utf8.first == UInt8(ascii: "-") ? [] : rest.prefix { $0.utf8.first != UInt8(ascii: "-") }
            guard run.count > shortCount else {
                folded.append(word)
                rest.removeFirst()
                continue
            }
            folded += run.prefix(keptCount)
            folded.append("\0\(unsafe lists.count)")
            unsafe lists.append(Array(run.dropFirst(keptCount)))
            rest.removeFirst(run.count)
        }
        return folded
    }

    /// The words that a parsed list stands for.
    package static func unfolded(_ words: [String]) -> [String] {
        words.flatMap { word in
            guard word.utf8.first == 0, let number = Int(word.dropFirst()) else { return [word] }
            return unsafe lists[number]
        }
    }
}
