extension ShardPattern {
    /// The words that `word` stands for, as a shell would write them out: `{000..146}` counts (zero-padded to
    /// the wider end, backwards where the first end is larger, in steps where a third number is there),
    /// `{a,b}` lists, both nest, and several in one word multiply, the first varying slowest. Braces that
    /// hold neither (`{}`, `{5}`) or do not pair stay as they are, and so does any of `{ } , \` after a
    /// backslash.
    package static func expandBraces(_ word: String) throws(HeadraceError) -> [String] {
        var parser = BraceParser(word)
        let sequence = try parser.parse()
        let size = BraceNode.size(of: sequence)
        guard size.count <= expansionLimit, size.bytes <= expansionByteLimit else {
            throw HeadraceError(
                .usage,
                "the pattern '\(word)' stands for more than \(expansionLimit) words or \(expansionByteLimit) "
                    + "bytes of words; name a directory or a narrower pattern")
        }
        return BraceNode.expand(sequence).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// One part of a word.
private indirect enum BraceNode {
    case literal([UInt8])
    case choice([[BraceNode]])
    case numbers(first: Int, last: Int, step: Int, width: Int)
    case letters(first: Int, last: Int, step: Int)

    static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)

    /// How many words come out, and how many bytes in all; computed first, so that nothing too large is
    /// begun. Saturates.
    struct Size {
        var count: Int
        var bytes: Int

        static func * (left: Size, right: Size) -> Size {
            Size(
                count: saturatingProduct(left.count, right.count),
                bytes: saturatingSum(
                    saturatingProduct(left.bytes, right.count), saturatingProduct(right.bytes, left.count)))
        }
    }

    static func size(of sequence: [BraceNode]) -> Size {
        sequence.reduce(Size(count: 1, bytes: 0)) { $0 * $1.size }
    }

    private var size: Size {
        switch self {
        case .literal(let bytes): return Size(count: 1, bytes: bytes.count)
        case .choice(let sequences):
            return sequences.map(Self.size).reduce(Size(count: 0, bytes: 0)) {
                Size(count: saturatingSum($0.count, $1.count), bytes: saturatingSum($0.bytes, $1.bytes))
            }
        case .numbers(let first, let last, let step, let width):
            let count = Self.steps(first, last, step)
            return Size(count: count, bytes: saturatingProduct(count, max(20, width)))
        case .letters(let first, let last, let step):
            let count = Self.steps(first, last, step)
            return Size(count: count, bytes: count)
        }
    }

    private static func steps(_ first: Int, _ last: Int, _ step: Int) -> Int {
        let distance = first <= last ? UInt(bitPattern: last &- first) : UInt(bitPattern: first &- last)
        return saturatingSum(Int(clamping: distance / UInt(step)), 1)
    }

    static func expand(_ sequence: [BraceNode]) -> [[UInt8]] {
        var words: [[UInt8]] = [[]]
        for node in sequence {
            let endings = node.words
            var longer: [[UInt8]] = []
            longer.reserveCapacity(words.count * endings.count)
            for word in words { for ending in endings { longer.append(word + ending) } }
            words = longer
        }
        return words
    }

    private var words: [[UInt8]] {
        switch self {
        case .literal(let bytes): return [bytes]
        case .choice(let sequences): return sequences.flatMap(Self.expand)
        case .numbers(let first, let last, let step, let width):
            // Wrapping: the result lies between the ends, though `i * step` alone may be too large.
            return (0..<Self.steps(first, last, step)).map {
                padded(first <= last ? first &+ $0 &* step : first &- $0 &* step, to: width)
            }
        case .letters(let first, let last, let step):
            return (0..<Self.steps(first, last, step)).map {
                [Self.alphabet[first <= last ? first + $0 * step : first - $0 * step]]
            }
        }
    }
}

private struct BraceParser {
    private let bytes: [UInt8]
    /// For each `{` that has a partner, the partner's place; 0 elsewhere.
    private var partner: [Int]
    private let word: String

    init(_ word: String) {
        self.word = word
        bytes = Array(word.utf8)
        partner = [Int](repeating: 0, count: bytes.count)
        var open: [Int] = []
        var at = 0
        while at < bytes.count {
            if isEscape(at) {
                at += 1
            } else if bytes[at] == UInt8(ascii: "{") {
                open.append(at)
            } else if bytes[at] == UInt8(ascii: "}"), let start = open.popLast() {
                partner[start] = at
            }
            at += 1
        }
    }

    private func isEscape(_ at: Int) -> Bool {
        bytes[at] == UInt8(ascii: "\\") && at + 1 < bytes.count && "{},\\".utf8.contains(bytes[at + 1])
    }

