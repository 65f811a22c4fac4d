import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// Where rows of tables end, with Python's csv module as the judge, and columns that are not there.
@Suite struct TableLineTests {
    /// Rows as the csv module reads them: values in hexadecimal digits, blank rows left out.
    private static let reader = """
        import csv, sys
        rows = [r for r in csv.reader(open(sys.argv[1], newline="", encoding="utf-8-sig")) if r]
        for row in rows[1:]: print(*["-" + v.encode().hex() for v in row])
        """

    private func rows(_ tree: PackTree) throws -> [String] {
        var rows: [String] = []
        let reader = try ShardReader("\(tree.output)/x.tar")
        try reader.read { (sample) throws(HeadraceError) in
            rows.append(sample.fields.map { "-" + Array($0.payload).hexadecimal }.joined(separator: " "))
            return true
        }
        return rows
    }

    @Test(
        arguments: [
            "a\n1\n\n2\n\"\"\n\n", "a\r\n1\r\n\r\n2\r\n\"\"\r\n", "a,b\r1,2\r3,4\r", "a,b\r1,2\r3,4",
            "\u{FEFF}\n\na\n1\n", "\r\ra\r\r1\r", "a,b\n1,2\r3,4\r\n5,6\n",
            "a,b\r\"x\ry\",2\r3,\"4\n5\r\n\"\r",
            "a\n \n1\n", "a\n1\r\r\n2", "a,b\r1,\"\"\r\"\",\r",
        ])
    func rowsEndAsTheyDoInPython(text: String) throws {
        let tree = try PackTree()
        try tree.put("t.csv", text)
        let result = try TextSourceTests.pack(tree, ["t.csv"])
        let found = try rows(tree)
        if let expected = try PackOracle.python(Self.reader, ["\(tree.source)/t.csv"]) {
            #expect(found == expected, "\(text.debugDescription)")
        }
        #expect(result.summary.sampleCount == found.count && !found.isEmpty)
    }

    /// Every place of a line's end in the buffer, the cut between a carriage return and its line feed too.
    @Test(arguments: ["\r", "\r\n", "\n"], ["", ".gz"])
    func rowsOfLongFiles(end: String, ending: String) throws {
        let tree = try PackTree()
        // Some 300 kB: the ends come to lie on both sides of 256 KiB, which are read at once.
        let lines = (0..<6000).map { "\($0 % 10),\(String(repeating: "x", count: $0 % 97))" }
        try tree.put("t.csv", "a,b\(end)" + lines.joined(separator: end))
        guard try TextSourceTests.compress(tree, "t.csv", ending) else { return }
        let result = try TextSourceTests.pack(tree, ["t.csv" + ending])
        #expect(result.summary.sampleCount == 6000 && result.summary.ignored == [:])
        let expected = lines.map { line in
            line.split(separator: ",", omittingEmptySubsequences: false).map {
                "-" + Array($0.utf8).hexadecimal
            }
            .joined(separator: " ")
        }
        #expect(try rows(tree) == expected)
    }

    /// A row that ends one byte before, at and behind the end of what is read at once.
    @Test(arguments: -3...2, ["\r", "\r\n"])
    func rowsThatEndWhereABufferDoes(shift: Int, end: String) throws {
        let tree = try PackTree()
        let head = "a\(end)"
        let long = String(repeating: "x", count: 256 << 10 + shift - head.utf8.count)
        try tree.put("t.csv", "\(head)\(long)\(end)2\(end)")
        let result = try TextSourceTests.pack(tree, ["t.csv"])
        #expect(try rows(tree).map(\.utf8.count) == [1 + 2 * long.utf8.count, 3])
        #expect(result.summary.ignored == [:])
    }

    @Test func blankLinesAreCounted() throws {
        let tree = try PackTree()
        try tree.put("t.csv", "\n\na\n1\n\n2\n\"\"\n\r\n")
        let result = try TextSourceTests.pack(tree, ["t.csv"])
        #expect(result.summary.sampleCount == 3 && result.summary.ignored == [.blankLine: 4])
        #expect(result.summary.ignoredExamples[.blankLine]?.first == "\(tree.source)/t.csv:1")
    }

    /// Whatever may be skipped, a name that is nowhere is one mistake, not one in each row.
    @Test(
        arguments: ["t.jsonl", "t.csv", "t.tsv"],
        [DefectPolicy.fail, .skip(limit: 3), .skip(limit: .max), .skipShare(0.5)])
    func aKeyThatIsNowhereIsRefusedOnce(name: String, policy: DefectPolicy) throws {
        for count in [1, 2, 5000] {
            let tree = try PackTree()
            try tree.put(
                name, name == "t.jsonl" ? String(repeating: "{\"a\":1}\n", count: count) : "a\n1\n2\n")
            let error = #expect(throws: HeadraceError.self) {
                try TextSourceTests.pack(tree, [name]) { source, options in
                    source.keyField = "id"
                    options.onDefect = policy
                }
            }
            #expect(error?.code == .missingField && error?.message.contains("'id'") == true, "\(error!)")
            #expect(
                error?.message.contains("more") == false && error?.place.shard == "\(tree.source)/\(name)")
        }
    }

    @Test func objectsThatLackTheKeyAreLeftOutWhereOthersHaveIt() throws {
        let tree = try PackTree()
        let without = String(repeating: "{\"a\":1}\n", count: 900)
        try tree.put("t.jsonl", without + "{\"id\":7}\n" + without)
        let result = try TextSourceTests.pack(tree, ["t.jsonl"]) { source, options in
            source.keyField = "id"
            options.onDefect = .skip(limit: .max)
        }
        #expect(result.summary.sampleCount == 1 && result.summary.ignored == [.defect: 1800])
    }
}
