import Foundation
import HeadraceCore
import HeadraceDecode
import Testing

/// A file of version `major`.0 with that header text.
private func npy(_ header: String, _ data: [UInt8] = [], major: UInt8 = 1) -> [UInt8] {
    let text = Array(header.utf8)
    var length = [UInt8(text.count & 0xff), UInt8(text.count >> 8 & 0xff)]
    if major > 1 { length += [0, 0] }
    return [0x93] + Array("NUMPY".utf8) + [major, 0] + length + text + data
}

private func error(_ bytes: [UInt8]) -> HeadraceError? {
    do throws(HeadraceError) {
        _ = try DecodedColumn(NpyDecoder(), [bytes])
        return nil
    } catch {
        return error
    }
}

@Suite struct NpyHeaderTests {
    /// A column without elements has no memory for its rows; that is no reason not to look at them.
    @Test func rowsOfAnEmptyColumnAreHeldAgainstIt() throws {
        let empty = npy("{'descr': '<i2', 'fortran_order': False, 'shape': (0, 4)}")
        let full = npy(
            "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 4)}", [UInt8](repeating: 1, count: 8))
        let column = try DecodedColumn(
            NpyDecoder(), [empty, full, Array("no npy at all".utf8), empty, empty + [1]])
        #expect(column.layout == .fixed(.int16, shape: [0, 4]))
        #expect(column.failures.map(\.row) == [1, 2, 4])
        #expect(column.failures.first?.error.code == .shapeMismatch)
    }

    @Test(arguments: [
        "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }          \n",
        "{\"shape\":(3,),\"descr\":\"<i2\",\"fortran_order\":False}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (3L,)}",
        "{u'descr': u'<i2', u'fortran_order': False, u'shape': (3L,)}",
        "{ 'descr' : '<i2' , 'fortran_order' : False , 'shape' : ( 3 , ) , }",
    ]) func spellings(header: String) throws {
        for major in [1, 2, 3] as [UInt8] {
            let column = try DecodedColumn(NpyDecoder(), [npy(header, [1, 0, 2, 0, 3, 0], major: major)])
            #expect(column.layout == .fixed(.int16, shape: [3]))
            #expect(column.rows == [1, 0, 2, 0, 3, 0])
            #expect(column.failures.isEmpty)
        }
    }

    @Test(arguments: [
        "", "{", "{}", "{'descr': '<i2'}", "{'descr': '<i2', 'fortran_order': False, 'shape': (3)}",
        "{'descr': '<i2', 'fortran_order': 0, 'shape': (3,)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (-3,)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), 'x': 1}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': [3]}",
        "{'descr': '<i2', 'descr': '<i2', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (3,)} x",
        "{'descr': '<i2' 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (9223372036854775807,)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (4611686018427387904, 4, 0)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (1,,)}",
        "{'descr': '<i\\x32', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<i2, 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<i2', 'fortran_order': False, 'shape': (3,", "\u{e9}",
    ]) func malformed(header: String) { #expect(error(npy(header))?.code == .badValue) }

    @Test(arguments: [
        ("'|O'", "Python objects"), ("[('x', '<i4'), ('y', '<f4')]", "structured"), ("'|V8'", "void"),
        ("'<U3'", "Unicode"),
        ("'|S3'", "byte strings"), ("'<M8[ns]'", "dates"), ("'<f16'", "does not know"),
        ("''", "does not know"),
        ("'<c32'", "does not know"), ("'<V2'", "void"),
    ]) func refusedTypes(descr: String, word: String) {
        let found = error(npy("{'descr': \(descr), 'fortran_order': False, 'shape': (3,)}"))
        #expect(found?.code == .unsupported)
        #expect(found?.message.contains(word) == true)
    }

    @Test func limits() {
        let extents = String(repeating: "1, ", count: 65)
        #expect(
            error(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (\(extents))}"))?.code
                == .limitExceeded)
        #expect(error(npy(String(repeating: " ", count: 10_001)))?.code == .limitExceeded)
        let huge: [UInt8] = [0x93] + Array("NUMPY".utf8) + [2, 0, 0xff, 0xff, 0xff, 0xff]
        #expect(error(huge)?.code == .limitExceeded)
    }