    mutating func parse() throws(HeadraceError) -> [BraceNode] { try sequence(0..<bytes.count, depth: 0) }

    private func sequence(_ range: Range<Int>, depth: Int) throws(HeadraceError) -> [BraceNode] {
        guard depth <= ShardPattern.nestingLimit else {
            throw HeadraceError(
                .usage, "braces nest more than \(ShardPattern.nestingLimit) deep in the pattern '\(word)'")
        }
        var nodes: [BraceNode] = []
        var literal: [UInt8] = []
        var at = range.lowerBound
        while at < range.upperBound {
            if isEscape(at), at + 1 < range.upperBound {
                literal.append(bytes[at + 1])
                at += 2
                continue
            }
            let end = partner[at]
            guard end > 0 else {
                literal.append(bytes[at])
                at += 1
                continue
            }
            if let node = try group(at + 1..<end, depth: depth + 1) {
                nodes.append(.literal(literal))
                nodes.append(node)
                literal = []
            } else {
                literal.append(bytes[at])
                nodes.append(.literal(literal))
                nodes += try sequence(at + 1..<end, depth: depth + 1)
                literal = [bytes[end]]
            }
            at = end + 1
        }
        nodes.append(.literal(literal))
        return nodes
    }

    /// What stands between two braces; nil when it is neither a range nor a list.
    private func group(_ range: Range<Int>, depth: Int) throws(HeadraceError) -> BraceNode? {
        if let node = try self.range(range) { return node }
        var parts: [[BraceNode]] = []
        var start = range.lowerBound
        var at = start
        while at < range.upperBound {
            if isEscape(at) {
                at += 2
            } else if partner[at] > 0 {
                at = partner[at] + 1
            } else {
                if bytes[at] == UInt8(ascii: ",") {
                    parts.append(try sequence(start..<at, depth: depth))
                    start = at + 1
                }
                at += 1
            }
        }
        if parts.isEmpty { return nil }
        parts.append(try sequence(start..<range.upperBound, depth: depth))
        return .choice(parts)
    }

    /// `1..9`, `001..100..3`, `a..f`; nil for anything else.
    private func range(_ range: Range<Int>) throws(HeadraceError) -> BraceNode? {
        let dots = [UInt8](repeating: UInt8(ascii: "."), count: 2)
        var ends: [ArraySlice<UInt8>] = []
        var start = range.lowerBound
        for at in range where at >= start && bytes[at...].starts(with: dots) {
            ends.append(bytes[start..<at])
            start = at + 2
        }
        guard start <= range.upperBound else { return nil }
        ends.append(bytes[start..<range.upperBound])
        guard ends.count == 2 || ends.count == 3 else { return nil }
        let step = ends.count == 3 ? try number(ends[2]) : 1
        guard let step, step != Int.min else { return nil }
        let stride = max(1, abs(step))
        if ends[0].count == 1, ends[1].count == 1,
            let first = BraceNode.alphabet.firstIndex(of: ends[0].first!),
            let last = BraceNode.alphabet.firstIndex(of: ends[1].first!)
        {
            return .letters(first: first, last: last, step: stride)
        }
        guard let first = try number(ends[0]), let last = try number(ends[1]) else { return nil }
        let isPadded = ends[0...1].contains { end in
            let digits = end.drop { $0 == UInt8(ascii: "-") }
            return digits.count > 1 && digits.first == UInt8(ascii: "0")
        }
        return .numbers(
            first: first, last: last, step: stride, width: isPadded ? max(ends[0].count, ends[1].count) : 0)
    }

    /// nil when the text is no number; an error when it is one beyond 64 bits.
    private func number(_ text: ArraySlice<UInt8>) throws(HeadraceError) -> Int? {
        let digits = text.first == UInt8(ascii: "-") ? text.dropFirst() : text
        guard !digits.isEmpty, digits.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") })
        else {
            return nil
        }
        guard let value = Int(String(decoding: text, as: UTF8.self)) else {
            throw HeadraceError(.usage, "a number beyond 64 bits in the pattern '\(word)'")
        }
        return value
    }
}

private func padded(_ number: Int, to width: Int) -> [UInt8] {
    let digits = Array(String(number.magnitude).utf8)
    let sign: [UInt8] = number < 0 ? [UInt8(ascii: "-")] : []
    let zeros = [UInt8](repeating: UInt8(ascii: "0"), count: max(0, width - digits.count - sign.count))
    return sign + zeros + digits
}

private func saturatingProduct(_ left: Int, _ right: Int) -> Int {
    let (product, overflow) = left.multipliedReportingOverflow(by: right)
    return overflow ? .max : product
}

private func saturatingSum(_ left: Int, _ right: Int) -> Int {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? .max : sum
}
