import HeadraceCore
import HeadraceFormats
import Testing

/// Damage: everywhere it can strike, it is told, and nothing that was not in the shard is delivered.
struct TarFaultTests {
    private static func sample(pax: Bool) -> TarBuilder {
        var tar = TarBuilder()
        for index in 0..<6 {
            for field in ["jpg", "cls"] {
                if pax { tar.pax([("mtime", "1700000000.25"), ("path", "dir/\(index).\(field)")]) }
                tar.add(
                    "dir/\(index).\(field)", text: String(repeating: "\(index)", count: 300 * (index + 1)))
            }
        }
        tar.end()
        return tar
    }

    private func payloads(_ shard: ScannedShard, _ bytes: [UInt8]) -> [String: [String: ArraySlice<UInt8>]] {
        var result: [String: [String: ArraySlice<UInt8>]] = [:]
        for sample in shard.samples where sample.defect == nil {
            let key = String(decoding: sample.key, as: UTF8.self)
            #expect(result[key] == nil)
            result[key] = [:]
            for field in sample.fields {
                result[key]![field.name] = bytes[field.offset..<field.offset + field.length]
            }
        }
        return result
    }

    private func scanTwice(_ bytes: [UInt8]) -> ScannedShard {
        let names = FieldNames()
        let whole = feed(bytes, to: TarScanner(names: names), names: names, .whole)
        let stepped = feed(bytes, to: TarScanner(names: names), names: names, .steps(1500), knowsTotal: false)
        #expect(whole == stepped)
        let account = whole.account
        #expect(account.bytesParsed + account.bytesIgnored + account.bytesLost == bytes.count)
        return whole
    }

