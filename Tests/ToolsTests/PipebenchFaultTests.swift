import Foundation
import Testing

/// `pipebench` where something is wrong: damage, wrong words, too little memory, a user who has had enough.
struct PipebenchFaultTests {
    @Test func damageEndsTheRunAfterWhatPrecedesIt() throws {
        let data = try PipebenchData("tfrecord", samples: 200)
        let path = try data.shardPaths[1]
        let flags = ["read", data.shards, "--lanes", "1", "--batch", "10"]
        let before = try ToolProcess.headrace("ls", "-j", path).objects
        let offset = try #require(before[25]["offset"] as? Int)
        try data.damage(path, at: offset + 40)
        let firstCount = try ToolProcess.headrace("ls", "-j", try data.shardPaths[0]).lines.count
        let run = try ToolProcess.run(ToolProcess.path("pipebench"), flags + ["-j"])
        #expect(
            run.status == 1 && run.error.contains(path) && run.error.contains("\(offset)"), "\(run.error)")
        let total = try #require(try run.objects.last)
        let delivered = (firstCount + 25) / 10 * 10
        #expect(total["samples"] as? Int == delivered && total["batches"] as? Int == delivered / 10)
        let error = try #require(total["error"] as? [String: Any])
        #expect(error["code"] as? String == "checksumMismatch" && error["shard"] as? String == path)
        #expect(error["offset"] as? Int == offset && error["message"] is String)
        #expect((total["verdict"] as? String)?.hasPrefix("stopped by an error") == true)
        let people = try ToolProcess.run(ToolProcess.path("pipebench"), flags)
        #expect(people.status == 1 && people.lines.first?.hasPrefix("stopped by an error") == true)
    }

    @Test func skippedSamplesAreCountedUpToTheLimit() throws {
        let data = try PipebenchData("tfrecord", samples: 200)
        let path = try data.shardPaths[0]
        let records = try ToolProcess.headrace("ls", "-j", path).objects
        for index in [3, 7] {
            try data.damage(path, at: try #require(records[index]["offset"] as? Int) + 40)
        }
        let total = try ToolProcess.total(data.shards, "--on-defect", "skip")
        #expect(total["skipped"] as? Int == 2 && total["samples"] as? Int == 198)
        #expect(try ToolProcess.total(data.shards, "--on-defect", "skip:2")["skipped"] as? Int == 2)
        #expect(try ToolProcess.total(data.shards, "--on-defect", "skip:1%")["skipped"] as? Int == 2)
        for limit in ["fail", "skip:1", "skip:0.5%"] {
            let run = try ToolProcess.pipebench("read", data.shards, "-j", "--on-defect", limit)
            #expect(run.status == 1, "\(limit)")
            let code = try #require(try run.objects.last?["error"] as? [String: Any])["code"] as? String
            #expect(code == (limit == "fail" ? "checksumMismatch" : "tooManyDefects"), "\(limit)")
        }
        let people = try ToolProcess.pipebench("read", data.shards, "--on-defect", "skip")
        #expect(people.status == 0 && people.lines.filter { $0.hasPrefix("skipped") }.count == 2)
        let counts = try #require(people.lines.first { $0.hasPrefix("samples ") })
        #expect(counts.contains("200 found = 198 delivered + 2 skipped + 0 dropped + 0 "))
    }

    @Test func fieldsThatAreNotThereOrNoNumbersAreBadData() throws {
        let data = try PipebenchData("tar", samples: 30)
        for (flags, code) in [
            (["--integer", "txt"], "badValue"), (["--decode", "cls=int"], "missingField"),
        ] {
            let run = try ToolProcess.run(
                ToolProcess.path("pipebench"), ["read", data.shards] + flags)
            #expect(run.status == 1 && run.error.contains("[\(code)]"), "\(run.error)")
        }
    }

    @Test func tooLittleMemoryIsRefusedWithTheFigure() throws {
        let data = try PipebenchData("tar", samples: 30)
        for flags in [["--memory", "256KiB"], ["--memory", "64MiB", "--shuffle", "buffer:10000000"]] {
            let run = try ToolProcess.run(
                ToolProcess.path("pipebench"), ["read", data.shards] + flags)
            #expect(run.status == 2 && run.output.isEmpty)
            #expect(run.error.contains(/\d [kM]B are needed/), "\(run.error)")
        }
    }

    @Test func missingShardsAreAnEnvironmentError() throws {
        let data = try PipebenchData("tar", samples: 30)
        let run = try ToolProcess.pipebench("read", "\(data.shards)/s-{00..05}.tar", "-j")
        #expect(run.status == 2 && run.error.contains("s-05.tar") && run.output.isEmpty)
    }

    @Test(arguments: [
        ["--shuffle", "buffer:0"], ["--shuffle", "global"], ["--on-defect", "skip:101%"],
        ["--on-defect", "skip:-1"], ["--decode", "txt"], ["--decode", "txt=jpeg"], ["--batch", "0"],
        ["--epochs", "0"], ["--workers", "0"], ["--lanes", "0"], ["--prefetch", "0"], ["--queue-depth", "0"],
        ["--memory", "12 apples"], ["--time", "60"], ["--step-time", "-1s"], ["--last", "pad"],
        ["--engine", "aio"], ["--page-cache", "hot"], ["--direct", "--page-cache", "warm"],
        ["--repeat", "0"],
        ["--stop-after", "0"], ["--quiet", "--interval", "1s"], ["--decode", "txt=text", "--integer", "txt"],
        ["--no-such-flag"],
    ])
    func wordsThatMakeNoSenseAreUsageErrors(_ flags: [String]) throws {
        let scratch = try Scratch()
        try scratch.makeSamples(2)
        let run = try ToolProcess.run(
            ToolProcess.path("pipebench"), ["read", scratch.path("src")] + flags)
        #expect(run.status == 64 && run.output.isEmpty && !run.error.isEmpty, "\(run.status) \(run.error)")
    }

    /// Words for a run of hours.
    private func endlessRun(_ data: PipebenchData) -> [String] {
        ["read", data.shards, "-j", "--epochs", "100000", "--step-time", "20ms", "--batch", "10"]
    }

    @Test func interruptsStillReport() throws {
        let data = try PipebenchData("tar", samples: 100)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ToolProcess.path("pipebench"))
        process.arguments = endlessRun(data) + ["--interval", "100ms"]
        let output = data.scratch.path("out")
        _ = FileManager.default.createFile(atPath: output, contents: nil)
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: output))
        let told = Pipe()
        process.standardError = told
        try process.run()
        ToolProcess.waitUntilItHearsSignals(process)
        // Interrupted once it has told how far it is: then it is under way, however slow the machine is.
        var text = ""
        while !text.contains("samples/s") {
            let more = told.fileHandleForReading.availableData
            try #require(!more.isEmpty, "it ended too early: \(text)")
            text += String(decoding: more, as: UTF8.self)
        }
        process.interrupt()
        _ = told.fileHandleForReading.readDataToEndOfFile()
        ToolProcess.waitUntilItEnds(process)
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
        let lines = try Data(contentsOf: URL(fileURLWithPath: output)).split(separator: UInt8(ascii: "\n"))
        let last = try JSONSerialization.jsonObject(with: try #require(lines.last))
        let total = try #require(last as? [String: Any])
        #expect((total["verdict"] as? String)?.hasPrefix("interrupted after") == true)
        #expect(total["error"] == nil && total["samples"] is Int)
    }

    @Test func timeLimitsStillReport() throws {
        let data = try PipebenchData("tar", samples: 100)
        let clock = ContinuousClock()
        let began = clock.now
        let limited = try ToolProcess.pipebench(endlessRun(data) + ["--time", "1s"])
        #expect(limited.status == 0 && !limited.timedOut)
        // Never sooner than asked; how much later is the machine's affair.
        #expect(clock.now - began >= .seconds(1))
        let total = try #require(try limited.objects.last)
        #expect((total["verdict"] as? String)?.hasPrefix("interrupted") == false)
        #expect(total["error"] == nil && total["samples"] is Int)
    }

    /// A consumer in the middle of a long step must not hold up the end.
    @Test func longStepsAreCutShort() throws {
        let data = try PipebenchData("tar", samples: 100)
        // A slow machine may need longer than the time limit to come to the first step: then it gets more.
        for limit in ["300ms", "10s", "200s"] {
            let run = try ToolProcess.pipebench(
                "read", data.shards, "-j", "--step-time", "1h", "--time", limit)
            #expect(run.status == 0 && !run.timedOut)
            let batches = try #require(try run.objects.last?["batches"] as? Int)
            #expect(batches <= 1)
            if batches == 1 { return }
        }
        Issue.record("no run came to its first step")
    }

    @Test func readersThatLeaveAreNoError() throws {
        let data = try PipebenchData("tar", samples: 50)
        let script = "\"$0\" read \"$1\" --repeat 3 -j | true; echo ${PIPESTATUS[0]}"
        let run = try ToolProcess.run(
            "/bin/bash", ["-c", script, ToolProcess.path("pipebench"), data.shards])
        #expect(run.lines == ["0"] && run.error.isEmpty, "\(run.error)")
    }

    @Test func reportsThatCannotBeWrittenAreErrors() throws {
        let data = try PipebenchData("tar", samples: 20)
        let run = try ToolProcess.pipebench("read", data.shards, "-j", "-o", "/proc/no/report.json")
        #expect(run.status == 2 && run.error.contains("/proc/no") && run.lines.count == 1)
    }

    @Test func coldReadsComeFromTheDevice() throws {
        let data = try PipebenchData("tar", samples: 600, payloadByteCount: 6000)
        let run = try ToolProcess.pipebench("read", data.shards, "--page-cache", "cold", "-j")
        #expect(run.status == 0)
        guard run.error.contains("page cache: cold, none of") else {
            print("SKIPPED: the file system of \(data.shards) keeps its pages: \(run.error)")
            return
        }
        let origin = try #require(try run.objects.last?["origin_bytes"] as? [String: Any])
        guard let device = origin["device"] as? Int, let cached = origin["page_cache"] as? Int else {
            print("SKIPPED: the system does not count what is read from devices")
            return
        }
        #expect(device > 9 * cached, "\(device) \(cached)")
        let warm = try ToolProcess.pipebench("read", data.shards, "--page-cache", "warm", "-j")
        let warmOrigin = try #require(try warm.objects.last?["origin_bytes"] as? [String: Any])
        #expect(warm.error.contains("page cache: warm, all of"))
        #expect((warmOrigin["device"] as? Int ?? 0) < (warmOrigin["page_cache"] as? Int ?? 0) / 9)
    }

    @Test func directReadsAreDirectOrRefused() throws {
        let data = try PipebenchData("tar", samples: 300)
        let run = try ToolProcess.pipebench("read", data.shards, "--direct", "-j", "--digest")
        if run.status == 2 && run.error.contains("[directRefused]") { return }
        try #require(run.status == 0, "\(run.error)")
        let total = try #require(try run.objects.last)
        let origin = try #require(total["origin_bytes"] as? [String: Any])
        #expect(origin["page_cache"] as? Int == 0 && (origin["device"] as? Int ?? 0) > 0)
        let buffered = try ToolProcess.total(data.shards, "--digest")
        #expect(total["digest"] as? String == buffered["digest"] as? String)
        let folder = try ToolProcess.pipebench("read", data.folder, "--direct")
        #expect(folder.status == 64)
    }

    @Test func tiersAreListed() throws {
        let lines = try ToolProcess.pipebench("tiers", "--json").objects
        #expect(lines.allSatisfy { $0["schema"] as? String == "pipebench.tiers/1" })
        let names = lines.compactMap { $0["name"] as? String }
        #expect(Set(names).isSuperset(of: ["hdd", "sata-ssd", "nvme-gen4", "object-store", "dram"]))
        for line in lines {
            // A tier gives no more than its own limits, whatever the model says.
            let large = try #require(line["read_1m_depth_32_bytes_per_s"] as? Double)
            let limits = ["aggregate_bytes_per_s", "link_bytes_per_s"].compactMap { line[$0] as? Double }
            #expect(large > 1e6 && limits.allSatisfy { large <= $0 * 1.001 }, "\(line)")
        }
        let table = try ToolProcess.pipebench("tiers").lines
        #expect(
            table.count == names.count + 1 && zip(table.dropFirst(), names).allSatisfy { $0.hasPrefix($1) })
    }
}
