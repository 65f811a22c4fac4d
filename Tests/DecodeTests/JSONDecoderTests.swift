import Foundation
import HeadraceCore
import HeadraceDecode
import Testing

private func accepts(_ bytes: [UInt8]) -> HeadraceError? {
    do throws(HeadraceError) {
        _ = try DecodedColumn(JSONTextDecoder(), [bytes])
        return nil
    } catch {
        return error
    }
}

@Suite struct JSONTextTests {
    @Test(arguments: [
        "{}", "[]", "0", "-0", "\"\"", "null", " true ", "[1,2]", "{\"a\":{\"a\":[]}}", "1e5", "1E+5",
        "1.5e-7",
        "\"\\ud800\"", "{\"a\":1,\"a\":2}", "\"é\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\t\r\n [ ] ",
        "123456789012345678901234567890",
        "1e999", "\"\u{7f}\"", "[[[[[[[[[[]]]]]]]]]]", "\"a long string without anything to stop at\"",
    ]) func accepted(text: String) { #expect(accepts(Array(text.utf8)) == nil) }

    @Test(arguments: [
        "", " ", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "1.", ".5", "1e", "1e+", "tru", "trueX",
        "nul", "[1,]",
        "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:2}", "'a'", "\"a", "\"\\x\"",
        "\"\\u12\"",
        "\"\u{1}\"", "\"\t\"", "1 2", "{}{}", "]", "}", "[}", "{]", "[1}", "{\"a\":1]", "\u{feff}1", "1,",
        "//x\n1", "\u{a0}1",
        "\"twelve bytes\n\"", "\"\\", "[\"a\",", "{\"a\":1 \"b\":2}", "\0", "1\0",
    ]) func refused(text: String) throws {
        let error = try #require(accepts(Array(text.utf8)), "'\(text)' is accepted")
        #expect(error.code == .badValue && error.message.hasPrefix("not valid JSON: "))
    }

    @Test func invalidUTF8AndDepth() {
        #expect(accepts([0x22, 0xff, 0x22])?.message.contains("no UTF-8 at byte 1") == true)
        #expect(accepts([0x22, 0xed, 0xa0, 0x80, 0x22]) != nil)
        func nested(_ depth: Int, _ open: String, _ close: String) -> [UInt8] {
            Array((String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8)
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            #expect(accepts(nested(JSONTextLimits.depth, open, close)) == nil)
            #expect(accepts(nested(JSONTextLimits.depth + 1, open, close))?.code == .limitExceeded)
            #expect(accepts(nested(1_000_000, open, ""))?.code == .limitExceeded)
        }
    }

    @Test func rows() throws {
        let column = try DecodedColumn(JSONTextDecoder(), ["{}", "{", "[1]", "x"].map { Array($0.utf8) })
        #expect(column.layout == .spans(.json))
        #expect(column.failures.map(\.row) == [1, 3])
    }

    /// 10^5 texts, most of them damaged: Python's json says which are JSON.
    @Test func pythonAgrees() throws {
        let script = """
            import json, random, struct, sys
            random.seed(8)
            def value(depth):
                k = random.randrange(9 if depth < 4 else 6)
                if k == 0: return random.choice([True, False, None])
                if k == 1: return random.randint(-10**random.randint(0, 25), 10**random.randint(0, 25))
                if k == 2: return random.uniform(-1, 1) * 10.0**random.randint(-20, 20)
                if k < 6: return ''.join(random.choice('ab "\\\\\\n\\u00e9\\u20ac\\U0001f600/') for _ in range(random.randint(0, 12)))
                if k == 6: return [value(depth + 1) for _ in range(random.randint(0, 4))]
                return {value(9) if False else random.choice(['a', 'b', '\\u00e9', 'a b', '']): value(depth + 1) for _ in range(random.randint(0, 4))}
            def refuse(x): raise ValueError(x)
            out = bytearray()
            good = 0
            while good < 100000:
                text = json.dumps(value(0), ensure_ascii=random.random() < .5, indent=random.choice([None, None, 1])).encode()
                for _ in range(20):
                    b = bytearray(text)
                    for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
                        if not b: break
                        at = random.randrange(len(b))
                        how = random.randrange(5)
                        if how == 0: b[at] = random.randrange(256)
                        elif how == 1: b[at] = random.choice(b'{}[]",:\\\\0123456789eE+-. \\t\\ntfnu')
                        elif how == 2: del b[at]
                        elif how == 3: b.insert(at, random.choice(b'{}[]",:\\\\0123456789eE+-. \\x00'))
                        else: del b[at:]
                    b = bytes(b[:300])
                    try:
                        json.loads(b.decode('utf-8'), parse_constant=refuse); ok = 1
                    except ValueError: ok = 0
                    out += struct.pack('<I', len(b) + 1) + bytes([ok]) + b
                    good += 1
            sys.stdout.buffer.write(out)
            """
        guard let output = try Oracle.python(script, for: "pythonAgrees") else { return }
        var counts = [0, 0]
        var rows: [[UInt8]] = []
        var verdicts: [UInt8] = []
        func check() throws {
            let column = try DecodedColumn(JSONTextDecoder(), rows, column: [0x31])
            let bad = Set(column.failures.map(\.row))
            for row in rows.indices where bad.contains(row) != (verdicts[row] == 0) {
                Issue.record("Python says \(verdicts[row]): \(String(decoding: rows[row], as: UTF8.self))")
            }
            rows = []
            verdicts = []
        }
        for record in OracleRecords(output) {
            counts[Int(record[0])] += 1
            verdicts.append(record[0])
            rows.append(Array(record.dropFirst()))
            if rows.count == 1000 { try check() }
        }
        try check()
        #expect(counts[0] > 30_000 && counts[1] > 20_000, "\(counts)")
    }
}

@Suite struct JSONValueTests {
    private func value<Value: BitwiseCopyable>(
        _ text: String, _ path: String, _ type: ElementType, _: Value.Type
    ) throws -> Value {
        let column = try DecodedColumn(JSONValueDecoder(path, as: type), [Array(text.utf8)])
        #expect(column.layout == .fixed(type, shape: []) && column.failures.isEmpty)
        return column.rows.withUnsafeBytes { $0.loadUnaligned(as: Value.self) }
    }

    @Test func paths() throws {
        let text = """
            {"a": 1, "b": {"a/b": [10, [20, 30], {"x": 40}], "~": 50, "": 60, "0": 70}, "a": 2,
             "\\u0061\\u00e9\\ud83d\\ude00\\n": 80, "s": "},]{[\\"", "t": true, "f": -2.5, "big": 9223372036854775807}
            """
        let expected: [(String, Int64)] = [
            ("a", 2), ("/a", 2), ("b/a~1b/0", 10), ("b/a~1b/1/1", 30), ("b/a~1b/2/x", 40), ("b/~0", 50),
            ("b/", 60), ("b/0", 70), ("aé😀\n", 80), ("big", .max),
        ]
        for (path, number) in expected {
            #expect(try value(text, path, .int64, Int64.self) == number, "\(path)")
        }
        #expect(try value(text, "t", .bool, Bool.self))
        #expect(try value(text, "f", .float64, Double.self) == -2.5)
        #expect(try value(text, "a", .float32, Float.self) == 2)
        #expect(try value("-7", "", .int64, Int64.self) == -7)
        #expect(try value(" [1, 250]", "1", .uint8, UInt8.self) == 250)
        #expect(try value("[-300]", "0", .int16, Int16.self) == -300)
        for path in [
            "c", "b/a", "b/a~1b/3", "b/a~1b/01", "b/a~1b/-1", "a/0", "s/0", "b/a~1b/1/2", "/", "a//", "aé",
        ] {
            let error = #expect(throws: HeadraceError.self, "\(path)") {
                try self.value(text, path, .int64, Int64.self)
            }
            #expect(error?.message.contains("nothing at '\(path)'") == true, "\(path)")
        }
    }

    @Test func whatIsNoSuchNumber() throws {
        let rows = [
            "1", "1.0", "1e0", "\"1\"", "null", "true", "[1]", "{}", "128", "-129", "-128",
            "9223372036854775808", "{\"a\":1", "",
        ].map { Array($0.utf8) }
        let column = try DecodedColumn(JSONValueDecoder("", as: .int8), rows)
        #expect(column.failures.map(\.row) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13])
        let floats = try DecodedColumn(JSONValueDecoder("", as: .float64), rows)
        #expect(floats.failures.map(\.row) == [3, 4, 5, 6, 7, 12, 13])
        let infinite = try DecodedColumn(
            JSONValueDecoder("", as: .float32), ["1", "1e39", "1e999"].map { Array($0.utf8) })
        #expect(infinite.failures.map(\.row) == [1, 2])
        let truths = try DecodedColumn(
            JSONValueDecoder("", as: .bool), ["true", "1", "false"].map { Array($0.utf8) })
        #expect(truths.failures.map(\.row) == [1])
        let error = #expect(throws: HeadraceError.self) {
            try DecodedColumn(JSONValueDecoder("", as: .uint64), rows)
        }
        #expect(error?.code == .usage)
    }

