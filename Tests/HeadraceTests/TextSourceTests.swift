import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// JSON lines, tables and text as sources of `pack`.
@Suite struct TextSourceTests {
    /// Keys and fields of a set, in order; `plain` only makes lines of it.
    static let reader = """
        import sys, webdataset as wds
        for s in wds.WebDataset(["file:" + a for a in sys.argv[1:]], shardshuffle=False, empty_check=False):
            print(s["__key__"].encode().hex(), *[k.encode().hex() + "=" + v.hex() for k, v in sorted(s.items())
                if not k.startswith("__")])
        """

    @discardableResult
    static func pack(
        _ tree: PackTree, _ names: [String],
        _ change: (inout PackSourceOptions, inout PackOptions) -> Void = { _, _ in }
    ) throws -> PackResult {
        var source = PackSourceOptions()
        var options = tree.options("x.tar")
        options.overwrite = true
        change(&source, &options)
        let words = names.map { "\(tree.source)/\($0)" }
        return try Packer(try packSources(at: words, options: source), options: options).run()
    }

    /// Compresses `name`; false where the program is missing.
    static func compress(_ tree: PackTree, _ name: String, _ ending: String) throws -> Bool {
        let words = [".gz": ["gzip", "-kf"], ".zst": ["zstd", "-qkf"]][ending] ?? []
        guard !words.isEmpty else { return true }
        return try PackOracle.run(words + ["\(tree.source)/\(name)"])?.status == 0
    }

    private func hex(_ text: String) -> String { Array(text.utf8).hexadecimal }

    @Test(arguments: ["", ".gz", ".zst"])
    func objectsOfJSONLines(ending: String) throws {
        let tree = try PackTree()
        let script = """
            import json, random, sys
            random.seed(3)
            with open(sys.argv[1] + "/t.one.jsonl", "w", newline="") as f:
                for i in range(3000):
                    row = {"id": "k/%d" % i, "text": "ä\\n\\"" * random.randrange(40), "n": [i, None, 1.5e-3], "o": {}}
                    f.write(json.dumps(row, ensure_ascii=i % 2 == 0) + ["\\n", "\\r\\n", "\\n \\n"][i % 3])
            """
        guard try PackOracle.python(script, [tree.source]) != nil,
            try Self.compress(tree, "t.one.jsonl", ending)
        else { return }
        let checker = """
            import json, sys, webdataset as wds
            rows = [l for l in open(sys.argv[2], newline="") if l.strip()]
            lines = [n for n, l in enumerate(open(sys.argv[2], newline="")) if l.strip()]
            count = 0
            for i, s in enumerate(wds.WebDataset(["file:" + sys.argv[1]], shardshuffle=False)):
                assert s["json"] == rows[i].strip().encode(), i
                key = json.loads(rows[i])["id"] if sys.argv[3] == "id" else "t-one-%09d" % lines[i]
                assert s["__key__"] == key, (s["__key__"], key)
                count += 1
            print(count)
            """
        for keyField in [nil, "id"] {
            let result = try Self.pack(tree, ["t.one.jsonl" + ending]) { source, _ in
                source.keyField = keyField
            }
            #expect(result.summary.sampleCount == 3000 && result.summary.ignored == [.blankLine: 1000])
            let arguments = ["\(tree.output)/x.tar", "\(tree.source)/t.one.jsonl", keyField ?? ""]
            if let checked = try PackOracle.python(checker, arguments, needing: ["webdataset"]) {
                #expect(checked == ["3000"])
            }
        }
    }

