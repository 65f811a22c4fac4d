import Foundation
import Testing

/// `headrace cache` and `--cache`, as scripts see them.
@Suite struct CacheCommandTests {
    private func last(_ arguments: String..., status: Int32 = 0) throws -> [String: Any] {
        let run = try ToolProcess.run(ToolProcess.path("headrace"), ["cache"] + arguments + ["--json"])
        try #require(run.status == status, "\(arguments): \(run.status) \(run.error)")
        let object = try #require(try run.objects.last)
        #expect(object["schema"] as? String == "headrace.cache/1")
        return object
    }

    @Test func fillStatusVerifyEvictClear() throws {
        let data = try PipebenchData("tar")
        let cache = data.scratch.path("cache")
        let bytes = try data.shardPaths.reduce(0) {
            try $0 + Data(contentsOf: URL(fileURLWithPath: $1)).count
        }
        let filled = try last("fill", data.shards, "--cache", cache, "--cache-limit", "1G")
        #expect(filled["filled_bytes"] as? Int == bytes)
        #expect(filled["held_bytes"] as? Int == 0)
        let again = try last("fill", data.shards, "--cache", cache, "--cache-limit", "1G")
        #expect(again["filled_bytes"] as? Int == 0)
        #expect(again["held_bytes"] as? Int == bytes)
        let count = try data.shardPaths.count
        let status = try last("status", "--cache", cache)
        #expect(status["objects"] as? Int == count && status["blocks"] as? Int == count)
        #expect(status["used_bytes"] as? Int == bytes + 48 * count)
        let block = try #require(
            FileManager.default.enumerator(atPath: cache)?.compactMap { $0 as? String }
                .first { $0.hasSuffix(".block") })
        try data.damage("\(cache)/\(block)", at: 777)
        let bad = try last("verify", "--cache", cache, status: 1)
        #expect(bad["bad"] as? Int == 1 && bad["checked"] as? Int == count)
        #expect(try last("verify", "--cache", cache)["bad"] as? Int == 0)
        _ = try last("fill", data.shards, "--cache", cache, "--cache-limit", "1G")
        try data.damage("\(cache)/\(block)", at: 0)
        let mended = try last("verify", "--cache", cache, "--refetch")
        #expect(mended["bad"] as? Int == 1 && mended["refetched"] as? Int == 1)
        let sampled = try last("verify", "--cache", cache, "--sample", "30%")
        let checked = try #require(sampled["checked"] as? Int)
        #expect(checked < count)
        let evicted = try last("evict", try data.shardPaths[0], "--cache", cache)
        #expect(evicted["removed_blocks"] as? Int == 1)
        #expect(try last("evict", "--to", "300kB", "--cache", cache)["used_bytes"] as? Int ?? .max <= 300_000)
        #expect(try last("clear", "--cache", cache)["used_bytes"] as? Int == 0)
        let sizes = try data.shardPaths.reduce(0) {
            try $0 + Data(contentsOf: URL(fileURLWithPath: $1)).count
        }
        #expect(sizes == bytes)
    }

    @Test func limitsAndForeignDirectories() throws {
        let data = try PipebenchData("tar", samples: 100)
        let cache = data.scratch.path("cache")
        let none = try last("fill", data.shards, "--cache", cache, "--cache-limit", "0", status: 3)
        #expect(none["filled_bytes"] as? Int == 0)
        #expect((none["passed"] as? [String: Int])?["limit"] ?? 0 > 0)
        for arguments in [
            ["fill", data.shards, "--cache", data.shards, "--cache-limit", "1G"],
            ["fill", data.shards, "--cache", cache], ["fill", data.shards, "--cache-limit", "1G"],
            ["fill", data.shards, "--cache", cache, "--cache-limit", "1G", "--cache-policy", "mru"],
            ["evict", "--cache", cache], ["verify", "--cache", cache, "--sample", "0"],
            ["clear", "--cache", data.shards],
        ] {
            let run = try ToolProcess.run(ToolProcess.path("headrace"), ["cache"] + arguments)
            #expect(run.status == 64 || run.status == 2, "\(arguments): \(run.status) \(run.error)")
            #expect(!run.error.isEmpty)
        }
        #expect(try data.scratch.names(in: "shards").allSatisfy { $0.hasPrefix("s-") || $0 == ".headrace" })
    }

    @Test func aRunWithACacheSaysWhereBytesCameFrom() throws {
        let data = try PipebenchData("tar")
        let cache = data.scratch.path("cache")
        let plain = try ToolProcess.total(data.shards, "--digest", "--shuffle", "buffer:64", "--epochs", "2")
        let flags = ["--cache", cache, "--cache-limit", "1G"]
        for round in 0..<2 {
            let run = try ToolProcess.pipebench(
                ["read", "--json", data.shards, "--digest", "--shuffle", "buffer:64", "--epochs", "2"] + flags
            )
            #expect(run.status == 0)
            let total = try #require(try run.objects.last)
            #expect(total["digest"] as? String == plain["digest"] as? String)
            let origins = try #require(total["origin_bytes"] as? [String: Any])
            let report = try #require(total["cache"] as? [String: Any])
            #expect(report["refetched_bytes"] as? Int == 0)
            if round == 1 {
                #expect(origins["device"] as? Int ?? 0 == 0 && origins["page_cache"] as? Int ?? 0 == 0)
                #expect(report["hit_rate"] as? Double == 1)
            }
            let epochs = try #require(total["epochs"] as? [[String: Any]])
            #expect(epochs.count == 2 && epochs[1]["hit_rate"] as? Double == 1)
        }
        let text = try ToolProcess.pipebench(["read", data.shards, "--epochs", "2"] + flags)
        #expect(text.text.contains("100.0 % of the bytes asked for were in"))
        for wrong in [["--cache", cache], ["--cache-limit", "1G"], ["--cache-write-rate", "1G"]] {
            #expect(try ToolProcess.pipebench(["read", data.shards] + wrong).status == 64)
        }
    }

    @Test func plansKnowTheCache() throws {
        let data = try PipebenchData("tar")
        let cache = data.scratch.path("cache")
        let bytes = try data.shardPaths.reduce(0) {
            try $0 + Data(contentsOf: URL(fileURLWithPath: $1)).count
        }
        func plan(_ arguments: String...) throws -> [String: Any] {
            let run = try ToolProcess.run(
                ToolProcess.path("headrace"),
                ["plan", data.shards, "--json", "--shuffle", "buffer:64"] + arguments)
            try #require(run.status == 0, "\(run.error)")
            return try #require(try run.objects.last)
        }
        let half = "\(bytes / 2)"
        #expect(abs((try plan("--cache-limit", half)["second_epoch_hits"] as? Double ?? 0) - 0.5) < 0.01)
        let recent = try plan("--cache-limit", half, "--cache-policy", "lru")["second_epoch_hits"] as? Double
        #expect(abs((recent ?? 0) - 0.1534) < 0.01)
        _ = try last("fill", try data.shardPaths[0], "--cache", cache, "--cache-limit", "1G")
        let held = try plan("--cache", cache, "--cache-limit", "1G")["cache_held_bytes"] as? Int
        #expect(held == (try Data(contentsOf: URL(fileURLWithPath: data.shardPaths[0])).count))
    }
}

