/// Replaces comments and what stands in quotes by spaces, so that rules about code do not trip over words.
func blankingCommentsAndStrings(_ text: String, isC: Bool) -> String {
    var blanker = Blanker(bytes: Array(text.utf8), isC: isC)
    blanker.code(untilParenthesis: false)
    return String(decoding: blanker.bytes, as: UTF8.self)
}

private struct Blanker {
    var bytes: [UInt8]
    let isC: Bool
    var position = 0

    init(bytes: [UInt8], isC: Bool) {
        self.bytes = bytes
        self.isC = isC
    }

    private func starts(with text: StaticString, at offset: Int = 0) -> Bool {
        let start = position + offset
        guard start + text.utf8CodeUnitCount <= bytes.count else { return false }
        for index in 0..<text.utf8CodeUnitCount where bytes[start + index] != text.utf8Start[index] {
            return false
        }
        return true
    }

    private mutating func blank(_ count: Int = 1) {
        for _ in 0..<count where position < bytes.count {
            if bytes[position] != UInt8(ascii: "\n") { bytes[position] = UInt8(ascii: " ") }
            position += 1
        }
    }

    /// Goes over code; for the inside of an interpolation until its closing parenthesis.
    mutating func code(untilParenthesis: Bool) {
        var depth = 0
        while position < bytes.count {
            if starts(with: "//") {
                while position < bytes.count, bytes[position] != UInt8(ascii: "\n") { blank() }
            } else if starts(with: "/*") {
                comment()
            } else if bytes[position] == UInt8(ascii: "\"") {
                string(hashes: 0)
            } else if !isC, let hashes = hashesBeforeQuote() {
                string(hashes: hashes)
            } else if isC, bytes[position] == UInt8(ascii: "'") {
                character()
            } else {
                if bytes[position] == UInt8(ascii: "(") { depth += 1 }
                if bytes[position] == UInt8(ascii: ")") {
                    depth -= 1
                    if untilParenthesis && depth < 0 { return }
                }
                position += 1
            }
        }
    }

    private func hashesBeforeQuote() -> Int? {
        var count = 0
        while position + count < bytes.count, bytes[position + count] == UInt8(ascii: "#") { count += 1 }
        guard count > 0, position + count < bytes.count, bytes[position + count] == UInt8(ascii: "\"")
        else { return nil }
        return count
    }

    private mutating func comment() {
        var depth = 0
        repeat {
            if starts(with: "/*") && (depth == 0 || !isC) {
                depth += 1
                blank(2)
            } else if starts(with: "*/") {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        } while depth > 0 && position < bytes.count
    }

    private mutating func character() {
        blank()
        while position < bytes.count, bytes[position] != UInt8(ascii: "'") {
            blank(bytes[position] == UInt8(ascii: "\\") ? 2 : 1)
        }
        blank()
    }

    private mutating func string(hashes: Int) {
        blank(hashes)
        let isLong = !isC && starts(with: "\"\"\"")
        blank(isLong ? 3 : 1)
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: "\\"), hashesFollow(hashes, at: 1) {
                if !isC, position + 1 + hashes < bytes.count,
                    bytes[position + 1 + hashes] == UInt8(ascii: "(")
                {
                    blank(2 + hashes)
                    code(untilParenthesis: true)
                    blank()
                } else {
                    blank(2 + hashes)
                }
            } else if isLong ? starts(with: "\"\"\"") : bytes[position] == UInt8(ascii: "\"") {
                let quotes = isLong ? 3 : 1
                if hashesFollow(hashes, at: quotes) {
                    blank(quotes + hashes)
                    return
                }
                blank()
            } else if !isLong && bytes[position] == UInt8(ascii: "\n") {
                return
            } else {
                blank()
            }
        }
    }

    private func hashesFollow(_ count: Int, at offset: Int) -> Bool {
        for index in 0..<count {
            let place = position + offset + index
            guard place < bytes.count, bytes[place] == UInt8(ascii: "#") else { return false }
        }
        return true
    }
}
