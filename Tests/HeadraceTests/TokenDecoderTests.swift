import HeadraceCore
import HeadraceDecode
import Testing

@testable import Headrace

@Suite struct TokenDecoderTests {
    private func little<Token: FixedWidthInteger>(_ tokens: [Token]) -> [UInt8] {
        tokens.flatMap { token in
            (0..<Token.bitWidth / 8).map { UInt8(truncatingIfNeeded: token >> (8 * $0)) }
        }
    }

    @Test func rowsOfFixedLength() throws {
        let rows: [[UInt16]] = [[1, 2, 65535], [0, 256, 40000]]
        let decoded = try DecodedRows(TokenDecoder(.u16, count: 3), rows.map(little))
        #expect(decoded.layout == .fixed(.uint16, shape: [3]))
        #expect(decoded.failures.isEmpty)
        #expect(decoded.rows.withUnsafeBytes { Array($0.bindMemory(to: UInt16.self)) } == rows.flatMap { $0 })
        let wide: [[UInt32]] = [[1, 4_000_000_000], [70000, 0]]
        let decodedWide = try DecodedRows(TokenDecoder(.u32, count: 2), wide.map(little))
        #expect(decodedWide.layout == .fixed(.uint32, shape: [2]))
        #expect(
            decodedWide.rows.withUnsafeBytes { Array($0.bindMemory(to: UInt32.self)) } == wide.flatMap { $0 })
    }

    @Test func otherLengthsAreDefectsOfTheirRows() throws {
        let payloads: [[UInt8]] = [
            [1, 0, 2, 0], [1, 0], [1, 0, 2], [], [1, 0, 2, 0, 3, 0], [7, 0, 8, 0],
        ]
        let decoded = try DecodedRows(TokenDecoder(.u16, count: 2), payloads)
        #expect(decoded.failures.map(\.row) == [1, 2, 3, 4])
        #expect(
            decoded.failures.map(\.error.code) == [
                .shapeMismatch, .badValue, .shapeMismatch, .shapeMismatch,
            ])
        #expect(decoded.failures[0].error.message.contains("1 tokens in a column of 2 a row"))
        #expect(
            decoded.failures[1].error.message.contains("3 bytes are no whole number of tokens of 2 bytes"))
        #expect(decoded.rows.prefix(4) == [1, 0, 2, 0] && decoded.rows.suffix(4) == [7, 0, 8, 0])
    }

    @Test func listsOfAnyLengthThroughTheLoader() throws {
        let folder = TemporaryFolder()
        let texts: [[UInt32]] = [[5, 6, 7], [], [1 << 31], Array(0..<500)]
        let samples = texts.enumerated().map { index, tokens in
            (key: "k\(index)", fields: [("tok", little(tokens))])
        }
        let pattern = folder("t-%03d.tar")
        _ = try Packer([ListSource(samples: samples)], options: PackOptions(output: pattern)).run()
        let loader = try Dataset(folder("t-000.tar")).decoding("tok", with: .tokens(.u32)).batched(4).loader()
        let tensor = try #require(try loader.next())["tok"]
        #expect(tensor.layout == .spans(.list(.uint32, shape: [])))
        #expect(tensor.shape == [4, nil])
        #expect(tensor.rowOffsets == [0, 3, 3, 4, 504])
        #expect(try tensor.elements(as: UInt32.self) == texts.flatMap { $0 })
        #expect(try tensor.elements(ofRow: 0, as: UInt32.self) == [5, 6, 7])
        // Not a whole number of tokens of four bytes.
        let odd = [
            (key: "a", fields: [("tok", [UInt8](repeating: 0, count: 8))]),
            (key: "b", fields: [("tok", [1])]),
        ]
        _ = try Packer([ListSource(samples: odd)], options: PackOptions(output: folder("odd-%03d.tar"))).run()
        let failing = try Dataset(folder("odd-000.tar")).decoding("tok", with: .tokens(.u32)).batched(1)
            .loader()
        #expect(try failing.next()?.keys == ["a"])
        let error = #expect(throws: HeadraceError.self) { try failing.next() }
        #expect(error?.code == .badValue)
        #expect(error?.place.key == "b")
        #expect(error?.place.field == "tok")
    }

    @Test func words() throws {
        for (text, description) in [
            ("tok=tokens:u16", "tokens:u16"), ("tok=tokens:u32", "tokens:u32"),
            ("tok=tokens:u16[2049]", "tokens:u16[2049]"),
        ] {
            let request = try #require(try FieldRequest.requests(text).first)
            #expect(request.name == "tok")
            #expect("\(request.decoder)" == description)
        }
        for text in [
            "tok=tokens:", "tok=tokens:u8", "tok=tokens:u16[", "tok=tokens:u16[]", "tok=tokens:u16[0]",
            "tok=tokens:u16[-1]", "tok=tokens:u16[+5]", "tok=tokens:u16[5", "tok=tokens:u16[5]x",
            "tok=tokens:u16[99999999999]",
        ] {
            let error = #expect(throws: HeadraceError.self, "\(text)") { try FieldRequest.requests(text) }
            #expect(error?.code == .usage)
            #expect(error?.message.contains("tokens") == true)
        }
    }
}
