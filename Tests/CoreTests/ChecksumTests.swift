import Foundation
import HeadraceCore
import Testing

private func crc(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { crc32c($0) } }

func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}

@Suite struct CRC32CTests {
    // RFC 3720, B.4, and the check value of the catalogue of CRCs.
    @Test func publishedVectors() {
        #expect(crc(Array("123456789".utf8)) == 0xe306_9283)
        #expect(crc([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(crc([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
        #expect(crc((0..<32).map { UInt8($0) }) == 0x46dd_794e)
        #expect(crc((0..<32).map { 31 - UInt8($0) }) == 0x113f_db5c)
        #expect(crc([]) == 0)
    }

    @Test func everyAlignmentAndLengthAgreesWithTheTable() {
        let bytes = randomBytes(1200, seed: 1)
        bytes.withUnsafeBytes { all in
            for length in 0...1100 {
                let start = length % 64
                let piece = UnsafeRawBufferPointer(rebasing: all[start..<start + length])
                #expect(crc32c(piece, continuing: 7) == ChecksumPath.tableCRC32C(piece, continuing: 7))
            }
            for start in 0..<16 {
                for length in [0, 1, 7, 8, 9, 239, 240, 241, 263, 264, 265, 1000] {
                    let piece = UnsafeRawBufferPointer(rebasing: all[start..<start + length])
                    #expect(crc32c(piece) == ChecksumPath.tableCRC32C(piece))
                }
            }
        }
    }

    @Test(arguments: [6143, 6144, 6145, 6384, 12288, 100_003, 1 << 20]) func longInputs(length: Int) {
        randomBytes(length + 3, seed: 2).withUnsafeBytes { all in
            for start in 0..<3 {
                let piece = UnsafeRawBufferPointer(rebasing: all[start..<start + length])
                #expect(crc32c(piece) == ChecksumPath.tableCRC32C(piece))
            }
        }
    }

    @Test func piecesChain() {
        let bytes = randomBytes(5000, seed: 3)
        bytes.withUnsafeBytes { all in
            let whole = crc32c(all)
            for cut in [0, 1, 8, 300, 4999, 5000] {
                let first = crc32c(UnsafeRawBufferPointer(rebasing: all[..<cut]))
                #expect(crc32c(UnsafeRawBufferPointer(rebasing: all[cut...]), continuing: first) == whole)
            }
        }
    }

    @Test func anyFlippedBitChangesIt() {
        var bytes = randomBytes(512, seed: 4)
        let whole = crc(bytes)
        for bit in stride(from: 0, to: 512 * 8, by: 5) {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(crc(bytes) != whole)
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }

    // The length 8 of a TFRecord, computed by hand from the mask's definition and the table path.
    @Test func mask() {
        let bytes: [UInt8] = [8, 0, 0, 0, 0, 0, 0, 0]
        let plain = bytes.withUnsafeBytes { ChecksumPath.tableCRC32C($0) }
        let rotated = UInt64(plain >> 15) + UInt64(plain) << 17
        let expected = UInt32(truncatingIfNeeded: (rotated & 0xffff_ffff) + 0xa282_ead8)
        #expect(bytes.withUnsafeBytes { maskedCRC32C($0) } == expected)
    }

    @Test func maskedAsTFRecordWritersDo() throws {
        let script = """
            import sys, io, struct, tempfile, os
            from tfrecord.writer import TFRecordWriter
            sys.stdout.write('%d' % struct.unpack('<I', TFRecordWriter.masked_crc(bytes(range(200))))[0])
            """
        guard let output = try Oracle.python(script, for: "maskedAsTFRecordWritersDo") else { return }
        let expected = try #require(UInt32(String(decoding: output, as: UTF8.self)))
        #expect((0..<200).map { UInt8($0) }.withUnsafeBytes { maskedCRC32C($0) } == expected)
    }
}

@Suite struct XXH64Tests {
    @Test(
        arguments: [
            ("", 0xef46_db37_51d8_e999), ("a", 0xd24e_c4f1_a98c_6e5b), ("abc", 0x44bc_2cf5_ad77_0999),
            ("Nobody inspects the spammish repetition", 0xfbce_a83c_8a37_8bf1),
        ] as [(String, UInt64)]) func publishedVectors(text: String, hash: UInt64)
    {
        #expect(Array(text.utf8).withUnsafeBytes { xxh64($0) } == hash)
    }

    @Test func seedAndLongInput() {
        let hash = (0..<101).map { UInt8($0) }.withUnsafeBytes { xxh64($0, seed: 0x9e37_79b1) }
        #expect(hash == 0xa1c6_d417_4c37_136d)
    }

