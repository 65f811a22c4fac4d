import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// Places that shards cannot be written to, and sources that cannot be read twice, are refused at once.
@Suite struct PackPlaceTests {
    private func refusal(
        _ sources: [any PackSource], _ output: String, isDry: Bool
    ) -> HeadraceError? {
        #expect(throws: HeadraceError.self, "\(output)") {
            let packer = try Packer(sources, options: PackOptions(output: output))
            if isDry { _ = try packer.plan() } else { _ = try packer.run() }
        }
    }

    @Test func aDryRunRefusesFoldersThatCannotBeMade() throws {
        let tree = try PackTree()
        try tree.put("a.txt", "a")
        try tree.put("../file", "no folder")
        let sources = [DirectorySource(tree.source)]
        for folder in ["/proc/headrace", "/sys/headrace/deep", "\(tree.root)/file", "\(tree.root)/file/deep"]
        {
            for isDry in [true, false] {
                #expect(refusal(sources, "\(folder)/x.tar", isDry: isDry)?.code == .io, "\(folder) \(isDry)")
            }
        }
        // What is not there yet and can be made is no reason, and stays what it is.
        var options = tree.options("deep/deeper/x.tar")
        #expect(try Packer(sources, options: options).plan().sampleCount == 1)
        #expect(!FileManager.default.fileExists(atPath: tree.output))
        options.output = "x.tar"
        #expect(try Packer(sources, options: options).plan().sampleCount == 1)
    }

    @Test(arguments: [true, false])
    func outputsInASourceAreRefused(isDry: Bool) throws {
        let tree = try PackTree()
        try tree.put("d/a.txt", "a")
        let alias = "\(tree.root)/alias"
        #expect(symlink(tree.source, alias) == 0)
        for folder in [tree.source, "\(tree.source)/d", "\(tree.source)/new/deep", alias, "\(alias)/d/new"] {
            let error = refusal([DirectorySource(tree.source)], "\(folder)/x-%d.tar", isDry: isDry)
            #expect(error?.code == .usage && error?.message.contains("'\(tree.source)'") == true, "\(folder)")
        }
        #expect(FileManager.default.subpaths(atPath: tree.source)?.sorted() == ["d", "d/a.txt"])
        // A folder of shards is a source of all that is in it.
        try tree.pack(tree.options("x.tar"))
        let shards = try packSources(at: [tree.output])
        #expect(refusal(shards, "\(tree.output)/y-%d.tar", isDry: isDry)?.code == .usage)
        // Given one by one they are not.
        let one = try packSources(at: ["\(tree.output)/x.tar"])
        #expect(try Packer(one, options: tree.options("y-%d.tar")).plan().sampleCount == 1)
        // What begins with a dot is no sample.
        for folder in [".x", "d/.x/y"] {
            let options = PackOptions(output: "\(tree.source)/\(folder)/x.tar")
            let packer = try Packer([DirectorySource(tree.source)], options: options)
            #expect(try isDry ? packer.plan().sampleCount == 1 : packer.run().summary.sampleCount == 1)
        }
    }

    @Test func pipesAreRefusedWithAdvice() throws {
        let tree = try PackTree()
        let pipe = "\(tree.source)/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        for path in [pipe, "-"] {
            let error = #expect(throws: HeadraceError.self) { try packSources(at: [path]) }
            #expect(error?.code == .usage && error?.message.contains("to a file first") == true, "\(path)")
        }
    }
}
