package import HeadraceCore
internal import HeadraceDecode

/// One field of one sample, decoded outside a loader to the same bytes as inside.
package struct DecodedField: Sendable {
    package let elementType: ElementType
    package let shape: [Int]
    /// The elements in C order and the machine's byte order.
    package let bytes: [UInt8]

    /// Decodes `payload`; `ordinal` is the sample's place in its shard, which is the data set's only one.
    package init(
        _ payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding, _ request: FieldRequest, seed: UInt64,
        epoch: UInt64, ordinal: UInt64
    ) throws(HeadraceError) {
        guard encoding == .plain || request.decoder.readsFeatures else {
            throw HeadraceError(
                .badValue,
                "the feature '\(request.name)' is not one bytes value, as this kind of field wants it")
        }
        let layout = try unsafe request.decoder.column(for: payload)
        guard case .fixed(let elementType, let shape) = layout else {
            throw HeadraceError(
                .usage,
                "field '\(request.name)' decoded so has no fixed shape: `headrace cat` writes its bytes")
        }
        var bytes = [UInt8](repeating: 0, count: layout.rowBytes)
        var seed = mixed(seed, epoch, 0, ordinal)
        var failure: HeadraceError?
        unsafe bytes.withUnsafeMutableBytes { row in
            unsafe withUnsafePointer(to: payload) { payload in
                unsafe withUnsafePointer(to: &seed) { seed in
                    unsafe withUnsafePointer(to: encoding) { encoding in
                        var run = unsafe DecodeRun(
                            payloads: UnsafeBufferPointer(start: payload, count: 1), rows: row.baseAddress,
                            layout: layout, seeds: UnsafeBufferPointer(start: seed, count: 1),
                            encodings: UnsafeBufferPointer(start: encoding, count: 1))
                        request.decoder.decode(&run)
                        failure = run.failures.first?.error
                    }
                }
            }
        }
        if let failure { throw failure }
        self.elementType = elementType
        self.shape = shape
        self.bytes = bytes
    }

    /// What stands before the elements in an .npy file (version 1.0).
    package func npyHeader() throws(HeadraceError) -> [UInt8] {
        let kind: String
        switch elementType {
        case .bool: kind = "|b1"
        case .int8, .int16, .int32, .int64: kind = "i\(elementType.byteCount)"
        case .uint8, .uint16, .uint32, .uint64: kind = "u\(elementType.byteCount)"
        case .float16, .float32, .float64: kind = "f\(elementType.byteCount)"
        case .complex64, .complex128: kind = "c\(elementType.byteCount)"
        case .bfloat16:
            throw HeadraceError(.usage, "an .npy file has no bfloat16: ask for --dtype float32")
        }
        let order =
            kind.hasPrefix("|")
            ? "" : elementType.byteCount == 1 ? "|" : UInt16(1).littleEndian == 1 ? "<" : ">"
        let extents = shape.map { "\($0)," }.joined(separator: " ")
        var text = "{'descr': '\(order)\(kind)', 'fortran_order': False, 'shape': (\(extents)), }"
        // Elements begin at a multiple of 64, as NumPy writes them.
        text += String(repeating: " ", count: 63 - (10 + text.utf8.count) % 64) + "\n"
        let count = text.utf8.count
        return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(count & 255), UInt8(count >> 8)] + Array(text.utf8)
    }
}
