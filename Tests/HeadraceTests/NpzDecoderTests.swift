import Foundation
import HeadraceCore
import HeadraceDecode
import Testing

@testable import Headrace

/// Runs a decoder over payloads as a worker does: the column from the first, then one run.
struct DecodedRows {
    var layout: ColumnLayout
    var rows: [UInt8] = []
    var failures: [(row: Int, error: HeadraceError)] = []

    init(_ decoder: any Decoder, _ payloads: [[UInt8]], column: [UInt8]? = nil) throws(HeadraceError) {
        // At odd addresses, each with a block of its own: a read beyond it is seen by the address sanitizer.
        let buffers = (payloads + [column ?? payloads[0]]).map { bytes in
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count + 1, alignment: 16)
            copy.baseAddress!.advanced(by: 1).copyMemory(from: bytes, byteCount: bytes.count)
            return copy
        }
        defer { for buffer in buffers { buffer.deallocate() } }
        let spans = buffers.map { UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer($0)[1...]) }
        layout = try decoder.column(for: spans[payloads.count])
        var rows = [UInt8](repeating: 0xa5, count: layout.rowBytes * payloads.count + 64)
        let layout = layout
        var failures: [(row: Int, error: HeadraceError)] = []
        rows.withUnsafeMutableBytes { memory in
            spans.dropLast().withContiguousStorageIfAvailable { spans in
                var run = DecodeRun(
                    payloads: spans, rows: layout.rowBytes > 0 ? memory.baseAddress : nil, layout: layout)
                decoder.decode(&run)
                failures = run.failures
            }
        }
        #expect(rows.suffix(64).allSatisfy { $0 == 0xa5 }, "written beyond the rows")
        self.failures = failures
        self.rows = rows.dropLast(64)
    }
}

/// Output of a Python script, its files in a folder; nil, and said aloud, where it cannot be had.
func python(_ script: String, in folder: TemporaryFolder, _ arguments: [String] = []) throws -> [UInt8]? {
    let setUp = "import os, sys\nos.chdir(sys.argv[1])\n"
    guard let run = try run("python3", ["-c", setUp + script, folder.path] + arguments) else { return nil }
    guard run.status == 0 else {
        print("SKIPPED: python3 or a module that it needs is missing")
        return nil
    }
    return run.output
}

@Suite struct NpzDecoderTests {
    private static let arrays = """
        import numpy as np, zipfile, io, hashlib, json
        r = np.random.default_rng(4)
        A = {'u1': r.integers(0, 255, (28, 28), dtype='u1'), 'f8be': r.standard_normal((3, 5)).astype('>f8'),
            'fortran': np.asfortranarray(r.standard_normal((4, 5, 6)).astype('f4')), 'scalar': np.float32(3.5),
            'empty': np.zeros((0, 7), 'i4'), 'large': r.integers(0, 9, (300, 400)), 'b': np.array([True, False]),
            'zeros': np.zeros(100_000), 'c': np.array([1 + 2j]), 'fortran_large': np.asfortranarray(r.integers(0, 5, (200, 130)))}
        """

