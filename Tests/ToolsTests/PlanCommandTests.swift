import Foundation
import Testing

/// `headrace plan` as a process.
@Suite struct PlanCommandTests {
    /// Eight shards of 1,000 lines each, packed by the tool itself.
    private func packed(_ scratch: Scratch) throws -> String {
        let text = scratch.path("lines.txt")
        let lines = (0..<8000).map { "line \($0)\n" }.joined()
        try Data(lines.utf8).write(to: URL(fileURLWithPath: text))
        let pattern = scratch.path("x-%06d.tar")
        let run = try ToolProcess.headrace(
            "pack", text, "--text", "line", "-o", pattern, "--shard-count", "1000", "-q")
        try #require(run.status == 0, "\(run.error)")
        return scratch.path("x-{000000..000007}.tar")
    }

    private func plan(_ arguments: [String], _ environment: [String: String] = [:]) throws -> ToolProcess {
        let words = environment.map { "\($0.key)=\($0.value)" }
        return try ToolProcess.run(
            "/usr/bin/env", words + [ToolProcess.path("headrace"), "plan"] + arguments)
    }

    @Test func batchesAreToldBeforeAnythingIsRead() throws {
        let scratch = try Scratch()
        let shards = try packed(scratch)
        let run = try plan([shards, "--shuffle", "global", "--world-size", "3", "--batch", "64", "-j"])
        #expect(run.status == 0, "\(run.error)")
        let object = try #require(try run.objects.last)
        #expect(object["schema"] as? String == "headrace.plan/1")
        #expect(object["samples"] as? Int == 8000 && object["shards"] as? Int == 8)
        #expect(object["batches_per_rank"] as? Int == 42 && object["rows_per_rank"] as? Int == 2666)
        #expect(object["dropped"] as? Int == 2 && object["walk"] as? String == "indexed")
        let text = try plan([shards, "--shuffle", "global", "--world-size", "3", "--batch", "64"])
        #expect(text.lines.first == "3 ranks make 42 batches of 64, the last of 42", "\(text.text)")
    }

    @Test func launchersGiveTheRanks() throws {
        let scratch = try Scratch()
        let shards = try packed(scratch)
        let run = try plan([shards, "-j"], ["SLURM_PROCID": "1", "SLURM_NTASKS": "5"])
        #expect(try run.objects.last?["world_size"] as? Int == 5, "\(run.error)")
        let option = try plan(
            [shards, "-j", "--world-size", "2"], ["SLURM_PROCID": "1", "SLURM_NTASKS": "5"])
        #expect(try option.objects.last?["world_size"] as? Int == 2)
        let half = try plan([shards], ["WORLD_SIZE": "5"])
        #expect(half.status == 64 && half.error.contains("WORLD_SIZE but not RANK"), "\(half.error)")
    }

    @Test func whatCannotBeIsUsage() throws {
        let scratch = try Scratch()
        let shards = try packed(scratch)
        for arguments in [
            ["--shuffle", "block:0"], ["--shuffle", "buffer:8", "--walk", "indexed"], ["--batch", "0"],
            ["--affinity", "node", "--world-size", "4"], ["--nodes", "3", "--world-size", "4"],
            ["--rank", "2"],
            ["--rank", "4", "--world-size", "4"], ["--tier", "floppy"], ["--epochs", "0"],
            ["--world-size", "9", "--walk", "streamed"],
        ] {
            let run = try plan([shards] + arguments)
            #expect(run.status == 64 && run.lines.isEmpty, "\(arguments): \(run.status) \(run.error)")
        }
    }

    /// Shards that nobody counted can be streamed by one rank, or by more with the steps given.
    @Test func withoutCounts() throws {
        let scratch = try Scratch()
        _ = try packed(scratch)
        try FileManager.default.removeItem(atPath: scratch.path(".headrace"))
        let shards = scratch.path("x-*.tar")
        #expect(try plan([shards]).status == 0)
        let two = try plan([shards, "--world-size", "2"])
        #expect(two.status == 64 && two.error.contains("headrace index"), "\(two.error)")
        let given = try plan([shards, "--world-size", "2", "--steps", "10", "-j"])
        #expect(try given.objects.last?["batches_per_rank"] as? Int == 10)
        let global = try plan([shards, "--shuffle", "global"])
        #expect(global.status == 2 && global.error.contains("headrace index"), "\(global.error)")
    }

