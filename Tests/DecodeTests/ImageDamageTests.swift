import Foundation
import HeadraceCore
import Testing

@testable import HeadraceDecode

/// Files that are cut, flipped, foreign or too large: an error that says so, never a picture that is half gray.
@Suite struct ImageDamageTests {
    private func error(_ file: [UInt8], _ transforms: [ImageTransform] = [.resize(8)]) -> HeadraceError? {
        do throws(HeadraceError) {
            _ = try DecodedImage(file, transforms)
            return nil
        } catch {
            return error
        }
    }

    private static let files = [
        SmallImages.baseline, SmallImages.progressive, SmallImages.turned, SmallImages.gray,
        SmallImages.transparent,
    ]

    /// Cut anywhere, even behind all that the crop needs.
    @Test func cutFiles() throws {
        for file in Self.files {
            for count in file.indices {
                let cut = Array(file[..<count])
                let refusal = try #require(error(cut), "\(count) of \(file.count) bytes")
                #expect([.truncated, .corruptStream, .badValue].contains(refusal.code), "\(refusal)")
                // The upper left corner is complete long before the file's end.
                if count > file.count - 2 {
                    let corner: [ImageTransform] = [.randomResizedCrop(4, scale: 0.08...0.1)]
                    #expect(error(cut, corner) != nil)
                }
            }
        }
    }

    /// A flipped bit is found, or the pixels are some picture of the right size; PNG has checksums, so there every
    /// flip in a chunk with pixels is found.
    @Test func flippedBits() throws {
        for file in Self.files {
            for at in file.indices {
                var bytes = file
                bytes[at] ^= 1 << UInt8(at % 8)
                if let refusal = error(bytes) {
                    #expect(refusal.code.category == .data && !refusal.message.isEmpty)
                }
            }
        }
        let pixels = try DecodedImage(SmallImages.transparent).bytes
        for at in SmallImages.transparent.indices {
            var bytes = SmallImages.transparent
            bytes[at] ^= 0x10
            guard let image = try? DecodedImage(bytes) else { continue }
            #expect(image.bytes == pixels, "byte \(at)")
        }
    }

    /// A header with half of the height: the rest of the picture is there, and belongs to nothing.
    @Test func aHalvedHeightIsDamage() throws {
        var file = SmallImages.baseline
        let frame = try #require(file.indices.dropLast(8).first { file[$0] == 0xFF && file[$0 + 1] == 0xC0 })
        try #require(file[frame + 6] == 69)
        file[frame + 6] = 32
        #expect(error(file)?.code == .corruptStream)
        // A few bytes behind the scan are what cameras write.
        var padded = SmallImages.baseline
        padded.insert(contentsOf: [0, 0, 0, 0], at: padded.count - 2)
        #expect(try DecodedImage(padded).bytes == DecodedImage(SmallImages.baseline).bytes)
    }

