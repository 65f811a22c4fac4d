import Foundation
import HeadraceCore
import HeadraceDecode
import Testing

/// Damaged .npy files, with NumPy as the judge.
@Suite struct NpyDamageTests {
    /// 10^5 files with a few bytes changed, put in or left out: what NumPy cannot read must be refused, and what is
    /// read must have the bytes that NumPy finds. Where NumPy reads more than we do it is said why.
    @Test func numpyAgrees() throws {
        let script = """
            import io, random, struct, sys, warnings, numpy as np
            warnings.simplefilter('ignore')
            random.seed(6)
            seeds = []
            for kind, shape, order in [('<f4', (2, 3), 'C'), ('>i2', (3, 2), 'F'), ('|b1', (4,), 'C'), ('<u8', (), 'C'), ('<c8', (1, 2), 'F'), ('|i1', (0, 3), 'C'), ('<f2', (5,), 'C')]:
                a = np.array(np.arange(int(np.prod(shape))).reshape(shape), dtype=kind, order=order)
                for version in [(1, 0), (2, 0)]:
                    f = io.BytesIO(); np.lib.format.write_array(f, a, version=version)
                    b = f.getvalue(); start = 10 if version[0] == 1 else 12
                    end = len(b) - a.nbytes
                    text = b[start:end].rstrip()  # NumPy's padding would take most of the damage.
                    length = struct.pack('<H' if version[0] == 1 else '<I', len(text))
                    seeds.append((b[:8] + length + text, b[end:], start))
            letters = b"{}()[]',: .<>|=bifucV?0123456789LTrueFalsdecdshapFORTRAN_nr\\\\\\"\\x00\\n\\xff"
            out = bytearray()
            for n in range(100000):
                head, data, start = random.choice(seeds)
                b = bytearray(head)
                for _ in range(random.choice([0, 1, 1, 1, 2])):
                    how = random.randrange(6)
                    at = random.randrange(start, len(b)) if random.random() < .9 else random.randrange(len(b))
                    if how < 3: b[at] = random.choice(letters)
                    elif how == 3: b[at] = random.randrange(256)
                    elif how == 4: del b[at]
                    else: b.insert(at, random.choice(letters))
                size = len(b) - start
                if 0 <= size < 65536 and random.random() < .95: b[8:start] = struct.pack('<H' if start == 10 else '<I', size)
                b = bytes(b) + (data[:-1] if random.random() < .02 else data + b'x' if random.random() < .02 else data)
                f = io.BytesIO(b)
                try:
                    a = np.lib.format.read_array(f, allow_pickle=False)
                    if a.dtype.hasobject: raise ValueError
                    rest = len(b) - f.tell()
                    kind = a.dtype.newbyteorder('=').str[1:]
                    native = np.ascontiguousarray(a)
                    if a.dtype.byteorder == '>': native = native.byteswap()
                    answer = (kind.encode() if rest == 0 else b'-') + b' ' + native.tobytes()
                except Exception as e: answer = b''
                for part in (b, answer): out += struct.pack('<I', len(part)) + part
            sys.stdout.buffer.write(out)
            """
        guard let output = try Oracle.python(script, for: "numpyAgrees") else { return }
        let known: Set = [
            "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16",
        ]
        var records = OracleRecords(output)
        var read = 0
        var refused = 0
        var onlyNumPy = 0
        while let file = records.next(), let answer = records.next() {
            let column = try? DecodedColumn(NpyDecoder(), [file])
            let space = answer.firstIndex(of: 0x20)
            let kind = space.map { String(decoding: answer[..<$0], as: UTF8.self) } ?? ""
            if let column, column.failures.isEmpty {
                let expected = space.map { Array(answer[($0 + 1)...]) }
                #expect(expected == column.rows, "NumPy: \(kind); \(file)")
                read += 1
            } else if known.contains(kind) {
                // A type by another of its names, a header that is more of a Python program, a key twice.
                onlyNumPy += 1
            } else {
                refused += 1
            }
        }
        #expect(read > 10_000 && refused > 30_000, "read \(read), refused \(refused)")
        #expect(onlyNumPy < read / 20, "\(onlyNumPy) files that NumPy reads are refused, \(read) are read")
    }

    /// Claims that no memory could hold cost nothing.
    @Test(arguments: [
        "(4611686018427387904,)", "(9223372036854775807,)", "(4294967296, 4294967296)",
        "(2, 9223372036854775807)",
        "(0, 9223372036854775807, 9223372036854775807)", "(1099511627776,)", "(-1,)",
        "(9223372036854775808,)",
    ]) func hugeClaims(shape: String) {
        let text = Array("{'descr': '<f8', 'fortran_order': True, 'shape': \(shape)}".utf8)
        let file = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(text.count), 0] + text + [1, 2, 3]
        #expect(throws: HeadraceError.self) { try DecodedColumn(NpyDecoder(), [file]) }
    }
}
