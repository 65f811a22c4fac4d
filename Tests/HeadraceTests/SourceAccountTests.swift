import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// Every byte of a source is accounted for, once.
@Suite struct SourceAccountTests {
    private func account(
        _ tree: PackTree, _ names: [String], text: TextSplit? = nil
    ) throws -> PackSourceBytes {
        try TextSourceTests.pack(tree, names) { source, options in
            source.text = text
            options.onDefect = .skip(limit: .max)
        }.summary.sourceBytes
    }

    private static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// Name, content, and the bytes of it that are ignored and lost.
    private static let files: [(name: String, content: [UInt8], ignored: Int, lost: Int)] = [
        ("a.txt", mark + Array("one\r\n\n".utf8) + [0xFF, 0x0A] + Array("last".utf8), 3, 2),
        ("a.csv", mark + Array("a,b\r\n\r\n1,2\n\n3\n\"x\ny\",4\r\n5,6".utf8), 3 + 2 + 1, 2),
        // Two lines of a quote that is never closed, one of which is a row, and one that is no text.
        (
            "b.csv", Array("\n\na,b\n1,\"2\n3,4\n".utf8) + [0x35, 0x2C, 0xFF, 0x0A, 0x36, 0x2C, 0x37], 2,
            5 + 4
        ),
        ("c.csv", mark + Array("\n\na\n1\r2\r".utf8), 3 + 1 + 1, 0),
        ("d.csv", Array("a,b\n1,\"x\n".utf8) + [0xFF] + Array("y\"\n3,4\n".utf8), 0, 5 + 4),
        ("a.tsv", Array("a\tb\n1\t2\n\"3\"4\t5\n".utf8), 0, 7),
        ("a.jsonl", mark + Array("{\"a\":1}\n\n \r\n{\"a\":\n[1]\r\n {\"a\":2} ".utf8), 3 + 1 + 3, 6 + 5),
        ("b.jsonl", mark + Array("\n{\"a\":1}".utf8), 4, 0),
    ]

    @Test(arguments: files.indices, ["", ".gz", ".zst"])
    func linesAddUp(index: Int, ending: String) throws {
        let (name, content, ignored, lost) = Self.files[index]
        let tree = try PackTree()
        try tree.put(name, content)
        guard try TextSourceTests.compress(tree, name, ending) else { return }
        let account = try account(tree, [name + ending])
        #expect(account.ignored == ignored && account.lost == lost, "\(name): \(account)")
        #expect(account.parsed == content.count - ignored - lost)
    }

    @Test func chunksAddUp() throws {
        let tree = try PackTree()
        let content = Self.mark + Array(String(repeating: "some text\n", count: 9).utf8) + [0xFF, 0x41]
        try tree.put("a.txt", content)
        let account = try account(tree, ["a.txt"], text: .chunk(byteCount: 40))
        #expect(account.ignored == 0 && account.lost > 0 && account.lost < 40)
        #expect(account.parsed + account.lost == content.count)
    }

    private static func npy(_ shape: String, _ byteCount: Int) -> [UInt8] {
        var header = Array("{'descr': '|u1', 'fortran_order': False, 'shape': \(shape), }".utf8)
        while (10 + header.count + 1) % 64 != 0 { header.append(0x20) }
        header.append(0x0A)
        let data = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0) }
        return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.count), 0] + header + data
    }

    @Test func arraysAddUp() throws {
        let tree = try PackTree()
        let rows = Self.npy("(7, 3)", 21)
        let numbers = Self.npy("(7,)", 7)
        try tree.put("a.npy", rows)
        try tree.put("b.npy", numbers)
        let all = PackSourceBytes(parsed: rows.count + numbers.count)
        #expect(try account(tree, ["a.npy", "b.npy"]) == all)
        guard try TextSourceTests.compress(tree, "a.npy", ".gz") else { return }
        #expect(try account(tree, ["a.npy.gz", "b.npy"]) == all)
        let script = """
            import sys, zipfile
            for name, method in ("s.npz", 0), ("d.npz", 8):
                with zipfile.ZipFile(sys.argv[1] + "/" + name, "w", method) as z:
                    for n in "a.npy", "b.npy": z.write(sys.argv[1] + "/" + n, n)
            """
        guard try PackOracle.python(script, [tree.source]) != nil else { return }
        for name in ["s.npz", "d.npz"] { #expect(try account(tree, [name]) == all, "\(name)") }
    }

    @Test func imagesAddUp() throws {
        let tree = try PackTree()
        let images: [UInt8] = [0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6]
        let labels: [UInt8] = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]
        try tree.put("t-images", images)
        try tree.put("t-labels", labels)
        try tree.put("README", "beside")
        let source = try packSources(at: [tree.source])
        let summary = try Packer(source, options: tree.options("x.tar")).run().summary
        #expect(summary.sourceBytes == PackSourceBytes(parsed: images.count + labels.count, ignored: 6))
    }

    @Test func filesAddUp() throws {
        let tree = try PackTree()
        try tree.put("d/a.txt", "four")
        try tree.put("d/a.cls", "1")
        try tree.put("d/.hidden", "hidden")
        try tree.put(".git/b.txt", "not entered")
        try tree.put("README", "no field")
        let summary = try tree.pack(tree.options("x.tar")).summary
        #expect(summary.sourceBytes == PackSourceBytes(parsed: 5, ignored: 6 + 8))
    }
}
