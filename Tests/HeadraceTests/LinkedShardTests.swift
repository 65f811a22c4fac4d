import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// A shard that is reached through a link is the shard: what its manifest promises holds for it.
@Suite struct LinkedShardTests {
    /// Two shards of five samples, the second cut between two members, and a link to it in another folder.
    private func tree() throws -> (tree: PackTree, link: String) {
        let tree = try PackTree()
        for number in 0..<10 { try tree.put("s\(number).txt", "text \(number)") }
        var options = tree.options("t-%d.tar")
        options.shardLimit = .samples(5)
        try tree.pack(options)
        let shard = "\(tree.output)/t-1.tar"
        #expect(truncate(shard, 3 * 1024) == 0)
        let link = "\(tree.root)/other.tar"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "out/t-1.tar")
        return (tree, link)
    }

    @Test func verifyFindsTheCut() throws {
        let (tree, link) = try tree()
        for path in [link, "\(tree.output)/t-1.tar"] {
            let verdict = ShardVerifier(path, sidecars: ShardSidecars(), memory: .mebibytes(64)).verify()
            #expect(!verdict.isSound, "\(path)")
        }
    }

    @Test func theLoaderFindsTheCut() throws {
        let (tree, link) = try tree()
        defer { withExtendedLifetime(tree) {} }
        let loader = try Dataset(link).batched(2).loader()
        let error = #expect(throws: HeadraceError.self) { while try loader.next() != nil {} }
        #expect(error?.code.category == .data)
        #expect(error?.message.contains("the manifest lists 5 samples") == true, "\(error!)")
    }

    @Test func aVerificationEndsWhereThereAreNoSamples() throws {
        let tree = try PackTree()
        try tree.put("zeros.tar", "")
        let path = "\(tree.source)/zeros.tar"
        #expect(truncate(path, 60 << 30) == 0)
        let verdict = ShardVerifier(
            path, sidecars: ShardSidecars(), memory: .mebibytes(64), isCancelled: { true }
        ).verify()
        #expect(!verdict.isComplete)
    }

    @Test(arguments: ["../x", "a/../../x", ".."]) func keysStayInTheirFolder(key: String) throws {
        let tree = try PackTree()
        try tree.put("t.jsonl", "{\"id\":\"\(key)\"}\n")
        let error = #expect(throws: HeadraceError.self) {
            try TextSourceTests.pack(tree, ["t.jsonl"]) { source, _ in source.keyField = "id" }
        }
        #expect(error?.code == .badName, "\(error!)")
    }

    @Test func whereNothingIsLeftTheDamageIsNamed() throws {
        let tree = try PackTree()
        try tree.put("t.csv", "x,y\n\"b\n")
        let error = #expect(throws: HeadraceError.self) {
            try TextSourceTests.pack(tree, ["t.csv"]) { _, options in options.onDefect = .skip(limit: .max) }
        }
        #expect(error?.code == .tooManyDefects && error?.cause?.contains("t.csv") == true, "\(error!)")
    }

    @Test func anOutputBehindAMissingFolderIsNamedDirectly() throws {
        let tree = try PackTree()
        try tree.put("a.txt", "a")
        let options = PackOptions(output: "\(tree.root)/new/../in/out/t.tar")
        let error = #expect(throws: HeadraceError.self) {
            try Packer(try packSources(at: [tree.source]), options: options).run()
        }
        #expect(error?.code == .usage)
        #expect(!FileManager.default.fileExists(atPath: "\(tree.source)/out"))
    }
}
