import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// `resume` where nothing is left to do.
@Suite struct PackFinishedTests {
    private func options(_ tree: PackTree, _ name: String) -> PackOptions {
        var options = tree.options(name)
        options.shardLimit = .samples(9)
        if name.hasSuffix(".zst") { options.frameByteCount = 16 << 10 }
        options.resume = true
        return options
    }

    /// Samples of one size each: nothing but their bytes tells their order.
    private func makeTree() throws -> PackTree {
        let tree = try PackTree()
        for number in 0..<40 {
            try tree.put("s\(number + 10).bin", (0..<700).map { UInt8(truncatingIfNeeded: $0 * number) })
        }
        return tree
    }

    private func state(_ tree: PackTree) throws -> [String] {
        try tree.outputNames().map { name in
            let status = try FileManager.default.attributesOfItem(atPath: "\(tree.output)/\(name)")
            return "\(name) \(status[.size]!) \(status[.systemFileNumber]!) \(status[.modificationDate]!)"
        }
    }

    private func refusal(
        _ tree: PackTree, _ source: any PackSource, _ options: PackOptions
    ) throws -> String {
        let before = try state(tree)
        let packer = try Packer([source], options: options)
        let error = #expect(throws: HeadraceError.self) { try packer.run() }
        let planned = #expect(throws: HeadraceError.self) { try packer.plan() }
        #expect(error?.code == .exists && planned?.code == .exists)
        #expect(try state(tree) == before)
        let message = error?.message ?? ""
        // To throw the set away is the last thing to be thought of.
        let advice = message.range(of: "choose another name")?.lowerBound ?? message.endIndex
        #expect(message.range(of: "--overwrite").map { $0.lowerBound > advice } ?? false, "\(message)")
        return message
    }

    @Test(
        arguments: ["x-%02d.tar", "x-%02d.tar.zst", "x-%02d.tfrecord.lz4"],
        [PackOrder.asFound, .shuffled(seed: 3)])
    func aFinishedSetIsDone(name: String, order: PackOrder) throws {
        let tree = try makeTree()
        var options = options(tree, name)
        options.order = order
        let first = try Packer([DirectorySource(tree.source)], options: options).run()
        #expect(!first.wasFinished && first.keptShardCount == 0)
        let before = try state(tree)
        let packer = try Packer([DirectorySource(tree.source)], options: options)
        #expect(try packer.plan() == first.summary)
        let second = try packer.run()
        #expect(second.wasFinished && second.keptShardCount == 5)
        #expect(second.shards == first.shards && second.summary == first.summary)
        #expect(try state(tree) == before)
    }

    /// Compressed sources in another order need their temporary file to be looked at.
    @Test func aFinishedSetOfCompressedSourcesIsDone() throws {
        let tree = try makeTree()
        try tree.pack(PackOptions(output: "\(tree.root)/shards/s-%d.tar.zst"))
        let words = ["\(tree.root)/shards/s-0.tar.zst"]
        var options = options(tree, "x-%02d.tfrecord.zst")
        options.order = .shuffled(seed: 5)
        let first = try Packer(try packSources(at: words), options: options).run()
        let second = try Packer(try packSources(at: words), options: options).run()
        #expect(second.wasFinished && second.shards == first.shards)
        options.order = .shuffled(seed: 6)
        let other = try Packer(try packSources(at: words), options: options)
        let error = #expect(throws: HeadraceError.self) { try other.run() }
        #expect(error?.code == .exists && error?.message.contains("another order") == true)
    }

    @Test func anotherSetIsRefusedWithTheReason() throws {
        let tree = try makeTree()
        let source = DirectorySource(tree.source)
        let options = options(tree, "x-%02d.tar.zst")
        _ = try Packer([source], options: options).run()
        func refusal(_ change: (inout PackOptions) -> Void) throws -> String {
            var changed = options
            change(&changed)
            return try self.refusal(tree, source, changed)
        }
        #expect(try refusal { $0.level = 5 }.contains("level 3, this run 5"))
        #expect(try refusal { $0.frameByteCount = 20_000 }.contains("frame_bytes 16384, this run 20000"))
        #expect(try refusal { $0.shardLimit = .samples(8) }.contains("'x-00.tar.zst' has 9 samples"))
        #expect(try refusal { $0.shardLimit = .samples(41) }.contains("shards 5, this run 1"))
        #expect(try refusal { $0.order = .shuffled(seed: 4) }.contains("in another order"))
        let content = try tree.content("\(tree.source)/s30.bin")
        try tree.put("s30.bin", [UInt8](repeating: 1, count: 2000))
        #expect(try refusal { _ in }.contains("'x-02.tar.zst' has 9 samples"))
        try tree.put("s30.bin", [UInt8](repeating: 1, count: content.count))
        #expect(try refusal { _ in }.contains("x-02.tar.zst' begins with"))
        try tree.put("s30.bin", content)
        #expect(try refusal { _ in }.contains("s30.bin' was changed after"))
        try tree.put("new.bin", [1])
        #expect(try refusal { _ in }.contains("samples 40, this run 41"))
    }

    @Test(arguments: ["remove", "cut", "index"])
    func aSetThatLostSomethingIsNotDone(how: String) throws {
        let tree = try makeTree()
        let options = options(tree, "x-%02d.tar")
        _ = try Packer([DirectorySource(tree.source)], options: options).run()
        let shard = "\(tree.output)/x-03.tar"
        switch how {
        case "remove": unlink(shard)
        case "cut": truncate(shard, 512)
        default: unlink("\(tree.output)/.headrace/x-03.tar.index")
        }
        #expect(try refusal(tree, DirectorySource(tree.source), options).contains("x-03.tar"))
    }
}
