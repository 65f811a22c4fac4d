import Foundation
import HeadraceCore
import Testing

@testable import HeadraceFormats

@Suite struct TarWriterTests {
    private struct Member {
        let key: String
        let field: String
        let payload: [UInt8]
        var name: String { "\(key).\(field)" }
    }

    private static func archive(_ members: [Member]) -> Data {
        let writer = TarWriter()
        let buffer = OutputBuffer()
        for member in members {
            let before = buffer.count
            let header = writer.headerByteCount(
                key: member.key, field: member.field, payloadByteCount: member.payload.count)
            writer.appendHeader(
                key: member.key, field: member.field, payloadByteCount: member.payload.count, to: buffer)
            #expect(buffer.count - before == header, "\(member.name)")
            member.payload.withUnsafeBytes { buffer.append($0) }
            writer.appendPadding(payloadByteCount: member.payload.count, to: buffer)
            #expect(buffer.count % 512 == 0)
        }
        writer.appendEnd(to: buffer)
        return Data(buffer.bytes)
    }

    private static let names: [(String, String)] = {
        var names = [
            ("a", "jpg"), ("d/e/f", "seg.png"), ("sp ace", "txt"), ("tab\tnew\nline", "bin"),
            ("größe/猫", "cls"),
        ]
        // Around both limits of ustar, with and without a '/' to split at.
        for length in [95, 96, 97, 98, 150, 155, 156, 157, 160, 252, 253, 254, 255, 256, 257, 300, 1000] {
            names.append((String(repeating: "n", count: length), "txt"))
            names.append((String(repeating: "d", count: length) + "/x", "txt"))
            names.append(("x/" + String(repeating: "e", count: length), "txt"))
            names.append(
                (String(repeating: "p", count: 60) + "/" + String(repeating: "q", count: length), "txt"))
            names.append((String(repeating: "ä/", count: length / 3) + "ö", "txt"))
        }
        return names
    }()

    @Test func plainNamesAreByteForByteWhatTarfileWrites() throws {
        // Names that ustar holds: Python's tarfile in ustar format, given the same owner, mode and time.
        let script = """
            import sys, tarfile, io, json
            out = open(sys.argv[1], "wb")
            for name, size in json.load(open(sys.argv[2])):
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = size, 0o444, 0
                try:
                    head = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
                except ValueError:
                    continue
                out.write(head + b"x" * size + b"\\0" * (-size % 512))
                print(name.replace("\\n", "\\\\n"))
            out.write(b"\\0" * 1024)
            """
        let out = WriterOracle.temporaryPath("tar")
        let list = WriterOracle.temporaryPath("json")
        defer { for path in [out, list] { try? FileManager.default.removeItem(atPath: path) } }
        let all = Self.names.enumerated().map { index, name in
            Member(
                key: name.0, field: name.1, payload: Array(repeating: UInt8(ascii: "x"), count: index * 37))
        }
        let json = JSONValue.array(all.map { .array([.string($0.name), .int($0.payload.count)]) })
        try json.line().write(toFile: list, atomically: true, encoding: .utf8)
        guard let printed = try WriterOracle.python(script, [out, list]) else { return }
        let accepted = Set(
            printed.split(separator: "\n").map { $0.replacingOccurrences(of: "\\n", with: "\n") })
        #expect(accepted.count > 20)
        let ours = Self.archive(all.filter { accepted.contains($0.name) })
        #expect(ours == FileManager.default.contents(atPath: out))
        // And we write PAX exactly where ustar ends.
        let writer = TarWriter()
        for member in all {
            let isPlain =
                writer.headerByteCount(key: member.key, field: member.field, payloadByteCount: 0) == 512
            #expect(isPlain == accepted.contains(member.name), "\(member.name)")
        }
    }

    @Test func everyNameComesBackFromTarfileAndTar() throws {
        let members = Self.names.enumerated().map { index, name in
            Member(
                key: name.0, field: name.1,
                payload: (0..<index * 61).map { UInt8(truncatingIfNeeded: $0 * 7 + index) })
        }
        let path = WriterOracle.temporaryPath("tar")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Self.archive(members).write(to: URL(fileURLWithPath: path))
        let script = """
            import sys, tarfile, hashlib
            for m in tarfile.open(sys.argv[1]):
                assert (m.mode, m.uid, m.gid, m.mtime, m.uname) == (0o444, 0, 0, 0, ""), m
                data = hashlib.sha256(tarfile.open(sys.argv[1]).extractfile(m).read()).hexdigest()
                print(m.name.encode().hex(), data)
            """
        if let printed = try WriterOracle.python(script, [path]) {
            let expected = members.map { "\(Array($0.name.utf8).hexadecimal) \($0.payload.sha256)" }
            #expect(printed.split(separator: "\n").map(String.init) == expected)
        }
        if let listed = try WriterOracle.run(["tar", "--quoting-style=literal", "-tf", path]) {
            #expect(listed.status == 0 && listed.errors == "", "\(listed.errors)")
            // Names with a newline span two lines, in the list as in what is expected.
            #expect(listed.output == members.map { $0.name + "\n" }.joined())
        }
    }

    @Test(arguments: [TarWriter.largestOctalSize, TarWriter.largestOctalSize + 1, 12_345_678_901])
    func largeSizesAreReadByTarfileAndTar(size: Int) throws {
        // A file of holes: 8 GiB and more without writing them.
        let path = WriterOracle.temporaryPath("tar")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let writer = TarWriter()
        let buffer = OutputBuffer()
        writer.appendHeader(key: "big", field: "bin", payloadByteCount: size, to: buffer)
        #expect(buffer.count == (size > TarWriter.largestOctalSize ? 3 : 1) * 512)
        _ = FileManager.default.createFile(atPath: path, contents: Data(buffer.bytes))
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.truncate(
            atOffset: UInt64(buffer.count + size + TarWriter.paddingByteCount(payloadByteCount: size)))
        try file.seekToEnd()
        let rest = OutputBuffer()
        writer.appendHeader(key: "after", field: "txt", payloadByteCount: 0, to: rest)
        writer.appendEnd(to: rest)
        try file.write(contentsOf: Data(rest.bytes))
        try file.close()
        let script = "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name, m.size)"
        if let printed = try WriterOracle.python(script, [path]) {
            #expect(printed == "big.bin \(size)\nafter.txt 0\n")
        }
        if let listed = try WriterOracle.run(["tar", "-tvf", path]) {
            #expect(
                listed.status == 0 && listed.output.contains(" \(size) ")
                    && listed.output.contains("after.txt"))
        }
    }

    @Test func ourOwnScannerReadsThemBack() {
        let bytes = Array(
            Self.archive(Self.names.map { Member(key: $0.0, field: $0.1, payload: Array($0.0.utf8)) }))
        let scanner = TarScanner(names: FieldNames())
        var table = SampleTable()
        let outcome = bytes.withUnsafeBytes {
            scanner.scan($0, at: 0, isLast: true, total: bytes.count, into: &table)
        }
        #expect(outcome.consumed == bytes.count)
        #expect(scanner.account.ignored["missingEndOfArchive"] == nil)
        #expect(table.samples.count == Self.names.count && table.defects.isEmpty)
    }
}

extension [UInt8] {
    fileprivate var sha256: String { withUnsafeBytes { SHA256.hexadecimal($0) } }
}