    /// Chunks that say nothing of the pixels cost nothing, however many there are.
    @Test func chunksOfNoUseArePassedOver() throws {
        let picture = SmallImages.transparent
        var chunk: [UInt8] = Array("eXIf".utf8) + [UInt8](repeating: 0x58, count: 100_000)
        var sum: UInt32 = .max
        for byte in chunk {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        func bigEndian(_ value: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
        }
        chunk = bigEndian(100_000) + chunk + bigEndian(~sum)
        // Behind the signature and the header.
        let file = picture[..<33] + (0..<700).flatMap { _ in chunk } + picture[33...]
        #expect(try DecodedImage(Array(file)).bytes == DecodedImage(picture).bytes)
    }

    @Test func allowedDamage() throws {
        let whole = try Picture(SmallImages.baseline)
        let cut = Array(SmallImages.baseline[..<(SmallImages.baseline.count / 2)])
        let image = try DecodedImage(cut, [.allowTruncated])
        // What is there is right; what is not is gray.
        #expect(image.shape == [69, 93, 3])
        let half = whole.cropped(x: 0, y: 0, width: 93, height: 12)
        #expect(half.difference(to: Array(image.bytes[..<(93 * 12 * 3)])).largest == 0)
        #expect(whole.difference(to: image.bytes).mean > 5)
        let png = Array(SmallImages.transparent[..<(SmallImages.transparent.count - 200)])
        #expect(try DecodedImage(png, [.allowTruncated]).shape == [22, 30, 3])
    }

    @Test func foreignFiles() {
        for (bytes, words) in [
            (Array("GIF89a".utf8), "neither a JPEG nor a PNG"), ([], "empty file"),
            ([0xff, 0xd8], "neither"),
            ([0xff, 0xd8, 0xff], "ends after 3 bytes"),
        ] {
            #expect(error(bytes)?.message.contains(words) == true, "\(bytes)")
        }
    }

    /// A header may claim what it likes.
    @Test func limits() throws {
        var jpeg = SmallImages.baseline
        let frame = try #require(jpeg.firstIndex(ofMarker: 0xc0))
        jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0xff, 0xdc, 0xff, 0xdc])
        #expect(error(jpeg)?.code == .limitExceeded)
        #expect(error(jpeg)?.message.contains("imagePixels of 100000000") == true)
        var precise = SmallImages.baseline
        precise[frame + 4] = 12
        #expect(error(precise)?.code == .unsupported && error(precise)?.message.contains("8 bits") == true)
        var lossless = SmallImages.baseline
        lossless[frame + 1] = 0xc3
        #expect(
            error(lossless)?.code == .unsupported && error(lossless)?.message.contains("lossless") == true)
    }

    /// A progressive file of a few KB whose scans, each a pass over all coefficients, add nothing.
    @Test func scanBomb() throws {
        let file = SmallImages.progressive
        let scan = try #require(file.firstIndex(ofMarker: 0xda))
        let next = try #require(file[(scan + 2)...].firstIndex(ofMarker: 0xc4))
        var bomb = Array(file[..<next])
        for _ in 0..<300 { bomb += file[scan..<next] }
        bomb += file[next...]
        let refusal = try #require(error(bomb, [.resize(8), .allowTruncated]))
        #expect(refusal.code == .limitExceeded && refusal.message.contains("imageScans of 100"), "\(refusal)")
    }

    /// Without a crop or resize all images of a column have one size.
    @Test func sizesThatDiffer() throws {
        let decoder = try ImageDecoder([], layout: .chw)
        let files = [SmallImages.baseline, SmallImages.gray]
        do throws(HeadraceError) {
            _ = try DecodedImage.rows(decoder, files, seeds: [1, 2])
            Issue.record("two sizes in one column")
        } catch {
            #expect(error.code == .shapeMismatch)
            #expect(error.message.contains("40 x 31 pixels in a column of 93 x 69"), "\(error)")
        }
    }

    /// Whatever came before in the same context leaves no trace.
    @Test func contextsAreUsedAgain() throws {
        let decoder = try ImageDecoder([.resize(9, 7), .flip], layout: .hwc)
        let cut = Array(SmallImages.progressive.dropLast(40))
        for (index, file) in Self.files.enumerated() {
            let fresh = try DecodedImage.rows(
                try ImageDecoder([.resize(9, 7), .flip], layout: .hwc), [file], seeds: [5])
            for other in Self.files + [cut, [1, 2, 3]] {
                _ = try? DecodedImage.rows(decoder, [other], seeds: [UInt64(index)])
                #expect(try DecodedImage.rows(decoder, [file], seeds: [5])[0].bytes == fresh[0].bytes)
            }
        }
    }
}

extension RandomAccessCollection where Element == UInt8, Index == Int {
    /// Where the marker 0xff `marker` first stands.
    fileprivate func firstIndex(ofMarker marker: UInt8) -> Int? {
        indices.dropLast().first { self[$0] == 0xff && self[$0 + 1] == marker }
    }
}
