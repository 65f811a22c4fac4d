import HeadraceCore
import HeadraceFormats
import Testing

/// The rules of formats, one by one, on archives made for the purpose.
struct TarRuleTests {
    private func scan(limits: FormatLimits = FormatLimits(), _ build: (inout TarBuilder) -> Void)
        -> ScannedShard
    {
        var tar = TarBuilder()
        build(&tar)
        tar.end()
        return scanEveryWay(tar.bytes, .tar, limits: limits)
    }

    private func keys(_ shard: ScannedShard) -> [String] {
        shard.samples.map { String(decoding: $0.key, as: UTF8.self) }
    }

    private func fields(_ shard: ScannedShard) -> [[String]] { shard.samples.map { $0.fields.map(\.name) } }

    @Test func keyAndFieldSplitAtTheBaseNamesFirstDot() {
        let shard = scan { tar in
            for name in [
                "a.b/c.d/x.seg.png", "./a/x.jpg", "/abs/x.jpg", "../up.jpg", "x.tar.gz", "x y\n.JPG", "x.",
            ] {
                tar.add(name, text: "1")
            }
        }
        #expect(keys(shard) == ["a.b/c.d/x", "./a/x", "/abs/x", "../up", "x", "x y\n", "x"])
        #expect(
            fields(shard) == [["seg.png"], ["jpg"], ["jpg"], ["jpg"], ["tar.gz"], ["jpg"], [""]])
    }

    @Test func passedOverMembersDoNotEndTheSample() {
        let shard = scan { tar in
            tar.add("a.jpg", text: "1")
            for name in [
                "README", "a/README", "a.b/c", ".hidden", "._a.jpg", "dir/.hidden", "__info__",
                "__m__/a.json",
            ] {
                tar.add(name, text: "22")
            }
            tar.add("d/", type: "5")
            tar.add("l", type: "2")
            tar.add("h", type: "1")
            tar.add("p", type: "6")
            tar.add("a.cls", text: "3")
            tar.add("__top__.json", text: "4")
            tar.add("sub/__meta__/a.json", text: "5")
        }
        #expect(keys(shard) == ["a", "__top__", "sub/__meta__/a"])
        #expect(fields(shard).first == ["jpg", "cls"])
        #expect(
            shard.account.ignored == [
                "unmatchedNames": 3, "hiddenMembers": 3, "metaMembers": 2, "directories": 1, "links": 2,
                "specialFiles": 1,
            ])
        #expect(shard.account.bytesIgnored == 8 * 1024 + 4 * 512)
        #expect(shard.account.members == 16)
    }

    @Test func aKeyThatReturnsIsANewSample() {
        let shard = scan { tar in
            for name in ["x.jpg", "y.jpg", "x.cls"] { tar.add(name, text: "1") }
        }
        #expect(keys(shard) == ["x", "y", "x"])
        #expect(shard.defects.isEmpty)
    }

    @Test(arguments: [
        ["x.jpg", "x.JPG"], ["x.__key__", "x.a"], ["x.a", "x.__URL__"], ["x.a", "x.b", "x.a"],
    ])
    func duplicateAndReservedFieldsSpoilTheirSampleOnly(_ names: [String]) {
        let shard = scan { tar in
            tar.add("a.jpg", text: "1")
            for name in names { tar.add(name, text: "2") }
            tar.add("z.jpg", text: "3")
        }
        #expect(keys(shard) == ["a", "x", "z"])
        #expect(shard.samples.map { $0.defect != nil } == [false, true, false])
        #expect(shard.defects.map(\.code) == [.duplicateField])
        #expect(shard.defects[0].place.key == "x")
        #expect(shard.account.bytesLost == names.count * 1024)
    }

    @Test func sparseMembersAreRefusedWhateverTheirForm() {
        let shard = scan { tar in
            tar.add(Array("a.img".utf8), [1, 2, 3], type: UInt8(ascii: "S"), magic: .gnu)
            tar.pax([("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "b.img")])
            tar.add("GNUSparseFile.0/b.img", text: "1\n0\n")
            tar.pax([("SUN.holesdata", " 0 10")])
            tar.add("c.img", text: "1")
            tar.add("d.img", text: "1")
        }
        #expect(keys(shard) == ["a", "b", "c", "d"])
        #expect(shard.defects.map(\.code) == [.sparseMember, .sparseMember, .sparseMember])
        #expect(shard.defects.map(\.place.field) == ["img", "img", "img"])
    }

    @Test func oldGnuSparseMapsOfSeveralBlocksAreFollowed() {
        var tar = TarBuilder()
        tar.add(Array("a.img".utf8), [], type: UInt8(ascii: "S"), magic: .gnu, size: 512) { $0[482] = 1 }
        var block = [UInt8](repeating: 9, count: 512)
        tar.bytes += block
        block[504] = 0
        tar.bytes += block + [UInt8](repeating: 7, count: 512)
        tar.add("b.img", text: "1")
        tar.end()
        let shard = scanEveryWay(tar.bytes, .tar)
        #expect(keys(shard) == ["a", "b"])
        #expect(shard.defects.map(\.code) == [.sparseMember])
    }

    @Test func namesAndSizesComeFromWhereverTarPutsThem() {
        let long = String(repeating: "d/", count: 90) + "long.txt"
        let shard = scan { tar in
            tar.pax([("path", long), ("size", "3"), ("mtime", "1.5")])
            tar.add(Array("short".utf8), [1, 2, 3], size: 0)
            tar.longName(Array((long + "2").utf8))
            tar.add("short", text: "4444")
            tar.add(Array("x.bin".utf8), [1, 2, 3, 4, 5], type: 0, magic: .none)
            tar.add(Array("p.bin".utf8), [1]) { $0.replaceSubrange(345..<350, with: Array("pre/f".utf8)) }
            tar.add(Array("b.bin".utf8), [1, 2]) {
                $0.replaceSubrange(124..<136, with: [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
            }
            tar.add(Array("s.bin".utf8), [1, 2]) {
                $0.replaceSubrange(124..<136, with: Array("          2 ".utf8))
            }
            tar.add(Array("h\u{E9}.bin".utf8), [1, 2], signedChecksum: true)
            tar.add(Array("c.bin".utf8), [1, 2, 3], type: UInt8(ascii: "7"))
        }
        #expect(shard.defects.isEmpty, "\(shard.defects)")
        let stem = String(long.dropLast(4))
        #expect(keys(shard) == [stem, "x", "pre/f/p", "b", "s", "h\u{E9}", "c"])
        #expect(shard.samples.map { $0.fields.map(\.length) } == [[3, 4], [5], [1], [2], [2], [2], [3]])
    }

    @Test func globalRecordsHoldUntilTheyAreReplaced() {
        let shard = scan { tar in
            tar.add("a.x", text: "1")
            tar.pax([("comment", "nothing")], type: "g")
            tar.add("a.y", text: "1")
            tar.pax([("path", "g.z")], type: "g")
            tar.add("b.y", text: "22")
            tar.pax([("path", "local.z")])
            tar.add("c.y", text: "333")
            tar.pax([("path", "g2.z")], type: "g")
            tar.add("d.y", text: "4444")
        }
        #expect(keys(shard) == ["a", "g", "local", "g2"])
        #expect(fields(shard)[0] == ["x", "y"])
        #expect(shard.samples.map { $0.fields.last?.length } == [1, 2, 3, 4])
    }

    @Test func whatFollowsTheEndIsCounted() {
        var tar = TarBuilder()
        tar.add("a.x", text: "1")
        tar.end(blocks: 5)
        let good = tar.bytes.count
        tar.add("b.x", text: "2")
        tar.end()
        let shard = scanEveryWay(tar.bytes, .tar)
        #expect(keys(shard) == ["a"])
        #expect(shard.defects.isEmpty)
        #expect(shard.account.ignored["dataAfterEnd"] == tar.bytes.count - good)
    }

    @Test func anArchiveWithoutEndMarkerIsReadAndReported() {
        var tar = TarBuilder()
        tar.add("a.x", text: "1")
        var shard = scanEveryWay(tar.bytes, .tar)
        #expect(keys(shard) == ["a"] && shard.defects.isEmpty)
        #expect(shard.account.ignored["missingEndOfArchive"] == 1)
        tar.end(blocks: 1)
        shard = scanEveryWay(tar.bytes, .tar)
        #expect(shard.defects.isEmpty && shard.account.ignored.isEmpty)
    }

    @Test func anEmptyFileIsNoArchiveButAnEmptyArchiveIs() {
        #expect(scanEveryWay([], .tar).defects.map(\.code) == [.truncated])
        let shard = scan { _ in }
        #expect(shard.samples.isEmpty && shard.account.ignored.isEmpty)
    }

    @Test func aWipedHeaderIsADefectAndNotTheEnd() {
        var tar = TarBuilder()
        for index in 0..<4 {
            tar.add("\(index).x", text: "1")
            tar.add("\(index).y", text: "2")
        }
        tar.end()
        tar.bytes.replaceSubrange(4096..<4608, with: [UInt8](repeating: 0, count: 512))
        let shard = scanEveryWay(tar.bytes, .tar)
        #expect(keys(shard) == ["0", "1", ""])
        #expect(shard.defects.map(\.code) == [.badHeader])
        #expect(shard.defects[0].place.offset == 4096)
        #expect(shard.isEnded)
    }

    @Test func largePayloadsThatNobodyWantsAreNotAskedFor() {
        var tar = TarBuilder()
        tar.add("README", [UInt8](repeating: 1, count: 3_000_000))
        tar.add("a.x", text: "1")
        tar.end()
        let names = FieldNames()
        let shard = feed(tar.bytes, to: TarScanner(names: names), names: names, .steps(4096))
        #expect(shard.largestCall < 10_000)
        #expect(shard.account.ignored == ["unmatchedNames": 1])
        #expect(keys(shard) == ["a"])
    }

    @Test func aLargeMemberIsAskedForAtOnce() {
        var tar = TarBuilder()
        tar.add("a.x", text: "1")
        tar.add("a.y", [UInt8](repeating: 1, count: 3_000_000))
        tar.end()
        let names = FieldNames()
        let shard = feed(tar.bytes, to: TarScanner(names: names), names: names, .asNeeded)
        #expect(shard.calls < 8)
        #expect(fields(shard) == [["x", "y"]])
    }

    @Test func membersAreListedOnceInWhateverPieces() {
        var tar = TarBuilder()
        tar.pax([("path", "a.x")])
        tar.add("short", text: "1")
        tar.add("README", [UInt8](repeating: 1, count: 2000))
        tar.add("a.y", text: "22")
        tar.end()
        for chunking in [Chunking.whole, .steps(100), .asNeeded] {
            let names = FieldNames()
            let scanner = TarScanner(names: names)
            var members: [TarMember] = []
            scanner.onMember = { members.append($0) }
            _ = feed(tar.bytes, to: scanner, names: names, chunking)
            #expect(members.map { String(decoding: $0.name, as: UTF8.self) } == ["a.x", "README", "a.y"])
            #expect(members.map(\.offset) == [0, 2048, 4608])
            #expect(members.map(\.payloadOffset) == [1536, 2560, 5120])
            #expect(members.map(\.size) == [1, 2000, 2])
        }
    }
}
