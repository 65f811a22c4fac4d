import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Runs that were interrupted and are gone on with.
@Suite struct PackResumeTests {
    private static func options(_ output: String, _ name: String) -> PackOptions {
        var options = PackOptions(output: "\(output)/\(name)")
        options.shardLimit = .samples(9)
        options.workers = 2
        options.resume = true
        if name.hasSuffix(".zst") { options.frameByteCount = 16 << 10 }
        return options
    }

    private func makeTree() throws -> PackTree {
        let tree = try PackTree()
        for number in 0..<150 {
            try tree.put("s\(number + 100).txt", (0..<number * 60).map { UInt8($0 % 61 + 40) })
        }
        return tree
    }

    /// Name and digest of every file below a folder.
    private func digests(_ folder: String) throws -> [String] {
        let names = (FileManager.default.enumerator(atPath: folder)?.allObjects as? [String]) ?? []
        return try names.sorted().compactMap { name in
            guard let content = FileManager.default.contents(atPath: "\(folder)/\(name)") else { return nil }
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: "\(folder)/\(name)", isDirectory: &isDirectory)
            return try #require(isDirectory.boolValue ? "\(name)/" : "\(name) \(Array(content).sha256)")
        }
    }

    /// Cancels a run once so many samples are written.
    private func interrupt(
        _ tree: PackTree, _ name: String, after sampleCount: Int,
        _ change: (inout PackOptions) -> Void = { _ in }
    ) throws {
        var options = Self.options(tree.output, name)
        change(&options)
        let packer = try Packer([DirectorySource(tree.source)], options: options)
        let error = #expect(throws: HeadraceError.self) {
            try packer.run { if $0.sampleCount > sampleCount, $0.shardCount > 3 { packer.cancel() } }
        }
        #expect(error?.code == .packCancelled)
        #expect(tree.outputNames().contains(".headrace/\(name).run"))
    }

    /// Killed at any moment, again and again, the run ends with the bytes of one that never was.
    @Test(arguments: ["x-%02d.tar.zst", "x-%02d.tfrecord"], [1, 2, 3, 4, 5] as [UInt64])
    func killedAtAnyMomentItEndsWithTheSameBytes(name: String, seed: UInt64) async throws {
        let tree = try makeTree()
        let reference = "\(tree.root)/reference"
        _ = try Packer([DirectorySource(tree.source)], options: Self.options(reference, name)).run()
        var random = SplitMix64(seed)
        var wasKept = false
        for _ in 0..<4 {
            let microseconds = Int(random.below(60_000))
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [
                    source = tree.source as String, output = tree.output as String, name = name as String,
                    microseconds = microseconds as Int
                ] in
                let packer = try Packer(
                    [DirectorySource(source)], options: PackResumeTests.options(output, name))
                Foundation.Thread.detachNewThread {
                    usleep(useconds_t(microseconds))
                    kill(getpid(), SIGKILL)
                }
                // A run that was quicker is no failure; what it left is looked at all the same.
                _ = try? packer.run()
                while true { sleep(1) }
            }
            if tree.outputNames().contains(".headrace/manifest.json") { break }
        }
        if !tree.outputNames().contains(".headrace/\(name).run"),
            tree.outputNames().contains(".headrace/manifest.json")
        {
            #expect(try digests(tree.output) == digests(reference))
            return
        }
        let result = try Packer(
            [DirectorySource(tree.source)], options: Self.options(tree.output, name)
        ).run()
        wasKept = result.keptShardCount > 0
        #expect(try digests(tree.output) == digests(reference), "kept some: \(wasKept)")
        #expect(result.summary.sampleCount == 150)
    }

    @Test(arguments: ["x-%02d.tar.zst", "x-%02d.tfrecord"])
    func finishedShardsStay(name: String) throws {
        let tree = try makeTree()
        let reference = "\(tree.root)/reference"
        _ = try Packer([DirectorySource(tree.source)], options: Self.options(reference, name)).run()
        try interrupt(tree, name, after: 60)
        let shard = "\(tree.output)/\(name.replacingOccurrences(of: "%02d", with: "00"))"
        let before = try FileManager.default.attributesOfItem(atPath: shard)[.systemFileNumber] as? Int
        // A temporary file of that run, one of a live process that is not ours, and a line cut by the crash.
        try tree.put("../out/.headrace-\(getpid())-abc.partial", [1, 2, 3], isSample: false)
        try tree.put("../out/.headrace-1-abc.partial", [1], isSample: false)
        let journal = "\(tree.output)/.headrace/\(name).run"
        let handle = try #require(FileHandle(forWritingAtPath: journal))
        handle.seekToEndOfFile()
        handle.write(Data("{\"shard\":16,\"by".utf8))
        try handle.close()
        let result = try Packer(
            [DirectorySource(tree.source)], options: Self.options(tree.output, name)
        ).run()
        #expect(result.keptShardCount > 3 && result.keptShardCount < 17)
        // What it removed is left no longer; the other process's file is.
        #expect(result.summary.leftovers == ["\(tree.output)/.headrace-1-abc.partial"])
        #expect(
            try FileManager.default.attributesOfItem(atPath: shard)[.systemFileNumber] as? Int == before)
        try FileManager.default.removeItem(atPath: "\(tree.output)/.headrace-1-abc.partial")
        #expect(try digests(tree.output) == digests(reference))
    }

    /// What a crash may have taken from a finished shard is written again.
    @Test(arguments: ["flip", "cut", "remove", "index", "index away"])
    func finishedShardsThatAreDamagedAreWrittenAgain(how: String) throws {
        let tree = try makeTree()
        let name = "x-%02d.tar.zst"
        let reference = "\(tree.root)/reference"
        _ = try Packer([DirectorySource(tree.source)], options: Self.options(reference, name)).run()
        try interrupt(tree, name, after: 60)
        let shard = "\(tree.output)/x-01.tar.zst"
        let index = "\(tree.output)/.headrace/x-01.tar.zst.index"
        let victim = how.hasPrefix("index") ? index : shard
        var bytes = try tree.content(victim)
        bytes[bytes.count / 2] ^= 1
        switch how {
        case "flip", "index": try Data(bytes).write(to: URL(fileURLWithPath: victim))
        case "cut": truncate(victim, off_t(bytes.count - 1))
        default: unlink(victim)
        }
        let result = try Packer(
            [DirectorySource(tree.source)], options: Self.options(tree.output, name)
        ).run()
        #expect(result.keptShardCount > 2)
        #expect(try digests(tree.output) == digests(reference))
    }

    @Test func anotherPlanIsRefusedWithTheReason() throws {
        let tree = try makeTree()
        let name = "x-%02d.tar.zst"
        try interrupt(tree, name, after: 60)
        let before = try digests(tree.output)
        func refusal(_ change: (inout PackOptions) -> Void) throws -> String {
            var options = Self.options(tree.output, name)
            change(&options)
            let error = #expect(throws: HeadraceError.self) {
                try Packer([DirectorySource(tree.source)], options: options).run()
            }
            #expect(error?.code == .exists && error?.message.contains("--overwrite") == true)
            #expect(try digests(tree.output) == before)
            return error?.message ?? ""
        }
        #expect(try refusal { $0.shardLimit = .samples(10) }.contains("shard_samples 9, this one has 10"))
        #expect(try refusal { $0.level = 5 }.contains("level 3, this one has 5"))
        #expect(try refusal { $0.frameByteCount = 20_000 }.contains("frame_bytes"))
        #expect(try refusal { $0.order = .shuffled(seed: 4) }.contains("the sources are not what they were"))
        #expect(try refusal { $0.resume = false }.contains("--resume continues"))
        try tree.put("s999.txt", "new")
        #expect(try refusal { _ in }.contains("150 samples, the sources now have 151"))
        unlink("\(tree.source)/s999.txt")
        try tree.put("s120.txt", tree.content("\(tree.source)/s120.txt"))
        // Written within one tick of the file system's clock it would have the times that it had.
        let past = timeval(tv_sec: 1, tv_usec: 0)
        #expect(utimes("\(tree.source)/s120.txt", [past, past]) == 0)
        #expect(try refusal { _ in }.contains("the sources are not what they were"))
        // Starting over is always possible.
        var options = Self.options(tree.output, name)
        options.resume = false
        options.overwrite = true
        #expect(try Packer([DirectorySource(tree.source)], options: options).run().keptShardCount == 0)
        #expect(!tree.outputNames().contains { $0.hasSuffix(".run") })
    }

    @Test func withoutAnInterruptedRunItBeginsOne() throws {
        let tree = try makeTree()
        let options = Self.options(tree.output, "x-%02d.tar")
        let result = try Packer([DirectorySource(tree.source)], options: options).run()
        #expect(result.keptShardCount == 0 && result.shards.count == 17 && !result.wasFinished)
        #expect(!tree.outputNames().contains { $0.hasSuffix(".run") })
    }

    @Test func twoRunsAtOnceAreRefused() throws {
        let tree = try makeTree()
        let options = Self.options(tree.output, "x-%02d.tar")
        let other = try Packer([DirectorySource(tree.source)], options: options)
        let packer = try Packer([DirectorySource(tree.source)], options: options)
        let seen = SeenError()
        _ = try packer.run { progress in
            guard progress.shardCount == 0, seen.error == nil else { return }
            do throws(HeadraceError) { _ = try other.run() } catch { seen.error = error }
        }
        #expect(seen.error?.code == .exists && seen.error?.message.contains("another run") == true)
    }

    /// Written by one thread after the other.
    private final class SeenError: @unchecked Sendable { var error: HeadraceError? }

    @Test func foreignShardsAreNotRemoved() throws {
        let tree = try makeTree()
        try interrupt(tree, "x-%02d.tar", after: 60)
        try tree.put("../out/x-99.tar", [1], isSample: false)
        let error = #expect(throws: HeadraceError.self) {
            try Packer([DirectorySource(tree.source)], options: Self.options(tree.output, "x-%02d.tar")).run()
        }
        #expect(error?.code == .exists && error?.place.shard == "\(tree.output)/x-99.tar")
        let planned = #expect(throws: HeadraceError.self) {
            try Packer([DirectorySource(tree.source)], options: Self.options(tree.output, "x-%02d.tar"))
                .plan()
        }
        #expect(planned?.description == error?.description)
    }

    /// What is no change of content counts as well, and the file is named.
    @Test func aSourceThatSomethingWasDoneToIsNamed() throws {
        let tree = try makeTree()
        let name = "x-%02d.tar"
        try interrupt(tree, name, after: 60)
        func message(_ change: (inout PackOptions) -> Void = { _ in }) -> String {
            var options = Self.options(tree.output, name)
            change(&options)
            let packer = try? Packer([DirectorySource(tree.source)], options: options)
            let error = #expect(throws: HeadraceError.self) { try packer?.run() }
            #expect(error?.code == .exists)
            return error?.message ?? ""
        }
        #expect(message { $0.order = .shuffled(seed: 4) }.contains("in another order"))
        // Files' times are those of the last tick of a clock.
        let victim = "\(tree.source)/s120.txt"
        let journal = "\(tree.output)/.headrace/\(name).run"
        let lines = try String(contentsOfFile: journal, encoding: .utf8).split(separator: "\n")
        let plan = try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as? [String: Any]
        let began = try #require(plan?["began"] as? Int)
        repeat { chmod(victim, 0o600) } while FileIdentity(victim)?.changeTime ?? .max <= began
        let told = message()
        #expect(told.contains("'\(victim)' was changed since") && told.contains("rights"), "\(told)")
    }

    @Test func repackedShardsResumeToo() throws {
        let tree = try makeTree()
        var packed = PackOptions(output: "\(tree.root)/shards/s-%d.tar.zst")
        packed.shardLimit = .samples(40)
        try tree.pack(packed)
        func options(_ output: String) -> PackOptions {
            var options = Self.options(output, "x-%02d.tfrecord.zst")
            options.order = .shuffled(seed: 5)
            return options
        }
        let words = ["\(tree.root)/shards/s-*.tar.zst"]
        _ = try Packer(try packSources(at: words), options: options("\(tree.root)/reference")).run()
        let packer = try Packer(try packSources(at: words), options: options(tree.output))
        _ = try? packer.run { if $0.shardCount > 4 { packer.cancel() } }
        let result = try Packer(try packSources(at: words), options: options(tree.output)).run()
        #expect(result.keptShardCount > 3)
        #expect(try digests(tree.output) == digests("\(tree.root)/reference"))
    }
}
