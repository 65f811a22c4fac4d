internal import HeadraceCore

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }` and nothing cleverer.
struct NpyHeaderParser {
    struct Fields {
        var descr: String
        var isFortranOrder: Bool
        var shape: [Int]
    }

    private let text: [UInt8]
    private var at = 0

    init(_ text: [UInt8]) { self.text = text }

    mutating func parse() throws(HeadraceError) -> Fields {
        var descr: String?
        var isFortranOrder: Bool?
        var shape: [Int]?
        try expect("{")
        while !take("}") {
            let name = try string()
            try expect(":")
            switch name {
            case "descr" where descr == nil: descr = try elementDescription()
            case "fortran_order" where isFortranOrder == nil: isFortranOrder = try boolean()
            case "shape" where shape == nil: shape = try tuple()
            default: throw error("the key '\(name)' is unknown or comes twice")
            }
            if !take(",") {
                try expect("}")
                break
            }
        }
        skipSpace()
        guard at == text.count else { throw error("something follows the dictionary") }
        guard let descr, let isFortranOrder, let shape else {
            throw error("one of the keys descr, fortran_order, shape is missing")
        }
        return Fields(descr: descr, isFortranOrder: isFortranOrder, shape: shape)
    }

    private func error(_ what: String) -> HeadraceError {
        HeadraceError(.badValue, "malformed .npy header: \(what) (character \(at))")
    }

    private mutating func skipSpace() {
        while at < text.count, text[at] == 0x20 || text[at] == 0x0a || text[at] == 0x09 || text[at] == 0x0d {
            at += 1
        }
    }

    private mutating func take(_ symbol: Unicode.Scalar) -> Bool {
        skipSpace()
        guard at < text.count, text[at] == UInt8(ascii: symbol) else { return false }
        at += 1
        return true
    }

    private mutating func expect(_ symbol: Unicode.Scalar) throws(HeadraceError) {
        guard take(symbol) else { throw error("'\(symbol)' was expected") }
    }

    private mutating func word(_ name: String) -> Bool {
        skipSpace()
        guard text[at...].starts(with: name.utf8) else { return false }
        at += name.utf8.count
        return true
    }

    private mutating func boolean() throws(HeadraceError) -> Bool {
        if word("True") { return true }
        if word("False") { return false }
        throw error("True or False was expected")
    }

    private mutating func string() throws(HeadraceError) -> String {
        skipSpace()
        // Python 2 marked its Unicode strings so.
        if at + 1 < text.count, text[at] == UInt8(ascii: "u"), text[at + 1] == UInt8(ascii: "'") { at += 1 }
        guard at < text.count, text[at] == UInt8(ascii: "'") || text[at] == UInt8(ascii: "\"") else {
            throw error("a string was expected")
        }
        let quote = text[at]
        let start = at + 1
        at = start
        while at < text.count, text[at] != quote {
            guard text[at] >= 0x20, text[at] != UInt8(ascii: "\\") else {
                throw error("an escape in a string")
            }
            at += 1
        }
        guard at < text.count else { throw error("a string does not end") }
        at += 1
        return String(decoding: text[start..<at - 1], as: UTF8.self)
    }

    private mutating func elementDescription() throws(HeadraceError) -> String {
        skipSpace()
        if at < text.count, text[at] == UInt8(ascii: "[") {
            throw HeadraceError(
                .unsupported, "the .npy element type is structured (named fields); store one array a field")
        }
        return try string()
    }

    private mutating func tuple() throws(HeadraceError) -> [Int] {
        var extents: [Int] = []
        try expect("(")
        while !take(")") {
            extents.append(try extent())
            guard extents.count <= NpyLimits.dimensions else {
                throw HeadraceError(
                    .limitExceeded, "an .npy array exceeds the limit dimensions of \(NpyLimits.dimensions)")
            }
            if take(",") { continue }
            // (3) is a number in Python, no tuple.
            guard extents.count > 1 else { throw error("the shape is no tuple") }
            try expect(")")
            break
        }
        return extents
    }

    private mutating func extent() throws(HeadraceError) -> Int {
        skipSpace()
        var value = 0
        let start = at
        while at < text.count, text[at] >= UInt8(ascii: "0"), text[at] <= UInt8(ascii: "9") {
            let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tenfold.addingReportingOverflow(Int(text[at] - UInt8(ascii: "0")))
            guard !overflow, !carry else { throw error("an extent beyond 64 bits") }
            value = sum
            at += 1
        }
        guard at > start else { throw error("an extent was expected") }
        // To Python this is no number, or an octal one.
        guard text[start] != UInt8(ascii: "0") || at == start + 1 else {
            throw error("an extent begins with a zero")
        }
        // Python 2 wrote its long integers so.
        _ = word("L")
        return value
    }
}