/// Processes that fill one cache are killed at any moment; whoever comes next uses it as it is.
@Suite struct CacheKillTests {
    private static let isFull = ProcessInfo.processInfo.environment["HEADRACE_FAULTS"] == "full"

    /// Bytes in use, as the cache's ledger has them; 0 while there is none.
    private func used(_ cache: String) -> Int {
        guard let bytes = try? Data(contentsOf: URL(fileURLWithPath: cache + "/ledger")), bytes.count == 64
        else { return 0 }
        return bytes[8..<16].reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    private func start(_ data: PipebenchData, _ cache: String) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ToolProcess.path("headrace"))
        process.arguments = [
            "cache", "fill", data.shards, "--cache", cache, "--cache-limit", "1G", "--jobs", "2",
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    @Test func killedFillsLeaveAUsableCache() throws {
        let data = try PipebenchData("tar", samples: 300)
        let bytes = try data.shardPaths.reduce(0) {
            try $0 + Data(contentsOf: URL(fileURLWithPath: $1)).count
        }
        let expected = try ToolProcess.total(data.shards, "--digest")["digest"] as? String
        let points = Self.isFull ? 100 : 6
        for point in 0..<points {
            let cache = data.scratch.path("cache\(point)")
            // Small blocks: many moments at which a process can be killed.
            try data.scratch.write(
                #"{"schema":"headrace.cache-directory/1","block_bytes":4096}"#.utf8,
                to: "cache\(point)/headrace-cache.json")
            let processes = try (0..<3).map { _ in try start(data, cache) }
            let target = Int.random(in: 0..<bytes)
            while used(cache) < target, processes.contains(where: \.isRunning) { usleep(100) }
            let victims = point % 3 == 2 ? processes : [processes[point % 3]]
            for victim in victims { kill(victim.processIdentifier, SIGKILL) }
            for process in processes { ToolProcess.waitUntilItEnds(process) }
            for survivor in processes where !victims.contains(where: { $0 === survivor }) {
                #expect(survivor.terminationStatus == 0, "a survivor failed at \(target)")
            }
            let verified = try ToolProcess.headrace("cache", "verify", "--cache", cache, "--json")
            #expect(verified.status == 0, "bad blocks after a kill at \(target): \(verified.text)")
            let total = try ToolProcess.total(
                data.shards, "--digest", "--cache", cache, "--cache-limit", "1G")
            #expect(total["digest"] as? String == expected)
            let report = try #require(total["cache"] as? [String: Any])
            #expect(report["bad_blocks"] as? Int == 0)
            #expect((report["passed"] as? [Any])?.isEmpty == true)
            if victims.count == 1 { #expect(report["hit_rate"] as? Double == 1) }
            // The ledger is right to the byte, and nothing is left of the dead.
            let left = try #require(
                FileManager.default.enumerator(atPath: cache)?.compactMap { $0 as? String })
            #expect(!left.contains { $0.hasSuffix(".partial") })
            let before = used(cache)
            #expect(before == bytes + 48 * left.filter { $0.hasSuffix(".block") }.count)
            _ = try ToolProcess.headrace("cache", "status", "--cache", cache)
            #expect(used(cache) == before)
            try FileManager.default.removeItem(atPath: cache)
        }
    }
}
