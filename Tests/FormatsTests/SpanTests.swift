import HeadraceCore
import Testing

@testable import HeadraceFormats

/// Samples found by headers alone. That they are those of a whole scan is demanded wherever `scanEveryWay` is used, of
/// fixtures and of what other programs write; here are damage and what has no index.
struct SpanTests {
    private static func archive() -> [UInt8] {
        var tar = TarBuilder()
        tar.add("dir/", type: "5")
        tar.add("README", [UInt8](repeating: 1, count: 700))
        tar.pax([("mtime", "1.5")])
        tar.add("a.jpg", [UInt8](repeating: 2, count: 1300))
        tar.add("a.cls", text: "1")
        tar.add(".hidden", [UInt8](repeating: 3, count: 600))
        tar.longName(Array((String(repeating: "long", count: 40) + ".jpg").utf8))
        tar.add(Array("cut".utf8), [UInt8](repeating: 4, count: 513))
        tar.add("b.jpg")
        tar.add("b.cls", text: "2")
        tar.add("b.cls", text: "twice")
        tar.add("__meta__/x.json", text: "{}")
        tar.add("c.jpg", [UInt8](repeating: 5, count: 2000))
        tar.end()
        return tar.bytes
    }

    @Test func aSampleIsWhatItsOwnMembersTake() {
        let found = findSpans(Self.archive(), .tar)
        // Neither what stands before a sample nor what trails it is part of its row.
        #expect(found.spans.count == 3)
        #expect(found.spans[0].offset == 512 + 512 + 1024)
        #expect(found.defects.map(\.code) == [.duplicateField])
        #expect(found.spans[0].length == 1024 + 512 + 1536 + 512 + 512)
        _ = scanEveryWay(Self.archive(), .tar)
    }

    @Test func everyCutIsJudgedAsByAWholeScan() {
        let bytes = Self.archive()
        for count in stride(from: 0, through: bytes.count, by: 256 + 128) {
            let cut = Array(bytes[..<count])
            let names = FieldNames()
            let whole = feed(cut, to: TarScanner(names: names), names: names, .whole)
            checkSpans(cut, .tar, whole, limits: FormatLimits(), name: "cut at \(count)")
        }
    }

    @Test func everyFlippedHeaderByteIsJudgedAsByAWholeScan() {
        let bytes = Self.archive()
        var position = 0
        for offset in bytes.indices where offset % 41 == 0 {
            var bad = bytes
            bad[offset] ^= 0x11
            let names = FieldNames()
            let whole = feed(bad, to: TarScanner(names: names), names: names, .whole)
            checkSpans(bad, .tar, whole, limits: FormatLimits(), name: "flipped at \(offset)")
            position += 1
        }
        #expect(position > 300)
    }

    @Test func whatAGlobalHeaderNamesHasNoIndex() {
        for (records, isRefused) in [
            ([("comment", "of git archive")], false), ([("path", "x.jpg")], true), ([("size", "3")], true),
        ] as [([(String, String)], Bool)] {
            var tar = TarBuilder()
            tar.add("a.jpg", text: "abc")
            tar.pax(records, type: "g")
            tar.add("b.jpg", text: "abc")
            tar.end()
            let found = findSpans(tar.bytes, .tar)
            #expect(found.defects.map(\.code) == (isRefused ? [.notIndexable] : []), "\(records)")
            #expect(found.spans.count == (isRefused ? 1 : 2), "\(records)")
            _ = scanEveryWay(tar.bytes, .tar)
        }
    }

    /// A key that comes back is a new sample, for an index as for a reader.
    @Test func membersOfOthersInBetweenMakeTwoSamples() {
        var tar = TarBuilder()
        for name in ["x.jpg", "y.jpg", "x.cls"] { tar.add(name, text: name) }
        tar.end()
        #expect(scanEveryWay(tar.bytes, .tar).samples.count == 3)
        #expect(findSpans(tar.bytes, .tar).spans.map(\.length) == [1024, 1024, 1024])
    }

    @Test func recordsAreFoundByTheirLengths() {
        var shard = TFRecordBuilder()
        for index in 0..<20 { shard.add([UInt8](repeating: 9, count: index * 53)) }
        let bytes = shard.bytes
        #expect(findSpans(bytes, .tfrecord).spans.map(\.length) == (0..<20).map { $0 * 53 + 16 })
        for count in 0..<bytes.count where count % 89 < 2 {
            let cut = Array(bytes[..<count])
            let names = FieldNames()
            let whole = feed(cut, to: TFRecordScanner(names: names), names: names, .whole)
            checkSpans(cut, .tfrecord, whole, limits: FormatLimits(), name: "cut at \(count)")
        }
        for offset in bytes.indices where offset % 101 == 0 {
            var bad = bytes
            bad[offset] ^= 0x40
            _ = scanEveryWay(bad, .tfrecord, name: "flipped at \(offset)")
        }
    }

    /// Gigabytes are claimed and passed over; only headers are asked for.
    @Test func payloadsAreNotAskedFor() {
        var tar = TarBuilder()
        tar.add(Array("a.bin".utf8), [], size: 5 << 30)
        let names = FieldNames()
        let scanner = TarScanner(names: names)
        scanner.passPayloads()
        var table = SampleTable()
        let first = tar.bytes.withUnsafeBytes {
            scanner.scan($0, at: 0, isLast: false, total: 6 << 30, into: &table)
        }
        #expect(first == ScanOutcome(consumed: 512 + (5 << 30)))
        var end = TarBuilder()
        end.add("a.cls", text: "1")
        end.end()
        let second = end.bytes.withUnsafeBytes {
            scanner.scan(
                $0, at: 512 + (5 << 30), isLast: true, total: 512 + (5 << 30) + end.bytes.count, into: &table)
        }
        #expect(second.consumed == end.bytes.count && table.defects.isEmpty)
        var spans: [ByteSpan] = []
        scanner.takeSpans(into: &spans)
        #expect(spans.map(\.offset) == [0] && spans.map(\.length) == [512 + (5 << 30) + 1024])
    }
}