    @Test func whatIsNoObjectIsNamedWithItsLine() throws {
        let good = "{\"id\":\"a\"}\n"
        let cases: [(String, HeadraceError.Code, String)] = [
            (good + "{\"id\":\n", .badValue, "line 2: "), (good + good + "[1]\n", .badValue, "line 3: "),
            (good + "{\"a\":1,\"a\":2}", .badValue, "line 2: "),
            (good + "\n{\"a\":\"\u{1}\"}", .badValue, "line 3: "),
            (good + "{\"a\":1} x", .badValue, "line 2: "), (good + "{\"b\":1}", .missingField, "line 2: "),
            (good + "{\"id\":[1]}", .badValue, "line 2: "),
            (good + String(repeating: "[", count: 300), .limitExceeded, "line 2: "),
        ]
        for (text, code, words) in cases {
            let tree = try PackTree()
            try tree.put("t.jsonl", text)
            let error = #expect(throws: HeadraceError.self, "\(text)") {
                try Self.pack(tree, ["t.jsonl"]) { source, _ in source.keyField = "id" }
            }
            #expect(error?.code == code && error?.message.hasPrefix(words) == true, "\(text): \(error!)")
            #expect(error?.place.shard == "\(tree.source)/t.jsonl" && error?.place.offset != nil)
            #expect(tree.outputNames() == [])
            // Asked for, such lines are left out and counted.
            try tree.put("t.jsonl", text)
            if text.hasPrefix(good + good) { continue }
            let result = try Self.pack(tree, ["t.jsonl"]) { source, options in
                source.keyField = "id"
                options.onDefect = .skip(limit: 1)
            }
            #expect(result.summary.sampleCount == 1 && result.summary.ignored[.defect] == 1)
        }
        let tree = try PackTree()
        try tree.put("t.jsonl", good + good)
        let error = #expect(throws: HeadraceError.self) {
            try Self.pack(tree, ["t.jsonl"]) { source, _ in source.keyField = "id" }
        }
        #expect(error?.code == .duplicateKey)
        try tree.put("bytes.jsonl", Array(good.utf8) + [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D])
        let bytes = #expect(throws: HeadraceError.self) { try Self.pack(tree, ["bytes.jsonl"]) }
        #expect(bytes?.code == .badValue && bytes?.message.hasPrefix("line 2: ") == true)
    }

    /// What Python's csv module writes and reads is what comes out.
    @Test(arguments: ["", ".gz", ".zst"], ["csv", "tsv"])
    func rowsOfTables(ending: String, kind: String) throws {
        let tree = try PackTree()
        let script = """
            import csv, random, sys
            random.seed(4)
            parts = ["a", ",", "\\t", '"', "\\n", "\\r\\n", "ä", "猫", " ", "''", "1.5", "x" * 3000]
            with open(sys.argv[1], "w", newline="", encoding="utf-8-sig") as f:
                w = csv.writer(f, delimiter=sys.argv[2], lineterminator=random.choice(["\\n", "\\r\\n"]))
                w.writerow(["Name", "label", 'odd "column', "last"])
                for i in range(2000):
                    w.writerow(["row/%d" % i] + ["".join(random.choices(parts, k=random.randrange(6)))
                        for _ in range(3)])
                    if i % 500 == 7: f.write("\\n")
            """
        let name = "t.\(kind)"
        let path = "\(tree.source)/\(name)"
        let delimiter = kind == "csv" ? "," : "\t"
        guard try PackOracle.python(script, [path, delimiter]) != nil, try Self.compress(tree, name, ending)
        else { return }
        let checker = """
            import csv, sys, webdataset as wds
            rows = [r for r in csv.reader(open(sys.argv[2], newline="", encoding="utf-8-sig"),
                delimiter=sys.argv[3]) if r]
            names = [n.lower() for n in rows[0]]; count = 0
            for i, s in enumerate(wds.WebDataset(["file:" + sys.argv[1]], shardshuffle=False)):
                row = dict(zip(names, rows[i + 1]))
                key = row.pop("name") if sys.argv[4] else "t-%09d" % i
                assert s["__key__"] == key, (s["__key__"], key)
                got = {k: v.decode() for k, v in s.items() if not k.startswith("__")}
                assert got == row, (i, got, row)
                count += 1
            print(count)
            """
        for keyField in ["", "Name"] {
            let result = try Self.pack(tree, [name + ending]) { source, options in
                if !keyField.isEmpty { source.keyField = keyField }
                options.workers = 3
            }
            #expect(result.summary.ignored == [.blankLine: 4])
            #expect(result.summary.renamedFields == (keyField.isEmpty ? ["Name": "name"] : [:]))
            let arguments = ["\(tree.output)/x.tar", path, delimiter, keyField]
            if let checked = try PackOracle.python(checker, arguments, needing: ["webdataset"]) {
                #expect(checked == ["2000"])
            }
        }
    }

    /// Values with doubled quotes that are cut by frames are read from anywhere in them.
    @Test func doubledQuotesInPieces() throws {
        let tree = try PackTree()
        let value = (0..<60_000).map { $0 % 7 == 0 ? "\"" : String($0 % 10) }.joined()
        try tree.put("t.csv", "a,b\n\"\(value.replacingOccurrences(of: "\"", with: "\"\""))\",2\n")
        for name in ["p.tar.zst", "p.tfrecord.zst"] {
            let result = try Self.pack(tree, ["t.csv"]) { _, options in
                options.output = "\(tree.output)/\(name)"
                options.frameByteCount = 16_411
                options.workers = 3
            }
            var found = ""
            let reader = try ShardReader("\(tree.output)/\(name)", parsesExamples: true)
            try reader.read { (sample) throws(HeadraceError) in
                for (name, bytes) in sample.fields where name == "a" {
                    found = String(decoding: bytes, as: UTF8.self)
                }
                return true
            }
            #expect(found == value && result.summary.fields == ["a", "b"])
        }
    }

    @Test func whatIsNoTableIsNamedWithItsLine() throws {
        let cases: [(String, HeadraceError.Code, String)] = [
            ("", .badValue, "empty"), ("\n\r\n\r", .badValue, "all blank lines"),
            ("a,,c\n", .badName, "line 1: column 2"),
            ("a,A\n", .duplicateField, "line 1"),
            ("a,b\n1,2\n1\n", .badValue, "line 3: the row has 1 values, the header has 2"),
            ("a,b\n\"x\ny\",2\n1,2,3\n", .badValue, "line 4: the row has 3"),
            ("a,b\n1,x\"y\n", .badValue, "line 2: a quote inside"),
            ("a,b\n\"1\"2,3\n", .badValue, "line 2: something"),
            ("a,b\n1,2\n1,\"2\n3", .badValue, "line 3: a quoted value begins"),
            ("a,b\n1,2", .notFound, "there is no sample"),
        ]
        for (text, code, words) in cases where code != .notFound {
            let tree = try PackTree()
            try tree.put("t.csv", text)
            let error = #expect(throws: HeadraceError.self, "\(text)") { try Self.pack(tree, ["t.csv"]) }
            #expect(error?.code == code && error?.message.contains(words) == true, "\(text): \(error!)")
        }
        let tree = try PackTree()
        try tree.put("t.csv", Array("a,b\n1,2\n1,".utf8) + [0xC3, 0x0A])
        var error = #expect(throws: HeadraceError.self) { try Self.pack(tree, ["t.csv"]) }
        #expect(
            error?.code == .badValue && error?.message.hasPrefix("line 3: byte 3 is no valid UTF-8") == true)
        #expect(error?.place.offset == 10)
        try tree.put("k.csv", "id,b\na,2\na,3\n")
        error = #expect(throws: HeadraceError.self) {
            try Self.pack(tree, ["k.csv"]) { source, _ in source.keyField = "id" }
        }
        #expect(error?.code == .duplicateKey)
        error = #expect(throws: HeadraceError.self) {
            try Self.pack(tree, ["k.csv"]) { source, _ in source.keyField = "name" }
        }
        #expect(error?.code == .missingField)
        try tree.put("r.csv", "a,b\n1,2\n3\n5,6\n")
        let result = try Self.pack(tree, ["r.csv"]) { _, options in options.onDefect = .skip(limit: 1) }
        #expect(result.summary.sampleCount == 2 && result.summary.ignored == [.defect: 1])
    }

    @Test func rowsBehindABadQuoteAreRead() throws {
        let tree = try PackTree()
        try tree.put("q.csv", "a,b\n1,2\n3,x\"y\n\"4\"z,5\n6,7\n")
        let result = try Self.pack(tree, ["q.csv"]) { _, options in options.onDefect = .skip(limit: 2) }
        #expect(result.summary.sampleCount == 2 && result.summary.ignored == [.defect: 2])
        #expect(result.summary.unreadableRests.isEmpty)
        let error = #expect(throws: HeadraceError.self) {
            try Self.pack(tree, ["q.csv"]) { _, options in
                options.overwrite = true
                options.onDefect = .skip(limit: 1)
            }
        }
        #expect(error?.code == .tooManyDefects)
    }

    /// Marks and line ends that editors leave are no part of any value.
    @Test func marksAndLineEndsAreNoText() throws {
        let tree = try PackTree()
        func values(_ name: String, _ content: String) throws -> [String] {
            try tree.put(name, content)
            try Self.pack(tree, [name]) { _, options in options.overwrite = true }
            var values: [String] = []
            try ShardReader("\(tree.output)/x.tar").read { (sample) throws(HeadraceError) in
                for field in sample.fields { values.append(String(decoding: field.payload, as: UTF8.self)) }
                return true
            }
            return values
        }
        #expect(try values("t.txt", "\u{FEFF}one\r\ntwo\r\nthree\r") == ["one", "two", "three"])
        #expect(try values("t.txt", "one\n\u{FEFF}two\r") == ["one", "\u{FEFF}two\r"])
        #expect(try values("t.csv", "a,b\r\n1,2\r\n3,4\r") == ["1", "2", "3", "4"])
        #expect(try values("t.csv", "a,b\r\n1,\"2\"\r") == ["1", "2"])
    }

    private static let text =
        "first\n\nüber\r\n" + String(repeating: "猫😀é ", count: 4000) + "\nlast without an end"

    @Test(arguments: ["", ".gz", ".zst"])
    func linesOfText(ending: String) throws {
        let tree = try PackTree()
        try tree.put("c.txt", Self.text)
        guard try Self.compress(tree, "c.txt", ending) else { return }
        let result = try Self.pack(tree, ["c.txt" + ending])
        #expect(result.summary.sampleCount == 5 && result.summary.fields == ["txt"])
        let script = """
            import sys
            for n, l in enumerate(open(sys.argv[1], "rb").read().split(b"\\n")):
                print(("c-%09d" % n).encode().hex(), "txt".encode().hex() + "=" + l.removesuffix(b"\\r").hex())
            """
        let expected = try PackOracle.python(script, ["\(tree.source)/c.txt"])
        let found = try PackOracle.python(Self.reader, ["\(tree.output)/x.tar"], needing: ["webdataset"])
        if let expected, let found { #expect(found == expected) }
    }

    @Test(arguments: [16, 17, 18, 19, 1000, 1 << 20], ["", ".zst"])
    func chunksOfText(byteCount: Int, ending: String) throws {
        let tree = try PackTree()
        try tree.put("c", Self.text)
        guard try Self.compress(tree, "c", ending) else { return }
        try Self.pack(tree, ["c" + ending]) { source, _ in source.text = .chunk(byteCount: byteCount) }
        var whole: [UInt8] = []
        var number = 0
        try ShardReader("\(tree.output)/x.tar").read { (sample) throws(HeadraceError) in
            let chunk = Array(sample.fields[0].payload)
            #expect(chunk.count <= byteCount && String(validating: chunk, as: UTF8.self) != nil)
            let digits = String(number)
            #expect(sample.key == "c-" + String(repeating: "0", count: 9 - digits.count) + digits)
            whole += chunk
            number += 1
            return true
        }
        #expect(whole == Array(Self.text.utf8))
    }

    @Test func whatIsNoUTF8IsNamedWithItsLine() throws {
        let tree = try PackTree()
        try tree.put("t.txt", Array("good\nbad".utf8) + [0xE9, 0x74, 0x0A] + Array("good\n".utf8))
        for split in [TextSplit.line, .chunk(byteCount: 1000)] {
            let error = #expect(throws: HeadraceError.self) {
                try Self.pack(tree, ["t.txt"]) { source, _ in source.text = split }
            }
            #expect(error?.code == .badValue && error?.message.hasPrefix("line 2: ") == true)
            #expect(error?.place.offset == 8)
        }
        let result = try Self.pack(tree, ["t.txt"]) { _, options in options.onDefect = .skip(limit: 1) }
        #expect(result.summary.sampleCount == 2 && result.summary.ignored == [.defect: 1])
    }

    @Test func cutCompressedTextIsAnError() throws {
        let tree = try PackTree()
        let line = "{\"a\":\"" + String(repeating: "x", count: 50) + "\"}\n"
        for (name, text) in [("t.txt", Self.text), ("t.csv", "a,b\n1,2\n3,4\n"), ("t.jsonl", line + line)] {
            for ending in [".gz", ".zst"] {
                try tree.put(name, text)
                guard try Self.compress(tree, name, ending) else { return }
                let path = "\(tree.source)/\(name)\(ending)"
                truncate(path, off_t(try tree.content(path).count - 3))
                let error = #expect(throws: HeadraceError.self) { try Self.pack(tree, [name + ending]) }
                #expect(error?.code.category == .data && error?.place.shard == path, "\(name)\(ending)")
            }
        }
    }

    @Test func linesBeyondTheLimitAreRefused() throws {
        let tree = try PackTree()
        // A file with a hole: nothing but zero bytes, and no line feed.
        try tree.put("t.txt", "start")
        truncate("\(tree.source)/t.txt", off_t(TextLimits.lineByteCount + (1 << 20)))
        let error = #expect(throws: HeadraceError.self) { try Self.pack(tree, ["t.txt"]) }
        #expect(error?.code == .limitExceeded && error?.message.contains("lineByteCount") == true)
    }

    @Test func optionsThatSayNothingAreRefused() throws {
        let tree = try PackTree()
        try tree.put("t.csv", "a\n1\n")
        try tree.put("u.dat", "some words that are no shard and no table, longer than any header\n")
        var error = #expect(throws: HeadraceError.self) {
            try Self.pack(tree, ["t.csv"]) { source, _ in source.text = .line }
        }
        #expect(error?.code == .usage)
        error = #expect(throws: HeadraceError.self) {
            try Self.pack(tree, ["u.dat"]) { source, _ in
                source.text = .line
                source.keyField = "id"
            }
        }
        #expect(error?.code == .usage)
        error = #expect(throws: HeadraceError.self) { try Self.pack(tree, ["u.dat"]) }
        #expect(error?.code == .unknownFormat && error?.message.contains("--text") == true)
        error = #expect(throws: HeadraceError.self) {
            try Self.pack(tree, ["u.dat"]) { source, _ in source.text = .chunk(byteCount: 3) }
        }
        #expect(error?.code == .usage)
        #expect(try Self.pack(tree, ["u.dat"]) { source, _ in source.text = .line }.summary.sampleCount == 1)
    }
}