    @Test func versionsAndMagic() {
        #expect(error(npy("{}", major: 4))?.code == .unsupported)
        #expect(error(npy("{}", major: 0))?.code == .unsupported)
        #expect(error(Array("not an array".utf8))?.code == .badValue)
        #expect(error([])?.code == .badValue)
    }

    @Test func writtenHeadersReadBack() throws {
        for type in ElementType.allCases where type != .bfloat16 {
            for shape in [[], [3], [2, 3], [28, 28, 1], [0, 5]] {
                let header = NpyHeader.write(type, shape: shape)
                #expect(header.count % 64 == 0)
                let parsed = try header.withUnsafeBytes { bytes throws(HeadraceError) in
                    try NpyHeader.parse(bytes)
                }
                #expect(parsed == NpyHeader(type, shape: shape))
            }
        }
    }
}

@Suite struct NpyDecoderTests {
    private static let header = "{'descr': '<i2', 'fortran_order': False, 'shape': (2,)}"

    @Test func everyCutIsAnError() throws {
        let whole = NpyHeader.write(.int16, shape: [2, 3]) + [UInt8](repeating: 1, count: 12)
        #expect(error(whole) == nil)
        for cut in 1..<whole.count {
            let found = error(Array(whole[..<cut]))
            #expect(found?.code == .truncated, "cut at \(cut)")
        }
        #expect(error(whole + [0])?.code == .badValue)
    }

