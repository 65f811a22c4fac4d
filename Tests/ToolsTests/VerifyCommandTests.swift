import Foundation
import Testing

/// `headrace verify` as a process.
struct VerifyCommandTests {
    static let kinds = ["tar", "tar.zst", "tfrecord", "tfrecord.zst"]

    private func pack(_ scratch: Scratch, _ kind: String, samples: Int = 24) throws -> String {
        try scratch.makeSamples(samples)
        let run = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("set/x-%d.\(kind)"), "--shard-count", "8")
        try #require(run.status == 0, "\(run.error)")
        return scratch.path("set/x-*.\(kind)")
    }

    @Test(arguments: kinds) func goodShardsFollowTheContract(kind: String) throws {
        let scratch = try Scratch()
        let run = try ToolProcess.headrace("verify", "-j", try pack(scratch, kind))
        #expect(run.status == 0, "\(run.text)")
        let objects = try run.objects
        #expect(objects.count == 3)
        for (number, object) in objects.enumerated() {
            #expect(object["schema"] as? String == "headrace.verify/1")
            #expect(
                object["shard"] as? String == scratch.path("set/x-\(number).\(kind)"),
                "in the order of the words")
            #expect(object["ok"] as? Bool == true)
            #expect(object["samples"] as? Int == 8)
            #expect(object["members"] as? Int == (kind.hasPrefix("tar") ? 16 : 8))
            #expect((object["defects"] as? [Any])?.isEmpty == true)
            #expect((object["ignored"] as? [String: Any])?.isEmpty == true)
            let parts = ["parsed_bytes", "ignored_bytes", "lost_bytes"].compactMap { object[$0] as? Int }
            #expect(parts.reduce(0, +) == object["uncompressed_bytes"] as? Int)
        }
        let people = try ToolProcess.headrace("verify", scratch.path("set"))
        #expect(people.lines.first == "3 shards, 24 samples: all good")
    }

    /// Any flip and any cut is found where a manifest lies beside the shard; without one no tool may crash on
    /// it.
    @Test(arguments: kinds) func everyFlipAndCutIsFound(kind: String) throws {
        let scratch = try Scratch()
        _ = try pack(scratch, kind)
        let path = scratch.path("set/x-1.\(kind)")
        let good = try Data(contentsOf: URL(fileURLWithPath: path))
        var generator = SystemRandomNumberGenerator()
        for attempt in 0..<16 {
            var bad = good
            let place = Int.random(in: 0..<good.count, using: &generator)
            if attempt % 4 == 3 {
                bad = bad.prefix(place)
            } else {
                bad[place] ^= 1 << UInt8.random(in: 0..<8)
            }
            try bad.write(to: URL(fileURLWithPath: path))
            let what = "\(kind), attempt \(attempt), byte \(place)"
            let run = try ToolProcess.headrace("verify", "-j", path)
            #expect(run.status == 1, "\(what): \(run.text)")
            let object = try #require(try run.objects.first, "\(what)")
            #expect(object["ok"] as? Bool == false, "\(what)")
            let defects = try #require(object["defects"] as? [[String: Any]])
            #expect(
                !defects.isEmpty && defects.allSatisfy { $0["code"] is String && $0["message"] is String },
                "\(what)")
            #expect(!defects.contains { $0["code"] as? String == "unaccounted" }, "\(what): \(defects)")
            let alone = try Scratch()
            try bad.write(to: URL(fileURLWithPath: alone.path("x.\(kind)")))
            for command in ["verify", "ls", "info"] {
                let run = try ToolProcess.headrace(command, alone.path("x.\(kind)"))
                #expect([0, 1].contains(run.status) && !run.timedOut, "\(command): \(what): \(run.status)")
            }
        }
    }

    @Test func aDefectHasItsOffsetAndKey() throws {
        let scratch = try Scratch()
        _ = try pack(scratch, "tar")
        let path = scratch.path("set/x-0.tar")
        let listing = try ToolProcess.headrace("ls", "-j", path).objects
        let offset = try #require(listing[3]["offset"] as? Int)
        var bad = try Data(contentsOf: URL(fileURLWithPath: path))
        bad[offset] ^= 1
        try bad.write(to: URL(fileURLWithPath: path))
        let run = try ToolProcess.headrace("verify", "-j", path)
        let defects = try #require(try run.objects[0]["defects"] as? [[String: Any]])
        #expect(defects[0]["code"] as? String == "badHeader")
        #expect(defects[0]["offset"] as? Int == offset)
        // What precedes is listed, then the error, with the place.
        let ls = try ToolProcess.headrace("ls", "-j", path)
        #expect(ls.status == 1)
        #expect(
            try ls.objects.compactMap { $0["key"] as? String }
                == listing[..<3].compactMap { $0["key"] as? String })
        #expect(ls.error.contains("\(path): byte \(offset)"), "\(ls.error)")
        let people = try ToolProcess.headrace("verify", scratch.path("set"))
        #expect(people.status == 1)
        #expect(people.lines.first == "1 of 3 shards is damaged", "\(people.text)")
    }

    @Test func aMissingEndMarkerIsForgivenUnlessTheManifestKnowsBetter() throws {
        let scratch = try Scratch()
        _ = try pack(scratch, "tar")
        let path = scratch.path("set/x-0.tar")
        let good = try Data(contentsOf: URL(fileURLWithPath: path))
        let end = try #require(good.lastIndex { $0 != 0 })
        let cut = good.prefix((end / 512 + 1) * 512)
        try cut.write(to: URL(fileURLWithPath: path))
        #expect(try ToolProcess.headrace("verify", path).status == 1)
        try cut.write(to: URL(fileURLWithPath: scratch.path("alone.tar")))
        let run = try ToolProcess.headrace("verify", "-j", scratch.path("alone.tar"))
        #expect(run.status == 0)
        #expect(try run.objects[0]["ignored"] as? [String: Int] == ["missingEndOfArchive": 1])
        #expect(run.error.contains("no end marker"))
        try (good + Data(repeating: 7, count: 700)).write(to: URL(fileURLWithPath: scratch.path("more.tar")))
        let more = try ToolProcess.headrace("verify", "-j", scratch.path("more.tar"))
        #expect(more.status == 0)
        #expect(try more.objects[0]["ignored"] as? [String: Int] == ["dataAfterEnd": 700])
        #expect(more.error.contains("700 bytes follow the end marker"))
    }

    @Test func sidecarsAreHeldAgainstTheShards() throws {
        let scratch = try Scratch()
        let pattern = try pack(scratch, "tar.zst")
        // Two good shards that changed places: only index and manifest can tell.
        let first = scratch.path("set/x-0.tar.zst")
        let second = scratch.path("set/x-1.tar.zst")
        try FileManager.default.moveItem(atPath: first, toPath: scratch.path("t"))
        try FileManager.default.moveItem(atPath: second, toPath: first)
        try FileManager.default.moveItem(atPath: scratch.path("t"), toPath: second)
        let swapped = try ToolProcess.headrace("verify", "-j", pattern)
        #expect(swapped.status == 1)
        #expect(try swapped.objects.map { $0["ok"] as? Bool } == [false, false, true])
        // A damaged index is a defect, a missing one a note.
        let index = scratch.path("set/.headrace/x-2.tar.zst.index")
        var bytes = try Data(contentsOf: URL(fileURLWithPath: index))
        bytes[bytes.count - 9] ^= 1
        try bytes.write(to: URL(fileURLWithPath: index))
        let damaged = try ToolProcess.headrace("verify", "-j", scratch.path("set/x-2.tar.zst"))
        #expect(damaged.status == 1)
        try FileManager.default.removeItem(atPath: index)
        let missing = try ToolProcess.headrace("verify", "-j", scratch.path("set/x-2.tar.zst"))
        #expect(missing.status == 0)
        #expect(missing.error.contains("no index"))
        try FileManager.default.removeItem(atPath: first)
        let gone = try ToolProcess.headrace("verify", scratch.path("set/x-2.tar.zst"))
        #expect(
            gone.error.contains("x-0.tar.zst"),
            "a shard that the manifest lists and that is gone is mentioned")
    }

    @Test func storageThatFailsIsNoBadData() throws {
        let scratch = try Scratch()
        let missing = try ToolProcess.headrace("verify", scratch.path("none-{0..3}.tar"))
        #expect(missing.status == 2)
        #expect(missing.error.contains("4 of 4 shards do not exist"))
        try FileManager.default.createDirectory(
            atPath: scratch.path("empty"), withIntermediateDirectories: true)
        #expect(try ToolProcess.headrace("verify", scratch.path("empty")).status == 2)
        #expect(try ToolProcess.headrace("ls", "s3://bucket/x.tar").status == 1)
    }

    @Test func anInterruptedVerificationSaysHowFarItCame() throws {
        let scratch = try Scratch()
        // Zeros take no room, and time to unpack: five thousand times as much as keeps a machine busy for minutes.
        try scratch.write([0], to: "zeros/a.bin")
        #expect(truncate(scratch.path("zeros/a.bin"), 64 << 20) == 0)
        let packed = try ToolProcess.headrace(
            "pack", scratch.path("zeros"), "-o", scratch.path("x.tar.zst"))
        try #require(packed.status == 0, "\(packed.error)")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ToolProcess.path("headrace"))
        process.arguments = ["verify"] + Array(repeating: scratch.path("x.tar.zst"), count: 5000)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        ToolProcess.waitUntilItHearsSignals(process)
        // Most often in the midst of it, but any moment is right.
        usleep(100_000)
        process.interrupt()
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
        #expect(
            text.hasPrefix("interrupted: ") && text.contains(" of 5000 shards were verified"),
            "\(text.prefix(200))")
    }

    /// A shell makes as many words of a glob as there are files.
    @Test func thousandsOfWordsAreNoBurden() throws {
        let scratch = try Scratch()
        _ = try pack(scratch, "tar.zst")
        let words = Array(repeating: scratch.path("set/x-0.tar.zst"), count: 1000)
        let tool = ToolProcess.path("headrace")
        let lines = try ToolProcess.run(tool, ["verify"] + words + ["-j"] + [scratch.path("set/x-1.tar.zst")])
            .objects
        #expect(lines.count == 1001)
        #expect(lines.last?["shard"] as? String == scratch.path("set/x-1.tar.zst"))
        let missing = try ToolProcess.run(
            tool, ["ls", "-q"] + (0..<20_000).map { scratch.path("none-\($0).tar") })
        #expect(missing.status == 2 && !missing.timedOut)
        #expect(missing.error.contains("20000 of 20000 shards do not exist"))
    }
}
