import Foundation
import HeadraceCore
import HeadraceFormats
import HeadraceStorage
import Testing

@testable import Headrace

@Suite struct PackFaultTests {
    /// What a run that fails before it begins must leave: nothing.
    private func expectRefusal(
        _ tree: PackTree, _ code: HeadraceError.Code, sources: [any PackSource]? = nil,
        _ change: (inout PackOptions) -> Void = { _ in }, at location: SourceLocation = #_sourceLocation
    ) throws {
        var options = tree.options("x-%d.tar")
        change(&options)
        let error = #expect(throws: HeadraceError.self, sourceLocation: location) {
            try Packer(sources ?? [DirectorySource(tree.source)], options: options).run()
        }
        #expect(error?.code == code, "\(error.map(\.description) ?? "")", sourceLocation: location)
        #expect(tree.outputNames().filter { !$0.hasPrefix(".headrace/") } == [], sourceLocation: location)
    }

    @Test func namesThatWouldNotComeBackAreRefused() throws {
        for name in [
            "__meta__/a.json", "__a.b__", "x.", "x.__key__", "x.__URL__", "d/y.__url__", "n\nl/x.d/a.txt",
            "x.n\nl/a.txt",
        ] {
            let tree = try PackTree()
            try tree.put("good.txt", "fine")
            try tree.put(name, "bad")
            try expectRefusal(tree, .badName)
        }
        let tree = try PackTree()
        try tree.put("good.txt", "fine")
        let path = Array(tree.source.utf8CString.dropLast()) + [0x2F, -1, -2, 0x2E, 0x61, 0]
        let descriptor = open(path, O_CREAT | O_WRONLY, 0o600)
        #expect(descriptor >= 0)
        close(descriptor)
        try expectRefusal(tree, .badName)
    }

    @Test func allBadNamesAreTold() throws {
        let tree = try PackTree()
        for number in 0..<7 { try tree.put("\(number).", "bad") }
        let error = #expect(throws: HeadraceError.self) { try tree.pack(tree.options("x.tar")) }
        #expect(error?.message.contains("and 6 more") == true, "\(error.map(\.description) ?? "")")
    }

    @Test func duplicatesAreRefused() throws {
        let tree = try PackTree()
        try tree.put("a.jpg", "1")
        try tree.put("a.JPG", "2")
        try expectRefusal(tree, .duplicateField)
        let other = try PackTree()
        try other.put("a.jpg", "1")
        let both: [any PackSource] = [DirectorySource(other.source), DirectorySource(other.source)]
        try expectRefusal(other, .duplicateKey, sources: both)
    }

    @Test func composedAndDecomposedLettersAreTwoKeys() throws {
        let tree = try PackTree()
        try tree.put("e\u{301}.txt", "decomposed")
        try tree.put("\u{e9}.txt", "composed")
        #expect(try tree.pack(tree.options("x.tar")).summary.sampleCount == 2)
    }

    @Test func nothingToPackIsAnError() throws {
        let tree = try PackTree()
        try expectRefusal(tree, .notFound)
        try tree.put("README", [1], isSample: false)
        try expectRefusal(tree, .notFound)
        try expectRefusal(tree, .notFound, sources: [DirectorySource("\(tree.root)/missing")])
        try FileManager.default.createSymbolicLink(
            atPath: "\(tree.source)/dangling.txt", withDestinationPath: "nowhere")
        try expectRefusal(tree, .notFound)
    }

    @Test func existingOutputsAreKeptUnlessReplaced() throws {
        let tree = try PackTree()
        for number in 0..<6 { try tree.put("s\(number).bin", [1, 2, 3]) }
        var options = tree.options("x-%d.tar")
        options.shardLimit = .samples(1)
        try tree.pack(options)
        let before = tree.outputNames()
        #expect(before.count == 6 + 6 + 1)
        let error = #expect(throws: HeadraceError.self) { try tree.pack(options) }
        #expect(error?.code == .exists)
        #expect(tree.outputNames() == before)
        // Fewer shards than before: none of the old may remain beside the new.
        options.shardLimit = .samples(3)
        options.overwrite = true
        let result = try tree.pack(options)
        #expect(tree.outputNames().filter { $0.hasSuffix(".tar") } == ["x-0.tar", "x-1.tar"])
        #expect(tree.outputNames().filter { $0.hasSuffix(".index") }.count == 2)
        #expect(try Manifest.read(result.manifestPath).sets[0].shards.count == 2)
        // A stray shard of the pattern, a stray index, and a manifest that cannot be trusted all stop a run.
        for stray in ["y-7.tar", ".headrace/y-7.tar.index"] {
            try Data([1]).write(to: URL(fileURLWithPath: "\(tree.output)/\(stray)"))
            let error = #expect(throws: HeadraceError.self) { try tree.pack(tree.options("y-%d.tar")) }
            #expect(error?.code == .exists)
            try FileManager.default.removeItem(atPath: "\(tree.output)/\(stray)")
        }
        try Data("{".utf8).write(to: URL(fileURLWithPath: result.manifestPath))
        let damaged = #expect(throws: HeadraceError.self) { try tree.pack(options) }
        #expect(damaged?.code == .indexMismatch)
        #expect(tree.outputNames().filter { $0.hasSuffix(".tar") } == ["x-0.tar", "x-1.tar"])
    }

    @Test func shardsAreNotPackedIntoThemselves() throws {
        let tree = try PackTree()
        try tree.put("a.txt", "a")
        var options = tree.options("x-%d.tar")
        try tree.pack(options)
        #expect(link("\(tree.output)/x-0.tar", "\(tree.source)/linked.tar") == 0)
        options.overwrite = true
        let error = #expect(throws: HeadraceError.self) { try tree.pack(options) }
        #expect(error?.code == .usage && error?.place.shard == "\(tree.source)/linked.tar")
    }

    @Test(arguments: ["shrink", "grow", "touch", "remove", "replace by directory"])
    func changedFilesAreNoticed(how: String) throws {
        let tree = try PackTree()
        for number in 0..<20 { try tree.put("s\(number + 10).bin", Array(repeating: 1, count: 3000)) }
        let victim = "\(tree.source)/s25.bin"
        let source = MeddlingSource(sources: [DirectorySource(tree.source)]) {
            switch how {
            case "shrink": truncate(victim, 2999)
            case "grow": truncate(victim, 3001)
            case "touch": utimes(victim, [timeval(tv_sec: 1, tv_usec: 0), timeval(tv_sec: 1, tv_usec: 0)])
            case "remove": unlink(victim)
            default:
                unlink(victim)
                mkdir(victim, 0o700)
            }
        }
        var options = tree.options("x-%d.tar.zst")
        options.shardLimit = .samples(10)
        let error = #expect(throws: HeadraceError.self) { try Packer([source], options: options).run() }
        #expect(error?.code == (how == "replace by directory" ? .io : .fileChanged))
        #expect(error?.place.shard == victim && error?.place.key == "s25" && error?.place.field == "bin")
        // Nothing of the shard that the file belongs to, no manifest, no temporary file.
        // What was finished before stays, with the journal that lets a run be resumed.
        for name in tree.outputNames() {
            #expect(name.contains("x-0.tar.zst") || name.hasSuffix(".run"), "\(name)")
        }
    }

    @Test func unreadableFilesAreNamed() async throws {
        let tree = try PackTree()
        try tree.put("a.txt", "secret")
        chmod("\(tree.source)/a.txt", 0)
        chmod(tree.root, 0o777)
        await #expect(processExitsWith: .success) {
            [source = tree.source as String, output = tree.output as String] in
            // Root reads everything: go on as nobody.
            if getuid() == 0 { #expect(setuid(65534) == 0) }
            let error = #expect(throws: HeadraceError.self) {
                try Packer([DirectorySource(source)], options: PackOptions(output: "\(output)/x.tar")).run()
            }
            #expect(error?.code == .io && error?.place.shard == "\(source)/a.txt")
            #expect(error?.cause?.contains("EACCES") == true)
        }
        #expect(tree.outputNames() == [])
    }

    @Test func aFullDiskLeavesNothingHalfWritten() async throws {
        let tree = try PackTree()
        try tree.fillAtRandom(seed: 5, samples: 40, largest: 100_000)
        await #expect(processExitsWith: .success) {
            [source = tree.source as String, output = tree.output as String] in
            // A limit on file sizes is the full disk that needs no privileges: a write that comes back short.
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 300_000, rlim_max: 300_000)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            let error = #expect(throws: HeadraceError.self) {
                try Packer([DirectorySource(source)], options: PackOptions(output: "\(output)/x.tar")).run()
            }
            #expect(error?.code == .io && error?.cause?.contains("EFBIG") == true)
        }
        #expect(tree.outputNames() == [])
    }

    @Test func cancellingRemovesWhatIsUnfinished() throws {
        let tree = try PackTree()
        for number in 0..<400 { try tree.put("s\(number + 1000).bin", Array(repeating: 1, count: 3000)) }
        var options = tree.options("x-%d.tar.zst")
        options.frameByteCount = 16 << 10
        options.shardLimit = .samples(100)
        // Workers run ahead of what is written; many would have begun the last shard before the cancellation.
        options.workers = 2
        let packer = try Packer([DirectorySource(tree.source)], options: options)
        let error = #expect(throws: HeadraceError.self) {
            try packer.run { if $0.sampleCount > 150 { packer.cancel() } }
        }
        #expect(error?.code == .packCancelled)
        let names = tree.outputNames()
        #expect(!names.contains { AtomicFile.isTemporary(($0 as NSString).lastPathComponent) })
        #expect(!names.contains(".headrace/manifest.json") && !names.contains("x-3.tar.zst"))
    }

    /// Killed at any moment, a run leaves only whole files under final names, and a second run ends it.
    @Test(arguments: [
        0, 200, 700, 1500, 3000, 5000, 8000, 12_000, 17_000, 24_000, 33_000, 45_000, 60_000, 90_000,
    ])
    func killedAtAnyMomentItLeavesOnlyWholeFiles(microseconds: Int) async throws {
        let tree = try PackTree()
        for number in 0..<150 {
            try tree.put(
                "s\(number + 100).txt",
                Array("sample \(number) ".utf8) + Array(repeating: 65, count: number * 40))
        }
        let reference = "\(tree.root)/reference"
        var options = PackOptions(output: "\(reference)/x-%02d.tar.zst")
        options.shardLimit = .samples(10)
        options.frameByteCount = 16 << 10
        options.workers = 2
        let whole = try tree.pack(options)
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [
                source = tree.source as String, output = tree.output as String,
                microseconds = microseconds as Int
            ] in
            var options = PackOptions(output: "\(output)/x-%02d.tar.zst")
            options.shardLimit = .samples(10)
            options.frameByteCount = 16 << 10
            options.workers = 2
            Foundation.Thread.detachNewThread {
                usleep(useconds_t(microseconds))
                kill(getpid(), SIGKILL)
            }
            _ = try Packer([DirectorySource(source)], options: options).run()
            while true { sleep(1) }
        }
        let names = tree.outputNames()
        for shard in whole.shards where names.contains(shard.name) {
            #expect(try tree.content("\(tree.output)/\(shard.name)").sha256 == shard.sha256)
        }
        for name in names where name.hasSuffix(".index") {
            let index = try ShardIndex.read("\(tree.output)/\(name)")
            try index.verifyChecksum()
            #expect(try tree.content("\(tree.output)/\(name)") == tree.content("\(reference)/\(name)"))
        }
        if names.contains(".headrace/manifest.json") {
            #expect(names.filter { $0.hasSuffix(".tar.zst") }.count == whole.shards.count)
            #expect(
                try tree.content("\(tree.output)/.headrace/manifest.json") == tree.content(whole.manifestPath)
            )
        }
        options.output = "\(tree.output)/x-%02d.tar.zst"
        options.overwrite = true
        let again = try tree.pack(options)
        #expect(again.shards == whole.shards)
        // What the killed run left under temporary names is told.
        #expect(again.summary.leftovers.count == names.filter { $0.hasSuffix(".partial") }.count)
    }
}
