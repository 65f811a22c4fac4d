import HeadraceCore
import HeadraceDecode
import Testing

@testable import Headrace

/// Columns of decoded fields as a consumer sees them.
@Suite struct FieldColumnTests {
    private let folder = TemporaryFolder()

    private func pack(_ samples: [[(String, [UInt8])]]) throws -> String {
        let list = ListSource(
            samples: samples.enumerated().map { (key: "k\($0.offset)", fields: $0.element) })
        let pattern = folder("x-%02d.tar")
        _ = try Packer([list], options: PackOptions(output: pattern)).run()
        return folder("x-00.tar")
    }

    private func batch(_ dataset: Dataset) throws -> Batch {
        let loader = try dataset.loader()
        return try #require(try loader.next())
    }

    @Test func jsonOfARow() throws {
        let path = try pack([
            [("json", Array(#"{"a": [1, 2.5], "b": "é"}"#.utf8)), ("cls", [0x31])], [("cls", [0x32])],
            [("json", Array(" 7 ".utf8)), ("cls", [0x33])],
            [("json", Array(#"{"a": 1, "a": 2}"#.utf8)), ("cls", [0x34])],
        ])
        let batch = try batch(
            Dataset(path).decoding("json", with: .json, optional: true).decoding("cls", with: .integer))
        let column = try batch["json"]
        #expect(column.layout == .spans(.json) && batch.count == 4)
        #expect(try column.json(ofRow: 0)["a"]?.arrayValue == [1, 2.5])
        #expect(try column.json(ofRow: 0)["b"]?.stringValue == "é")
        #expect(column.bytes(ofRow: 1) == [])
        #expect(column.rowOffsets == [0, 26, 26, 29, 45])
        #expect(try column.json(ofRow: 2) == 7)
        // Legal, but of two meanings.
        let twice = #expect(throws: HeadraceError.self) { try column.json(ofRow: 3) }
        #expect(twice?.message.contains("comes twice") == true)
        let other = #expect(throws: HeadraceError.self) { try batch["cls"].json(ofRow: 0) }
        #expect(other?.code == .shapeMismatch)
    }

    @Test func partsOfOneFieldAreColumnsOfTheirOwn() throws {
        let path = try pack((0..<5).map { [("json", Array("{\"w\": \($0), \"h\": [\($0 * $0)]}".utf8))] })
        let dataset = Dataset(path).decoding("json", with: .json("w")).decoding(
            "json", with: .json("h/0", as: .float32)
        )
        .decoding("json", with: .json("w", as: .float64), as: "width")
        let batch = try batch(dataset)
        #expect(try batch["json/w"].elements(as: Int64.self) == [0, 1, 2, 3, 4])
        #expect(try batch["json/h/0"].elements(as: Float.self) == [0, 1, 4, 9, 16])
        #expect(try batch["width"].elements(ofRow: 3, as: Double.self) == [3])
        #expect(batch.fieldNames(ofRow: 0) == ["json"])
        #expect(
            batch.payloadByteCount
                == (0..<5).reduce(0) { $0 + "{\"w\": \($1), \"h\": [\($1 * $1)]}".utf8.count })
        let missing = #expect(throws: HeadraceError.self) { try batch["json"] }
        #expect(missing?.code == .missingField && missing?.message.contains("json/w") == true)
        #expect(dataset.description.contains("json/h/0"))
        #expect(dataset != dataset.decoding("json", with: .json))
        let twice = #expect(throws: HeadraceError.self) {
            try dataset.decoding("json", with: .text, as: "width").loader()
        }
        #expect(twice?.code == .usage)
    }

    /// The row of an absent optional field is zero, also where the batch's memory held another before.
    @Test func absentFieldsAreZeroOrTheDefault() throws {
        let path = try pack(
            (0..<300).map { number in
                number % 3 == 0 ? [("txt", [0x61])] : [("cls", Array("\(number)".utf8)), ("txt", [0x61])]
            })
        let loader = try Dataset(path).batched(10).decoding("cls", with: .integer, optional: true)
            .decoding("label", with: .int64(shape: [2], default: [4, 5])).decoding(
                "mean", with: .float(default: [0.5])
            )
            .decoding("box", with: .float(shape: [2], default: [2]), optional: true).loader()
        var number = 0
        while let batch = try loader.next() {
            for value in try batch["cls"].elements(as: Int64.self) {
                #expect(value == (number % 3 == 0 ? 0 : Int64(number)))
                number += 1
            }
            #expect(try batch["label"].elements(ofRow: 3, as: Int64.self) == [4, 5])
            #expect(try batch["mean"].elements(as: Float.self) == Array(repeating: 0.5, count: 10))
            #expect(try batch["box"].elements(ofRow: 9, as: Float.self) == [2, 2])
        }
        #expect(number == 300)
    }
}
