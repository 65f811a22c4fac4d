/// Writes tar archives block by block, right or wrong as a test needs them.
struct TarBuilder {
    var bytes: [UInt8] = []

    enum Magic { case ustar, gnu, none }

    /// One header with payload; `edit` may spoil the header before the checksum is put in.
    mutating func add(
        _ name: [UInt8], _ payload: [UInt8] = [], type: UInt8 = UInt8(ascii: "0"), magic: Magic = .ustar,
        size: Int? = nil, signedChecksum: Bool = false, edit: (inout [UInt8]) -> Void = { _ in }
    ) {
        var header = [UInt8](repeating: 0, count: 512)
        header.replaceSubrange(0..<min(100, name.count), with: name.prefix(100))
        header.replaceSubrange(100..<107, with: Array("0000644".utf8))
        header.replaceSubrange(124..<136, with: Self.octal(size ?? payload.count, digits: 11) + [0])
        header[156] = type
        switch magic {
        case .ustar: header.replaceSubrange(257..<265, with: Array("ustar".utf8) + [0, 0x30, 0x30])
        case .gnu: header.replaceSubrange(257..<265, with: Array("ustar  ".utf8) + [0])
        case .none: break
        }
        edit(&header)
        header.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
        let sum = header.reduce(0) { $0 + (signedChecksum ? Int(Int8(bitPattern: $1)) : Int($1)) }
        header.replaceSubrange(148..<156, with: Self.octal(sum, digits: 6) + [0, 0x20])
        bytes += header + payload
        bytes += [UInt8](repeating: 0, count: (512 - payload.count % 512) % 512)
    }

    mutating func add(_ name: String, _ payload: [UInt8] = [], type: Character = "0") {
        add(Array(name.utf8), payload, type: type.asciiValue!)
    }

    mutating func add(_ name: String, text: String) { add(name, Array(text.utf8)) }

    /// A PAX extended header (`x` or, for all that follow, `g`).
    mutating func pax(_ records: [(String, String)], type: Character = "x") {
        var body: [UInt8] = []
        for (key, value) in records { body += Self.record(key, Array(value.utf8)) }
        add(Array("PaxHeaders/0".utf8), body, type: type.asciiValue!)
    }

    /// A GNU long name.
    mutating func longName(_ name: [UInt8]) {
        add(Array("././@LongLink".utf8), name + [0], type: UInt8(ascii: "L"), magic: .gnu)
    }

    mutating func end(blocks: Int = 2) { bytes += [UInt8](repeating: 0, count: blocks * 512) }

    static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let rest = key.utf8.count + value.count + 3
        var length = rest + String(rest).count
        if String(length).count != String(rest).count { length = rest + String(length).count }
        return Array("\(length) \(key)=".utf8) + value + [0x0A]
    }

    static func octal(_ value: Int, digits: Int) -> [UInt8] {
        let text = String(value, radix: 8)
        return Array((String(repeating: "0", count: max(0, digits - text.count)) + text).utf8)
    }
}