    /// Any damage gives a result of the declared size or an error; never a trap, never a write outside the
    /// row.
    @Test func damageNeverTraps() {
        let whole = NpyHeader.write(.float32, shape: [2, 3]) + [UInt8](repeating: 1, count: 24)
        var random = SplitMix64(4)
        var refused = 0
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0..<1 + Int(random.below(2)) {
                bytes[Int(random.below(80))] = UInt8(truncatingIfNeeded: random.next())
            }
            if error(bytes) != nil { refused += 1 }
        }
        #expect(refused > 10_000)
    }

    @Test func rowsThatDiffer() throws {
        let rows = [
            npy(Self.header, [1, 0, 2, 0]),
            npy("{'descr': '<i2', 'fortran_order': False, 'shape': (3,)}", [0, 0, 0, 0, 0, 0]),
            npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2,)}", [0, 0, 0, 0]),
            npy(Self.header, [3, 0]),
            npy(Self.header, [3, 0, 4, 0, 5]), [],
            npy("{'descr': '>i2', 'fortran_order': True, 'shape': (2,)}", [0, 5, 0, 6]),
            npy(Self.header, [7, 0, 8, 0]),
        ]
        let column = try DecodedColumn(NpyDecoder(), rows)
        #expect(column.failures.map(\.row) == [1, 2, 3, 4, 5])
        #expect(
            column.failures.map(\.error.code) == [
                .shapeMismatch, .shapeMismatch, .truncated, .badValue, .badValue,
            ])
        #expect(column.rows[0..<4] == [1, 0, 2, 0])
        #expect(column.rows[24..<28] == [5, 0, 6, 0])
        #expect(column.rows[28..<32] == [7, 0, 8, 0])
    }

    @Test func emptyArrays() throws {
        let column = try DecodedColumn(NpyDecoder(), [NpyHeader.write(.float64, shape: [0, 3])])
        #expect(column.layout == .fixed(.float64, shape: [0, 3]))
        #expect(column.failures.isEmpty && column.rows.isEmpty)
    }

    /// Arrays that NumPy makes, of every type, order and byte order, against NumPy's own C-order bytes.
    @Test func numpyAgrees() throws {
        let folder = NSTemporaryDirectory() + "headrace-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let script = """
            import sys, os, numpy as np
            rng = np.random.default_rng(0); n = 0
            kinds = 'b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16'.split()
            for kind in kinds:
              for order in '<>':
                for shape in [(), (5,), (2, 3), (3, 1, 4), (1, 7), (2, 3, 4, 5), (0, 2)]:
                  for layout in 'CF':
                    size = int(np.prod(shape)) * np.dtype(kind).itemsize
                    raw = rng.integers(0, 2 if kind == 'b1' else 256, size, dtype=np.uint8).tobytes()
                    a = np.frombuffer(raw, dtype=order + kind).reshape(shape)
                    with open(f'{sys.argv[1]}/{n}.npy', 'wb') as f:
                      np.lib.format.write_array(f, np.array(a, order=layout), version=(1 + n % 3, 0))
                    native = np.ascontiguousarray(a).astype(a.dtype.newbyteorder('='), copy=True)
                    if kind[0] in 'fc':
                      native = np.ascontiguousarray(a).byteswap().view(kind) if order == '>' else a
                    open(f'{sys.argv[1]}/{n}.raw', 'wb').write(np.ascontiguousarray(native).tobytes())
                    print(kind, ','.join(map(str, shape)), sep=';'); n += 1
            """
        guard let output = try Oracle.python(script, [folder], for: "numpyAgrees") else { return }
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 14 * 2 * 7 * 2)
        for (number, line) in lines.enumerated() {
            let parts = line.split(separator: ";", omittingEmptySubsequences: false)
            let file = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(number).npy"))
            let raw = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(number).raw"))
            let column = try DecodedColumn(NpyDecoder(), [Array(file), Array(file)])
            let shape = parts[1].split(separator: ",").map { Int($0)! }
            guard case .fixed(let type, let found) = column.layout else {
                Issue.record("\(line) is no fixed column")
                continue
            }
            #expect(found == shape)
            #expect(type.byteCount == Int(String(parts[0].dropFirst())))
            #expect(column.failures.isEmpty)
            #expect(column.rows == Array(raw) + Array(raw), "\(line), file \(number)")
        }
    }

    @Test func numpyReadsWhatWeWrite() throws {
        let path = NSTemporaryDirectory() + "headrace-" + UUID().uuidString + ".npy"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let data = (0..<24).map { UInt8($0) }
        try Data(NpyHeader.write(.uint16, shape: [3, 4]) + data).write(to: URL(fileURLWithPath: path))
        let script = "import numpy,sys; a=numpy.load(sys.argv[1]); print(a.dtype,a.shape,a.tobytes().hex())"
        guard let output = try Oracle.python(script, [path], for: "numpyReadsWhatWeWrite") else { return }
        #expect(String(decoding: output, as: UTF8.self) == "uint16 (3, 4) \(data.hexadecimal)\n")
    }

    /// Files that other projects wrote, and what NumPy made of each.
    @Test func filesOfOtherProjects() throws {
        guard let root = Oracle.fixtures(for: "filesOfOtherProjects") else { return }
        let lines = try String(contentsOfFile: root + "/EXPECTED/npy.jsonl", encoding: .utf8).split(
            separator: "\n")
        var read = 0
        var refused = 0
        for line in lines {
            let entry = try JSONValue(parsing: String(line))
            guard let path = entry["path"]?.stringValue, path.hasSuffix(".npy") else { continue }
            let view = try #require(entry["view"]?["numpy"])
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: root + "/" + path)))
            guard view["ok"] == true else {
                #expect(error(bytes) != nil, "\(path) must be refused")
                refused += 1
                continue
            }
            if view["dtype"]?.stringValue?.hasPrefix("[") == true {
                #expect(error(bytes)?.code == .unsupported, "\(path) is structured")
                refused += 1
                continue
            }
            let column = try DecodedColumn(NpyDecoder(), [bytes])
            let shape = try #require(view["shape"]?.arrayValue).compactMap(\.intValue)
            guard case .fixed(_, shape: shape) = column.layout else {
                Issue.record("\(path): \(column.layout)")
                continue
            }
            let hash = column.rows.withUnsafeBytes { SHA256.hexadecimal($0) }
            // "Native" there is the file's own byte order; where that is not this machine's, the other field
            // is it.
            let expected = view["sha256_c_order_little_endian"] ?? view["sha256_c_order_native_bytes"]
            #expect(hash == expected?.stringValue, "\(path)")
            #expect(column.failures.isEmpty)
            read += 1
        }
        #expect(read >= 45 && refused >= 5, "read \(read), refused \(refused)")
    }
}
