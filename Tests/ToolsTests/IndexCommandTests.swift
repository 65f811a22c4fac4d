import Foundation
import Testing

/// `headrace index` as scripts see it.
struct IndexCommandTests {
    private static let script = """
        import tarfile, io, random, sys, os
        random.seed(7)
        for n in range(3):
            with tarfile.open(os.path.join(sys.argv[1], 'part-%03d.tar' % n), 'w', format=tarfile.PAX_FORMAT) as t:
                for i in range(40):
                    for e in ('cls', 'jpg'):
                        m = tarfile.TarInfo('%d-%04d.%s' % (n, i, e)); m.mtime = 1.5
                        m.size = random.choice([1, 600, 9000]); t.addfile(m, io.BytesIO(os.urandom(m.size)))
        """

    /// Three shards that tarfile has written; nil where there is no Python.
    private func shards() throws -> Scratch? {
        let scratch = try Scratch()
        guard findProgram("python3") != nil else { return nil }
        let made = try ToolProcess.run("/usr/bin/env", ["python3", "-c", Self.script, scratch.directory])
        #expect(made.status == 0, "\(made.error)")
        return scratch
    }

    private func index(_ scratch: Scratch, _ arguments: String...) throws -> ToolProcess {
        try ToolProcess.run(
            ToolProcess.path("headrace"), ["index"] + arguments, in: scratch.directory)
    }

    private func states(_ run: ToolProcess) throws -> [String] {
        try run.objects.map { $0["state"] as? String ?? "" }
    }

