import CHeadraceImage
import Foundation
import HeadraceCore
import Testing

@testable import HeadraceDecode

/// JPEGs that are written anew for fast crops: nothing of them is lost.
@Suite struct CropReadyTests {
    private func rewritten(_ file: [UInt8]) throws -> [UInt8] {
        guard case .rewritten(let bytes) = try CropReadyWriter().rewrite(file[...]) else {
            throw HeadraceError(.usage, "the file stayed as it is")
        }
        return bytes
    }

    /// The segments of a header, by marker.
    private func segments(_ file: [UInt8]) -> [(marker: UInt8, payload: [UInt8])] {
        var segments: [(marker: UInt8, payload: [UInt8])] = []
        var at = 2
        while at + 4 <= file.count, file[at] == 0xff {
            let length = Int(file[at + 2]) << 8 | Int(file[at + 3])
            segments.append((file[at + 1], Array(file[at + 4..<at + 2 + length])))
            if file[at + 1] == 0xda { break }
            at += 2 + length
        }
        return segments
    }

    @Test func pixelsStay() throws {
        let others = [
            SmallImages.baseline, SmallImages.progressive, SmallImages.turned, SmallImages.gray,
            SmallImages.ink,
        ]
        for file in CropReadyImages.all + others {
            let new = try rewritten(file)
            #expect(new != file)
            for step in [[], [ImageTransform.asStored]] {
                #expect(try DecodedImage(new, step).bytes == DecodedImage(file, step).bytes)
            }
            // The same coefficients give the same file.
            #expect(try rewritten(new) == new)
        }
    }

    @Test func headersStay() throws {
        for file in [CropReadyImages.narrow, CropReadyImages.staged, SmallImages.ink, SmallImages.turned] {
            let kept: (UInt8) -> Bool = { $0 >= 0xe0 && $0 <= 0xef || $0 == 0xfe }
            let (old, new) = (segments(file), segments(try rewritten(file)))
            #expect(old.contains { kept($0.marker) })
            #expect(
                old.filter { kept($0.marker) }.map { [$0.marker] + $0.payload }
                    == new.filter { kept($0.marker) }.map { [$0.marker] + $0.payload })
            // Baseline, with restart markers.
            #expect(new.contains { $0.marker == 0xc0 })
            #expect(new.contains { $0.marker == 0xdd })
        }
        let markers = segments(CropReadyImages.narrow).map(\.marker)
        #expect(markers.contains(0xe1) && markers.contains(0xe2) && markers.contains(0xfe))
        #expect(segments(SmallImages.ink).contains { $0.marker == 0xee })
    }

    /// The smallest divisor of the MCUs of a row from 2 to 5, else 4.
    @Test func intervals() throws {
        let expected = [
            (CropReadyImages.narrow, 4), (CropReadyImages.wide, 3), (CropReadyImages.full, 4),
            (CropReadyImages.gray, 2), (CropReadyImages.staged, 5),
        ]
        for (file, length) in expected {
            let interval = segments(try rewritten(file)).first { $0.marker == 0xdd }
            #expect(interval?.payload == [0, UInt8(length)])
        }
    }

    @Test func whatFollowsThePictureStays() throws {
        let rest = Array("a film of some camera".utf8)
        let new = try rewritten(CropReadyImages.wide + rest)
        #expect(new.suffix(rest.count) == rest[...])
        #expect(try rewritten(CropReadyImages.wide) + rest == new)
    }

    @Test func whatCannotBeRewrittenStays() throws {
        let writer = try CropReadyWriter()
        let file = CropReadyImages.narrow
        #expect(try writer.rewrite([]) == .foreign)
        #expect(try writer.rewrite(Array("GIF89a".utf8)[...]) == .foreign)
        #expect(try writer.rewrite(file[..<(file.count / 2)]) == .damaged)
        #expect(try writer.rewrite(file[..<(file.count - 2)]) == .damaged)
        // Twelve bits a channel.
        var deep = file
        let frame = try #require(deep.indices.first { deep[$0] == 0xff && deep[$0 + 1] == 0xc0 })
        deep[frame + 4] = 12
        #expect(try writer.rewrite(deep[...]) == .unsupported)
        // More pixels than are decoded.
        var wide = file
        wide.replaceSubrange(frame + 5..<frame + 9, with: [0xff, 0, 0xff, 0])
        #expect(try writer.rewrite(wide[...]) == .tooLarge)
        // A progressive file whose last scan is not there: readers smooth what they have.
        let staged = CropReadyImages.staged
        let scans = staged.indices.dropLast().filter { staged[$0] == 0xff && staged[$0 + 1] == 0xda }
        #expect(scans.count > 3)
        var table = scans[scans.count - 1]
        // The table of the last scan, in front of it.
        while !(staged[table] == 0xff && staged[table + 1] == 0xc4) { table -= 1 }
        #expect(try writer.rewrite((staged[..<table] + [0xff, 0xd9])[...]) == .unsupported)
        // None of that has an influence on the next file.
        #expect(try writer.rewrite(file[...]) == .rewritten(try rewritten(file)))
    }

    /// Files of other projects: those that decode whole are rewritten to the pixels that Pillow and djpeg gave for them.
    @Test func fixtures() throws {
        guard let folder = Oracle.fixtures(for: "jpeg") else { return }
        let text = try String(contentsOfFile: "\(folder)/EXPECTED/jpeg.jsonl", encoding: .utf8)
        let writer = try CropReadyWriter()
        var counts: [String: Int] = [:]
        for line in text.split(separator: "\n") {
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any]
            let path = object["path"] as! String
            let file = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(path)")))
            let image = (object["view"] as! [String: Any])["image"] as! [String: Any]
            let pillow = (image["pillow"] as? [String: Any])?["rgb"] as? [String: Any]
            let djpeg = image["djpeg"] as? [String: Any]
            let expected = [pillow?["sha256"] as? String, djpeg?["sha256_pixels"] as? String]
            switch try writer.rewrite(file[...]) {
            case .rewritten(let new):
                let pixels = try DecodedImage(new, [.asStored]).bytes
                let hash = pixels.withUnsafeBytes { SHA256.hexadecimal($0) }
                #expect(expected.contains(hash), "\(path)")
                counts["rewritten", default: 0] += 1
            case let outcome:
                // What is decoded is rewritten, unless its scans are incomplete.
                if (try? DecodedImage(file, [.asStored])) != nil {
                    #expect(outcome == .unsupported, "\(path)")
                    counts["smoothed", default: 0] += 1
                }
            }
        }
        #expect(counts["rewritten"] == 124 && counts["smoothed"] == 6)
    }
}
