import Foundation
import Glibc
import Testing

/// `pipebench read` in pieces, as several ranks, and after its process was killed.
@Suite struct ResumeCommandTests {
    private static let walks: [[String]] = [
        ["--shuffle", "global"], ["--shuffle", "block:32"], ["--shuffle", "buffer:64"],
        ["--walk", "streamed"],
    ]

    private func read(_ arguments: [String], _ environment: [String: String] = [:]) throws -> ToolProcess {
        let words = environment.map { "\($0.key)=\($0.value)" }
        return try ToolProcess.run(
            "/usr/bin/env", words + [ToolProcess.path("pipebench"), "read", "--json"] + arguments)
    }

    private func total(
        _ arguments: [String], _ environment: [String: String] = [:]
    ) throws -> [String: Any] {
        let run = try read(arguments, environment)
        try #require(run.status == 0, "\(arguments): \(run.status) \(run.error)")
        return try #require(try run.objects.last)
    }

    /// Five pieces, each by another number of workers and one of them across the end of an epoch.
    @Test(arguments: walks, ["tar", "tfrecord.zst"])
    func piecesChainToTheUnbrokenDigest(walk: [String], ending: String) throws {
        let data = try PipebenchData(ending, samples: 150, payloadByteCount: 900)
        let common = [data.shards, "--batch", "16", "--epochs", "3", "--seed", "7", "--digest"] + walk
        let whole = try total(common)
        let state = data.scratch.path("state.json")
        var samples = 0
        var batches = 0
        var digests: Set<String> = []
        for (piece, length) in [4, 9, 1, 12, nil].enumerated() {
            var arguments = common + ["--save", state, "--workers", "\(1 + piece % 3)"]
            if piece > 0 { arguments += ["--start", state] }
            if let length { arguments += ["--stop-after", "\(length)"] }
            let part = try total(arguments)
            samples += try #require(part["samples"] as? Int)
            batches += try #require(part["batches"] as? Int)
            digests.insert(try #require(part["digest"] as? String))
            if piece == 4 {
                #expect(part["digest"] as? String == whole["digest"] as? String)
                #expect(part["set_digest"] as? String == whole["set_digest"] as? String)
            }
        }
        #expect(digests.count == 5)
        #expect(samples == 450 && batches == 30 && whole["batches"] as? Int == 30)
        // There is nothing left behind the end, and the state still says so.
        let nothing = try total(common + ["--start", state])
        #expect(nothing["samples"] as? Int == 0)
        #expect(nothing["digest"] as? String == whole["digest"] as? String)
    }

    /// The sum of what the ranks deliver is the data set, and their sets of digests add up.
    @Test func launchersGiveTheRanks() throws {
        let data = try PipebenchData("tar", samples: 150, payloadByteCount: 900)
        let common = [data.shards, "--batch", "8", "--shuffle", "global", "--digest", "--uneven", "pad"]
        let whole = try total(common)
        for (rank, size) in [
            ("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
            ("SLURM_PROCID", "SLURM_NTASKS"),
        ] {
            let parts = try (0..<4).map { try total(common, [rank: "\($0)", size: "4"]) }
            #expect(parts.map { $0["batches"] as? Int } == [5, 5, 5, 5])
            #expect(parts.reduce(0) { $0 + ($1["samples"] as? Int ?? 0) } == 150)
            #expect(parts.reduce(0) { $0 + ($1["padded"] as? Int ?? 0) } == 2)
            let sum = parts.reduce(UInt64(0)) {
                $0 &+ (UInt64($1["set_digest"] as? String ?? "", radix: 16) ?? 0)
            }
            #expect(String(sum, radix: 16) == (whole["set_digest"] as? String).map(trimmed))
        }
        // Flags go before the launcher.
        let flags = try total(
            common + ["--rank", "1", "--world-size", "2"], ["RANK": "3", "WORLD_SIZE": "4"])
        #expect(flags["batches"] as? Int == 10)
    }

    private func trimmed(_ hexadecimal: String) -> String {
        String(hexadecimal.drop { $0 == "0" })
    }

    @Test func halfALauncherIsUsage() throws {
        let data = try PipebenchData("tar", samples: 20, payloadByteCount: 100)
        for (environment, words) in [
            (["RANK": "1"], "RANK but not WORLD_SIZE"), (["WORLD_SIZE": "2"], "WORLD_SIZE but not RANK"),
            (["SLURM_PROCID": "0"], "SLURM_PROCID but not SLURM_NTASKS"),
            (["OMPI_COMM_WORLD_SIZE": "2"], "OMPI_COMM_WORLD_SIZE but not OMPI_COMM_WORLD_RANK"),
            (["RANK": "2", "WORLD_SIZE": "2"], "contradict"),
            (["RANK": "x", "WORLD_SIZE": "2"], "contradict"),
            (["RANK": "-1", "WORLD_SIZE": "2"], "contradict"),
        ] {
            let run = try read([data.shards], environment)
            #expect(
                run.status == 64 && run.error.contains(words), "\(environment): \(run.status) \(run.error)")
        }
        for flags in [["--rank", "1"], ["--world-size", "2"], ["--rank", "2", "--world-size", "2"]] {
            #expect(try read([data.shards] + flags).status == 64, "\(flags)")
        }
    }

    @Test func aStateThatDoesNotFitIsRefused() throws {
        let data = try PipebenchData("tar", samples: 60, payloadByteCount: 300)
        let state = data.scratch.path("state.json")
        let common = [data.shards, "--batch", "8", "--shuffle", "global"]
        _ = try total(common + ["--stop-after", "2", "--save", state])
        for (arguments, words) in [
            (common + ["--seed", "1"], "'seed' was 0 and is 1"),
            ([data.shards, "--shuffle", "block:8"], "'shuffle' was global and is block:8"),
            ([data.shards, "--walk", "streamed"], "indexed walk, and this loader's is streamed"),
            ([data.shards, "--batch", "8"], "'shuffle' was global and is none"),
            (common + ["--on-defect", "skip:3"], "'on_defect' was fail and is skip:3"),
        ] {
            let run = try read(arguments + ["--start", state])
            #expect(run.status == 64 && run.error.contains(words), "\(arguments): \(run.status) \(run.error)")
        }
        try Data("{}".utf8).write(to: URL(fileURLWithPath: state))
        let none = try read(common + ["--start", state])
        #expect(none.status == 1 && none.error.contains("no loader state"), "\(none.status) \(none.error)")
        let missing = try read(common + ["--start", data.scratch.path("nowhere")])
        #expect(missing.status == 2, "\(missing.status) \(missing.error)")
        let unwritable = try read(common + ["--save", data.scratch.path("no/such/folder/state")])
        #expect(unwritable.status == 2, "\(unwritable.status) \(unwritable.error)")
        #expect(try read(common + ["--save", state, "--repeat", "2"]).status == 64)
    }

    /// Reads in small pieces until SIGKILL ends both the tool and what calls it, at whatever moment; what the last
    /// state says is then continued, and the digest is that of a run that nobody killed.
    @Test(arguments: [["--shuffle", "global"], ["--shuffle", "buffer:64"]])
    func aKillLosesNothing(walk: [String]) throws {
        let data = try PipebenchData("tar", samples: 150, payloadByteCount: 900)
        let common = [data.shards, "--batch", "5", "--epochs", "200", "--digest"] + walk
        let state = data.scratch.path("state.json")
        let command = ([ToolProcess.path("pipebench"), "read", "--json"] + common).map { "'\($0)'" }
            .joined(separator: " ")
        // As a group of its own, so that one signal ends all of it.
        let script = """
            \(command) --stop-after 3 --save '\(state)'
            while :; do \(command) --stop-after 3 --start '\(state)' --save '\(state)' || exit 9; done
            """
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/setsid")
        process.arguments = [
            "--wait", "/bin/bash", "-c", "echo $$ > '\(data.scratch.path("group"))'\n" + script,
        ]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        var seen: Set<Data> = []
        while seen.count < 5, process.isRunning {
            if let bytes = FileManager.default.contents(atPath: state) { seen.insert(bytes) }
            usleep(500)
        }
        let group = try #require(
            Int32(
                try String(contentsOfFile: data.scratch.path("group"), encoding: .utf8)
                    .trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(kill(-group, SIGKILL) == 0)
        ToolProcess.waitUntilItEnds(process)
        let text = try String(contentsOfFile: state, encoding: .utf8)
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        let epoch = try #require(object?["epoch"] as? Int)
        // Both to the end of the epoch behind the one in which it was killed.
        let short = [data.shards, "--batch", "5", "--epochs", "\(epoch + 2)", "--digest"] + walk
        let whole = try total(short)
        let rest = try total(short + ["--start", state])
        #expect(rest["digest"] as? String == whole["digest"] as? String)
        #expect(rest["set_digest"] as? String == whole["set_digest"] as? String)
        #expect((rest["samples"] as? Int ?? 0) < (whole["samples"] as? Int ?? 0))
    }
}
