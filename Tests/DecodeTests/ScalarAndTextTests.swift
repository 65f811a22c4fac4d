import HeadraceCore
import HeadraceDecode
import Testing

@Suite struct IntegerDecoderTests {
    @Test(arguments: [
        ("0", 0), ("7", 7), ("-7", -7), ("+7", 7), (" 42\n", 42), ("\t\r\n\u{b}\u{c}5 ", 5), ("007", 7),
        ("-0", 0),
        ("9223372036854775807", Int64.max), ("-9223372036854775808", Int64.min),
        ("00000000000000000000000000001", 1),
    ]) func accepted(text: String, value: Int64) throws {
        let column = try DecodedColumn(IntegerDecoder(), [Array(text.utf8)])
        #expect(column.layout == .fixed(.int64, shape: []))
        #expect(column.failures.isEmpty)
        #expect(column.rows.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) } == value)
    }

    @Test(arguments: [
        "", " ", "-", "+", "+-1", "1 2", "3.0", "1e3", "1_000", "0x10", "abc", "1\0", "\0",
        "9223372036854775808",
        "-9223372036854775809", "99999999999999999999999", "١", "--1", "1-", "- 1", "\u{a0}1",
    ]) func refused(text: String) throws {
        let column = try DecodedColumn(IntegerDecoder(), [Array(text.utf8)], column: [0x31])
        #expect(column.failures.count == 1)
        #expect(column.failures.first?.error.code == .badValue)
        #expect(throws: HeadraceError.self) { try DecodedColumn(IntegerDecoder(), [Array(text.utf8)]) }
    }

    @Test func aBadRowLeavesTheOthers() throws {
        let rows = ["1", "x", "3", "", "-5"].map { Array($0.utf8) }
        let column = try DecodedColumn(IntegerDecoder(), rows)
        #expect(column.failures.map(\.row) == [1, 3])
        let values = column.rows.withUnsafeBytes { bytes in
            [0, 2, 4].map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self) }
        }
        #expect(values == [1, 3, -5])
    }

    @Test func theMessageShowsTheTextShortened() throws {
        let bytes = [0xff, 0x0a] + [UInt8](repeating: 0x41, count: 1000)
        let error = #expect(throws: HeadraceError.self) { try DecodedColumn(IntegerDecoder(), [bytes]) }
        #expect(error?.message.hasPrefix("'\\xff\\x0aAAAA") == true)
        #expect(error?.message.contains("...") == true)
        #expect((error?.message.utf8.count ?? 1000) < 100)
    }
}

@Suite struct SpanDecoderTests {
    @Test func rawTakesAnything() throws {
        let column = try DecodedColumn(RawDecoder(), [[], [0xff], Array("x".utf8)])
        #expect(column.layout == .spans(.bytes))
        #expect(column.failures.isEmpty && column.rows.isEmpty)
    }

    @Test func textMustBeUTF8() throws {
        let bad: [[UInt8]] = [
            [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xe2, 0x82], [0x80],
        ]
        let good: [[UInt8]] = [[], Array("plain".utf8), Array("é😀\0".utf8), [0xf4, 0x8f, 0xbf, 0xbf]]
        let column = try DecodedColumn(TextDecoder(), good + bad)
        #expect(column.layout == .spans(.text))
        #expect(column.failures.map(\.row) == Array(4..<10))
        #expect(column.failures.allSatisfy { $0.error.code == .badValue })
        #expect(column.failures.first { $0.row == 8 }?.error.message.contains("byte 1") == true)
        #expect(throws: HeadraceError.self) { try DecodedColumn(TextDecoder(), [[0xff]]) }
    }
}