    @Test func itIsWrittenOnceAndKept() throws {
        guard let scratch = try shards() else { return }
        let before = try scratch.names().map { try Data(contentsOf: URL(fileURLWithPath: scratch.path($0))) }
        let first = try index(scratch, "-j", "part-{000..002}.tar")
        #expect(first.status == 0 && first.error.isEmpty, "\(first.error)")
        for (number, line) in try first.objects.enumerated() {
            #expect(line["schema"] as? String == "headrace.index/1")
            #expect(line["shard"] as? String == "part-00\(number).tar")
            #expect(line["index"] as? String == ".headrace/part-00\(number).tar.index")
            #expect(line["samples"] as? Int == 40 && line["seekable"] as? Bool == true)
        }
        #expect(try states(first) == ["written", "written", "written"])
        #expect(
            try states(try index(scratch, "-j", "part-*.tar", "--workers", "1")) == ["kept", "kept", "kept"])
        let words = try index(scratch, "part-*.tar")
        #expect(words.text == "3 of 3 shards indexed, 120 samples (3 up to date already)\n")
        let after = try scratch.names().filter { $0 != ".headrace" }
            .map { try Data(contentsOf: URL(fileURLWithPath: scratch.path($0))) }
        #expect(before == after, "shards are never touched")
        let verify = try ToolProcess.run(
            ToolProcess.path("headrace"), ["verify", "part-*.tar"], in: scratch.directory)
        #expect(verify.status == 0 && verify.error.isEmpty, "\(verify.error)")
        let manifest = try #require(
            try JSONSerialization.jsonObject(
                with: Data(contentsOf: URL(fileURLWithPath: scratch.path(".headrace/manifest.json"))))
                as? [String: Any])
        let sets = try #require(manifest["sets"] as? [[String: Any]])
        #expect(sets.count == 1 && sets[0]["pattern"] as? String == "part-*.tar")
        #expect(sets[0]["samples"] as? Int == 120)
    }

    @Test func whatDoesNotFitIsRebuiltOnRequest() throws {
        guard let scratch = try shards() else { return }
        #expect(try index(scratch, "part-000.tar", "part-001.tar").status == 0)
        try FileManager.default.removeItem(atPath: scratch.path("part-000.tar"))
        try FileManager.default.copyItem(
            atPath: scratch.path("part-002.tar"), toPath: scratch.path("part-000.tar"))
        let refused = try index(scratch, "-j", "part-000.tar", "part-001.tar")
        #expect(refused.status == 1)
        #expect(try states(refused) == ["failed", "kept"])
        #expect(refused.error.contains("--rebuild") && refused.error.contains("part-000.tar.index"))
        let rebuilt = try index(scratch, "-j", "--rebuild", "part-000.tar", "part-001.tar")
        #expect(rebuilt.status == 0, "\(rebuilt.error)")
        #expect(try states(rebuilt) == ["rebuilt", "kept"])
        let verify = try ToolProcess.run(
            ToolProcess.path("headrace"), ["verify", "part-000.tar", "part-001.tar"], in: scratch.directory)
        #expect(verify.status == 0, "\(verify.text)")
    }

    @Test func whatIsNoIndexOfOursIsNeverWrittenOver() throws {
        guard let scratch = try shards() else { return }
        try scratch.write([0x80, 4, 0x95], to: "ix/part-000.tar.index")
        for more in [[], ["--rebuild"]] {
            let run = try ToolProcess.run(
                ToolProcess.path("headrace"), ["index", "part-000.tar", "-o", "ix"] + more,
                in: scratch.directory)
            #expect(run.status == 2, "\(run.error)")
            #expect(run.error.contains("no index of headrace's"))
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.path("ix/part-000.tar.index"))).count == 3)
        #expect(try scratch.names(in: "ix") == ["part-000.tar.index"])
    }

    @Test func aFolderOfItsOwnLeavesTheShardsFolderAlone() throws {
        guard let scratch = try shards() else { return }
        let run = try index(scratch, "part-*.tar", "-o", "a/b", "--sha256")
        #expect(run.status == 0, "\(run.error)")
        #expect(try scratch.names() == ["a", "part-000.tar", "part-001.tar", "part-002.tar"])
        #expect(
            try scratch.names(in: "a/b")
                == ["manifest.json", "part-000.tar.index", "part-001.tar.index", "part-002.tar.index"])
        let manifest = try String(contentsOfFile: scratch.path("a/b/manifest.json"), encoding: .utf8)
        if let sums = findProgram("sha256sum") {
            let sum = try ToolProcess.run(sums, ["part-001.tar"], in: scratch.directory)
            #expect(manifest.contains(String(sum.text.prefix(64))))
        }
        try FileManager.default.createDirectory(
            atPath: scratch.path("other"), withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            atPath: scratch.path("part-000.tar"), toPath: scratch.path("other/part-000.tar"))
        let clash = try index(scratch, "part-000.tar", "other/part-000.tar", "-o", "a/b")
        #expect(clash.status == 64 && clash.error.contains("same name"))
    }

    @Test func damageHasItsPlaceOrIsLeftOut() throws {
        guard let scratch = try shards() else { return }
        var bytes = try Data(contentsOf: URL(fileURLWithPath: scratch.path("part-001.tar")))
        let key = try #require(bytes.range(of: Data("1-0020.cls".utf8), options: .backwards))
        bytes[key.lowerBound] ^= 1
        try bytes.write(to: URL(fileURLWithPath: scratch.path("part-001.tar")))
        let refused = try index(scratch, "part-*.tar")
        #expect(refused.status == 1)
        #expect(refused.error.contains("part-001.tar: byte ") && refused.error.contains("badHeader"))
        #expect(refused.text.contains("2 of 3 shards indexed") && refused.text.contains("1 FAILED"))
        #expect(!(try scratch.names(in: ".headrace").contains("part-001.tar.index")))
        let left = try index(scratch, "part-*.tar", "--on-defect", "skip", "-j")
        #expect(left.status == 0 && left.error.contains("left out"))
        let line = try left.objects[1]
        #expect(line["samples"] as? Int == 20 && line["left_out"] as? Int == 1)
        #expect(line["leaves_out_damage"] as? Bool == true)
        let manifest = try String(contentsOfFile: scratch.path(".headrace/manifest.json"), encoding: .utf8)
        #expect(!manifest.contains("part-001.tar"))
    }

    @Test func compressedShardsSayWhetherTheyCanBeReadAtRandom() throws {
        guard let scratch = try shards(), let gzip = findProgram("gzip") else { return }
        #expect(try ToolProcess.run(gzip, [scratch.path("part-000.tar")]).status == 0)
        let pack = try ToolProcess.run(
            ToolProcess.path("headrace"), ["pack", "part-001.tar", "-o", "z-%d.tar.zst", "-q"],
            in: scratch.directory)
        #expect(pack.status == 0)
        try FileManager.default.removeItem(atPath: scratch.path(".headrace"))
        let run = try index(scratch, "-j", "part-000.tar.gz", "z-0.tar.zst")
        #expect(run.status == 0)
        let lines = try run.objects
        #expect(lines.map { $0["seekable"] as? Bool } == [false, true])
        #expect(lines.map { $0["samples"] as? Int } == [40, 40])
        #expect(run.error.contains("headrace pack") && run.error.contains("part-000.tar.gz"))
        #expect(try index(scratch, "-q", "part-000.tar.gz").error.isEmpty)
    }

    @Test func dalisIndexHasTheOffsetsOfTarfile() throws {
        guard let scratch = try shards() else { return }
        let run = try index(scratch, "part-*.tar", "--export", "dali")
        #expect(run.status == 0, "\(run.error)")
        let script = """
            import tarfile, sys
            for n in range(3):
                with tarfile.open('part-%03d.tar' % n) as t:
                    members = [(m.name.split('.')[1], m.offset_data, m.size, m.name) for m in t]
                lines = open('part-%03d.idx' % n).read().splitlines()
                assert lines[0] == 'v1.2 40', lines[0]
                words = ' '.join(lines[1:]).split(' ')
                assert len(lines) == 41 and len(words) == 4 * len(members)
                for i, m in enumerate(members): assert words[4*i:4*i+4] == [str(x) for x in m], (i, m)
            print('same')
            """
        let check = try ToolProcess.run("/usr/bin/env", ["python3", "-c", script], in: scratch.directory)
        #expect(check.text == "same\n", "\(check.error)")
        // Again, with one that says otherwise in the way.
        #expect(try index(scratch, "part-000.tar", "--export", "dali").status == 0)
        try scratch.write("v1.2 0\n".utf8, to: "part-000.idx")
        #expect(try index(scratch, "part-000.tar", "--export", "dali").status == 2)
        #expect(try index(scratch, "part-000.tar", "--export", "dali", "--rebuild").status == 0)
        #expect(
            try String(contentsOfFile: scratch.path("part-000.idx"), encoding: .utf8).hasPrefix("v1.2 40\n"))
    }

    @Test func widsGetsCountsSizesAndMD5() throws {
        guard let scratch = try shards() else { return }
        let run = try index(scratch, "part-*.tar", "--export", "wids", "-o", "ix")
        #expect(run.status == 0, "\(run.error)")
        let script = """
            import json, hashlib, os
            d = json.load(open('ix/shardindex.json'))
            assert d['__kind__'] == 'wids-shard-index-v1' and d['wids_version'] == 1
            assert [s['url'] for s in d['shardlist']] == ['../part-%03d.tar' % n for n in range(3)], d
            for s in d['shardlist']:
                b = open(os.path.join('ix', s['url']), 'rb').read()
                assert s['nsamples'] == 40 and s['filesize'] == len(b) and s['md5sum'] == hashlib.md5(b).hexdigest()
            print('same')
            """
        let check = try ToolProcess.run("/usr/bin/env", ["python3", "-c", script], in: scratch.directory)
        #expect(check.text == "same\n", "\(check.error)")
        try scratch.write([], to: "e.tfrecord")
        let refused = try index(scratch, "e.tfrecord", "--export", "wids", "-o", "ix2")
        #expect(refused.status == 1 && refused.error.contains("plain tar"))
        #expect(!(try scratch.names(in: "ix2").contains("shardindex.json")))
    }

    @Test func anInterruptLeavesNoHalfIndex() throws {
        guard let scratch = try shards() else { return }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ToolProcess.path("headrace"))
        process.arguments = ["index", "part-*.tar", "--export", "wids"]
        process.currentDirectoryURL = URL(fileURLWithPath: scratch.directory)
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        ToolProcess.waitUntilItHearsSignals(process)
        kill(process.processIdentifier, SIGINT)
        ToolProcess.waitUntilItEnds(process)
        // It may have been done before the signal came.
        #expect([0, 130].contains(process.terminationStatus))
        let names = (try? scratch.names(in: ".headrace")) ?? []
        #expect(!names.contains { $0.hasSuffix(".partial") }, "\(names)")
        #expect(try index(scratch, "part-*.tar").status == 0)
    }

    @Test func wrongWordsAreUsageErrors() throws {
        let scratch = try Scratch()
        try scratch.write([], to: "e.tfrecord")
        for words in [["--workers", "0"], ["--export", "ffcv"], ["--on-defect", "maybe"], ["-o", ""]] {
            let run = try ToolProcess.run(
                ToolProcess.path("headrace"), ["index", "e.tfrecord"] + words, in: scratch.directory)
            #expect(run.status == 64, "\(words): \(run.error)")
        }
        #expect(try index(scratch, "nothing.tar").status == 2)
        #expect(try index(scratch, "e.tfrecord", "e.tfrecord").status == 64)
    }
}
