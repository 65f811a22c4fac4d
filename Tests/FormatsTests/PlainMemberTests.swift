import HeadraceCore
import Testing

@testable import HeadraceFormats

/// The fast way through plain members, held against the walk that looks at each header by itself.
@Suite struct PlainMemberTests {
    /// What a scan finds: with somebody listening to members, only the slow way is taken.
    private static func scan(_ bytes: [UInt8], slowly: Bool, isLast: Bool, limits: FormatLimits = .init())
        -> (table: [String], outcome: ScanOutcome, account: ShardAccount)
    {
        let names = FieldNames()
        let scanner = TarScanner(names: names, limits: limits)
        if slowly { scanner.onMember = { _ in } }
        var table = SampleTable()
        let outcome = bytes.withUnsafeBytes {
            scanner.scan($0, at: 0, isLast: isLast, total: nil, into: &table)
        }
        let rows = table.samples.map { sample in
            let fields = table.fields[Int(sample.firstField)...].prefix(Int(sample.fieldCount)).map {
                "\(names.name(of: $0.name))@\($0.offset)+\($0.length)"
            }
            let defect = sample.defect < 0 ? "" : table.defects[Int(sample.defect)].description
            return "\(sample.offset) \(table.key(of: sample)) \(fields) \(defect)"
        }
        return (rows, outcome, scanner.account)
    }

    private static func expectSame(_ bytes: [UInt8], _ note: String, limits: FormatLimits = .init()) {
        for isLast in [true, false] {
            let fast = scan(bytes, slowly: false, isLast: isLast, limits: limits)
            let slow = scan(bytes, slowly: true, isLast: isLast, limits: limits)
            #expect(fast.table == slow.table, "\(note), isLast \(isLast)")
            #expect(fast.outcome == slow.outcome, "\(note), isLast \(isLast)")
            #expect(fast.account == slow.account, "\(note), isLast \(isLast)")
        }
    }

