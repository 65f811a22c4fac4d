import Foundation
import HeadraceCore
import Testing

@testable import Headrace

/// What becomes of the old set where a run that is to replace it fails.
@Suite struct PackReplaceTests {
    /// A set in `output`, and the options that would replace it.
    private func oldSet(_ tree: PackTree) throws -> PackOptions {
        try tree.put("old/a.txt", "old")
        var options = tree.options("x-%d.tar")
        _ = try Packer([DirectorySource("\(tree.source)/old")], options: options).run()
        options.overwrite = true
        return options
    }

    private func contents(_ tree: PackTree) throws -> [String] {
        try tree.outputNames().map { "\($0) \(try tree.content("\(tree.output)/\($0)").sha256)" }
    }

    /// The temporary file of a run that puts compressed sources in another order is filled first.
    @Test func theOldSetOutlivesAFullTemporaryFile() async throws {
        let tree = try PackTree()
        let options = try oldSet(tree)
        let before = try contents(tree)
        try tree.put("t.txt", String(repeating: "a line of text\n", count: 40_000))
        guard try TextSourceTests.compress(tree, "t.txt", ".gz") else { return }
        await #expect(processExitsWith: .success) {
            [source = "\(tree.source)/t.txt.gz" as String, output = options.output as String] in
            var options = PackOptions(output: output)
            options.overwrite = true
            options.order = .shuffled(seed: 1)
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 300_000, rlim_max: 300_000)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            let error = #expect(throws: HeadraceError.self) {
                try Packer([TextSource([source])], options: options).run()
            }
            #expect(error?.code == .io && error?.message.contains("temporary file") == true)
            #expect(error?.message.contains("are gone") == false)
        }
        #expect(try contents(tree) == before && before.count == 3)
    }

    @Test func theOldSetOutlivesASourceThatIsGone() throws {
        let tree = try PackTree()
        let options = try oldSet(tree)
        let before = try contents(tree)
        try tree.put("new/a.txt", "new")
        let victim = "\(tree.source)/new/a.txt"
        let source = MeddlingSource(sources: [DirectorySource("\(tree.source)/new")]) { unlink(victim) }
        let error = #expect(throws: HeadraceError.self) { try Packer([source], options: options).run() }
        #expect(error?.code == .fileChanged && error?.place.shard == victim)
        #expect(error?.message.contains("are gone") == false)
        #expect(try contents(tree) == before && before.count == 3)
    }

    @Test func aRunThatFailsLaterSaysThatTheOldSetIsGone() throws {
        let tree = try PackTree()
        let options = try oldSet(tree)
        try tree.put("new/a.txt", "new")
        let victim = "\(tree.source)/new/a.txt"
        let source = MeddlingSource(sources: [DirectorySource("\(tree.source)/new")]) { truncate(victim, 1) }
        let error = #expect(throws: HeadraceError.self) { try Packer([source], options: options).run() }
        #expect(
            error?.code == .fileChanged && error?.message.contains("that were there before are gone") == true)
        #expect(tree.outputNames() == [".headrace/manifest.json"])
        // Where there was nothing to replace, nothing is said of it.
        let fresh = MeddlingSource(sources: [DirectorySource("\(tree.source)/new")]) { truncate(victim, 0) }
        let plain = #expect(throws: HeadraceError.self) { try Packer([fresh], options: options).run() }
        #expect(plain?.code == .fileChanged && plain?.message.contains("gone") == false)
    }
}
