import Foundation
import Testing

/// Files that claim what they do not have, through the built tools: each ends in status 1 and an error that names the
/// claim, in little memory and time.
struct HostileFileTests {
    /// Beyond this a claim has been believed. The tools' own budget is below it with `--memory 64MiB`.
    static let peakLimit = 200 << 20

    /// Writes every file into the folder named by the first argument.
    static let script = """
        import gzip, io, json, os, struct, subprocess, sys, tarfile, zipfile, zlib
        os.chdir(sys.argv[1])

        def header(name, size, kind=b"0", edit=None):
            h = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
            h[156:157] = kind
            h[124:136] = b"%011o\\0" % size if size < 8 ** 11 else b"\\x80" + size.to_bytes(11, "big")
            if edit: edit(h)
            h[148:156] = b" " * 8
            h[148:156] = b"%06o\\0 " % sum(h)
            return bytes(h)

        def save(name, *parts):
            with open(name, "wb") as f:
                for part in parts: f.write(part)

        good = header("a.txt", 3) + b"abc".ljust(512, b"\\0")
        end = bytes(1024)
        def pax(**words):
            body = b""
            for key, value in words.items():
                rest = " %s=%s\\n" % (key.replace("_", "."), value)
                n = len(rest) + 1
                while n != len(str(n)) + len(rest): n = len(str(n)) + len(rest)
                body += (str(n) + rest).encode()
            return header("x", len(body), b"x") + body + bytes(-len(body) % 512)

        def sparse(h):
            h[257:265] = b"ustar  \\0"
            h[386:398] = b"%011o\\0" % 0
            h[398:410] = b"%011o\\0" % 512
            h[483:495] = b"\\x80" + (60 << 30).to_bytes(11, "big")
        save("sparse-old.tar", good, header("b.img", 512, b"S", sparse), bytes(512), end)
        save("sparse-pax.tar", good, pax(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_name="b.img",
            GNU_sparse_realsize=60 << 30), header("b.img", 512), b"1\\n0\\n512\\n".ljust(512, b"\\0"), end)
        save("base256.tar", good, header("b.bin", 1 << 62), bytes(512), end)
        save("pax-size.tar", good, pax(size=1 << 62), header("b.bin", 0), end)
        save("pax-long.tar", good, header("x", 1 << 40, b"x"), bytes(512), end)
        save("name-long.tar", good, header("././@LongLink", 1 << 33, b"L"), bytes(512), end)
        save("flood.tar", good, pax(comment="x") * 100000, header("b.txt", 0), end)
        save("flood-long.tar", good, (header("././@LongLink", 5, b"L") + b"name\\0".ljust(512, b"\\0")) * 100000, end)

        table = []
        for i in range(256):
            c = i
            for _ in range(8): c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
            table.append(c)
        def crc(data):
            c = 0xFFFFFFFF
            for b in data: c = table[(c ^ b) & 255] ^ (c >> 8)
            c ^= 0xFFFFFFFF
            return struct.pack("<I", ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF)
        def record(data):
            n = struct.pack("<Q", len(data))
            return n + crc(n) + data + crc(data)
        claim = struct.pack("<Q", 1 << 62)
        save("length.tfrecord", record(b"one"), claim, crc(claim), bytes(100))

        # Half a gigabyte of zeros in a few kilobytes: as one member, and as many.
        squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
        with open("bomb.tar.gz", "wb") as f:
            f.write(squeeze.compress(header("a.bin", 500 << 20)))
            for _ in range(500): f.write(squeeze.compress(bytes(1 << 20)))
            f.write(squeeze.compress(end) + squeeze.flush())
        z = subprocess.Popen(["zstd", "-q", "-19", "-o", "bomb.tar.zst"], stdin=subprocess.PIPE)
        for i in range(40): z.stdin.write(header("%d.bin" % i, 16 << 20) + bytes(16 << 20))
        z.stdin.write(end)
        z.stdin.close(); z.wait()
        """

    /// What each file's error must name.
    static let expected: [(file: String, code: String, words: String)] = [
        ("sparse-old.tar", "sparseMember", "sparse"), ("sparse-pax.tar", "sparseMember", "sparse"),
        ("base256.tar", "limitExceeded", "memberBytes"), ("pax-size.tar", "limitExceeded", "memberBytes"),
        ("pax-long.tar", "limitExceeded", "extendedHeaderBytes"),
        ("name-long.tar", "limitExceeded", "extendedHeaderBytes"),
        ("flood.tar", "limitExceeded", "extendedHeaders"),
        ("flood-long.tar", "limitExceeded", "extendedHeaders"),
        ("length.tfrecord", "limitExceeded", "memberBytes"),
        ("bomb.tar.zst", "limitExceeded", "decompressionRatio"),
    ]

    @Test func claimsAreRefusedInLittleMemory() throws {
        guard let python = findProgram("python3"), findProgram("zstd") != nil else { return }
        let scratch = try Scratch()
        let made = try ToolProcess.run(python, ["-c", Self.script, scratch.directory])
        try #require(made.status == 0, "\(made.error)")
        for (file, code, words) in Self.expected {
            let path = scratch.path(file)
            let verify = try ToolProcess.headrace("verify", "-j", path)
            let list = try ToolProcess.headrace("ls", path)
            let read = try ToolProcess.run(
                ToolProcess.path("pipebench"), ["read", path, "-j", "--batch", "1", "--memory", "128MiB"])
            for run in [verify, list, read] {
                #expect(!run.timedOut && run.status == 1, "\(file): status \(run.status), \(run.error)")
                #expect(run.peakByteCount < Self.peakLimit, "\(file): \(run.peakByteCount) bytes")
            }
            let defects = try #require(try verify.objects.first?["defects"] as? [[String: Any]])
            let defect = try #require(defects.first, "\(file)")
            #expect(defect["code"] as? String == code, "\(file): \(defect)")
            #expect((defect["message"] as? String)?.contains(words) == true, "\(file): \(defect)")
            #expect(list.error.contains(words), "\(file): \(list.error)")
            #expect(read.error.contains(words) || read.text.contains(words), "\(file): \(read.error)")
        }
        // Deflate reaches a thousand to one with honest data: only the budget refuses what is too large for it.
        let gzip = try ToolProcess.run(
            ToolProcess.path("pipebench"), ["read", scratch.path("bomb.tar.gz"), "-j", "--memory", "64MiB"])
        #expect(gzip.status == 2 && gzip.peakByteCount < Self.peakLimit, "\(gzip.status): \(gzip.error)")
        #expect(gzip.error.contains("budget"), "\(gzip.error)")
    }
}