    @Test(arguments: [false, true])
    func aCutAnywhereIsToldAndNothingPartialIsDelivered(_ pax: Bool) {
        let bytes = Self.sample(pax: pax).bytes
        let original = payloads(scanTwice(bytes), bytes)
        let content = bytes.count - 1024
        for cut in stride(from: 0, to: content, by: 61) {
            let shard = scanTwice(Array(bytes[..<cut]))
            #expect(!shard.defects.isEmpty, "cut at \(cut)")
            for (key, fields) in payloads(shard, bytes) {
                #expect(fields == original[key], "cut at \(cut): \(key)")
            }
        }
        // Exactly between two members nothing is damaged; the missing end marker is what tells.
        for cut in stride(from: 512, to: content, by: 512) {
            let shard = scanTwice(Array(bytes[..<cut]))
            #expect(
                !shard.defects.isEmpty || shard.account.ignored["missingEndOfArchive"] == 1, "cut at \(cut)")
        }
    }

    @Test(arguments: [false, true])
    func aFlipInAnyHeaderIsToldAndNothingPartialIsDelivered(_ pax: Bool) throws {
        let bytes = Self.sample(pax: pax).bytes
        let original = payloads(scanTwice(bytes), bytes)
        var generator = SeededGenerator(7)
        // All headers, of members and of their PAX headers, are 512-byte blocks with the ustar magic.
        let headers = stride(from: 0, to: bytes.count - 1024, by: 512).filter {
            Array(bytes[$0 + 257..<$0 + 262]) == Array("ustar".utf8)
        }
        #expect(headers.count == (pax ? 24 : 12))
        for header in headers {
            for _ in 0..<12 {
                let offset = header + Int.random(in: 0..<500, using: &generator)
                var damaged = bytes
                damaged[offset] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                let shard = scanTwice(damaged)
                // The one bit that a checksum field does not need is that of its trailing space.
                guard !(148..<156).contains(offset - header) || !shard.defects.isEmpty else { continue }
                #expect(!shard.defects.isEmpty, "flip at \(offset)")
                let error = try #require(shard.defects.first)
                #expect(
                    error.code == .badHeader && error.place.offset == header, "flip at \(offset): \(error)")
                for (key, fields) in payloads(shard, bytes) {
                    #expect(fields == original[key], "flip at \(offset): \(key)")
                }
            }
        }
    }

    @Test func randomBytesNeverTrap() {
        var generator = SeededGenerator(3)
        let good = Self.sample(pax: true).bytes
        for round in 0..<300 {
            var bytes = good
            // Blocks exchanged, wiped, repeated: intact headers in the wrong place.
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let blocks = bytes.count / 512
                let from = Int.random(in: 0..<blocks, using: &generator) * 512
                let to = Int.random(in: 0..<blocks, using: &generator) * 512
                bytes.replaceSubrange(to..<to + 512, with: Array(bytes[from..<from + 512]))
            }
            if round % 3 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
            _ = scanTwice(bytes)
        }
    }

    private func limited(_ change: (inout FormatLimits) -> Void, _ build: (inout TarBuilder) -> Void)
        -> ScannedShard
    {
        var limits = FormatLimits()
        change(&limits)
        var tar = TarBuilder()
        build(&tar)
        tar.end()
        return scanEveryWay(tar.bytes, .tar, limits: limits)
    }

    @Test func everyLimitIsNamedWhenItIsExceeded() {
        let cases: [(String, ScannedShard)] = [
            (
                "memberBytes",
                limited({ $0.memberBytes = 1000 }) { $0.add("a.x", [UInt8](repeating: 1, count: 1001)) }
            ),
            (
                "sampleBytes",
                limited({ $0.sampleBytes = 3000 }) { tar in
                    for field in ["a", "b", "c"] { tar.add("k.\(field)", [UInt8](repeating: 1, count: 600)) }
                }
            ),
            ("nameBytes", limited({ $0.nameBytes = 10 }) { $0.add("elevenbytes.x", text: "1") }),
            (
                "extendedHeaderBytes",
                limited({ $0.extendedHeaderBytes = 100 }) { tar in
                    tar.pax([("comment", String(repeating: "c", count: 200))])
                    tar.add("a.x", text: "1")
                }
            ),
            (
                "extendedHeaders",
                limited({ $0.extendedHeaders = 2 }) { tar in
                    for _ in 0..<3 { tar.pax([("comment", "c")]) }
                    tar.add("a.x", text: "1")
                }
            ),
            (
                "fieldsPerSample",
                limited({ $0.fieldsPerSample = 2 }) { tar in
                    for field in ["a", "b", "c"] { tar.add("k.\(field)", text: "1") }
                }
            ),
        ]
        for (limit, shard) in cases {
            #expect(shard.defects.map(\.code) == [.limitExceeded], "\(limit)")
            #expect(
                shard.defects.first?.message.contains("limit \(limit)") == true, "\(limit): \(shard.defects)")
            #expect(shard.samples.filter { $0.defect == nil }.isEmpty, "\(limit)")
        }
    }

    @Test func claimsBeyondTheEndAreRefusedBeforeAnythingIsAskedFor() {
        for size in [1 << 20, (1 << 33) - 1] {
            var tar = TarBuilder()
            tar.add(Array("a.x".utf8), [1, 2, 3], size: size)
            tar.end()
            var table = SampleTable()
            let scanner = TarScanner(names: FieldNames())
            let outcome = tar.bytes.prefix(512).withUnsafeBytes {
                scanner.scan($0, at: 0, isLast: false, total: tar.bytes.count, into: &table)
            }
            #expect(outcome.isEnded && outcome.needed == 0)
            #expect(table.defects.map(\.code) == [.truncated])
        }
    }

    @Test(arguments: [
        "30 path=short\n", "5 a=b\n", "7 path\n", "x path=a.x\n", "13 path=a.xyz",
        "99999999999999999999 path=a\n",
        "9 size=x\n", "31 size=99999999999999999999999\n", "11 size=-12\n", "0 \n", "3 =\n",
    ])
    func malformedPaxRecordsAreRefused(_ text: String) {
        var tar = TarBuilder()
        tar.add("ok.x", text: "1")
        tar.add(Array("PaxHeaders/0".utf8), Array(text.utf8), type: UInt8(ascii: "x"))
        tar.add("a.x", text: "1")
        tar.end()
        let shard = scanEveryWay(tar.bytes, .tar)
        #expect(shard.defects.map(\.code) == [.malformedPax], "\(shard.samples)")
        #expect(shard.defects.first?.place.offset == 1536)
    }

    @Test func numbersThatAreNoneAreRefused() {
        let spoilt: [[UInt8]] = [
            Array("0000000000x\0".utf8), Array("-0000000001\0".utf8),
            [0xFF] + [UInt8](repeating: 0xFF, count: 11),
            [0x80, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], Array("00000000009\0".utf8),
        ]
        for field in spoilt {
            var tar = TarBuilder()
            tar.add(Array("a.x".utf8), [1]) { $0.replaceSubrange(124..<136, with: field) }
            tar.end()
            #expect(scanEveryWay(tar.bytes, .tar).defects.map(\.code) == [.badHeader], "\(field)")
        }
        var device = TarBuilder()
        device.add(Array("dev".utf8), [1], type: UInt8(ascii: "3"))
        device.end()
        #expect(scanEveryWay(device.bytes, .tar).defects.map(\.code) == [.badHeader])
    }

    @Test func anExtendedHeaderWithoutItsMemberIsTruncated() {
        var tar = TarBuilder()
        tar.add("a.x", text: "1")
        tar.pax([("path", "b.x")])
        for blocks in [0, 2] {
            var copy = tar
            copy.end(blocks: blocks)
            let shard = scanEveryWay(copy.bytes, .tar)
            #expect(shard.defects.map(\.code) == [.truncated])
            #expect(shard.defects[0].place.offset == 1024)
        }
    }

    @Test func namesThatCarryDataAreRefused() {
        var tar = TarBuilder()
        for index in 0...FieldNames.limit { tar.add("\(index).f\(index)", text: "") }
        tar.end()
        let names = FieldNames()
        let shard = feed(tar.bytes, to: TarScanner(names: names), names: names, .whole)
        #expect(shard.samples.filter { $0.defect != nil }.count == 1)
        #expect(shard.defects.map(\.code) == [.limitExceeded])
    }
}
