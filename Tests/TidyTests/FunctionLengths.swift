/// A function, initialiser or computed property with its place.
struct FunctionSpan: Equatable {
    var name: String
    var firstLine: Int
    var lineCount: Int
}

/// Finds the functions of a file by counting braces; no parser, but enough for code that is formatted.
func functionSpans(in source: Source) -> [FunctionSpan] {
    let bytes = Array(source.code.utf8)
    return source.path.hasSuffix(".swift")
        ? swiftSpans(source.code, bytes) : cSpans(bytes)
}

private func swiftSpans(_ code: String, _ bytes: [UInt8]) -> [FunctionSpan] {
    let pattern = /\b(?:func\s+([^\s(<]+)|(init)\b[?!]?\s*[(<]|(deinit)\b|(subscript)\b|var\s+(\w+)\s*:)/
    let words = ["func ", "init", "subscript", "var "]
    var spans: [FunctionSpan] = []
    var lineStart = 0
    for line in code.split(separator: "\n", omittingEmptySubsequences: false) {
        defer { lineStart += line.utf8.count + 1 }
        guard words.contains(where: { has(line, $0) }), let match = line.firstMatch(of: pattern) else {
            continue
        }
        let start = lineStart + line.utf8.distance(from: line.utf8.startIndex, to: match.range.lowerBound)
        // `self.init(...)` and `Type.init` are calls.
        if start > 0, bytes[start - 1] == UInt8(ascii: ".") { continue }
        let name = match.1 ?? match.2 ?? match.3 ?? match.4 ?? match.5
        guard let open = bodyStart(bytes, from: start), let close = matchingBrace(bytes, open) else {
            continue
        }
        spans.append(span(String(name ?? "?"), bytes, start, close))
    }
    return spans
}

/// The brace that opens the body of the declaration at `start`; nil where it has none.
private func bodyStart(_ bytes: [UInt8], from start: Int) -> Int? {
    var depth = 0
    var position = start
    while position < bytes.count {
        switch bytes[position] {
        case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
        case UInt8(ascii: "{") where depth == 0: return position
        case UInt8(ascii: "}") where depth == 0,
            UInt8(ascii: "=") where depth == 0 && isPlain(bytes, position):
            return nil
        case UInt8(ascii: "\n") where depth == 0:
            if !goesOn(bytes, after: position) { return nil }
        default: break
        }
        if depth < 0 { return nil }
        position += 1
    }
    return nil
}

/// An assignment, and no `==` of a where clause or of an operator's name.
private func isPlain(_ bytes: [UInt8], _ position: Int) -> Bool {
    let space = UInt8(ascii: " ")
    return position > 0 && position + 1 < bytes.count && bytes[position - 1] == space
        && bytes[position + 1] == space
}

/// Whether a signature continues on the next line.
private func goesOn(_ bytes: [UInt8], after newline: Int) -> Bool {
    let rest = bytes[(newline + 1)...].drop { $0 == UInt8(ascii: " ") }
    return ["{", "->", "throws", "async", "rethrows", "where", ")"].contains { rest.starts(with: $0.utf8) }
}

private func cSpans(_ bytes: [UInt8]) -> [FunctionSpan] {
    var spans: [FunctionSpan] = []
    var position = 0
    var declaration = 0
    while position < bytes.count {
        if bytes[position] == UInt8(ascii: "{"), let close = matchingBrace(bytes, position) {
            let head = bytes[declaration..<position]
            let blank: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
            if head.last(where: { !blank($0) }) == UInt8(ascii: ")") {
                let start = head.firstIndex { !blank($0) } ?? declaration
                let words = head.prefix { $0 != UInt8(ascii: "(") }
                let name = words.split(separator: UInt8(ascii: " ")).last.map(Array.init) ?? []
                spans.append(span(String(decoding: name, as: UTF8.self), bytes, start, close))
            }
            // An `extern "C"` or a namespace would hide what is in it; there is none of either.
            position = close
            declaration = close + 1
        } else if bytes[position] == UInt8(ascii: ";") {
            declaration = position + 1
        }
        position += 1
    }
    return spans
}

private func matchingBrace(_ bytes: [UInt8], _ open: Int) -> Int? {
    var depth = 0
    for position in open..<bytes.count {
        if bytes[position] == UInt8(ascii: "{") { depth += 1 }
        if bytes[position] == UInt8(ascii: "}") {
            depth -= 1
            if depth == 0 { return position }
        }
    }
    return nil
}

private func span(_ name: String, _ bytes: [UInt8], _ start: Int, _ end: Int) -> FunctionSpan {
    let newline = UInt8(ascii: "\n")
    return FunctionSpan(
        name: name, firstLine: 1 + bytes[..<start].count { $0 == newline },
        lineCount: 1 + bytes[start...end].count { $0 == newline })
}
