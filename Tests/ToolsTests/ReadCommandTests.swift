import Foundation
import Glibc
import Testing

/// `headrace ls`, `info` and `cat` as processes, and what all commands have in common.
struct ReadCommandTests {
    private func pack(_ scratch: Scratch, _ name: String, samples: Int = 12) throws -> String {
        try scratch.makeSamples(samples)
        let run = try ToolProcess.headrace("pack", scratch.path("src"), "-o", scratch.path(name))
        try #require(run.status == 0, "\(run.error)")
        return scratch.path(name)
    }

    @Test func listingAgreesWithTarfile() throws {
        guard let python = findProgram("python3") else { return }
        let scratch = try Scratch()
        let path = try pack(scratch, "x.tar")
        let script = """
            import sys, tarfile, hashlib
            for m in tarfile.open(sys.argv[1]):
                print(m.name, m.offset, m.size, hashlib.sha256(tarfile.open(sys.argv[1]).extractfile(m).read()).hexdigest())
            """
        let oracle = try ToolProcess.run(python, ["-c", script, path])
        var lines: [String] = []
        for sample in try ToolProcess.headrace("ls", "-j", "--sha256", path).objects {
            #expect(sample["schema"] as? String == "headrace.ls/1")
            #expect(sample["shard"] as? String == path)
            var offset = try #require(sample["offset"] as? Int)
            for field in try #require(sample["fields"] as? [[String: Any]]) {
                let size = field["bytes"] as! Int
                lines.append("\(sample["key"]!).\(field["name"]!) \(offset) \(size) \(field["sha256"]!)")
                offset += 512 + (size + 511) / 512 * 512
            }
        }
        #expect(lines == oracle.lines)
    }

    @Test func recordsAreListedWithTheirExamples() throws {
        let scratch = try Scratch()
        let path = try pack(scratch, "x.tfrecord.zst")
        let samples = try ToolProcess.headrace("ls", "-j", "--example", "--sha256", path).objects
        #expect(samples.count == 12)
        for (index, sample) in samples.enumerated() {
            #expect(sample["index"] as? Int == index)
            #expect((sample["sha256"] as? String)?.count == 64)
            let example = try #require(sample["example"] as? [String: Any])
            let features = try #require(example["features"] as? [String: [String: Any]])
            #expect(Set(features.keys) == ["__key__", "bin", "txt"])
            #expect(
                features.values.allSatisfy {
                    $0["kind"] as? String == "bytes_list" && $0["count"] as? Int == 1
                })
        }
        let next = try #require(samples[1]["offset"] as? Int)
        #expect(next == (samples[0]["bytes"] as! Int) + 16)
        let tar = try pack(scratch, "x.tar")
        #expect(try ToolProcess.headrace("ls", "--example", tar).status == 64)
    }

    @Test func catGivesTheVeryBytes() throws {
        let scratch = try Scratch()
        let path = try pack(scratch, "x.tar.zst")
        let source = try Data(contentsOf: URL(fileURLWithPath: scratch.path("src/cat/00004.bin")))
        let byKey = try ToolProcess.headrace("cat", path, "--key", "cat/00004", "--field", "bin")
        #expect(byKey.status == 0 && byKey.output == source)
        let toFile = try ToolProcess.headrace(
            "cat", path, "--at", "2", "--field", "bin", "-o", scratch.path("out"))
        #expect(toFile.status == 0 && toFile.output.isEmpty)
        #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.path("out"))) == source)
        let record = try pack(scratch, "x.tfrecord")
        #expect(
            try ToolProcess.headrace("cat", record, "--key", "cat/00004", "--field", "bin").output == source)
        let whole = try ToolProcess.headrace("cat", record, "--at", "0")
        let first = try #require(try ToolProcess.headrace("ls", "-j", record).objects.first)
        #expect(whole.output.count == first["bytes"] as? Int)
    }

    @Test func catSaysWhatThereIsInstead() throws {
        let scratch = try Scratch()
        let path = try pack(scratch, "x.tar")
        for (arguments, words) in [
            (["--at", "0"], "bin, txt"), (["--at", "0", "--field", "jpg"], "bin, txt"),
            (["--at", "12"], "12 samples"), (["--key", "nobody"], "nobody"), ([], "--key"),
            (["--at", "-1"], "--at"),
            (["--at", "1", "--key", "x"], "--key"),
        ] {
            let run = try ToolProcess.run(ToolProcess.path("headrace"), ["cat", path] + arguments)
            #expect(run.status == 64, "\(arguments): \(run.error)")
            #expect(run.error.contains(words), "\(arguments): \(run.error)")
            #expect(run.output.isEmpty)
        }
    }

    @Test func infoIsTheSameByIndexAndByWalk() throws {
        let scratch = try Scratch()
        let path = try pack(scratch, "x.tar.zst")
        let quick = try ToolProcess.headrace("info", "-j", path).objects
        let full = try ToolProcess.headrace("info", "-j", "--full", path).objects
        #expect(quick.count == 2 && full.count == 2)
        #expect(quick[0]["from"] as? String == "index")
        #expect(full[0]["from"] as? String == "shard")
        for name in ["bytes", "uncompressed_bytes", "frames", "samples"] {
            #expect(
                quick[0][name] as? Int != nil && quick[0][name] as? Int == full[0][name] as? Int, "\(name)")
        }
        let fields = try #require(full[1]["fields"] as? [[String: Any]])
        #expect(fields.map { $0["name"] as? String } == ["bin", "txt"])
        #expect(fields[0]["count"] as? Int == 12)
        #expect(fields[0]["min"] as? Int == 3000 && fields[0]["max"] as? Int == 3000)
        #expect(fields[1]["min"] as? Int == 9 && fields[1]["max"] as? Int == 10)
        #expect(fields[1]["mean"] as? Double == Double(10 * 9 + 2 * 10) / 12)
        #expect((quick[0]["fields"] as? [[String: Any]])?.allSatisfy { $0["count"] is NSNull } == true)
        // An index of another shard is not believed.
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[bytes.count / 2] ^= 1
        bytes.append(contentsOf: [0x5e, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(try ToolProcess.headrace("info", path).status == 1)
    }

    @Test func aClosedPipeIsSilent() throws {
        let scratch = try Scratch()
        let path = try pack(scratch, "x.tar", samples: 1200)
        let tool = ToolProcess.path("headrace")
        for command in [
            "ls -j '\(path)'", "ls -j --sha256 '\(path)'", "info --full '\(path)'", "verify '\(path)'",
        ] {
            let script = "'\(tool)' \(command) | head -1; exit ${PIPESTATUS[0]}"
            let run = try ToolProcess.run("/bin/bash", ["-c", script])
            #expect(run.status == 0, "\(command): \(run.status) \(run.error)")
            #expect(run.error.isEmpty, "\(command): \(run.error)")
            #expect(run.lines.count == 1)
        }
        let none = try ToolProcess.run(
            "/bin/bash", ["-c", "'\(tool)' cat '\(path)' --at 0 --field bin | true"])
        #expect(none.error.isEmpty)
        // A full disk is not a closed pipe.
        let full = try ToolProcess.run("/bin/bash", ["-c", "'\(tool)' ls '\(path)' > /dev/full"])
        #expect(full.status == 2)
        #expect(full.error.contains("ENOSPC"))
    }

    @Test func helpAndVersionWorkEverywhere() throws {
        #expect(try ToolProcess.headrace("--version").text.first?.isNumber == true)
        for command in ["pack", "ls", "verify", "info", "cat"] {
            let help = try ToolProcess.headrace(command, "-h")
            #expect(help.status == 0)
            #expect(help.text.contains("headrace \(command) "), "no example in the help of \(command)")
            #expect(try ToolProcess.headrace(command, "--no-such-flag").status == 64)
            #expect(try ToolProcess.headrace(command).status == 64)
        }
        #expect(try ToolProcess.headrace("frobnicate").status == 64)
    }

    @Test func aPipeInPlaceOfAShardDoesNotHang() throws {
        let scratch = try Scratch()
        let path = scratch.path("x.tar")
        #expect(mkfifo(path, 0o600) == 0)
        for command in ["ls", "verify", "info"] {
            let run = try ToolProcess.headrace(command, path)
            #expect(run.status == 2 && !run.timedOut, "\(command): \(run.error)")
        }
        #expect(try ToolProcess.headrace("cat", path, "--at", "0").status == 2)
    }

    @Test func controlCharactersStayOutOfTheTerminal() throws {
        guard let python = findProgram("python3") else { return }
        let scratch = try Scratch()
        let script = """
            import sys, tarfile, io
            t = tarfile.open(sys.argv[1], "w")
            i = tarfile.TarInfo("a\\x1b[2J\\nb.txt"); i.size = 1
            t.addfile(i, io.BytesIO(b"x")); t.close()
            """
        #expect(try ToolProcess.run(python, ["-c", script, scratch.path("x.tar")]).status == 0)
        let run = try ToolProcess.headrace("ls", scratch.path("x.tar"))
        #expect(run.lines.count == 1)
        #expect(!run.text.contains("\u{1b}"))
        #expect(
            try ToolProcess.headrace("ls", "-j", scratch.path("x.tar")).objects[0]["key"] as? String
                == "a\u{1b}[2J\nb")
    }
}
