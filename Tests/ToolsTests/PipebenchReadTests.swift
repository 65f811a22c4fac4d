import Foundation
import Testing

/// `pipebench read` as a process: its report, and what the report must not depend on.
struct PipebenchReadTests {
    private static let contract: Set = [
        "schema", "samples", "batches", "bytes", "origin_bytes", "open_s", "index_s", "first_batch_s",
        "wall_s",
        "cpu_s", "cpu_s_per_gb", "peak_bytes", "rooms", "skipped", "dropped", "repeated", "padded", "digest",
        "set_digest", "verdict", "epochs",
    ]

    @Test func totalIsWhatScriptsExpect() throws {
        let data = try PipebenchData("tar.zst")
        let total = try ToolProcess.total(data.shards, "--epochs", "3", "--batch", "64", "--digest")
        #expect(Set(total.keys) == Self.contract)
        #expect(total["schema"] as? String == "pipebench.read/1")
        #expect(total["samples"] as? Int == 3 * data.count)
        #expect(total["batches"] as? Int == 3 * ((data.count + 63) / 64))
        #expect(total["bytes"] as? Int == 3 * (try data.payloadByteCount()))
        #expect((total["digest"] as? String)?.count == 16)
        #expect((total["set_digest"] as? String)?.count == 16)
        let rooms = try #require(total["rooms"] as? [[String: Any]])
        #expect(
            rooms.map { $0["room"] as? String } == [
                "catalog", "plan", "admit", "fetch", "unpack", "decode", "assemble", "hand_over",
            ])
        for room in rooms {
            #expect(Set(room.keys) == ["room", "busy_s", "wait_input_s", "wait_room_s"])
        }
        let origin = try #require(total["origin_bytes"] as? [String: Any])
        #expect(Set(origin.keys) == ["device", "page_cache", "cache", "ram", "remote"])
        let stored = try data.shardPaths.reduce(0) { sum, path in
            sum + (try #require(FileManager.default.attributesOfItem(atPath: path)[.size] as? Int))
        }
        let read = (origin["device"] as? Int ?? 0) + (origin["page_cache"] as? Int ?? 0)
        // Whole frames are read; the seek table behind them is read once, when a shard is opened.
        #expect(read <= 3 * stored && read > 3 * stored * 9 / 10)
        let wall = try #require(total["wall_s"] as? Double)
        #expect(wall > 0)
        // What takes a moment here may take longer than that elsewhere.
        let isShort = (total["verdict"] as? String)?.hasPrefix("too short to judge") == true
        #expect(isShort == (wall < 2))
        #expect(try #require(total["first_batch_s"] as? Double) >= (total["open_s"] as? Double ?? 0))
        #expect(try #require(total["cpu_s_per_gb"] as? Double) > 0)
    }

    @Test func whatWasNotAskedForIsNull() throws {
        let data = try PipebenchData("tar", samples: 20)
        let total = try ToolProcess.total(data.shards)
        #expect(total["digest"] is NSNull && total["set_digest"] is NSNull)
        #expect(total["stall_share"] == nil)
    }

    @Test func deliveryDependsOnTheDataAlone() throws {
        let data = try PipebenchData("tar.zst", samples: 900)
        let fixed = [data.shards, "--digest", "--shuffle", "buffer:200", "--seed", "7", "--epochs", "2"]
        func digests(_ flags: [String]) throws -> [String] {
            let run = try ToolProcess.run(
                ToolProcess.path("pipebench"), ["read", "-j"] + fixed + flags)
            if run.error.contains("ringRefused") {
                print("SKIPPED: io_uring is not to be had here: \(run.error)")
                return []
            }
            try #require(run.status == 0, "\(flags): \(run.error)")
            let total = try #require(try run.objects.last)
            return try [
                #require(total["digest"] as? String), #require(total["set_digest"] as? String),
            ]
        }
        let expected = try digests([])
        for flags in [
            ["--workers", "1"], ["--workers", "2"], ["--workers", "4"], ["--engine", "pread"],
            ["--engine", "uring"], ["--engine", "uring", "--queue-depth", "1", "--workers", "4"],
            ["--engine", "uring", "--queue-depth", "64"], ["--prefetch", "1"], ["--prefetch", "16"],
            ["--memory", "24MiB"], ["--memory", "1GiB"], ["--step-time", "1ms"],
        ] {
            let found = try digests(flags)
            #expect(found.isEmpty || found == expected, "\(flags)")
        }
        // The batch size cuts the sequence differently and leaves its order alone.
        #expect(try digests(["--batch", "33"]) == expected)
    }

    @Test func otherOrdersShowInTheDigestAndOtherSamplesInBoth() throws {
        let data = try PipebenchData("tar", samples: 300)
        func digests(_ flags: String...) throws -> (order: String, set: String) {
            let run = try ToolProcess.run(
                ToolProcess.path("pipebench"), ["read", "-j", "--digest"] + flags)
            let total = try #require(try run.objects.last, "\(run.error)")
            return (
                try #require(total["digest"] as? String), try #require(total["set_digest"] as? String)
            )
        }
        let plain = try digests(data.shards)
        let others = try [
            digests(data.shards, "--shuffle", "buffer:100"),
            digests(data.shards, "--shuffle", "buffer:100", "--seed", "1"),
            digests(data.shards, "--shuffle", "buffer:50"), digests(data.shards, "--lanes", "1"),
        ]
        #expect(Set(others.map(\.order) + [plain.order]).count == 5)
        #expect(others.allSatisfy { $0.set == plain.set })
        let part = try digests(data.shards, "--decode", "txt=text")
        #expect(part.set != plain.set && part.order != plain.order)
        let path = try data.shardPaths[0]
        // The first member's payload starts behind its header; tar has no checksum for it.
        try data.damage(path, at: 512 + 5)
        #expect(try digests(data.shards).set != plain.set)
    }

