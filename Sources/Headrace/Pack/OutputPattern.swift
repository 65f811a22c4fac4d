internal import HeadraceCore

/// Where shards go: a folder, and a name with a place for the shard's number.
struct OutputPattern: Sendable, Equatable {
    /// The folder with its '/', empty for the current one.
    let directory: String
    /// What stands before and after the number.
    let prefix: String
    let suffix: String
    /// Digits that the number is padded to with zeros; nil where the name has no number.
    let width: Int?

    /// Wider numbers than this are a slip of the finger.
    static let largestWidth = 18

    init(_ text: String) throws(HeadraceError) {
        var directory: [UInt8] = []
        var parts: [[UInt8]] = [[]]
        var width: Int?
        var bytes = Array(text.utf8)[...]
        if let slash = bytes.lastIndex(of: UInt8(ascii: "/")) {
            directory = Array(bytes[...slash])
            bytes = bytes[(slash + 1)...]
        }
        guard !bytes.isEmpty, !bytes.contains(0), !directory.contains(0) else {
            throw HeadraceError(.usage, "'\(text)' names no output file")
        }
        guard bytes.first != UInt8(ascii: ".") else {
            throw HeadraceError(
                .usage, "'\(text)' would be hidden: shard patterns skip names that begin with a dot")
        }
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                parts[parts.count - 1].append(byte)
                continue
            }
            if bytes.first == UInt8(ascii: "%") {
                bytes.removeFirst()
                parts[parts.count - 1].append(byte)
                continue
            }
            guard width == nil, let digits = Self.conversion(&bytes) else {
                throw HeadraceError(
                    .usage,
                    "'\(text)' has a '%' that is no shard number: write %d or %06d once, and %% for a "
                        + "percent sign")
            }
            width = digits
            parts.append([])
        }
        // Cut out of a valid string at ASCII bytes, so still valid UTF-8.
        self.directory = String(decoding: directory, as: UTF8.self)
        self.prefix = String(decoding: parts[0], as: UTF8.self)
        self.suffix = width == nil ? "" : String(decoding: parts[1], as: UTF8.self)
        self.width = width
    }

    /// "d" or "0Nd" after the '%'; 1 for plain "d".
    private static func conversion(_ bytes: inout ArraySlice<UInt8>) -> Int? {
        let digits = bytes.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        bytes = bytes.dropFirst(digits.count)
        guard bytes.popFirst() == UInt8(ascii: "d") else { return nil }
        if digits.isEmpty { return 1 }
        guard digits.first == UInt8(ascii: "0"), digits.count <= 3,
            let width = Int(String(decoding: digits, as: UTF8.self)), (1...largestWidth).contains(width)
        else { return nil }
        return width
    }

    var isSingle: Bool { width == nil }

    /// What says format and codec: the name's last part, or all that follows the number where that has a dot.
    var ending: String { suffix.utf8.isEmpty ? prefix : suffix }

    /// Name of shard `number` in the folder.
    func name(_ number: Int) -> String {
        guard let width else { return prefix }
        let digits = String(number)
        return prefix + String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits + suffix
    }

    /// The most shards whose numbers all have the same width, so that a brace pattern can name them.
    var capacity: Int {
        guard let width else { return 1 }
        return width == 1 ? .max : (0..<width).reduce(1) { power, _ in power * 10 }
    }

    /// Whether `name` is what this pattern calls some shard.
    func matches(_ name: String) -> Bool {
        guard width != nil else { return name.utf8.elementsEqual(prefix.utf8) }
        guard name.utf8.count > prefix.utf8.count + suffix.utf8.count, name.utf8.starts(with: prefix.utf8),
            name.utf8.reversed().starts(with: suffix.utf8.reversed())
        else { return false }
        let digits = name.utf8.dropFirst(prefix.utf8.count).dropLast(suffix.utf8.count)
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), digits.count <= 18,
            let number = Int(String(decoding: digits, as: UTF8.self))
        else { return false }
        return self.name(number).utf8.elementsEqual(name.utf8)
    }

    /// The words that read `count` shards back: a brace pattern, or the one name.
    func readPattern(count: Int) -> String {
        guard width != nil, count > 1 else { return directory + name(0) }
        func number(_ value: Int) -> Substring {
            // The name without what surrounds its number.
            let name = self.name(value)
            return Substring(name.utf8.dropFirst(prefix.utf8.count).dropLast(suffix.utf8.count))
        }
        return "\(directory)\(prefix){\(number(0))..\(number(count - 1))}\(suffix)"
    }
}
