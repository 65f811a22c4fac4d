import Foundation
import HeadraceCore
import Testing

@Suite struct JSONTests {
    @Test func compactAndSorted() {
        let value: JSONValue = ["b": 1, "a": [true, nil, 1.5, "x\"\\\n\u{1}é/"], "é": [:], "c": []]
        #expect(value.line() == #"{"b":1,"a":[true,null,1.5,"x\"\\\n\u0001é/"],"é":{},"c":[]}"#)
        #expect(value.line(sortedKeys: true).hasPrefix(#"{"a":[true"#))
        #expect(value.line(sortedKeys: true).hasSuffix(#""b":1,"c":[],"é":{}}"#))
    }

    @Test func prettyKeepsScalarsTogether() {
        let value: JSONValue = ["a": [1, 2], "b": [["c": 1]], "d": [:]]
        #expect(
            value.pretty()
                == "{\n  \"a\": [1, 2],\n  \"b\": [\n    {\n      \"c\": 1\n    }\n  ],\n  \"d\": {}\n}")
    }

    @Test(arguments: [
        0.1, -0.0, 1e300, .leastNonzeroMagnitude, 1.7976931348623157e308, 123456789.123, 1e16, 3.0,
        2.2250738585072014e-308,
    ]) func doublesComeBack(number: Double) throws {
        let back = try JSONValue(parsing: JSONValue.double(number).line())
        #expect(back.doubleValue?.bitPattern == number.bitPattern)
    }

    @Test func infiniteNumbersBecomeNull() {
        #expect(JSONValue.array([.double(.nan), .double(.infinity)]).line() == "[null,null]")
    }

    @Test(arguments: [Int.min, -1, 0, 9_007_199_254_740_993, Int.max]) func integersAreExact(number: Int)
        throws
    {
        #expect(try JSONValue(parsing: JSONValue.int(number).line()) == .int(number))
    }

    @Test func escapes() throws {
        let text = #""\u0041\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\""#
        #expect(try JSONValue(parsing: text) == .string("Aé😀/\u{8}\u{c}\n\r\t\"\\"))
        #expect(try JSONValue(parsing: "\"\\u0000\"") == .string("\0"))
    }

    @Test(arguments: [
        "", " ", "{", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "{\"a\":1 \"b\":2}", "nul", "truee",
        "01", "-",
        "1.", ".5", "+1", "1e", "1e+", "0x1", "NaN", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"a\nb\"", "[]]", "1 2", "'a'", "[1]//", "9223372036854775808",
        "-9223372036854775809", "1e999", "\u{FEFF}1",
    ]) func malformed(text: String) {
        let error = #expect(throws: HeadraceError.self) { try JSONValue(parsing: text) }
        #expect(error?.code == .badValue)
        #expect(error?.place.offset != nil)
    }

    @Test(
        arguments: [
            [0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22],
            [0x22, 0xe2, 0x82, 0x22], [0x80],
        ] as [[UInt8]]) func invalidUTF8(bytes: [UInt8])
    {
        #expect(throws: HeadraceError.self) { try JSONValue(parsing: bytes) }
    }

    @Test func doubledNames() throws {
        #expect(throws: HeadraceError.self) { try JSONValue(parsing: #"{"a":1,"b":2,"a":3}"#) }
        #expect(throws: HeadraceError.self) { try JSONValue(parsing: #"{"a":1,"\u0061":3}"#) }
        // Two spellings of é are two names.
        let value = try JSONValue(parsing: "{\"\u{e9}\":1,\"e\u{301}\":2}")
        #expect(value["e\u{301}"] == 2)
        #expect(value["\u{e9}"] == 1)
        #expect(value["x"] == nil)
    }

    @Test func limits() throws {
        let deep = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        _ = try JSONValue(parsing: deep)
        let error = #expect(throws: HeadraceError.self) { try JSONValue(parsing: "[" + deep + "]") }
        #expect(error?.code == .limitExceeded)
        #expect(throws: HeadraceError.self) {
            try JSONValue(parsing: String(repeating: "{\"a\":", count: 1_000_000))
        }
        var limits = JSONLimits()
        limits.byteCount = 3
        #expect(try JSONValue(parsing: "123", limits: limits) == 123)
        let long = #expect(throws: HeadraceError.self) { try JSONValue(parsing: "1234", limits: limits) }
        #expect(long?.code == .limitExceeded)
    }

    @Test func bytesThatAreNoText() {
        #expect(JSONValue.text([0x61, 0xff, 0x62]).line() == "\"a\u{fffd}b\"")
    }

    /// A good document cut anywhere, or with any byte changed, must give a value or an error, never a trap.
    @Test func damageNeverTraps() {
        let good = Array(#"{"a":[1,-2.5e3,"\ud83d\ude00é",null],"b":{"c":true}}"#.utf8)
        for cut in 0..<good.count {
            #expect(throws: HeadraceError.self) { try JSONValue(parsing: Array(good[..<cut])) }
        }
        var random = SplitMix64(1)
        var refused = 0
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<1 + Int(random.below(3)) {
                bytes[Int(random.below(UInt64(good.count)))] = UInt8(truncatingIfNeeded: random.next())
            }
            do { _ = try JSONValue(parsing: bytes) } catch { refused += 1 }
        }
        #expect(refused > 10_000)
    }

    /// Python's reader must read what we write, and agree on every value.
    @Test func pythonReadsWhatWeWrite() throws {
        let folder = try TemporaryFolder()
        let value: JSONValue = [
            "text": "\u{0}\u{1f}\u{7f}é😀\u{2028}\"\\/", "numbers": [0.1, 1e300, -5, 1e-300],
            "nested": [["a": []], nil, false],
        ]
        let path = try folder.write("value.json", Array(value.pretty().utf8))
        let script =
            "import json,sys; sys.stdout.write(json.dumps(json.load(open(sys.argv[1])),separators=(',',':')))"
        guard let output = try Oracle.python(script, [path], for: "pythonReadsWhatWeWrite") else { return }
        #expect(try JSONValue(parsing: Array(output)) == value)
    }
}
