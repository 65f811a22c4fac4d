import Foundation
import HeadraceCore
import Testing

@Suite struct BraceExpansionTests {
    @Test(
        arguments: [
            ("plain", ["plain"]), ("{}", ["{}"]), ("{5}", ["{5}"]), ("a{1,2}b", ["a1b", "a2b"]),
            ("{00..5}", ["00", "01", "02", "03", "04", "05"]), ("{08..11}", ["08", "09", "10", "11"]),
            ("{1..10..3}", ["1", "4", "7", "10"]), ("{3..1}", ["3", "2", "1"]),
            ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
            ("{a,b{1..2}}", ["a", "b1", "b2"]), ("{a{b,c}}", ["{ab}", "{ac}"]), ("{a..d..2}", ["a", "c"]),
            ("{-1..1}", ["-1", "0", "1"]), ("{,x}", ["", "x"]), ("{a", ["{a"]), ("a}", ["a}"]),
            ("{1..2", ["{1..2"]),
            ("x\\{1,2\\}", ["x{1,2}"]), ("a\\b", ["a\\b"]), ("{1...5}", ["{1...5}"]),
            ("{1..5..0}", ["1", "2", "3", "4", "5"]),
            ("{5..5}", ["5"]), ("{{1,2}", ["{1", "{2"]), ("{1..2..3..4}", ["{1..2..3..4}"]),
            ("é{1,2}", ["é1", "é2"]),
            ("{9223372036854775806..9223372036854775807}", ["9223372036854775806", "9223372036854775807"]),
            (
                "{-9223372036854775808..9223372036854775807..9223372036854775807}",
                ["-9223372036854775808", "-1", "9223372036854775806"]
            ),
        ] as [(String, [String])]) func expands(pattern: String, words: [String]) throws
    {
        #expect(try ShardPattern.expandBraces(pattern) == words)
    }

    @Test(arguments: [
        "{1..99999999999999999999}", "{0..1000000}", "{1..1000}{1..1000}{1..2}",
        "{1..1000000}" + String(repeating: "x", count: 1000),
        "{-9223372036854775808..9223372036854775807}", String(repeating: "{1..9}", count: 100),
        String(repeating: "{a,", count: 40) + String(repeating: "}", count: 40),
        "{0..9..-9223372036854775808999}",
    ]) func tooMuchIsRefusedAtOnce(pattern: String) {
        let error = #expect(throws: HeadraceError.self) { try ShardPattern.expandBraces(pattern) }
        #expect(error?.code == .usage)
    }

    @Test func manyBracesThatDoNotPair() throws {
        let open = String(repeating: "{", count: 100_000)
        #expect(try ShardPattern.expandBraces(open) == [open])
        #expect(try ShardPattern.expandBraces("{1..146}").count == 146)
    }

    /// The package that webdataset expands its patterns with.
    @Test func braceexpandAgrees() throws {
        let patterns = [
            "train-{000000..000146}.tar", "{00..5}", "{5..00}", "{-05..5}", "{1..10..3}", "{10..1..4}",
            "{a,b}x{1,2}",
            "{a,b{c,d}e}", "{}", "{5}", "{a..e}", "{e..a..2}", "{A..c}", "x{,y}", "{001..10..5}", "{-3..-1}",
            "{0..0}",
            "{a{b,c}}", "pre{1..3}mid{x,y}post", "{01..3}{a..b}",
        ]
        let script =
            "import sys,json; from braceexpand import braceexpand; "
            + "json.dump([list(braceexpand(p)) for p in sys.argv[1:]],sys.stdout)"
        guard let output = try Oracle.python(script, patterns, for: "braceexpandAgrees") else { return }
        let expected = try #require(try JSONValue(parsing: Array(output)).arrayValue)
        #expect(expected.count == patterns.count)
        for (pattern, words) in zip(patterns, expected) {
            #expect(
                try ShardPattern.expandBraces(pattern) == words.arrayValue?.compactMap(\.stringValue),
                "\(pattern)")
        }
    }
}

@Suite struct ShardPatternTests {
    @Test func literalNamesComeFirst() throws {
        let folder = try TemporaryFolder()
        let braces = try folder.write("a{1,2}.tar")
        let brackets = try folder.write("b[1].tar")
        try folder.write("a1.tar")
        try folder.write("b1.tar")
        #expect(try ShardPattern.resolve([braces, brackets]) == [braces, brackets])
    }

    @Test func patternsKeepTheirOrderAndGlobsAreSorted() throws {
        let folder = try TemporaryFolder()
        for name in ["s-10.tar", "s-9.tar", "s-B.tar", "s-a.tar", "é.tar", ".hidden.tar"] {
            try folder.write(name)
        }
        #expect(
            try ShardPattern.resolve([folder.path + "/s-{9..10}.tar"])
                == ["s-9.tar", "s-10.tar"].map { folder.path + "/" + $0 })
        // Bytewise: digits, capitals, small letters, then what is not ASCII.
        #expect(
            try ShardPattern.resolve([folder.path + "/*.tar"])
                == ["s-10.tar", "s-9.tar", "s-B.tar", "s-a.tar", "é.tar"].map { folder.path + "/" + $0 })
        #expect(try ShardPattern.resolve([folder.path + "/s-[0-9].tar"]) == [folder.path + "/s-9.tar"])
        #expect(
            try ShardPattern.resolve([folder.path + "/{s-?,é}.tar"])
                == ["s-9.tar", "s-B.tar", "s-a.tar", "é.tar"].map { folder.path + "/" + $0 })
    }

    @Test func directoriesAndURLsAreLeftAlone() throws {
        let folder = try TemporaryFolder()
        try folder.write("sub/x.tar")
        #expect(try ShardPattern.resolve([folder.path]) == [folder.path])
        #expect(
            try ShardPattern.resolve(["https://host/d-{0..1}.tar?x=*", "s3://bucket/k"])
                == ["https://host/d-0.tar?x=*", "https://host/d-1.tar?x=*", "s3://bucket/k"])
    }

    @Test func allMissingFilesAtOnce() throws {
        let folder = try TemporaryFolder()
        for index in [0, 3] { try folder.write("s-\(index).tar") }
        let error = #expect(throws: HeadraceError.self) {
            try ShardPattern.resolve([folder.path + "/s-{0..19}.tar"])
        }
        #expect(error?.code == .notFound)
        let message = try #require(error?.message)
        #expect(message.contains("18 of 20 shards do not exist"))
        #expect(message.contains("s-1.tar") && message.contains("s-11.tar") && !message.contains("s-12.tar"))
        #expect(message.contains("and 8 more"))

        let one = #expect(throws: HeadraceError.self) {
            try ShardPattern.resolve([folder.path + "/none.tar"])
        }
        #expect(one?.code == .notFound)
        #expect(one?.place.shard == folder.path + "/none.tar")
    }

    @Test func globWithoutMatch() throws {
        let folder = try TemporaryFolder()
        let error = #expect(throws: HeadraceError.self) { try ShardPattern.resolve([folder.path + "/*.tar"]) }
        #expect(error?.code == .notFound)
        #expect(error?.place.shard == folder.path + "/*.tar")
    }

    @Test(arguments: ["", "a\0b"]) func impossibleNames(word: String) {
        let error = #expect(throws: HeadraceError.self) { try ShardPattern.resolve([word]) }
        #expect(error?.code == .usage)
    }

    @Test func nameTooLong() {
        let error = #expect(throws: HeadraceError.self) {
            try ShardPattern.resolve([String(repeating: "x", count: 5000)])
        }
        #expect(error?.code == .notFound)
    }
}
