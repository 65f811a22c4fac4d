import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Damage in compressed shards: every cut and every flipped bit is reported or means nothing. `HEADRACE_FAULTS=full`
/// tries more than 100,000 damages for each codec, else it is a few thousand.
struct CodecDamageTests {
    static let full = 130_000
    static let quick = 1500

    /// A compressed shard, what is in it, and the cuts that no codec can tell from a whole file.
    private struct Subject {
        var bytes: [UInt8]
        var codec: CodecKind
        var format: ShardFormatKind
        var baseline: [UInt64]
        /// Behind each frame or member: only a manifest knows that more should follow.
        var boundaries: Set<Int>
    }

    /// A shard of samples of unlike sizes; half of the payload compresses, half does not.
    private static func shard(_ format: ShardFormatKind, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed)
        func payload(_ count: Int) -> [UInt8] {
            (0..<count).map { $0 & 32 == 0 ? UInt8.random(in: 0...255, using: &generator) : 0x61 }
        }
        switch format {
        case .tar:
            var tar = TarBuilder()
            for index in 0..<9 {
                tar.add("s\(seed)/\(index).bin", payload(20 + index * 190))
                tar.add("s\(seed)/\(index).cls", text: "\(index)")
            }
            tar.end()
            return tar.bytes
        case .tfrecord:
            var shard = TFRecordBuilder()
            for index in 0..<20 { shard.add(payload(10 + index * 65)) }
            return shard.bytes
        }
    }

    private static func subject(_ codec: CodecKind, _ format: ShardFormatKind, seed: UInt64) throws
        -> Subject?
    {
        let plain = shard(format, seed: seed)
        let baseline = readPlainShard(plain, format)
        #expect(!baseline.isDefective && baseline.samples.count >= 9)
        let third = plain.count / 3
        let parts = [
            Array(plain[..<third]), Array(plain[third..<2 * third]), Array(plain[(2 * third)...]),
        ]
        var bytes: [UInt8] = []
        var boundaries: Set<Int> = []
        switch codec {
        case .zstd, .lz4:
            let writer = try codec.makeFrameWriter(level: codec.levels!.standard)
            let output = OutputBuffer()
            var rows: [SeekTableRow] = []
            for part in parts {
                rows.append(try part.withUnsafeBytes { try writer.appendFrame($0, to: output) })
                boundaries.insert(output.count)
            }
            SeekTable.of(codec)!.append(rows, to: output)
            bytes = Array(output.bytes)
        case .gzip:
            for part in parts {
                guard
                    let member = try Oracle.inTemporaryFolder({
                        try Oracle.run(["gzip", "-cn"], in: $0, input: part)
                    })
                else { return nil }
                bytes += member.stdout
                boundaries.insert(bytes.count)
            }
        case .zlib:
            let script = "import sys, zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))"
            guard
                let stream = try Oracle.inTemporaryFolder({
                    try Oracle.run(["python3", "-c", script], in: $0, input: plain)
                })
            else { return nil }
            bytes = stream.stdout
        case .none: bytes = plain
        }
        return Subject(
            bytes: bytes, codec: codec, format: format, baseline: baseline.samples, boundaries: boundaries)
    }

    /// Front to back, as a shard without a seek table is read.
    private static func readStream(_ bytes: [UInt8], _ subject: Subject) -> ShardReading {
        var output = [UInt8](repeating: 0, count: 256 << 10)
        var produced = 0
        var failure: HeadraceError?
        do throws(HeadraceError) {
            let decompressor = try subject.codec.makeStreamDecompressor()
            let result: Result<Int, HeadraceError> = bytes.withUnsafeBytes { input in
                output.withUnsafeMutableBytes { room in
                    do throws(HeadraceError) {
                        let step = try decompressor.decompress(input, into: room)
                        produced = step.produced
                        return .success(step.consumed)
                    } catch {
                        produced = decompressor.producedBeforeError
                        return .failure(error)
                    }
                }
            }
            guard try result.get() == bytes.count else {
                throw HeadraceError(.corruptStream, "more came out than the shard has, or it stopped early")
            }
            try decompressor.finish()
        } catch {
            failure = error
        }
        return scan(Array(output[..<produced]), subject, failure)
    }

    /// Frame by frame, as a shard with a seek table is read; a shard that lost its table is read as a stream.
    private static func readFrames(_ bytes: [UInt8], _ subject: Subject) -> ShardReading {
        var plain: [UInt8] = []
        do throws(HeadraceError) {
            guard let frames = try frames(bytes, SeekTable.of(subject.codec)!) else {
                return readStream(bytes, subject)
            }
            let decompressor = try subject.codec.makeFrameDecompressor()
            for frame in frames {
                guard frame.length < 1 << 20 else {
                    throw HeadraceError(.limitExceeded, "a frame of more than the shard has")
                }
                let input = Array(
                    bytes[frame.compressedOffset..<frame.compressedOffset + frame.compressedLength])
                var output = [UInt8](repeating: 0, count: frame.length)
                let result: Result<Void, HeadraceError> = input.withUnsafeBytes { input in
                    output.withUnsafeMutableBytes { room in
                        do throws(HeadraceError) {
                            return .success(try decompressor.decompress(frame, input, into: room))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                try result.get()
                plain += output
            }
        } catch {
            return scan(plain, subject, error)
        }
        return scan(plain, subject, nil)
    }

    private static func frames(_ bytes: [UInt8], _ table: SeekTable) throws(HeadraceError) -> [Frame]? {
        guard bytes.count > SeekTable.footerBytes else { return nil }
        let result: Result<[Frame]?, HeadraceError> = bytes.withUnsafeBytes { all in
            do throws(HeadraceError) {
                let footer = UnsafeRawBufferPointer(rebasing: all.suffix(SeekTable.footerBytes))
                guard let length = try table.tableLength(footer: footer, fileSize: all.count) else {
                    return .success(nil)
                }
                let tail = UnsafeRawBufferPointer(rebasing: all.suffix(length))
                return .success(try table.frames(table: tail, fileSize: all.count))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// What a scanner makes of what came out before `failure`.
    private static func scan(_ plain: [UInt8], _ subject: Subject, _ failure: HeadraceError?) -> ShardReading
    {
        var reading = readPlainShard(plain, subject.format, isLast: failure == nil)
        if let failure {
            #expect(failure.code.category == .data, "\(failure)")
            reading.isDefective = true
            reading.report = "\(failure)"
        }
        return reading
    }

    private func check(_ tally: DamageTally, _ subject: Subject, _ way: String) {
        let name = "\(subject.format).\(subject.codec), \(subject.bytes.count) bytes, \(way)"
        if FaultCount.isFull { print("\(name): \(tally.counts)") }
        #expect(tally.changed.isEmpty, "\(name): \(tally)")
        let cuts = Set(subject.boundaries.map { Damage.cut(to: $0) })
        #expect(cuts.isSuperset(of: tally.lost), "\(name): \(tally)")
        // Most damages do something; a reader that finds none of them would pass as harmless otherwise.
        #expect(
            tally.detectedCount + tally.detectedLate.count > tally.triedCount * 9 / 10, "\(name): \(tally)")
    }

    @Test(arguments: [CodecKind.zstd, .lz4, .gzip, .zlib])
    func everyDamageToAStreamIsFoundOrMeansNothing(_ codec: CodecKind) throws {
        var total = DamageTally()
        for (seed, format) in ShardFormatKind.allCases.enumerated() {
            guard let subject = try Self.subject(codec, format, seed: UInt64(seed)) else { return }
            let intact = Self.readStream(subject.bytes, subject)
            #expect(intact.samples == subject.baseline && !intact.isDefective, "\(intact.report)")
            let damages = FaultCount.damages(in: subject.bytes.count, full: Self.full / 2, quick: Self.quick)
            let tally = cutAndFlip(subject.bytes, baseline: subject.baseline, damages) {
                Self.readStream($0, subject)
            }
            check(tally, subject, "stream")
            total.add(tally)
        }
        if FaultCount.isFull { #expect(total.triedCount > 100_000, "\(codec): \(total)") }
    }

    /// A frame is delivered only once its checksum was seen to match, so nothing is found late.
    @Test(arguments: [CodecKind.zstd, .lz4])
    func everyDamageToASeekableShardIsFoundInTime(_ codec: CodecKind) throws {
        var total = DamageTally()
        for (seed, format) in ShardFormatKind.allCases.enumerated() {
            guard let subject = try Self.subject(codec, format, seed: UInt64(seed) + 7) else { return }
            let intact = Self.readFrames(subject.bytes, subject)
            #expect(intact.samples == subject.baseline && !intact.isDefective, "\(intact.report)")
            let damages = FaultCount.damages(in: subject.bytes.count, full: Self.full / 2, quick: Self.quick)
            let tally = cutAndFlip(subject.bytes, baseline: subject.baseline, damages) {
                Self.readFrames($0, subject)
            }
            check(tally, subject, "frames")
            #expect(
                tally.detectedLate.allSatisfy { if case .cut = $0 { true } else { false } },
                "\(codec): \(tally)")
            total.add(tally)
        }
        if FaultCount.isFull { #expect(total.triedCount > 100_000, "\(codec): \(total)") }
    }
}
