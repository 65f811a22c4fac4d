import Foundation
import Glibc
import Testing

/// What `headrace pack` must not do to the files it is given.
struct PackSafetyTests {
    private func pack(_ scratch: Scratch, _ arguments: String...) throws -> ToolProcess {
        try ToolProcess.run(ToolProcess.path("headrace"), ["pack"] + arguments, in: scratch.directory)
    }

    @Test(arguments: ["x.tar", "./x.tar", "link.tar", "alias/x.tar", "*.tar"])
    func aSourceIsNeverOverwritten(path: String) throws {
        let scratch = try Scratch()
        try scratch.makeSamples(4)
        #expect(try pack(scratch, "src", "-o", "x.tar").status == 0)
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path("link.tar"), withDestinationPath: "x.tar")
        try FileManager.default.createSymbolicLink(
            atPath: scratch.path("alias"), withDestinationPath: scratch.directory)
        let before = try Data(contentsOf: URL(fileURLWithPath: scratch.path("x.tar")))
        for output in ["x.tar", "./x.tar", "alias/x.tar", scratch.path("x.tar")] {
            let run = try pack(scratch, path == "*.tar" ? "x*.tar" : path, "-o", output, "--overwrite")
            #expect(run.status == 64 || run.status == 2, "\(output): \(run.error)")
            #expect(run.error.contains("earlier shard of the output"), "\(output): \(run.error)")
            #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.path("x.tar"))) == before)
            #expect(FileManager.default.fileExists(atPath: scratch.path(".headrace/x.tar.index")))
        }
    }

    @Test func aDryRunRefusesWhatTheRunWouldRefuse() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(4)
        #expect(try pack(scratch, "src", "-o", "x-%d.tar").status == 0)
        let names = try scratch.names()
        let refused = try pack(scratch, "src", "-o", "x-%d.tar", "--dry-run")
        #expect(refused.status == 2 && refused.error.contains("--overwrite"), "\(refused.error)")
        #expect(try pack(scratch, "src", "-o", "x-%d.tar", "--dry-run", "--overwrite").status == 0)
        // Of the finished set nothing is left to be resumed; of another one it is refused.
        #expect(try pack(scratch, "src", "-o", "x-%d.tar", "--dry-run", "--resume").status == 0)
        for word in ["--quiet", "--dry-run"] {
            let other = try pack(scratch, "src", "-o", "x-%d.tar", "--resume", "--shard-count", "1", word)
            #expect(
                other.status == 2 && other.error.contains("the set has shards 1, this run 4"),
                "\(other.error)")
        }
        let done = try pack(scratch, "src", "-o", "x-%d.tar", "--resume")
        #expect(done.status == 0 && done.text.hasPrefix("nothing was left to do: 4 samples"), "\(done.text)")
        #expect(try scratch.names() == names)
    }

    @Test func aDryRunCanBeInterrupted() throws {
        let scratch = try Scratch()
        // As many zeros as take minutes to list, in a file without a byte on disk.
        try scratch.write("text\n".utf8, to: "zeros.txt")
        #expect(truncate(scratch.path("zeros.txt"), 1 << 38) == 0)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ToolProcess.path("headrace"))
        process.arguments = [
            "pack", scratch.path("zeros.txt"), "-o", scratch.path("x-%d.tar"), "--text", "chunk:1MiB",
            "--dry-run",
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        ToolProcess.waitUntilItHearsSignals(process)
        usleep(200_000)
        kill(process.processIdentifier, SIGINT)
        ToolProcess.waitUntilItEnds(process)
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
    }

    @Test func whatCannotBeReadIsSaid() throws {
        let scratch = try Scratch()
        try scratch.makeSamples(20)
        #expect(try pack(scratch, "src", "-o", "x.tar").status == 0)
        let size = try Data(contentsOf: URL(fileURLWithPath: scratch.path("x.tar"))).count
        var bytes = try Data(contentsOf: URL(fileURLWithPath: scratch.path("x.tar")))
        // The header of a member in the middle; each sample is larger than a kilobyte.
        let members = try ToolProcess.headrace("ls", "-j", scratch.path("x.tar")).objects
        let offset = try #require(members[10]["offset"] as? Int)
        bytes[offset + 20] ^= 0x40
        try FileManager.default.createDirectory(
            atPath: scratch.path("alone"), withIntermediateDirectories: true)
        try bytes.write(to: URL(fileURLWithPath: scratch.path("alone/x.tar")))
        let run = try pack(scratch, "alone/x.tar", "-o", "new.tar", "--on-defect", "skip", "-j")
        #expect(run.status == 0, "\(run.error)")
        #expect(
            run.error.contains("the rest of alone/x.tar, \(size - offset) bytes, cannot be read"),
            "\(run.error)")
        let total = try #require(try run.objects.last)
        let account = try #require(total["source_bytes"] as? [String: Int])
        #expect(account["lost"] == size - offset)
        #expect(account.values.reduce(0, +) == size)
        for limit in ["skip:5", "skip:90%"] {
            let run = try pack(scratch, "alone/x.tar", "-o", "limited.tar", "--on-defect", limit)
            #expect(run.status != 0 && run.error.contains("cannot be read"), "\(run.error)")
        }
        #expect(!FileManager.default.fileExists(atPath: scratch.path("limited.tar")))
    }
}
