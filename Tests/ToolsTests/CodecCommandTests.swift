import Foundation
import Testing

/// Compressed shards through the tools: ours, and those of others under names that say nothing.
struct CodecCommandTests {
    private let commands: [String: [String]] = [
        "gzip": ["gzip", "-cn"], "zstd": ["zstd", "-qc"], "lz4": ["lz4", "-qc"],
        "zlib": [
            "python3", "-c",
            "import sys, zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))",
        ],
    ]

    /// A compressed TFRecord without an ending that tells, listed with the hashes that Python takes.
    @Test(arguments: ["gzip", "zlib", "zstd", "lz4"])
    func recordsAreListedWhateverTheName(_ codec: String) throws {
        guard let python = findProgram("python3"), findProgram(commands[codec]![0]) != nil else { return }
        let scratch = try Scratch()
        let script = """
            import hashlib, struct, subprocess, sys
            table = []
            for n in range(256):
                for _ in range(8): n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
                table.append(n)
            def masked(data):
                crc = 0xffffffff
                for b in data: crc = table[(crc ^ b) & 255] ^ crc >> 8
                crc ^= 0xffffffff
                return struct.pack('<I', ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff)
            shard = b''
            for n in range(40):
                data = bytes((n * i) % 251 for i in range(n * 97))
                length = struct.pack('<Q', len(data))
                shard += length + masked(length) + data + masked(data)
                print(len(data), hashlib.sha256(data).hexdigest())
            out = subprocess.run(sys.argv[2:], input=shard, stdout=subprocess.PIPE, check=True).stdout
            open(sys.argv[1], 'wb').write(out)
            """
        for name in ["records", "records.tar", "records.tfrecord"] {
            let path = scratch.path(name)
            let oracle = try ToolProcess.run(python, ["-c", script, path] + commands[codec]!)
            try #require(oracle.status == 0 && oracle.lines.count == 40)
            let listed = try ToolProcess.headrace("ls", "-j", "--sha256", path)
            #expect(listed.status == 0, "\(listed.error)")
            let lines = try listed.objects.map { "\($0["bytes"]!) \($0["sha256"]!)" }
            #expect(lines == oracle.lines, "\(name)")
            #expect(try ToolProcess.headrace("verify", path).status == 0)
            let info = try #require(try ToolProcess.headrace("info", "-j", path).objects.first)
            #expect(info["codec"] as? String == codec && info["format"] as? String == "tfrecord", "\(name)")
        }
    }

    @Test(arguments: ["x.tar.lz4", "x.tfrecord.lz4"])
    func lz4FromPackToCat(_ name: String) throws {
        let scratch = try Scratch()
        try scratch.makeSamples(30)
        let path = scratch.path(name)
        let pack = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", path, "-j", "--level", "9", "--frame-size", "16KiB")
        try #require(pack.status == 0, "\(pack.error)")
        #expect(try pack.objects.last?["codec"] as? String == "lz4")
        let plain = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path(String(name.dropLast(4))))
        try #require(plain.status == 0, "\(plain.error)")
        if let lz4 = findProgram("lz4") {
            let unpacked = try ToolProcess.run(lz4, ["-dcq", path])
            #expect(unpacked.status == 0)
            let isSame =
                unpacked.output
                == FileManager.default.contents(
                    atPath: scratch.path(String(name.dropLast(4))))
            #expect(isSame)
        }
        let info = try #require(try ToolProcess.headrace("info", "-j", path).objects.first)
        #expect(info["codec"] as? String == "lz4" && info["samples"] as? Int == 30)
        #expect(info["frames"] as? Int ?? 0 > 3)
        #expect(try ToolProcess.headrace("verify", path).status == 0)
        let listed = try ToolProcess.headrace("ls", "-j", "--sha256", path)
        #expect(try listed.objects.count == 30)
        let field = try ToolProcess.headrace("cat", path, "--key", "cat/00004", "--field", "txt")
        if name.contains(".tar") { #expect(field.text == "caption 4", "\(field.error)") }
        // One bit in the middle of the file: some frame's checksum does not match.
        var bytes = [UInt8](try #require(FileManager.default.contents(atPath: path)))
        bytes[bytes.count / 2] ^= 4
        try scratch.write(bytes, to: name)
        let verify = try ToolProcess.headrace("verify", "-j", path)
        #expect(verify.status == 1)
        let verdict = try #require(try verify.objects.first)
        #expect(verdict["ok"] as? Bool == false)
    }
}
