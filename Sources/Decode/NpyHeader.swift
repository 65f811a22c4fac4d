package import HeadraceCore

/// Caps on what an .npy header may claim, each with its default.
package enum NpyLimits {
    /// Bytes of the header's text. NumPy writes some 100, and refuses more than 10,000 itself.
    package static let headerBytes = 10_000
    /// Bytes in which a header that is not refused ends: magic, version, length, text.
    package static let fileHeaderBytes = 12 + headerBytes
    /// Dimensions of an array; NumPy has no more.
    package static let dimensions = 64
}

/// What the header of an .npy file says: element type, shape, and how the elements lie behind it.
package struct NpyHeader: Hashable, Sendable {
    package var elementType: ElementType
    package var shape: [Int]
    /// The first index varies fastest in the file.
    package var isFortranOrder: Bool
    /// Elements are in the other byte order than this machine's.
    package var isByteSwapped: Bool
    /// Where the elements start.
    package var dataOffset: Int

    /// Bytes of all elements; the parser made sure that it does not overflow.
    package var dataByteCount: Int { shape.contains(0) ? 0 : shape.reduce(elementType.byteCount, *) }

    private static let magic: [UInt8] = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]

    /// Reads the header at the start of `bytes` (format versions 1.0, 2.0 and 3.0).
    ///
    /// The header's text is a Python literal; a small parser reads exactly the dictionaries that NumPy
    /// writes, of any age, and evaluates nothing. Objects and structured types are refused by name.
    package static func parse(_ bytes: UnsafeRawBufferPointer) throws(HeadraceError) -> NpyHeader {
        guard unsafe bytes.prefix(6).elementsEqual(magic.prefix(bytes.count)), bytes.count > 0 else {
            throw HeadraceError(
                .badValue,
                "no .npy array: it begins with '\(unsafe excerpt(of: .init(rebasing: bytes.prefix(6))))'")
        }
        guard bytes.count >= 10 else { throw truncated(bytes.count, "a header of at least 10 bytes") }
        let major = unsafe bytes[6]
        let minor = unsafe bytes[7]
        guard (1...3).contains(major), minor == 0 else {
            throw HeadraceError(
                .unsupported, ".npy format version \(major).\(minor); versions 1.0 to 3.0 are read")
        }
        let start = major == 1 ? 10 : 12
        guard bytes.count >= start else { throw truncated(bytes.count, "a header of at least 12 bytes") }
        let length =
            major == 1
            ? Int(UInt16(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)))
            : Int(UInt32(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
        guard length <= NpyLimits.headerBytes else {
            throw HeadraceError(
                .limitExceeded,
                "an .npy header of \(length) bytes exceeds the limit headerBytes of \(NpyLimits.headerBytes)")
        }
        guard bytes.count - start >= length else {
            throw truncated(bytes.count, "a header of \(length) bytes")
        }
        let text = unsafe Array(bytes[start..<start + length])
        var parser = NpyHeaderParser(text)
        let fields = try parser.parse()
        return try NpyHeader(fields, dataOffset: start + length)
    }

    private static func truncated(_ count: Int, _ wanted: String) -> HeadraceError {
        HeadraceError(.truncated, "an .npy array ends after \(count) bytes, inside \(wanted)")
    }

    private init(_ fields: NpyHeaderParser.Fields, dataOffset: Int) throws(HeadraceError) {
        (elementType, isByteSwapped) = try Self.elementType(of: fields.descr)
        shape = fields.shape
        isFortranOrder = fields.isFortranOrder
        self.dataOffset = dataOffset
        // Zeros left out: whoever multiplies the others first must not overflow either.
        var product = elementType.byteCount
        for extent in shape where extent > 0 {
            let (next, overflow) = product.multipliedReportingOverflow(by: extent)
            guard !overflow else {
                throw HeadraceError(
                    .badValue, "an .npy array of shape \(Self.tuple(shape)) is beyond any memory")
            }
            product = next
        }
    }

    package init(_ elementType: ElementType, shape: [Int]) {
        self.elementType = elementType
        self.shape = shape
        isFortranOrder = false
        isByteSwapped = false
        dataOffset = Self.write(elementType, shape: shape).count
    }

    private static func elementType(of descr: String) throws(HeadraceError) -> (ElementType, isSwapped: Bool)
    {
        let orders: [UInt8] = Array("<>|=".utf8)
        let first = descr.utf8.first ?? 0
        let name = orders.contains(first) ? String(descr.dropFirst()) : descr
        guard let type = ElementType.allCases.first(where: { code(of: $0) == name && $0 != .bfloat16 }) else {
            let kinds: [Character: String] = [
                "O": "Python objects", "V": "a structured or void type", "U": "Unicode strings",
                "S": "byte strings",
                "M": "dates", "m": "time differences", "a": "byte strings",
            ]
            let what = name.first.flatMap { kinds[$0] } ?? "an element type that Headrace does not know"
            throw HeadraceError(
                .unsupported,
                "the .npy element type '\(descr)' is \(what); store numbers, text as a field of its own")
        }
        let isBig = first == UInt8(ascii: ">")
        let isLittle = first == UInt8(ascii: "<")
        let isMachineLittle = 1.littleEndian == 1
        return (type, type.byteCount > 1 && (isMachineLittle ? isBig : isLittle))
    }

    private static func code(of type: ElementType) -> String {
        switch type {
        case .bool: "b1"
        case .int8: "i1"
        case .int16: "i2"
        case .int32: "i4"
        case .int64: "i8"
        case .uint8: "u1"
        case .uint16: "u2"
        case .uint32: "u4"
        case .uint64: "u8"
        case .float16: "f2"
        case .bfloat16: "V2"
        case .float32: "f4"
        case .float64: "f8"
        case .complex64: "c8"
        case .complex128: "c16"
        }
    }

    /// A header of version 1.0 for elements in C order and this machine's byte order, a multiple of 64 bytes
    /// long, so that a mapped array is aligned.
    ///
    /// NumPy has no bfloat16; it is written as two opaque bytes, as the packages that add the type to NumPy
    /// do.
    package static func write(_ type: ElementType, shape: [Int]) -> [UInt8] {
        let order = type.byteCount == 1 ? "|" : 1.littleEndian == 1 ? "<" : ">"
        var text =
            "{'descr': '\(order)\(code(of: type))', 'fortran_order': False, 'shape': \(tuple(shape)), }"
        let padding = 63 - (10 + text.utf8.count) % 64
        text += String(repeating: " ", count: padding) + "\n"
        let length = UInt16(text.utf8.count)
        return magic + [1, 0, UInt8(length & 0xff), UInt8(length >> 8)] + Array(text.utf8)
    }

    static func tuple(_ shape: [Int]) -> String {
        shape.count == 1 ? "(\(shape[0]),)" : "(" + shape.map(String.init).joined(separator: ", ") + ")"
    }
}
