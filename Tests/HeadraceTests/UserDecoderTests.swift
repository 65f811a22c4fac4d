import Foundation
import HeadraceCore
import HeadraceDecode
import Testing

@testable import Headrace

// The decoder that the documentation shows, word for word.

// BEGIN
struct BoxDecoder: Decoder {
    func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        .fixed(.float32, shape: [4])
    }

    func decode(_ run: inout DecodeRun) {
        for row in run.payloads.indices where !run.isAbsent(row) {
            let text = String(decoding: run.payloads[row], as: UTF8.self)
            let box = text.split(separator: ",").compactMap { Float($0) }
            guard box.count == 4 else {
                run.fail(row, HeadraceError(.badValue, "no box: '\(text)'")); continue
            }
            for (place, number) in box.enumerated() {
                run.rows?.storeBytes(of: number, toByteOffset: (row * 4 + place) * 4, as: Float.self)
            }
        }
    }
}
// END

@Suite struct UserDecoderTests {
    @Test func decodesWhatItSays() throws {
        let folder = TemporaryFolder()
        let boxes = ["0.5,1,20,4", "1,2,3,4", "1,2,3", "-1,0,1e3,0.25"]
        let samples = boxes.enumerated().map { (key: "k\($0)", fields: [("box", Array($1.utf8))]) }
        _ = try Packer([ListSource(samples: samples)], options: PackOptions(output: folder("b-%03d.tar")))
            .run()
        let loader = try Dataset(folder("b-000.tar")).decoding("box", with: BoxDecoder()).batched(4)
            .onDefect(.skip(limit: 1)).loader()
        let tensor = try #require(try loader.next())["box"]
        #expect(tensor.shape == [3, 4])
        #expect(try tensor.elements(as: Float.self) == [0.5, 1, 20, 4, 1, 2, 3, 4, -1, 0, 1000, 0.25])
        #expect(loader.report().defects.first?.message == "no box: '1,2,3'")
        #expect(loader.report().defects.first?.place.key == "k2")
    }

    @Test func theDocumentationShowsIt() throws {
        let file = URL(fileURLWithPath: #filePath)
        let lines = try String(contentsOf: file, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let begin = try #require(lines.firstIndex(of: "// BEGIN"))
        let end = try #require(lines.firstIndex(of: "// END"))
        let code = lines[(begin + 1)..<end].joined(separator: "\n")
        let root = file.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(
            contentsOf: root.appendingPathComponent("Sources/Headrace/Documentation.docc/DecodingFields.md"),
            encoding: .utf8)
        #expect(page.contains(code))
    }
}
