import Foundation
import Testing

/// The training example as a process: killed anywhere, it goes on as if it had not been.
struct TrainingTests {
    /// Images of a few pixels in places that tell their class, so that little training is enough.
    private func makeShards() throws -> Scratch {
        let scratch = try Scratch()
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (28, 28), }"
        let padded = header + String(repeating: " ", count: 118 - 1 - header.count) + "\n"
        var random: UInt64 = 5
        for (part, count) in [("train", 320), ("test", 100)] {
            for index in 0..<count {
                let label = index % 10
                var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(padded.utf8)
                for pixel in 0..<784 {
                    random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    let noise = UInt8(random >> 60)
                    bytes.append(pixel / 28 / 3 == label && random >> 40 & 3 != 0 ? 200 + noise : noise)
                }
                try scratch.write(bytes, to: "\(part)/\(index).npy")
                try scratch.write("\(label)".utf8, to: "\(part)/\(index).cls")
            }
            let packed = try ToolProcess.headrace(
                "pack", scratch.path(part), "-o", scratch.path("\(part)-%02d.tar.zst"), "--shard-count", "160"
            )
            try #require(packed.status == 0, "\(packed.error)")
        }
        return scratch
    }

    private func arguments(_ scratch: Scratch, checkpoint: String) -> [String] {
        [
            scratch.path("train-*.tar.zst"), scratch.path("test-*.tar.zst"), "--epochs", "4", "--batch", "16",
            "--hidden", "32", "--log-every", "7", "--checkpoint-every", "5", "--checkpoint", checkpoint,
        ]
    }

    @Test func killedAndResumedItPrintsWhatTheUnbrokenRunPrints() throws {
        let scratch = try makeShards()
        let trainer = ToolProcess.path("fashion-train")
        let whole = try ToolProcess.run(trainer, arguments(scratch, checkpoint: scratch.path("whole")))
        try #require(whole.status == 0, "\(whole.error)")
        // 80 steps, a line every seventh, one for each epoch, and the result.
        #expect(whole.lines.count == 11 + 4 + 1)
        let accuracy = try #require(
            whole.lines.last?.split(separator: " ").dropFirst(2).first.flatMap { Double($0) })
        #expect(accuracy > 90)

        // In the middle of an epoch, right behind a checkpoint, before the first line, and at an epoch's last step.
        let saved = scratch.path("killed")
        var printed: [String] = []
        for step in [3, 17, 20, 21, 40, 79, nil] {
            let run = try ToolProcess.run(
                trainer,
                arguments(scratch, checkpoint: saved) + (step.map { ["--die-after", "\($0)"] } ?? []))
            #expect(run.status == (step == nil ? 0 : 128 + SIGKILL), "\(run.error)")
            for line in run.lines {
                #expect(whole.lines.contains(line), "not printed by the unbroken run: \(line)")
                if !printed.contains(line) { printed.append(line) }
            }
        }
        #expect(printed == whole.lines)
    }

    @Test func aCheckpointOfAnotherRunOrADamagedOneIsRefused() throws {
        let scratch = try makeShards()
        let trainer = ToolProcess.path("fashion-train")
        let saved = scratch.path("saved")
        let first = try ToolProcess.run(trainer, arguments(scratch, checkpoint: saved))
        try #require(first.status == 0, "\(first.error)")
        let other = try ToolProcess.run(trainer, arguments(scratch, checkpoint: saved) + ["--seed", "9"])
        #expect(other.status == 64)
        #expect(other.error.contains("other options"))
        var bytes = try Data(contentsOf: URL(fileURLWithPath: saved))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: saved))
        let damaged = try ToolProcess.run(trainer, arguments(scratch, checkpoint: saved))
        #expect(damaged.status == 1)
        #expect(damaged.error.contains("damaged"))
    }
}
