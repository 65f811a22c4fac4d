import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Cuts and flips everywhere in plain shards: what each reader must notice, and what only a manifest can.
struct ShardDamageTests {
    /// Damages of each format with `HEADRACE_FAULTS=full`, and without.
    static let full = 120_000
    static let quick = 6000

    /// A tar shard, and the bytes of it that are payload of a member.
    static func tar(_ members: [(String, Int)]) -> (bytes: [UInt8], payload: Set<Int>) {
        var shard = TarBuilder()
        var payload: Set<Int> = []
        for (index, (name, count)) in members.enumerated() {
            let start = shard.bytes.count + 512
            payload.formUnion(start..<start + count)
            shard.add(name, (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + index) })
        }
        shard.end()
        return (shard.bytes, payload)
    }

    static func damages(_ count: Int) -> [Damage] {
        FaultCount.damages(in: count, full: full, quick: quick)
    }

    /// Every header has a checksum, so every flip in one is found. A payload has none: there, and only there, a
    /// flip passes.
    @Test func inTarOnlyPayloadsCanChange() {
        let (original, payload) = Self.tar([
            ("a.txt", 100), ("a.cls", 1), ("dir/b.txt", 513), ("dir/b.json", 40), ("c.txt", 0),
            ("c.bin", 2000),
            ("d.txt", 512), ("e.bin", 1500),
        ])
        let baseline = readTar(original)
        #expect(baseline.samples.count == 5 && !baseline.isDefective)
        let tally = cutAndFlip(
            original, baseline: baseline.samples, Self.damages(original.count), read: readTar)
        for damage in tally.changed {
            guard case .flip(let offset, _) = damage else {
                Issue.record("\(damage) changed a sample unnoticed")
                continue
            }
            #expect(payload.contains(offset), "\(damage) changed a sample unnoticed")
        }
        // Cut between two members of one sample: what is left of it is delivered, and the missing end reported.
        let starts = stride(from: 0, to: original.count, by: 512).filter { original[$0 + 257] == 0x75 }
        #expect(
            tally.detectedLate.allSatisfy { damage in
                if case .cut(let count) = damage { starts.contains(count) } else { false }
            }, "\(tally)")
        #expect(tally.lost.isEmpty, "\(tally)")
        #expect(tally.detectedCount > 1000 && tally.harmlessCount > 0 && !tally.changed.isEmpty, "\(tally)")
        print("tar: \(tally.counts) (all in payloads)")
    }

    /// Long names and sizes in extended headers are payloads of members of their own, which no checksum protects: a
    /// flip there can only change what a PAX record says.
    @Test func inExtendedHeadersOnlyTheirPayloadsCanChange() throws {
        let script = """
            import tarfile, io, sys
            with tarfile.open(sys.argv[1], "w") as shard:
                for name in ("a.txt", "deep/" * 30 + "b.txt", "c.bin"):
                    member = tarfile.TarInfo(name)
                    member.mtime, member.size = 1700000000.25, 300
                    shard.addfile(member, io.BytesIO(bytes(300)))
            """
        let path = WriterOracle.temporaryPath("tar")
        defer { unlink(path) }
        guard try WriterOracle.python(script, [path]) != nil else { return }
        let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let baseline = readTar(original)
        #expect(baseline.samples.count == 3 && !baseline.isDefective)
        let tally = cutAndFlip(
            original, baseline: baseline.samples, Self.damages(original.count), read: readTar)
        let headers = Set(
            stride(from: 0, to: original.count - 511, by: 512).filter { original[$0 + 257] == 0x75 }
                .flatMap { $0..<$0 + 512 })
        for damage in tally.changed + tally.lost + tally.detectedLate {
            guard case .flip(let offset, _) = damage else {
                Issue.record("\(damage) changed a sample unnoticed")
                continue
            }
            #expect(!headers.contains(offset), "\(damage) changed a sample unnoticed")
        }
        print("tar with PAX headers: \(tally.counts)")
    }

    /// Both the length and the data have a CRC; only a cut between two records passes, which a manifest sees.
    @Test func inTFRecordNothingCanChange() {
        var shard = TFRecordBuilder()
        var starts: Set<Int> = [0]
        for index in 0..<32 {
            shard.add((0..<index * 23).map { UInt8(truncatingIfNeeded: $0 * 5 + index) })
            starts.insert(shard.bytes.count)
        }
        let original = shard.bytes
        let baseline = readPlainShard(original, .tfrecord)
        #expect(baseline.samples.count == 32)
        let tally = cutAndFlip(original, baseline: baseline.samples, Self.damages(original.count)) {
            readPlainShard($0, .tfrecord)
        }
        #expect(tally.changed.isEmpty && tally.detectedLate.isEmpty, "\(tally)")
        for damage in tally.lost {
            guard case .cut(let count) = damage, starts.contains(count) else {
                Issue.record("\(damage) lost a sample unnoticed")
                continue
            }
        }
        #expect(tally.harmlessCount == 0 && tally.detectedCount > 1000, "\(tally)")
        print("TFRecord: \(tally.counts) (lost: cuts between records)")
    }

    /// As ``readPlainShard(_:_:isLast:)``, and an archive without its end mark is reported as well.
    private func readTar(_ bytes: [UInt8]) -> ShardReading {
        var reading = readPlainShard(bytes, .tar)
        let scanner = TarScanner(names: FieldNames())
        var table = SampleTable()
        _ = bytes.withUnsafeBytes { scanner.scan($0, at: 0, isLast: true, total: nil, into: &table) }
        if scanner.account.ignored["missingEndOfArchive"] != nil { reading.isDefective = true }
        return reading
    }
}
