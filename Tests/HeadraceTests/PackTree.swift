import Foundation
import Headrace
import HeadraceCore
import Testing

/// A folder of its own for one test, with a tree to pack below it.
final class PackTree {
    let root: String
    var source: String { root + "/in" }
    var output: String { root + "/out" }
    /// What was put there: path below `source` to content.
    private(set) var files: [String: [UInt8]] = [:]

    init() throws {
        root = "\(NSTemporaryDirectory())headrace-pack-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root + "/in", withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func put(_ path: String, _ content: [UInt8], isSample: Bool = true) throws {
        let full = "\(source)/\(path)"
        try FileManager.default.createDirectory(
            atPath: (full as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(content).write(to: URL(fileURLWithPath: full))
        if isSample { files[path] = content }
    }

    func put(_ path: String, _ content: String) throws { try put(path, Array(content.utf8)) }

    /// Samples with odd names, empty and large files, depth and sizes drawn from `seed`.
    func fillAtRandom(seed: UInt64, samples: Int, largest: Int) throws {
        var random = SplitMix64(seed)
        func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
        let parts = [
            "a", "Ünïcode", "猫", "sp ace", "new\nline", "tab\t", "-dash", "~", "'\"", "%d", "{1..3}", "#",
            "x.dir",
            String(repeating: "long", count: 30),
        ]
        let fields = ["jpg", "cls", "seg.png", "TXT", "json", "a.b.c.d", "ä", "0", "__x"]
        for number in 0..<samples {
            var path = ""
            for _ in 0..<below(4) { path += parts[below(parts.count)] + "/" }
            // Names that webdataset would lose are refused, and have a test of their own.
            if path.contains("\n") { path = path.replacingOccurrences(of: ".", with: "_") }
            let stem = parts[below(parts.count)].replacingOccurrences(of: ".", with: "_")
            path += "\(stem)\(number)"
            var chosen = fields
            for _ in 0...below(3) {
                let field = chosen.remove(at: below(chosen.count))
                let size = [0, 1, 511, 512, 513, below(largest + 1)][below(6)]
                let isText = below(2) == 0
                try put(
                    "\(path).\(field)",
                    (0..<size).map {
                        isText ? UInt8($0 % 23 + 97) : UInt8(truncatingIfNeeded: random.next() >> ($0 & 7))
                    }
                )
            }
        }
    }

    /// "key-in-hex field-in-hex sha256" for every field that readers must find, sorted.
    var expected: [String] {
        files.map { path, content in
            let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
            let base = slash.map { path.utf8.index(after: $0) } ?? path.utf8.startIndex
            let dot = path.utf8[base...].firstIndex(of: UInt8(ascii: "."))!
            let key = Array(path.utf8[..<dot])
            let field = Array(String(path[path.utf8.index(after: dot)...]).lowercased().utf8)
            return "\(key.hexadecimal) \(field.hexadecimal) \(content.sha256)"
        }.sorted()
    }

    func content(_ path: String) throws -> [UInt8] {
        Array(try #require(FileManager.default.contents(atPath: path), "\(path) is missing"))
    }

    /// Names in the output folder, those of `.headrace` included.
    func outputNames() -> [String] {
        let names = (FileManager.default.enumerator(atPath: output)?.allObjects as? [String]) ?? []
        return names.filter { $0 != ".headrace" }.sorted()
    }

    func options(_ name: String) -> PackOptions { PackOptions(output: "\(output)/\(name)") }

    @discardableResult
    func pack(_ options: PackOptions) throws -> PackResult {
        try Packer([DirectorySource(source)], options: options).run()
    }
}

extension [UInt8] {
    var sha256: String { withUnsafeBytes { SHA256.hexadecimal($0) } }
}

/// Programs that are not ours.
enum PackOracle {
    static func run(_ words: [String], test: String = #function) throws -> (status: Int32, output: String)? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        let path = "\(NSTemporaryDirectory())headrace-oracle-\(UUID().uuidString)"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: path) }
        process.standardOutput = FileHandle(forWritingAtPath: path)
        process.standardError = FileHandle(forWritingAtPath: path)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        if process.terminationStatus == 127 {
            print("SKIPPED: \(test): the program \(words[0]) is not installed")
            return nil
        }
        return (process.terminationStatus, try String(contentsOfFile: path, encoding: .utf8))
    }

    private static let modules = ["numpy", "webdataset"].filter {
        (try? run(["python3", "-c", "import \($0)"]))??.status == 0
    }

    static func hasModule(_ name: String) -> Bool { modules.contains(name) }

    static func python(
        _ script: String, _ arguments: [String], needing modules: [String] = [], test: String = #function
    ) throws -> [String]? {
        for module in modules where !hasModule(module) {
            print("SKIPPED: \(test): Python's module \(module) is not installed")
            return nil
        }
        guard let outcome = try run(["python3", "-c", script] + arguments, test: test) else { return nil }
        try #require(outcome.status == 0, "\(outcome.output)")
        return outcome.output.split(separator: "\n").map(String.init)
    }

    /// Every field that webdataset finds, as in ``PackTree/expected`` but in its own order.
    static let webdataset = """
        import sys, hashlib, webdataset as wds
        tools = {"zst": "zstd", "lz4": "lz4"}
        urls = ["pipe:%s -dcq '%s'" % (tools[a[-3:]], a) if a[-3:] in tools else "file:" + a for a in sys.argv[1:]]
        for url in urls:
            for sample in wds.WebDataset([url], shardshuffle=False, empty_check=False):
                for name, data in sample.items():
                    if name.startswith("__") and name != "__x": continue
                    print(sample["__key__"].encode().hex(), name.encode().hex(), hashlib.sha256(data).hexdigest())
        """

    /// The same from TFRecord shards, with a CRC and a protobuf parser of its own.
    static let tfrecord = """
        import struct, subprocess, sys, hashlib
        table = []
        for n in range(256):
            for _ in range(8): n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
            table.append(n)
        def masked(data):
            crc = 0xffffffff
            for b in data: crc = table[(crc ^ b) & 255] ^ crc >> 8
            crc ^= 0xffffffff
            return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff
        def varint(b, i):
            v = s = 0
            while True:
                v |= (b[i] & 127) << s; s += 7; i += 1
                if b[i - 1] < 128: return v, i
        def message(b):
            i = 0
            while i < len(b):
                tag, i = varint(b, i); n, i = varint(b, i)
                assert tag & 7 == 2 and i + n <= len(b)
                yield tag >> 3, b[i:i + n]; i += n
        for path in sys.argv[1:]:
            tool = {"zst": "zstd", "lz4": "lz4"}.get(path[-3:])
            data = subprocess.run([tool, "-dcq", path], stdout=subprocess.PIPE, check=True).stdout \\
                if tool else open(path, "rb").read()
            at = 0
            while at < len(data):
                n, c = struct.unpack_from("<QI", data, at); record = data[at + 12:at + 12 + n]
                assert c == masked(data[at:at + 8]) and struct.unpack_from("<I", data, at + 12 + n)[0] == masked(record)
                at += 16 + n
                fields = {}
                for _, entry in message(dict(message(record))[1]):
                    parts = dict(message(entry)); fields[parts[1]] = dict(message(dict(message(parts[2]))[1]))[1]
                key = fields.pop(b"__key__")
                for name, value in fields.items(): print(key.hex(), name.hex(), hashlib.sha256(value).hexdigest())
        """
}

/// Sources that something happens to after they were listed and before they are read.
struct MeddlingSource: PackSource {
    let sources: [any PackSource]
    let meddle: @Sendable () -> Void

    func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        for source in sources { try source.addSamples(to: &inventory) }
        meddle()
    }
}
