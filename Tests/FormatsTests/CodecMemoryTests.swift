import Foundation
import Glibc
import HeadraceCore
import HeadraceFormats
import Testing

/// Files that claim or hold far more than they have: refused, or passed on piece by piece, within little memory.
struct CodecMemoryTests {
    /// What a test process may use for data; the files claim or hold many times as much.
    private static let memory: rlim_t = 200 << 20
    private static let bombByteCount = 700 << 20

    private static func limitMemory() {
        var limit = rlimit(rlim_cur: memory, rlim_max: memory)
        #expect(setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit) == 0)
    }

    /// Decompresses to nothing, and counts; the error that ended it.
    private static func drain(
        _ bytes: [UInt8], _ codec: CodecKind, limits: FormatLimits = FormatLimits()
    ) -> (count: Int, error: HeadraceError?) {
        var output = [UInt8](repeating: 0, count: 1 << 20)
        var offset = 0
        var count = 0
        do throws(HeadraceError) {
            let decompressor = try codec.makeStreamDecompressor(limits: limits)
            while true {
                let result: Result<(consumed: Int, produced: Int), HeadraceError> = bytes[offset...]
                    .withUnsafeBytes { input in
                        output.withUnsafeMutableBytes { room in
                            do throws(HeadraceError) {
                                return .success(try decompressor.decompress(input, into: room))
                            } catch {
                                return .failure(error)
                            }
                        }
                    }
                let step = try result.get()
                offset += step.consumed
                count += step.produced
                if step.consumed == 0, step.produced == 0 { break }
            }
            try decompressor.finish()
        } catch {
            return (count, error)
        }
        return (count, nil)
    }

    /// Zeros, many times more than the memory, in as few bytes as the codec can.
    private static func bomb(_ codec: CodecKind) throws -> [UInt8]? {
        let tool: [CodecKind: String] = [
            .zstd: "zstd -qc", .gzip: "gzip -c", .lz4: "lz4 -qc",
            .zlib: "python3 -c 'import sys, zlib\nc = zlib.compressobj(1)\n"
                + "while b := sys.stdin.buffer.read(1 << 20): sys.stdout.buffer.write(c.compress(b))\n"
                + "sys.stdout.buffer.write(c.flush())'",
        ]
        return try Oracle.inTemporaryFolder { folder in
            let command = "head -c \(bombByteCount) /dev/zero | \(tool[codec]!)"
            guard let output = try Oracle.run(["sh", "-c", command], in: folder), output.stdout.count > 1000
            else {
                print("SKIPPED: no program here makes a \(codec) stream")
                return nil
            }
            return output.stdout
        }
    }

    @Test func bombsNeitherFillTheMemoryNorGetBeyondTheRatio() async throws {
        await #expect(processExitsWith: .success) {
            for codec in [CodecKind.zstd, .gzip, .zlib, .lz4] {
                guard let file = try Self.bomb(codec) else { continue }
                Self.limitMemory()
                var limits = FormatLimits()
                // LZ4 cannot get to the standard ratio, deflate hardly.
                limits.decompressionRatio = 200
                var result = Self.drain(file, codec, limits: limits)
                #expect(result.error?.code == .limitExceeded, "\(codec): \(result)")
                #expect(result.error?.message.contains("decompressionRatio") == true)
                #expect(result.count <= limits.decompressionFloor + (8 << 20), "\(codec)")
                // Without the limit all of it comes out, through one small buffer.
                limits.decompressionRatio = .max
                result = Self.drain(file, codec, limits: limits)
                #expect(result.error == nil && result.count == Self.bombByteCount, "\(codec): \(result)")
            }
        }
    }

    /// Headers with claims of up to 2^64 bytes, and little behind them.
    @Test func claimsAreNotBelieved() async {
        await #expect(processExitsWith: .success) {
            Self.limitMemory()
            let sizes: [UInt64] = [1 << 31, 1 << 40, 1 << 62, .max]
            for size in sizes {
                // A zstd frame in one segment of that size: its window would be as large.
                let single = littleEndian(0xFD2F_B528 as UInt32) + [0xE0] + littleEndian(size) + [1, 0, 0]
                #expect(Self.drain(single, .zstd).error?.code == .limitExceeded, "\(size)")
                // One with a small window and that content size, and an empty last block.
                let small = littleEndian(0xFD2F_B528 as UInt32) + [0xC0, 0] + littleEndian(size) + [1, 0, 0]
                // The largest number stands for a size that is not known.
                let error = Self.drain(small, .zstd).error
                #expect(error?.code == (size == .max ? nil : .corruptStream), "\(size)")
                var lz4 = LZ4Builder()
                lz4.header(
                    LZ4Builder.plain | LZ4Builder.contentSize, blockFlags: 0x70, fields: littleEndian(size))
                lz4.stored([1, 2, 3])
                lz4.word(0)
                #expect(Self.drain(lz4.bytes, .lz4).error?.code == .corruptStream, "\(size)")
            }
            // Windows of 2^28 to 2^41 bytes.
            for exponent in 18..<32 as Range<UInt8> {
                let wide = littleEndian(0xFD2F_B528 as UInt32) + [0, exponent << 3, 1, 0, 0]
                #expect(Self.drain(wide, .zstd).error?.code == .limitExceeded, "window \(exponent)")
            }
            // Blocks and skippable frames of 4 GiB.
            let block = littleEndian(0x184C_2102 as UInt32) + littleEndian(8_000_000 as UInt32) + [1, 2, 3]
            #expect(Self.drain(block, .lz4).error?.code == .truncated)
            for (codec, code) in [(CodecKind.zstd, HeadraceError.Code.truncated), (.lz4, .truncated)] {
                let skip = littleEndian(0x184D_2A50 as UInt32) + littleEndian(UInt32.max) + [1]
                #expect(Self.drain(skip, codec).error?.code == code)
            }
        }
    }

    /// Tables that claim millions of frames, or frames of 4 GiB.
    @Test(arguments: [SeekTable.zstd, .lz4])
    func seekTablesAreHeldAgainstTheFile(_ table: SeekTable) throws {
        let rows = OutputBuffer()
        table.append(
            [SeekTableRow(compressedByteCount: .max, byteCount: .max, checksum: 0)], to: rows)
        let good = Array(rows.bytes)
        func code(_ bytes: [UInt8]) -> HeadraceError.Code? {
            let result: Result<Int?, HeadraceError> = bytes.withUnsafeBytes { all in
                do throws(HeadraceError) {
                    let footer = UnsafeRawBufferPointer(rebasing: all.suffix(SeekTable.footerBytes))
                    guard let length = try table.tableLength(footer: footer, fileSize: all.count) else {
                        return .success(nil)
                    }
                    let tail = UnsafeRawBufferPointer(rebasing: all.suffix(length))
                    return .success(try table.frames(table: tail, fileSize: all.count).count)
                } catch {
                    return .failure(error)
                }
            }
            if case .failure(let error) = result { return error.code }
            return nil
        }
        // One frame of 4 GiB in a file of 29 bytes.
        #expect(code(good) == .indexMismatch)
        for count in [2, 1 << 20, 1 << 21] as [UInt32] {
            var bytes = good
            bytes.replaceSubrange(bytes.count - 9..<bytes.count - 5, with: littleEndian(count))
            #expect(code(bytes) == .indexMismatch, "\(count)")
        }
        var bytes = good
        bytes.replaceSubrange(bytes.count - 9..<bytes.count - 5, with: littleEndian(UInt32.max))
        #expect(code(bytes) == .limitExceeded)
    }
}
