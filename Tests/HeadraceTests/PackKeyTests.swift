import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// Keys that are refused are told with their places, and with what to do about them.
@Suite struct PackKeyTests {
    private func refusal(
        _ tree: PackTree, _ names: [String], keyField: String? = nil
    ) throws -> HeadraceError {
        try #require(
            #expect(throws: HeadraceError.self) {
                try TextSourceTests.pack(tree, names) { source, _ in source.keyField = keyField }
            })
    }

    @Test(arguments: ["", ".gz"])
    func twoFilesOfOneStem(ending: String) throws {
        let tree = try PackTree()
        try tree.put("a/t.txt", "one\ntwo\n")
        try tree.put("b/t.csv", "x\n1\n")
        guard try TextSourceTests.compress(tree, "b/t.csv", ending) else { return }
        let error = try refusal(tree, ["a/t.txt", "b/t.csv" + ending])
        #expect(error.code == .duplicateKey)
        #expect(
            error.place
                == .init(shard: "\(tree.source)/b/t.csv\(ending)", offset: 2, key: "t-000000000"))
        #expect(error.message.contains("the other is in \(tree.source)/a/t.txt at byte 0;"))
        #expect(error.message.contains("keys are made of the files' names"))
    }

    @Test func aKeyFieldThatTellsNothingApart() throws {
        let tree = try PackTree()
        try tree.put("k.csv", "id,b\nx,2\ny,3\nx,4\n")
        var error = try refusal(tree, ["k.csv"], keyField: "id")
        let path = "\(tree.source)/k.csv"
        #expect(error.code == .duplicateKey && error.place == .init(shard: path, offset: 15, key: "x"))
        #expect(error.message.contains("the other is in \(path) at byte 7; 'id' does not tell them apart"))
        try tree.put("k.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b.c\"}\n")
        error = try refusal(tree, ["k.jsonl"], keyField: "id")
        #expect(error.code == .badName && error.place.offset == 11 && error.place.key == "b.c")
        #expect(error.place.shard == "\(tree.source)/k.jsonl")
        #expect(error.message.contains("has a dot") && error.message.contains("--key-field"))
        // A column that can be no field has nothing to do with the key.
        try tree.put("k.csv", "id,__key__\nx,2\n")
        error = try refusal(tree, ["k.csv"], keyField: "id")
        #expect(!error.message.contains("--key-field") && error.place.offset == 13)
    }

    /// A tar with one key twice, apart from each other, and another tar with that key.
    @Test func oneKeyTwiceInATar() throws {
        let tree = try PackTree()
        let script = """
            import io, sys, tarfile
            for name, keys in ("a", "xyx"), ("b", "vy"):
                with tarfile.open(sys.argv[1] + "/" + name + ".tar", "w", tarfile.USTAR_FORMAT) as t:
                    for key in keys:
                        m = tarfile.TarInfo(key + ".txt"); m.size = 3; t.addfile(m, io.BytesIO(b"abc"))
            """
        guard try PackOracle.python(script, [tree.source]) != nil else { return }
        let path = "\(tree.source)/a.tar"
        var error = try refusal(tree, ["a.tar"])
        #expect(error.code == .duplicateKey && error.place == .init(shard: path, offset: 2560, key: "x"))
        #expect(error.message.contains("the other is in \(path) at byte 512; a key must tell"))
        #expect(!error.message.contains("sets of their own"))
        try tree.put("c/v.txt", "abc")
        error = try refusal(tree, ["c", "b.tar"])
        #expect(error.place == .init(shard: "\(tree.source)/b.tar", offset: 512, key: "v"))
        #expect(error.message.contains("the other is in \(tree.source)/c/v.txt; rename one of them, or pack"))
    }
}
