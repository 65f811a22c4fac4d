internal import HeadraceCompute
public import HeadraceCore
internal import HeadraceDecode

// Rows that differ in length, as contiguous elements and offsets.

extension Tensor {
    /// Where each row begins among the elements of ``withUnsafeBytes(_:)``, and at last where all end: `count + 1`
    /// numbers.
    ///
    /// They count elements; for lists of byte strings they count strings, whose own places ``stringOffsets`` has.
    public var rowOffsets: [Int] {
        var offsets = [0]
        offsets.reserveCapacity(count + 1)
        for row in 0..<count { offsets.append(offsets[row] + elementCount(ofRow: row)) }
        return offsets
    }

    private func elementCount(ofRow row: Int) -> Int {
        if case .fixed(_, let shape) = layout { return shape.reduce(1, *) }
        let (payload, encoding) = unsafe span(row)
        guard unsafe payload.baseAddress != nil else { return 0 }
        if let decoder = decoder as? any ListDecoder {
            return unsafe decoder.elementCount(of: payload, encoding)
        }
        guard let decoder = decoder as? any StringsDecoder else { return payload.count }
        var strings = 0
        unsafe decoder.forEachString(of: payload, encoding) { _ in strings += 1 }
        return strings
    }

    /// For lists of byte strings: where each string begins among the bytes of ``withUnsafeBytes(_:)``, and at last
    /// where all end. For any other column where each row begins.
    public var stringOffsets: [Int] {
        guard let decoder = decoder as? any StringsDecoder else { return rowOffsets }
        var offsets = [0]
        for row in 0..<count {
            let (payload, encoding) = unsafe span(row)
            guard unsafe payload.baseAddress != nil else { continue }
            unsafe decoder.forEachString(of: payload, encoding) { offsets.append(offsets.last! + $0.count) }
        }
        return offsets
    }

    /// The byte strings of one row; for any other column the row as the only one.
    public func byteStrings(ofRow row: Int) -> [[UInt8]] {
        guard let decoder = decoder as? any StringsDecoder else { return [bytes(ofRow: row)] }
        checkRow(row)
        let (payload, encoding) = unsafe span(row)
        guard unsafe payload.baseAddress != nil else { return [] }
        var strings: [[UInt8]] = []
        unsafe decoder.forEachString(of: payload, encoding) { unsafe strings.append(Array($0)) }
        return strings
    }

    /// The value of a row of JSON. Throws `shapeMismatch` for any other column, and `badValue` where the text is
    /// JSON but its value has no one meaning: a name that comes twice, a number beyond 64 bits, half of a surrogate
    /// pair.
    public func json(ofRow row: Int) throws(HeadraceError) -> JSONValue {
        guard case .spans(.json) = layout else { throw mismatch("JSON") }
        var limits = JSONLimits()
        limits.depth = JSONTextLimits.depth
        return try JSONValue(parsing: bytes(ofRow: row), limits: limits)
    }

    /// Elements of rows of spans, gathered into fresh memory.
    func withGathered<Result>(
        _ rows: Range<Int>, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        let size = elementType.byteCount
        let byteCount = rows.reduce(0) { $0 + self.byteCount(ofRow: $1, elementBytes: size) }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 16)
        defer { unsafe memory.deallocate() }
        var end = 0
        for row in rows { unsafe copy(row, size, memory, &end) }
        return try unsafe body(UnsafeRawBufferPointer(memory))
    }

    private func byteCount(ofRow row: Int, elementBytes: Int) -> Int {
        guard let decoder = decoder as? any StringsDecoder else {
            return elementCount(ofRow: row) * elementBytes
        }
        let (payload, encoding) = unsafe span(row)
        guard unsafe payload.baseAddress != nil else { return 0 }
        var bytes = 0
        unsafe decoder.forEachString(of: payload, encoding) { bytes += $0.count }
        return bytes
    }

    private func copy(_ row: Int, _ size: Int, _ memory: UnsafeMutableRawBufferPointer, _ end: inout Int) {
        let (payload, encoding) = unsafe span(row)
        guard let base = memory.baseAddress, unsafe payload.baseAddress != nil else { return }
        if let decoder = decoder as? any ListDecoder {
            unsafe decoder.copyElements(of: payload, encoding, to: base + end)
            end += unsafe decoder.elementCount(of: payload, encoding) * size
        } else if let decoder = decoder as? any StringsDecoder {
            unsafe decoder.forEachString(of: payload, encoding) { string in
                guard let start = string.baseAddress else { return }
                unsafe (base + end).copyMemory(from: start, byteCount: string.count)
                end += string.count
            }
        } else if let start = payload.baseAddress {
            unsafe (base + end).copyMemory(from: start, byteCount: payload.count)
            end += payload.count
        }
    }
}