    /// A shard that was cut is not planned with the count it had.
    @Test func aManifestOfAnotherShardIsRefused() throws {
        let scratch = try Scratch()
        let shards = try packed(scratch)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: scratch.path("x-000003.tar")))
        try handle.truncate(atOffset: 5120)
        try handle.close()
        let run = try plan([shards])
        #expect(
            run.status == 1 && run.error.contains("x-000003.tar") && run.error.contains("cut or replaced"))
    }

    /// What of a mixture comes from which data set, for machines and for people.
    @Test func aMixtureIsTold() throws {
        let scratch = try Scratch()
        _ = try packed(scratch)
        let parts = [scratch.path("x-{000000..000005}.tar"), scratch.path("x-{000006..000007}.tar")]
        let flags = ["--shuffle", "global", "--mix", "1,1", "--world-size", "3"]
        let all = try plan(parts + flags + ["--mix-until", "all", "-j"])
        let object = try #require(try all.objects.last, "\(all.error)")
        let dataSets = try #require(object["data_sets"] as? [[String: Any]])
        func numbers(_ name: String) -> [Int?] { dataSets.map { $0[name] as? Int } }
        #expect(numbers("samples") == [6000, 2000] && numbers("weight") == [1, 1])
        #expect(numbers("delivered") == [6000, 6000] && numbers("repeated") == [0, 4000])
        #expect(numbers("left_out") == [0, 0])
        #expect(object["padded"] as? Int == 0)
        let first = try plan(parts + flags)
        let lines = first.lines.filter { $0.hasPrefix("  data set") }
        #expect(lines.count == 2, "\(first.text)")
        #expect(
            lines[0].hasSuffix(
                "weight 1: 6000 samples, 1999 delivered, 0 repeated, 4001 left out in an epoch"),
            "\(first.text)")
        #expect(try plan(parts + ["--mix-until", "all"]).status == 64)
        let weights = try plan([parts[0]] + flags)
        #expect(
            weights.status == 64 && weights.error.contains("2 weights for 1 data sets"), "\(weights.error)")
    }

    /// Windows, and with them requests, follow the memory that loaders have.
    @Test func memoryAndLengths() throws {
        let scratch = try Scratch()
        let shards = try packed(scratch)
        func object(_ flags: [String]) throws -> [String: Any] {
            let run = try plan([shards, "--batch", "64", "-j"] + flags)
            return try #require(try run.objects.last, "\(run.error)")
        }
        let large = try object(["--shuffle", "global", "--memory", "256M"])
        #expect(large["window_batches"] as? Int == 32 && large["batches"] as? Int == 125)
        #expect(large["planned_batches"] as? Int == 125)
        let small = try object(["--shuffle", "global", "--memory", "3M"])
        #expect(try #require(small["window_batches"] as? Int) < 32)
        let none = try plan([shards, "--shuffle", "global", "--memory", "100K"])
        #expect(none.status == 2 && none.error.contains("memory budget"), "\(none.error)")
        let bucketed = try object(["--bucket-window", "10"])
        #expect(bucketed["walk"] as? String == "indexed" && bucketed["bucket_window"] as? Int == 10)
        #expect(try plan([shards, "--bucket-window", "0"]).status == 64)
    }

    @Test func indexesLieElsewhere() throws {
        let scratch = try Scratch()
        _ = try packed(scratch)
        try FileManager.default.moveItem(
            atPath: scratch.path(".headrace"), toPath: scratch.path("indexes"))
        let flags = [scratch.path("x-*.tar"), "--shuffle", "global", "-j"]
        #expect(try plan(flags).status == 2)
        let found = try plan(flags + ["--index", scratch.path("indexes")])
        #expect(try found.objects.last?["samples"] as? Int == 8000, "\(found.error)")
    }
}
