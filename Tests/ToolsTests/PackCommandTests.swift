import Foundation
import Glibc
import Testing

/// `headrace pack` as a process.
struct PackCommandTests {
    @Test func packsADirectoryAndEndsWithThePattern() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(40)
        let run = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("out/train-%06d.tar.zst"), "--shard-count", "16",
            "--class-from-directory")
        #expect(run.status == 0, "\(run.error)")
        #expect(run.lines.first?.hasPrefix("packed 40 samples into 3 shards") == true, "\(run.text)")
        let pattern = scratch.path("out/train-{000000..000002}.tar.zst")
        #expect(run.lines.last == pattern)
        let listing = try ToolProcess.headrace("ls", "-j", pattern).objects
        #expect(listing.count == 40)
        let fields = try #require(listing[1]["fields"] as? [[String: Any]])
        #expect(fields.compactMap { $0["name"] as? String } == ["bin", "cls", "txt"])
        #expect(try ToolProcess.headrace("verify", pattern).status == 0)
    }

    @Test func totalLineFollowsTheContract() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(10)
        let run = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("one.tfrecord.zst"), "-j", "--level", "-5",
            "--frame-size", "16KiB", "--workers", "2")
        #expect(run.status == 0, "\(run.error)")
        let total = try #require(try run.objects.last)
        #expect(total["schema"] as? String == "headrace.pack/1")
        #expect(total["pattern"] as? String == scratch.path("one.tfrecord.zst"))
        #expect(total["format"] as? String == "tfrecord")
        #expect(total["codec"] as? String == "zstd")
        #expect(total["samples"] as? Int == 10)
        #expect(total["shards"] as? Int == 1)
        let size =
            try FileManager.default.attributesOfItem(atPath: scratch.path("one.tfrecord.zst"))[.size] as? Int
        #expect(total["bytes"] as? Int == size)
        let info = try #require(
            try ToolProcess.headrace("info", "-j", scratch.path("one.tfrecord.zst")).objects.first)
        #expect(info["frames"] as? Int ?? 0 > 1, "a frame size of 16 KiB makes several frames of 30 kB")
    }

    @Test func everyContradictionIsAUsageError() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(2)
        let source = scratch.path("src")
        for arguments in [
            ["-o", "x.tar", "--format", "tfrecord"], ["-o", "x.tar.zst", "--codec", "none"], ["-o", "x.bin"],
            ["-o", "x.tar", "--level", "3"], ["-o", "x.tar", "--frame-size", "1MiB"], ["-o", "x.tar.gz"],
            ["-o", "x-%d.tar", "--shard-size", "1MB", "--shard-count", "3"],
            ["-o", "x.tar", "--shard-count", "3"],
            ["-o", "x-%d.tar", "--shard-size", "1 parsec"], ["-o", "x-%d.tar", "--workers", "0"], [],
        ] {
            let run = try ToolProcess.run(
                ToolProcess.path("headrace"), ["pack", source] + arguments, in: scratch.directory)
            #expect(run.status == 64, "\(arguments): \(run.error)")
            #expect(!run.error.isEmpty && run.output.isEmpty, "\(arguments)")
        }
        #expect(try scratch.names() == ["src"], "nothing may be written")
    }

    @Test func existingShardsAreNotReplacedUnasked() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(4)
        let arguments = ["pack", scratch.path("src"), "-o", scratch.path("x-%d.tar")]
        let tool = ToolProcess.path("headrace")
        #expect(try ToolProcess.run(tool, arguments).status == 0)
        let before = try Data(contentsOf: URL(fileURLWithPath: scratch.path("x-0.tar")))
        let refused = try ToolProcess.run(tool, arguments)
        #expect(refused.status == 2)
        #expect(refused.error.contains("--overwrite"))
        #expect(try ToolProcess.run(tool, arguments + ["--overwrite"]).status == 0)
        #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.path("x-0.tar"))) == before)
    }

    @Test func aDryRunWritesNothing() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(4)
        let run = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("o/x-%d.tar"), "--dry-run", "-j")
        #expect(run.status == 0)
        let total = try #require(try run.objects.first)
        #expect(total["written"] as? Bool == false)
        #expect(total["samples"] as? Int == 4)
        #expect(try scratch.names() == ["src"])
    }

    @Test func whatIsLeftOutIsSaid() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(2)
        try scratch.write("x".utf8, to: "src/.hidden")
        try scratch.write("x".utf8, to: "src/README")
        let run = try ToolProcess.headrace("pack", scratch.path("src"), "-o", scratch.path("x.tar"), "-j")
        #expect(run.status == 0)
        #expect(run.error.contains("left out 1 file (dotfile)"))
        let ignored = try #require(try run.objects[0]["ignored"] as? [String: Int])
        #expect(ignored == ["dotfile": 1, "noExtension": 1])
        let quiet = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("y.tar"), "-q")
        #expect(quiet.error.isEmpty)
    }

    /// Killed or interrupted at any moment, whatever has a final name is whole.
    @Test(arguments: [SIGKILL, SIGINT, SIGTERM])
    func nothingHalfStaysUnderAFinalName(signal: Int32) throws {
        let scratch = try Scratch()
        try scratch.makeSamples(60, payloadByteCount: 20_000)
        // As much more as keeps a worker busy for seconds, so that no attempt comes to its end.
        for copy in 0..<20 {
            try FileManager.default.copyItem(
                atPath: scratch.path("src/cat"), toPath: scratch.path("src/more-\(copy)"))
        }
        var statuses: Set<Int32> = []
        for attempt in 0..<6 {
            let folder = "out-\(attempt)"
            let process = Process()
            process.executableURL = URL(fileURLWithPath: ToolProcess.path("headrace"))
            process.arguments = [
                "pack", scratch.path("src"), "-o", scratch.path("\(folder)/x-%03d.tar.zst"), "--shard-count",
                "3",
                "--level", "12", "--workers", "1", "-q",
            ]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            ToolProcess.waitUntilItHearsSignals(process)
            // At once, or some time after a shard is there, however slow the machine is.
            let shard = scratch.path("\(folder)/x-\(String(format: "%03d", 2 * attempt)).tar.zst")
            while attempt > 0, process.isRunning, !FileManager.default.fileExists(atPath: shard) {
                usleep(500)
            }
            usleep(UInt32(attempt * 7000))
            kill(process.processIdentifier, signal)
            process.waitUntilExit()
            statuses.insert(process.terminationStatus)
            if signal != SIGKILL, process.terminationStatus != 0 {
                // Finished before the signal came, or ended by it in order.
                #expect(process.terminationReason == .exit)
                #expect(process.terminationStatus == 128 + signal)
            }
            guard FileManager.default.fileExists(atPath: scratch.path(folder)) else { continue }
            let names = try scratch.names(in: folder)
            for name in names where name.hasPrefix("x-") {
                let run = try ToolProcess.headrace("verify", scratch.path("\(folder)/\(name)"))
                #expect(run.status == 0, "\(name): \(run.text)")
            }
            if signal != SIGKILL { #expect(!names.contains { $0.hasSuffix(".partial") }, "\(names)") }
        }
        #expect(statuses != [0], "no attempt was ended before it was done")
    }

    @Test func tablesTextAndShardsAreSources() throws {
        let scratch = try Scratch()
        try scratch.write("id,Text\nb,two\na,\"o\"\"ne\"\n".utf8, to: "t.csv")
        var run = try ToolProcess.headrace(
            "pack", scratch.path("t.csv"), "-o", scratch.path("t.tar.zst"), "--key-field", "id")
        #expect(run.status == 0 && run.error.contains("'Text' is the field 'text'"), "\(run.error)")
        // Into another format and order, and back to look at it.
        run = try ToolProcess.headrace(
            "pack", scratch.path("t.tar.zst"), "-o", scratch.path("s.tfrecord"), "--sort")
        #expect(run.status == 0 && run.error.contains("temporary file"), "\(run.error)")
        run = try ToolProcess.headrace("pack", scratch.path("s.tfrecord"), "-o", scratch.path("u.tar"), "-q")
        #expect(run.status == 0 && run.error.isEmpty)
        let samples = try ToolProcess.headrace("ls", "-j", scratch.path("u.tar")).objects
        #expect(samples.compactMap { $0["key"] as? String } == ["a", "b"])
        run = try ToolProcess.headrace("cat", scratch.path("u.tar"), "--key", "a", "--field", "text")
        #expect(run.text == "o\"ne")
        try scratch.write("first line\nsecond line\n".utf8, to: "words")
        run = try ToolProcess.headrace(
            "pack", scratch.path("words"), "-o", scratch.path("w-%d.tar"), "--text", "chunk:16", "--shuffle",
            "3",
            "--dry-run", "-j")
        #expect(try run.objects.first?["samples"] as? Int == 2)
        #expect(try !scratch.names().contains { $0.hasPrefix("w-") })
    }

    @Test func resumingGoesOnWhereARunWasKilled() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(60, payloadByteCount: 20_000)
        func arguments(_ folder: String, _ more: [String] = []) -> [String] {
            [
                "pack", scratch.path("src"), "-o", scratch.path("\(folder)/x-%02d.tar.zst"), "--shard-count",
                "3",
                "--level", "12", "--workers", "1", "--resume", "-j",
            ] + more
        }
        let tool = ToolProcess.path("headrace")
        #expect(try ToolProcess.run(tool, arguments("reference")).status == 0)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = arguments("out")
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        // Killed once some shards are there, however slow the machine is.
        let third = scratch.path("out/.headrace/x-02.tar.zst.index")
        while process.isRunning, !FileManager.default.fileExists(atPath: third) { usleep(500) }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        if process.terminationReason == .exit {
            return print("SKIPPED: the run was done before it was killed")
        }
        #expect(try ToolProcess.run(tool, arguments("out", ["--shard-size", "1MB"])).status == 64)
        let refused = try ToolProcess.run(tool, arguments("out").filter { $0 != "--resume" })
        #expect(refused.status == 2 && refused.error.contains("--resume"), "\(refused.error)")
        let run = try ToolProcess.run(tool, arguments("out"))
        #expect(run.status == 0, "\(run.error)")
        #expect(try run.objects.first?["kept_shards"] as? Int ?? 0 >= 2)
        for folder in ["", "/.headrace"] {
            let names = try scratch.names(in: "reference" + folder)
            #expect(try scratch.names(in: "out" + folder) == names)
            for name in names where name != ".headrace" {
                let pair = try ["reference", "out"].map {
                    try Data(contentsOf: URL(fileURLWithPath: scratch.path("\($0)\(folder)/\(name)")))
                }
                #expect(pair[0] == pair[1], "\(name)")
            }
        }
    }

    @Test func flagsThatExcludeEachOtherAreUsageErrors() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(2)
        for flags in [
            ["--sort", "--shuffle", "1"], ["--resume", "--overwrite"], ["--text", "word"],
            ["--text", "chunk:x"],
            ["--text", "line"], ["--key-field", "id"], ["--on-defect", "skip:x"], ["--shuffle", "-1"],
        ] {
            let run = try ToolProcess.run(
                ToolProcess.path("headrace"),
                ["pack", scratch.path("src"), "-o", scratch.path("x.tar")] + flags)
            #expect(run.status == 64 && !run.error.isEmpty, "\(flags): \(run.error)")
        }
        #expect(try scratch.names() == ["src"])
    }
}
