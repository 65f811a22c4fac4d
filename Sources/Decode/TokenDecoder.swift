public import HeadraceCore

/// How wide the tokens of a text are, as a tokeniser wrote them.
public enum TokenWidth: String, Hashable, Sendable, CaseIterable {
    case u16
    case u32

    /// What a column of such tokens holds.
    public var elementType: ElementType {
        switch self {
        case .u16: .uint16
        case .u32: .uint32
        }
    }
}

/// Reads a field that is a row of token numbers, little-endian and nothing else, such as a memory map of a tokenised
/// text cut into samples.
///
/// With a count every row has as many, and the column is a tensor `[batch, count]`. Without, rows have any number of
/// tokens and are lists: they stay where they were read until somebody asks for them.
public struct TokenDecoder: ListDecoder, CustomStringConvertible {
    /// Most tokens of a row of fixed length.
    public static let countLimit = 1 << 24

    /// How wide a token is.
    public let width: TokenWidth
    /// Tokens of every row; nil: any number.
    public let count: Int?

    /// Tokens of that width; `count`, at most ``countLimit``, of them in every row, or any number.
    public init(_ width: TokenWidth, count: Int? = nil) {
        precondition((1...Self.countLimit).contains(count ?? 1), "a row has 1 to \(Self.countLimit) tokens")
        self.width = width
        self.count = count
    }

    /// Rows of `count` tokens, or lists; throws `badValue` where the bytes of a list are no whole number of tokens.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        if let count { return .fixed(width.elementType, shape: [count]) }
        try checkWhole(payload.count)
        return .spans(.list(width.elementType, shape: []))
    }

    /// Fills rows of fixed length; of lists only the length is looked at.
    public func decode(_ run: inout DecodeRun) {
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            let payload = unsafe run.payloads[row]
            do throws(HeadraceError) {
                try checkWhole(payload.count)
                guard let count else { continue }
                let found = payload.count / width.elementType.byteCount
                guard found == count else {
                    throw HeadraceError(
                        .shapeMismatch,
                        "\(found) tokens in a column of \(count) a row; cut the samples alike, or read them as lists "
                            + "(tokens:\(width.rawValue))")
                }
                guard let rows = unsafe run.rows else { continue }
                unsafe copyElements(of: payload, .plain, to: rows + row * run.layout.rowBytes)
            } catch {
                run.fail(row, error)
            }
        }
    }

    private func checkWhole(_ byteCount: Int) throws(HeadraceError) {
        let size = width.elementType.byteCount
        guard byteCount % size == 0 else {
            throw HeadraceError(
                .badValue, "\(byteCount) bytes are no whole number of tokens of \(size) bytes each")
        }
    }

    /// Tokens of a payload.
    public func elementCount(of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding) -> Int {
        payload.count / width.elementType.byteCount
    }

    /// Copies tokens into this machine's byte order.
    public func copyElements(
        of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding,
        to elements: UnsafeMutableRawPointer
    ) {
        guard let start = payload.baseAddress else { return }
        let count = unsafe elementCount(of: payload, encoding)
        switch width {
        case .u16: unsafe copy(start, UInt16.self, count, elements) { UInt16(littleEndian: $0) }
        case .u32: unsafe copy(start, UInt32.self, count, elements) { UInt32(littleEndian: $0) }
        }
    }

    /// The compiler makes one copy of it where the machine is little-endian.
    @inline(__always)
    private func copy<Token: FixedWidthInteger & BitwiseCopyable>(
        _ source: UnsafeRawPointer, _ type: Token.Type, _ count: Int, _ target: UnsafeMutableRawPointer,
        _ convert: (Token) -> Token
    ) {
        let size = MemoryLayout<Token>.stride
        for place in 0..<count {
            let token = unsafe source.loadUnaligned(fromByteOffset: place * size, as: type)
            unsafe target.storeBytes(of: convert(token), toByteOffset: place * size, as: type)
        }
    }

    /// "tokens:u16" or "tokens:u16[1024]", as in an option.
    public var description: String { "tokens:\(width.rawValue)" + (count.map { "[\($0)]" } ?? "") }
}