    /// The low half of it is what ends a zstd frame with a checksum.
    @Test func zstdAgrees() throws {
        let script = """
            import subprocess, sys
            sys.stdout.write('\\n'.join('%d' % int.from_bytes(subprocess.run(
                ['zstd', '-c', '--check'], input=bytes(i * 7 % 256 for i in range(n)),
                capture_output=True, check=True).stdout[-4:], 'little')
                for n in (1, 31, 32, 33, 1000, 100000)))
            """
        guard let output = try Oracle.python(script, for: "zstdAgrees") else { return }
        let sums = String(decoding: output, as: UTF8.self).split(separator: "\n").map { UInt64($0) }
        for (length, sum) in zip([1, 31, 32, 33, 1000, 100_000], sums) {
            let bytes = (0..<length).map { UInt8($0 * 7 % 256) }
            #expect(bytes.withUnsafeBytes { xxh64($0) } & 0xffff_ffff == sum)
        }
        #expect(sums.count == 6)
    }
}

@Suite struct XXH32Tests {
    @Test(
        arguments: [
            ("", 0x02cc_5d05), ("a", 0x550d_7456), ("abc", 0x32d1_53ff),
            ("Nobody inspects the spammish repetition", 0xe229_3b2f),
        ] as [(String, UInt32)]) func publishedVectors(text: String, hash: UInt32)
    {
        #expect(Array(text.utf8).withUnsafeBytes { xxh32($0) } == hash)
    }

    /// It ends an LZ4 frame with a content checksum.
    @Test func lz4Agrees() throws {
        let script = """
            import subprocess, sys
            sys.stdout.write('\\n'.join('%d' % int.from_bytes(subprocess.run(
                ['lz4', '-c', '-q'], input=bytes(i * 7 % 256 for i in range(n)),
                capture_output=True, check=True).stdout[-4:], 'little')
                for n in (1, 3, 4, 15, 16, 17, 31, 32, 1000, 100000)))
            """
        guard let output = try Oracle.python(script, for: "lz4Agrees") else { return }
        let sums = String(decoding: output, as: UTF8.self).split(separator: "\n").map { UInt32($0) }
        for (length, sum) in zip([1, 3, 4, 15, 16, 17, 31, 32, 1000, 100_000], sums) {
            let bytes = (0..<length).map { UInt8($0 * 7 % 256) }
            #expect(bytes.withUnsafeBytes { xxh32($0) } == sum)
        }
        #expect(sums.count == 10)
    }

    @Test func piecesOfAnySizeGiveTheHashOfTheWhole() {
        let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }
        let whole = bytes.withUnsafeBytes { xxh32($0, seed: 7) }
        for size in 1..<40 {
            var hash = XXH32(seed: 7)
            for start in stride(from: 0, to: bytes.count, by: size) {
                bytes[start..<min(bytes.count, start + size)].withUnsafeBytes { hash.update($0) }
            }
            #expect(hash.value == whole, "pieces of \(size)")
        }
    }
}

@Suite struct SHA256Tests {
    // FIPS 180-4 examples.
    @Test(arguments: [false, true]) func publishedVectors(portable: Bool) {
        func hash(_ text: String) -> String {
            var hash = SHA256(portable: portable)
            hash.update(Array(text.utf8))
            return hash.hexadecimal()
        }
        #expect(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        #expect(
            hash(String(repeating: "a", count: 1_000_000))
                == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    @Test func bothPathsAgreeInAnyPieces() {
        let bytes = randomBytes(3000, seed: 5)
        for length in Array(0...130) + [1000, 3000] {
            var fast = SHA256()
            var plain = SHA256(portable: true)
            plain.update(Array(bytes[..<length]))
            var at = 0
            var step = 1
            while at < length {
                fast.update(Array(bytes[at..<min(length, at + step)]))
                at += step
                step = step * 3 % 97
            }
            #expect(fast.finalize() == plain.finalize())
        }
    }

    @Test func hashlibAgrees() throws {
        let folder = try TemporaryFolder()
        let bytes = randomBytes(100_001, seed: 6)
        let path = try folder.write("random", bytes)
        let script =
            "import hashlib,sys; sys.stdout.write(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())"
        guard let output = try Oracle.python(script, [path], for: "hashlibAgrees") else { return }
        #expect(bytes.withUnsafeBytes { SHA256.hexadecimal($0) } == String(decoding: output, as: UTF8.self))
    }
}