    private static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SplitMix64(seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Members of all kinds in any order; most of them plain, so that runs form between the odd ones.
    private static func archive(seed: UInt64) -> [UInt8] {
        var random = SplitMix64(seed)
        var tar = TarBuilder()
        var key = "a"
        for number in 0..<120 {
            if random.below(3) > 0 { key = "\(number)" }
            let payload = Self.bytes(Int(random.below(1400)), seed: seed &+ UInt64(number))
            let ending = ["jpg", "cls", "JPG", "seg.png", "json"][Int(random.below(5))]
            switch random.below(26) {
            case 0: tar.add("__key\(number)__/\(key).jpg", payload)
            case 1: tar.add("d/.hidden.\(number)", payload)
            case 2: tar.add("noending\(number)", payload)
            case 3: tar.add("dir\(number)/", type: "5")
            case 4: tar.add("\(key).__key__", payload)
            case 5: tar.add("x\n\(number).jpg", payload)
            case 6:
                tar.pax([("path", "pax\(number).cls")])
                tar.add("short", payload)
            case 7:
                tar.longName(Array("\(String(repeating: "l", count: 120))\(number).jpg".utf8))
                tar.add("short", payload)
            case 8: tar.add("\(String(repeating: "n", count: 95)).jpgx", payload)
            case 9: tar.add(Array("\(key).\(ending)".utf8), payload, type: 0, magic: .none)
            case 10: tar.add(Array("p.cls".utf8), payload) { $0[345] = UInt8(ascii: "q") }
            case 11: tar.add("link\(number).jpg", type: "2")
            case 12: tar.add("a.b/c.d/\(key).\(ending)", payload)
            case 13: tar.add(Array("\(key).bin".utf8), [0xff, 0x80], signedChecksum: true) { $0[330] = 0xF0 }
            case 14: tar.add(".", payload)
            case 15: tar.add("__.jpg", payload)
            // From a global header on there are no plain members: late, and in few archives.
            case 16 where seed % 3 == 0 && number > 60:
                tar.pax([("comment", "of all that follow")], type: "g")
            default: tar.add("\(key).\(ending)", payload)
            }
        }
        tar.end()
        return tar.bytes
    }

    @Test(arguments: 0..<12) func findsWhatTheWalkFinds(seed: Int) {
        let bytes = Self.archive(seed: UInt64(seed))
        Self.expectSame(bytes, "seed \(seed)")
        var random = SplitMix64(UInt64(seed) + 1000)
        for _ in 0..<40 {
            let cut = Int(random.below(UInt64(bytes.count)))
            Self.expectSame(Array(bytes[..<cut]), "seed \(seed), cut at \(cut)")
            var spoilt = bytes
            let place = Int(random.below(UInt64(bytes.count)))
            spoilt[place] ^= UInt8(1 << random.below(8))
            Self.expectSame(spoilt, "seed \(seed), flipped at \(place)")
        }
    }

    /// Plain members alone, so that runs are long: samples of one to five fields, before and behind one of `long`.
    private static func plainArchive(seed: UInt64, members count: Int, long: Int) -> [UInt8] {
        var random = SplitMix64(seed)
        var tar = TarBuilder()
        var members = 0
        func add(_ key: String, fields: Int) {
            for field in 0..<fields {
                tar.add("\(key).f\(field)", bytes(Int(random.below(1100)), seed: seed &+ UInt64(members)))
                members += 1
            }
        }
        let place = Int(random.below(UInt64(count)))
        while members < place { add("a\(members)", fields: 1 + Int(random.below(5))) }
        add("long", fields: long)
        while members < count { add("b\(members)", fields: 1 + Int(random.below(5))) }
        tar.end()
        return tar.bytes
    }

    /// The same in pieces, as the loader scans: what is cut off is carried to the next call, and places in the shard
    /// are not those in the slab.
    private static func expectSameInPieces(_ bytes: [UInt8], _ note: String) {
        func found(_ chunking: Chunking, slowly: Bool) -> ScannedShard {
            let names = FieldNames()
            let scanner = TarScanner(names: names, limits: FormatLimits())
            if slowly { scanner.onMember = { _ in } }
            return feed(bytes, to: scanner, names: names, chunking)
        }
        let whole = found(.whole, slowly: true)
        let ways: [Chunking] = [
            .whole, .asNeeded, .steps(20_000), .random(seed: 1, upTo: 4000), .random(seed: 2, upTo: 60_000),
            .random(seed: 3, upTo: 200_000),
        ]
        for way in ways { #expect(found(way, slowly: false) == whole, "\(note), \(way)") }
    }

    @Test(arguments: [1, 5, 62, 63, 64, 65, 66, 127, 128, 129], [UInt64(1), 2, 3])
    func longRunsAreCutAnywhere(long: Int, seed: UInt64) {
        let bytes = Self.plainArchive(seed: seed, members: 500, long: long)
        Self.expectSame(bytes, "\(long) members, seed \(seed)")
        Self.expectSameInPieces(bytes, "\(long) members, seed \(seed)")
    }

    @Test(arguments: [63, 64, 65]) func aSampleOfOneRunStandsAlone(count: Int) {
        let bytes = Self.plainArchive(seed: 0, members: 1, long: count)
        Self.expectSame(bytes, "\(count) members")
        Self.expectSameInPieces(bytes, "\(count) members")
    }

    @Test(arguments: 0..<12) func findsWhatTheWalkFindsInPieces(seed: Int) {
        Self.expectSameInPieces(Self.archive(seed: UInt64(seed)), "seed \(seed)")
    }

    @Test func everyFlippedBitOfAHeaderIsJudgedAlike() {
        var tar = TarBuilder()
        for number in 0..<4 { tar.add("k\(number).cls", text: "\(number)") }
        tar.end()
        for bit in 1024 * 8..<1536 * 8 {
            var bytes = tar.bytes
            bytes[bit / 8] ^= UInt8(1 << (bit % 8))
            Self.expectSame(bytes, "bit \(bit)")
        }
    }

    @Test func limitsHoldForPlainMembersToo() {
        var tar = TarBuilder()
        for number in 0..<90 { tar.add("same.f\(number)", text: "x") }
        for number in 0..<9 { tar.add("k\(number).cls", Self.bytes(600, seed: 1)) }
        tar.end()
        for change: (inout FormatLimits) -> Void in [
            { _ in }, { $0.memberBytes = 599 }, { $0.fieldsPerSample = 80 }, { $0.nameBytes = 4 },
            { $0.sampleBytes = 5000 },
        ] {
            var limits = FormatLimits()
            change(&limits)
            Self.expectSame(tar.bytes, "\(limits)", limits: limits)
        }
    }

    /// The fast way is there at all: it finds whole samples, and not the last one, which may go on.
    @Test func plainMembersAreFoundInRuns() {
        var tar = TarBuilder()
        for number in 0..<9 {
            tar.add("\(number / 3).f\(number % 3)", text: "x")
        }
        tar.end()
        let (count, examined) = tar.bytes.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(of: PlainMember.self, capacity: 64) {
                plainMembers(in: bytes, longest: 1 << 20, isWhole: false, into: $0)
            }
        }
        #expect(count == 6)
        #expect(examined == 9 * 1024)
    }
}