    @Test func foldersAndShardsOfThemHoldTheSameSet() throws {
        let data = try PipebenchData("tar", samples: 150)
        let packed = try ToolProcess.total(data.shards, "--digest")
        let folder = try ToolProcess.total(data.folder, "--digest")
        #expect(folder["set_digest"] as? String == packed["set_digest"] as? String)
        #expect(folder["samples"] as? Int == data.count && folder["bytes"] as? Int == packed["bytes"] as? Int)
        let records = try PipebenchData("tfrecord", samples: 150)
        let examples = try ToolProcess.total(records.shards, "--digest", "--example")
        #expect(examples["set_digest"] as? String == packed["set_digest"] as? String)
        // Without --example a record is one field, framing and all.
        let plain = try ToolProcess.total(records.shards)
        #expect(try #require(plain["bytes"] as? Int) > (packed["bytes"] as? Int ?? 0))
    }

    @Test func accountsAddUp() throws {
        let data = try PipebenchData("tar", samples: 250)
        let whole = try ToolProcess.total(data.shards, "--batch", "100", "--last", "drop", "--epochs", "2")
        #expect(whole["samples"] as? Int == 400 && whole["dropped"] as? Int == 100)
        // Stopped in the middle, what was read ahead is counted as such.
        let run = try ToolProcess.pipebench("read", data.shards, "--batch", "10", "--stop-after", "3")
        let line = try #require(run.lines.first { $0.hasPrefix("samples ") }, "\(run.text)")
        let numbers = line.matches(of: /[\d,]+/).compactMap { Int($0.0.replacing(",", with: "")) }
        try #require(numbers.count == 5, "\(line)")
        #expect(numbers[0] == numbers[1] + numbers[2] + numbers[3] + numbers[4] && numbers[1] == 30)
        #expect(numbers[4] >= 0)
        let bytes = try #require(run.lines.first { $0.hasPrefix("data bytes") })
            .matches(of: /[\d,]+/).compactMap { Int($0.0.replacing(",", with: "")) }
        #expect(bytes.count == 4 && bytes[0] == bytes[1] + bytes[2] + bytes[3])
    }

    @Test func onlyRequestedFieldsCount() throws {
        let data = try PipebenchData("tar", samples: 60)
        let text = try ToolProcess.total(data.shards, "--decode", "txt=text")
        #expect(text["bytes"] as? Int == (try data.payloadByteCount(".txt")))
        let both = try ToolProcess.total(data.shards, "--decode", "txt=text", "--decode", "bin=raw")
        #expect(both["bytes"] as? Int == (try data.payloadByteCount()))
    }

    @Test func aConsumerThatWorksGetsItsStallShare() throws {
        let data = try PipebenchData("tar", samples: 200)
        let total = try ToolProcess.total(
            data.shards, "--batch", "20", "--epochs", "3", "--step-time", "100ms")
        // 30 batches; the work on the last one comes after the last batch.
        let wall = try #require(total["wall_s"] as? Double)
        #expect(wall >= 2.9)
        let share = try #require(total["stall_share"] as? Double)
        // Between the first batch and the last it waits when it does not work. It waits for the first one, too, in
        // part before the time is taken.
        let first = try #require(total["first_batch_s"] as? Double)
        #expect(share >= 0 && share * wall <= wall - 2.9 + first + 0.01)
        #expect(Set(total.keys) == Self.contract.union(["stall_share"]))
        if share < 0.05 { #expect((total["verdict"] as? String)?.hasPrefix("compute-bound") == true) }
    }

    @Test func runsAreRepeatedAndReported() throws {
        let data = try PipebenchData("tar", samples: 100)
        let report = data.scratch.path("report.json")
        let run = try ToolProcess.pipebench(
            "read", data.shards, "--repeat", "3", "-j", "--digest", "-o", report)
        let lines = try run.objects
        #expect(run.status == 0 && lines.map { $0["run"] as? Int } == [1, 2, 3, nil])
        let last = try #require(lines.last)
        #expect(Set(last.keys) == Self.contract)
        #expect(last["digest"] as? String == lines[0]["digest"] as? String)
        let walls = lines.dropLast().compactMap { $0["wall_s"] as? Double }.sorted()
        #expect(last["wall_s"] as? Double == walls[1])
        let saved = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: report)))
                as? [String: Any])
        #expect(saved["samples"] as? Int == 100 && (saved["runs"] as? [Any])?.count == 3)
        #expect(Set(saved.keys) == Self.contract.union(["runs"]))
    }

    @Test func peopleReadTheVerdictFirst() throws {
        let data = try PipebenchData("tar", samples: 50)
        let report = data.scratch.path("report.json")
        let run = try ToolProcess.pipebench("read", data.shards, "--digest", "-o", report)
        let saved = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: report)))
                as? [String: Any])
        #expect(run.lines.first != nil && run.lines.first == saved["verdict"] as? String)
        for part in ["throughput", "CPU", "memory", "bytes read", "hand over", "engine", "set digest"] {
            #expect(run.lines.contains { $0.hasPrefix(part) }, "\(part)")
        }
        // No terminal, no bar.
        #expect(run.error.isEmpty)
        let told = try ToolProcess.pipebench(
            "read", data.shards, "--batch", "10", "--step-time", "200ms", "--interval", "10ms", "-j")
        #expect(told.error.contains("samples/s") && told.lines.count == 1)
    }
}
