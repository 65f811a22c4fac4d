import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// What a quote too many costs: the line it stands on.
@Suite struct TableQuoteTests {
    /// Values of the rows that are left, with their keys' numbers before them.
    private func rows(_ tree: PackTree) throws -> [String] {
        var rows: [String] = []
        try ShardReader("\(tree.output)/x.tar").read { (sample) throws(HeadraceError) in
            let values = sample.fields.map { String(decoding: $0.payload, as: UTF8.self) }
            rows.append("\(Int(sample.key!.split(separator: "-").last!)!):" + values.joined(separator: "|"))
            return true
        }
        return rows
    }

    private func pack(
        _ tree: PackTree, _ text: String, name: String = "t.csv", limit: Int = .max
    ) throws -> PackSummary {
        try tree.put(name, text)
        let summary = try TextSourceTests.pack(tree, [name]) { _, options in
            options.onDefect = .skip(limit: limit)
        }.summary
        #expect(summary.unreadableRests.isEmpty)
        return summary
    }

    /// Rows of several lines that are damaged, and what is left: "number:value|value".
    @Test(
        arguments: [
            ("1,2\n3,\"x\n4,5\n6,\"7\"\n8,9\n", ["0:1|2", "2:4|5", "3:6|7", "4:8|9"], 1),
            // Never closed, on the last line too.
            ("1,2\n3,\"4\n5,6\n7,8\n", ["0:1|2", "2:5|6", "3:7|8"], 1),
            ("1,2\n3,\"4", ["0:1|2"], 1), ("1,2\n3,\"\n", ["0:1|2"], 1),
            // One after the other, each drawing in the next.
            ("1,\"2\n3,\"4\n5,\"6\n7,8\n", ["3:7|8"], 3),
            // The quotes are in order, the number of values is not.
            ("1,2,\"\n3,4\n5,\"\n7,8\n", ["1:3|4", "3:7|8"], 2),
            ("1,\"a\nb\",2,3\n5,6\n", ["2:5|6"], 2),
            // A quote in a value behind one of several lines.
            ("\"a\n3,4\n\",x\"y\n5,6\n", ["1:3|4", "3:5|6"], 2),
            // Ends of other kinds.
            ("1,2\r\n3,\"x\r\n4,5\r\n6,\"7\"\r\n8,9\r\n", ["0:1|2", "2:4|5", "3:6|7", "4:8|9"], 1),
            ("1,2\r3,\"x\r4,5\r6,\"7\"\r8,9\r", ["0:1|2", "2:4|5", "3:6|7", "4:8|9"], 1),
            // Blank lines that a quote had drawn in.
            ("3,\"x\n\n4,5\n6,\"7\"\n", ["1:4|5", "2:6|7"], 1),
        ])
    func aStrayQuoteCostsItsLine(text: String, expected: [String], defects: Int) throws {
        for ending in ["", ".gz"] {
            let tree = try PackTree()
            let whole = (text.contains("\r") ? text.contains("\n") ? "a,b\r\n" : "a,b\r" : "a,b\n") + text
            try tree.put("t.csv", whole)
            guard try TextSourceTests.compress(tree, "t.csv", ending) else { continue }
            let summary = try TextSourceTests.pack(tree, ["t.csv" + ending]) { _, options in
                options.onDefect = .skip(limit: defects)
            }.summary
            #expect(try rows(tree) == expected, "\(text.debugDescription)")
            #expect(summary.ignored[.defect] == defects && summary.unreadableRests.isEmpty)
            // One fewer is too few.
            let error = #expect(throws: HeadraceError.self) {
                try TextSourceTests.pack(tree, ["t.csv" + ending]) { _, options in
                    options.onDefect = .skip(limit: defects - 1)
                }
            }
            #expect(error?.code == .tooManyDefects)
        }
    }

    /// The lines between two stray quotes far from each other stay rows, as Python reads them without the
    /// line of the first.
    @Test(arguments: ["", ".gz"])
    func rowsBetweenFarQuotesAreRows(ending: String) throws {
        let tree = try PackTree()
        let count = 40_000
        var lines = (0..<count).map { "\($0),\(String(repeating: "v", count: $0 % 13))" }
        lines[500] = "500,\"oops"
        lines[35_000] = "35000,\"quoted\""
        try tree.put("t.csv", "a,b\n" + lines.joined(separator: "\n") + "\n")
        guard try TextSourceTests.compress(tree, "t.csv", ending) else { return }
        let result = try TextSourceTests.pack(tree, ["t.csv" + ending]) { _, options in
            options.onDefect = .skip(limit: 1)
        }
        #expect(result.summary.sampleCount == count - 1 && result.summary.ignored == [.defect: 1])
        let message = try #require(result.summary.ignoredExamples[.defect]?.first)
        #expect(message.contains("line 502: ") && message.contains("line 35002"), "\(message)")
        let script = """
            import csv, sys
            lines = open(sys.argv[1], newline="").readlines()
            del lines[501]
            for n, row in enumerate(list(csv.reader(lines))[1:]): print("%d:%s" % (n + (n >= 500), "|".join(row)))
            """
        if let expected = try PackOracle.python(script, ["\(tree.source)/t.csv"]) {
            #expect(try rows(tree) == expected)
        }
    }

    /// Beyond the cap a quote is held for one that is never closed, whatever stands behind it.
    @Test func aQuoteEndsAtItsCap() throws {
        let tree = try PackTree()
        let count = 5000
        try tree.put("t.csv", "a,\"b\n" + String(repeating: "c,d\n", count: count) + "\",e\n")
        let lines = try LineReader(
            try SourceFile("\(tree.source)/t.csv"), codec: .none, endsAtReturns: true)
        var rows = TableRows(lines, delimiter: .comma, quotedByteCount: 1000)
        let error = #expect(throws: HeadraceError.self) { try rows.next() }
        #expect(error?.message.contains("within 1000 bytes (limit quotedByteCount)") == true)
        #expect(rows.isDamaged && error?.place.offset == 2)
        for number in 2...count + 1 {
            try #require(try rows.next() && rows.values.count == 2 && lines.current.number == number)
        }
        #expect(throws: HeadraceError.self) { try rows.next() }
        #expect(try rows.isDamaged && !rows.next())
        // Below it, it is one value.
        rows = TableRows(
            try LineReader(try SourceFile("\(tree.source)/t.csv"), codec: .none, endsAtReturns: true),
            delimiter: .comma)
        #expect(try rows.next() && rows.values.count == 3 && !rows.next())
    }

    /// Of a row whose quotes are in order all lines are left out, and counted: none of them is made a row.
    @Test func aRowThatIsNoTextCountsItsLines() throws {
        let tree = try PackTree()
        try tree.put("t.csv", Array("a,b\n1,2\n3,\"x\n4,5\n".utf8) + [0xFF] + Array("\"\n6,7\n".utf8))
        let summary = try TextSourceTests.pack(tree, ["t.csv"]) { _, options in
            options.onDefect = .skip(limit: 3)
        }.summary
        #expect(try rows(tree) == ["0:1|2", "2:6|7"] && summary.ignored == [.defect: 3])
    }

    /// Whatever is asked of a table of random bytes of its alphabet: each line is in a row, blank, or counted
    /// as a defect. Where there is none, Python reads the same.
    @Test(arguments: ["t.csv", "t.tsv"])
    func everyLineIsAccountedFor(name: String) throws {
        var random = SplitMix64(7)
        let parts = ["\"", "\"\"", name == "t.csv" ? "," : "\t", "\n", "x", "\n1,2\n"]
        for _ in 0..<150 {
            let tree = try PackTree()
            let body = (0..<Int(random.next() % 24)).map { _ in parts[Int(random.next() % 6)] }.joined()
            let text = (name == "t.csv" ? "a,b\n0,0\n" : "a\tb\n0\t0\n") + body
            let summary = try pack(tree, text, name: name)
            var lines = text.split(separator: "\n", omittingEmptySubsequences: false).count - 1
            if text.hasSuffix("\n") { lines -= 1 }
            var inRows = 0
            for row in try rows(tree) { inRows += 1 + row.count { $0 == "\n" } }
            let left = (summary.ignored[.defect] ?? 0) + (summary.ignored[.blankLine] ?? 0)
            #expect(lines == inRows + left, "\(text.debugDescription)")
        }
    }

    /// Every line stays open to the end: each would be read again with every line before it.
    @Test(arguments: [TableSource.Delimiter.tab, .comma]) func readingAgainHasAnEnd(
        delimiter: TableSource.Delimiter
    ) throws {
        let tree = try PackTree()
        let line = delimiter == .tab ? "a\"\t\"" : "\"\"\"x\","
        try tree.put(
            "q", "x\n" + String(repeating: "\(line)\(String(repeating: "b", count: 50))\n", count: 500))
        let lines = try LineReader(try SourceFile("\(tree.source)/q"), codec: .none)
        var rows = TableRows(lines, delimiter: delimiter, rereadLimit: 100_000)
        var errors = 0
        var last: HeadraceError?
        while !rows.isGivenUp {
            do throws(HeadraceError) {
                guard try rows.next() else { break }
            } catch {
                errors += 1
                last = error
            }
        }
        if rows.isGivenUp {
            #expect(last?.code == .limitExceeded && last?.message.contains("rereadByteCount") == true)
        }
        #expect(rows.isGivenUp == (delimiter == .tab))
        #expect(errors < 500)
    }
}