    /// Any path into any document, as Python finds it.
    @Test func pythonAgrees() throws {
        let script = """
            import json, random, struct, sys
            random.seed(9)
            names = ['a', 'b', 'a/b', '~', '', '0', '1', '\\u00e9', '\\U0001f600', 'q"\\\\']
            def value(depth):
                k = random.randrange(8 if depth < 4 else 5)
                if k == 0: return random.choice([True, False, None, 'x{[,"', '\\\\'])
                if k == 1: return random.randint(-2**63, 2**63 - 1)
                if k == 2: return random.randint(-100, 100)
                if k < 5: return random.uniform(-1, 1) * 10.0**random.randint(-300, 300)
                if k == 5: return [value(depth + 1) for _ in range(random.randint(0, 4))]
                return {random.choice(names): value(depth + 1) for _ in range(random.randint(1, 4))}
            out = bytearray()
            for _ in range(5000):
                doc = value(random.randint(0, 2))
                text = json.dumps(doc, ensure_ascii=random.random() < .5, indent=random.choice([None, 1])).encode()
                at, path = doc, []
                while isinstance(at, (dict, list)) and random.random() < .9:
                    key = random.choice(list(at) if isinstance(at, dict) and random.random() < .9 else names if isinstance(at, dict) else list(range(len(at) + 1)))
                    path.append(str(key).replace('~', '~0').replace('/', '~1'))
                    try: at = at[key]
                    except (KeyError, IndexError): at = None; break
                pointer = ''.join('/' + p for p in path).encode()
                number = type(at) in (int, float)
                answer = (1 if number else 0, 1 if type(at) is int else 0, float(at) if number else 0.0, at if type(at) is int else 0)
                for part in (text, pointer, struct.pack('<BBdq', *answer)): out += struct.pack('<I', len(part)) + part
            sys.stdout.buffer.write(out)
            """
        guard let output = try Oracle.python(script, for: "pythonAgrees") else { return }
        var records = OracleRecords(output)
        var found = 0
        while let text = records.next(), let pointer = records.next(), let answer = records.next() {
            let path = String(decoding: pointer, as: UTF8.self)
            let double = UInt64(
                littleEndian: answer.withUnsafeBytes {
                    $0.loadUnaligned(fromByteOffset: 2, as: UInt64.self)
                })
            let integer = Int64(
                littleEndian: answer.withUnsafeBytes {
                    $0.loadUnaligned(fromByteOffset: 10, as: Int64.self)
                })
            let floats = try? DecodedColumn(JSONValueDecoder(path, as: .float64), [text])
            let integers = try? DecodedColumn(JSONValueDecoder(path, as: .int64), [text])
            let text = String(decoding: text, as: UTF8.self)
            #expect((floats != nil) == (answer[0] == 1), "\(path) in \(text)")
            #expect((integers != nil) == (answer[1] == 1), "\(path) in \(text)")
            if let floats {
                #expect(
                    floats.rows.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } == double,
                    "\(path) in \(text)")
                found += 1
            }
            if let integers {
                #expect(integers.rows.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) } == integer)
            }
        }
        #expect(found > 1500, "\(found)")
    }
}