    /// NumPy writes, with both of its functions and with tools for zip64 and sizes behind the data; we read.
    @Test func whatNumPyWrites() throws {
        let folder = TemporaryFolder()
        let script =
            Self.arrays + """

                np.savez('stored.npz', **A)
                np.savez_compressed('deflated.npz', **A)
                def write(name, stream, **options):
                    with zipfile.ZipFile(stream, 'w', **options) as z:
                        for k, a in A.items():
                            with z.open(k + '.npy', 'w', force_zip64=(name == 'zip64')) as f: np.lib.format.write_array(f, np.asanyarray(a))
                class Stream(io.RawIOBase):
                    def __init__(s): s.f = open('streamed.npz', 'wb')
                    def writable(s): return True
                    def write(s, b): return s.f.write(b)
                write('streamed', Stream(), compression=zipfile.ZIP_DEFLATED)
                write('zip64', open('zip64.npz', 'wb'), compression=zipfile.ZIP_DEFLATED)
                print(json.dumps({k: [str(a.dtype.newbyteorder('=')), list(np.shape(a)), hashlib.sha256(np.ascontiguousarray(np.asanyarray(a).astype(a.dtype.newbyteorder('='))).tobytes()).hexdigest()]
                    for k, a in np.load('stored.npz').items()}))
                """
        guard let output = try python(script, in: folder) else { return }
        let expected = try JSONSerialization.jsonObject(with: Data(output)) as! [String: [Any]]
        #expect(expected.count == 10)
        for file in ["stored", "deflated", "streamed", "zip64"] {
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder(file + ".npz"))))
            for (name, answer) in expected {
                let decoder = NpzDecoder(array: name)
                // Three rows of one run: the header is known and the memory used again.
                let column = try DecodedRows(decoder, [bytes, bytes, bytes])
                #expect(column.failures.isEmpty, "\(file) \(name): \(column.failures)")
                guard case .fixed(let type, let shape) = column.layout else { continue }
                #expect(type.rawValue == answer[0] as! String && shape == answer[1] as! [Int])
                let size = column.rows.count / 3
                for row in 0..<3 {
                    let bytes = Array(column.rows[row * size..<(row + 1) * size])
                    let hash = bytes.withUnsafeBytes { SHA256.hexadecimal($0) }
                    #expect(hash == answer[2] as! String, "\(file) \(name)")
                }
                #expect(try DecodedRows(NpzDecoder(array: name + ".npy"), [bytes]).rows.count == size)
            }
            let none = #expect(throws: HeadraceError.self) {
                try DecodedRows(NpzDecoder(array: "x"), [bytes])
            }
            #expect(none?.code == .missingField && none?.message.contains("fortran.npy") == true)
            let all = #expect(throws: HeadraceError.self) { try DecodedRows(NpzDecoder(), [bytes]) }
            #expect(all?.message.contains("10 arrays, say which") == true)
        }
    }

    @Test func filesOfOtherProjects() throws {
        guard let folder = Self.fixtures else {
            print("SKIPPED: filesOfOtherProjects: no fixtures; set HEADRACE_FIXTURES")
            return
        }
        var read = 0
        for line in try String(contentsOfFile: folder + "/EXPECTED/npy.jsonl", encoding: .utf8).split(
            separator: "\n")
        {
            let entry = try JSONValue(parsing: String(line))
            guard let path = entry["path"]?.stringValue, path.hasSuffix(".npz") else { continue }
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + path)))
            for array in try #require(entry["view"]?["numpy"]?["arrays"]?.objectValue) {
                let decoder = NpzDecoder(array: array.name)
                guard array.value["error"] == nil else {
                    let error = #expect(throws: HeadraceError.self) { try DecodedRows(decoder, [bytes]) }
                    #expect(error?.code == .unsupported, "\(path)")
                    continue
                }
                let column = try DecodedRows(decoder, [bytes])
                let hash = column.rows.withUnsafeBytes { SHA256.hexadecimal($0) }
                #expect(
                    hash == array.value["sha256_c_order_native_bytes"]?.stringValue, "\(path) \(array.name)")
                #expect(column.failures.isEmpty)
                read += 1
            }
        }
        #expect(read >= 10, "read \(read)")
    }

    private static var fixtures: String? {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let path =
            ProcessInfo.processInfo.environment["HEADRACE_FIXTURES"]
            ?? root.deletingLastPathComponent().appendingPathComponent("shared/fixtures").path
        return FileManager.default.fileExists(atPath: path + "/EXPECTED/npy.jsonl") ? path : nil
    }

    /// Archives that must be refused, and why.
    @Test func whatIsRefused() throws {
        let folder = TemporaryFolder()
        let script = """
            import numpy as np, zipfile, struct
            a = np.arange(100)
            def make(name, method):
                with zipfile.ZipFile(name, 'w', method) as z:
                    with z.open('a.npy', 'w') as f: np.lib.format.write_array(f, a)
                    with z.open('b.npy', 'w') as f: np.lib.format.write_array(f, a + 1)
                return bytearray(open(name, 'rb').read())
            def patch(name, edits, base):
                b = bytearray(base)
                for at, data in edits: b[at:at + len(data)] = data
                open(name, 'wb').write(b)
            make('lzma', zipfile.ZIP_LZMA); make('bzip2', zipfile.ZIP_BZIP2)
            g = make('good', zipfile.ZIP_DEFLATED)
            end = len(g) - 22
            cd = struct.unpack('<I', g[end + 16:end + 20])[0]
            two = g.index(b'PK\\x01\\x02', cd + 4)
            patch('encrypted', [(cd + 8, b'\\x01')], g)
            patch('crc', [(cd + 16, b'\\x00\\x00\\x00\\x00')], g)
            patch('overlap', [(two + 42, struct.pack('<I', 5))], g)
            patch('same', [(cd, g[two:end].ljust(two - cd, b'\\0'))], g)
            patch('name', [(30, b'c')], g)
            patch('count', [(end + 8, b'\\xff\\xff\\xff\\xff')], g)
            patch('disks', [(end + 4, b'\\x01')], g)
            patch('bomb', [(cd + 24, struct.pack('<I', 1 << 31))], g)
            patch('longer', [(cd + 24, struct.pack('<I', struct.unpack('<I', g[cd + 24:cd + 28])[0] + 8))], g)
            patch('shorter', [(cd + 24, struct.pack('<I', struct.unpack('<I', g[cd + 24:cd + 28])[0] - 8))], g)
            patch('far', [(cd + 42, struct.pack('<I', 0xfffffffe))], g)
            patch('zip64', [(cd + 42, struct.pack('<I', 0xffffffff))], g)
            open('tail', 'wb').write(g + b'x')
            open('cut', 'wb').write(g[:-1])
            open('front', 'wb').write(b'x' + g)
            open('none', 'wb').write(b'hello')
            open('empty', 'wb').write(b'')
            """
        guard try python(script, in: folder) != nil else { return }
        func bytes(_ name: String) throws -> [UInt8] {
            [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder(name))))
        }
        let good = try bytes("good")
        #expect(try DecodedRows(NpzDecoder(array: "a"), [good]).failures.isEmpty)
        let expected: [(String, HeadraceError.Code, String)] = [
            ("lzma", .unsupported, "LZMA"), ("bzip2", .unsupported, "bzip2"),
            ("encrypted", .unsupported, "encrypted"), ("crc", .checksumMismatch, "CRC-32"),
            ("overlap", .badValue, "not where"), ("same", .badValue, "overlap"),
            ("name", .badValue, "not where"),
            ("count", .limitExceeded, "zipMembers"), ("disks", .unsupported, "disks"),
            ("bomb", .limitExceeded, "zipRatio"), ("longer", .badValue, "follow"),
            ("shorter", .corruptStream, "more bytes"),
            ("far", .badValue, "not where"), ("zip64", .badValue, "not where"),
            ("tail", .truncated, "directory"), ("cut", .truncated, "directory"),
            ("front", .badValue, "not where"),
            ("none", .badValue, "no zip"), ("empty", .badValue, "no zip"),
        ]
        for (name, code, words) in expected {
            // Among good rows: these must be left as they are.
            let column = try DecodedRows(NpzDecoder(array: "a"), [good, try bytes(name), good], column: good)
            #expect(column.failures.map(\.row) == [1], "\(name)")
            #expect(column.failures.first?.error.code == code, "\(name): \(column.failures)")
            #expect(
                column.failures.first?.error.message.contains(words) == true, "\(name): \(column.failures)")
            #expect(column.rows.prefix(800) == column.rows.suffix(800))
        }
    }

    /// Cut and flipped anywhere: no crash, and what is accepted is the array.
    @Test func damageIsFoundOrHarmless() throws {
        let folder = TemporaryFolder()
        let script = """
            import numpy as np
            np.savez_compressed('d.npz', a=np.arange(100, dtype='i4') % 7, f=np.asfortranarray(np.arange(12).reshape(3, 4)))
            np.savez('s.npz', a=np.arange(100, dtype='i4') % 7)
            """
        guard try python(script, in: folder) != nil else { return }
        var positions = 0
        for file in ["d.npz", "s.npz"] {
            let good = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder(file))))
            let reference = try DecodedRows(NpzDecoder(array: "a"), [good]).rows
            var damaged: [[UInt8]] = (0..<good.count).map { Array(good[..<$0]) }
            for at in good.indices {
                for bit in 0..<8 {
                    var bytes = good
                    bytes[at] ^= 1 << bit
                    damaged.append(bytes)
                }
            }
            positions += damaged.count
            for start in stride(from: 0, to: damaged.count, by: 64) {
                let rows = Array(damaged[start..<min(start + 64, damaged.count)])
                let column = try DecodedRows(NpzDecoder(array: "a"), rows, column: good)
                let bad = Set(column.failures.map(\.row))
                for row in rows.indices where !bad.contains(row) {
                    let isEqual = column.rows.withUnsafeBytes { rows in
                        reference.withUnsafeBytes {
                            memcmp(rows.baseAddress! + row * $0.count, $0.baseAddress!, $0.count) == 0
                        }
                    }
                    #expect(isEqual, "\(file): variant \(start + row)")
                }
            }
        }
        #expect(positions > 9_000)
    }
}
