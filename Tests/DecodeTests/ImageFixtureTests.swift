import Foundation
import HeadraceCore
import Testing

@testable import HeadraceDecode

/// Files of other projects against what Pillow and djpeg made of them.
@Suite struct ImageFixtureTests {
    private struct Entry {
        var path: String
        var verdict: String
        var image: [String: Any]
        var bytes: [UInt8]

        func value(_ path: String...) -> Any? {
            var value: Any? = image
            for name in path { value = (value as? [String: Any])?[name] }
            return value
        }
    }

    private func entries(_ kind: String) throws -> [Entry]? {
        guard let folder = Oracle.fixtures(for: kind) else { return nil }
        let text = try String(contentsOfFile: "\(folder)/EXPECTED/\(kind).jsonl", encoding: .utf8)
        return try text.split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any]
            let path = object["path"] as! String
            let view = object["view"] as! [String: Any]
            return Entry(
                path: path, verdict: object["verdict"] as! String, image: view["image"] as! [String: Any],
                bytes: [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(path)"))))
        }
    }

    private func hash(_ image: DecodedImage) -> String {
        image.bytes.withUnsafeBytes { SHA256.hexadecimal($0) }
    }

    /// Pixels are Pillow's or, of files whose scans are incomplete, those of djpeg with this libjpeg.
    @Test func jpegs() throws {
        guard let entries = try entries("jpeg") else { return }
        var counts: [String: Int] = [:]
        for entry in entries {
            do {
                let image = try DecodedImage(entry.bytes, [.asStored])
                counts["\(entry.verdict) decoded", default: 0] += 1
                let expected = [
                    entry.value("pillow", "rgb", "sha256") as? String,
                    entry.value("djpeg", "sha256_pixels") as? String,
                ]
                #expect(expected.contains(hash(image)), "\(entry.path)")
            } catch {
                counts["\(entry.verdict) refused", default: 0] += 1
                #expect(entry.verdict != "ok", "\(entry.path): \(error)")
                #expect(error.code.category == .data && !error.message.isEmpty, "\(entry.path): \(error)")
            }
        }
        #expect(counts["fail decoded"] == nil && counts["fail refused"] == 128)
        // What other readers accept with a remark is a defect unless the remark is harmless.
        #expect(counts["ok decoded"] == 126 && counts["lenient decoded"] == 4)
    }

    /// Of 16-bit grays Pillow makes whole numbers that it then clips; ours are their upper bytes.
    @Test func pngs() throws {
        guard let entries = try entries("png") else { return }
        // Only chunks without pixels are damaged, and too short: they are not looked at.
        let decodable: Set = ["png/libpng/empty_ancillary_chunks.png"]
        var grays = 0
        for entry in entries {
            do {
                let image = try DecodedImage(entry.bytes, [.asStored])
                #expect(entry.verdict != "fail" || decodable.contains(entry.path), "\(entry.path)")
                if entry.value("pillow", "mode") as? String == "I;16" {
                    let mean = image.bytes.map(Double.init).reduce(0, +) / Double(image.bytes.count)
                    let expected = (entry.value("pillow", "native", "mean") as! [Double])[0]
                    #expect((0...1).contains(expected / 256 - mean), "\(entry.path)")
                    grays += 1
                } else if entry.verdict != "fail" {
                    #expect(entry.value("pillow", "rgb", "sha256") as? String == hash(image), "\(entry.path)")
                }
            } catch {
                #expect(entry.verdict != "ok", "\(entry.path): \(error)")
                #expect(error.code.category == .data && !error.message.isEmpty, "\(entry.path): \(error)")
            }
        }
        #expect(grays == 9)
    }

    /// A crop has the pixels of the whole picture, in every way that chroma is sampled and coefficients are stored.
    @Test func cropsOfFixtures() throws {
        guard let entries = try entries("jpeg") else { return }
        var random = SplitMix64(11)
        var crops = 0
        for entry in entries where entry.verdict == "ok" && entry.bytes.count < 60_000 {
            let whole = try DecodedImage(entry.bytes, [.asStored])
            let (height, width) = (whole.shape[0], whole.shape[1])
            for _ in 0..<4 {
                let across = 1 + Int(random.below(UInt64(width)))
                let down = 1 + Int(random.below(UInt64(height)))
                let x = Int(random.below(UInt64(width - across + 1)))
                let y = Int(random.below(UInt64(height - down + 1)))
                let crop = try CutOut(entry.bytes, x: x, y: y, width: across, height: down)
                var expected: [UInt8] = []
                for row in y..<y + down {
                    let start = (row * width + x) * 3
                    expected += whole.bytes[start..<start + 3 * across]
                }
                #expect(crop.bytes == expected, "\(entry.path) \(x) \(y) \(across) \(down)")
                crops += 1
            }
        }
        #expect(crops > 300)
    }

    /// Upright, whatever EXIF says of how the camera was held.
    @Test func orientations() throws {
        guard let folder = Oracle.fixtures(for: "orientations") else { return }
        func file(_ name: String) throws -> [UInt8] {
            [UInt8](
                try Data(contentsOf: URL(fileURLWithPath: "\(folder)/jpeg/exif-orientation-examples/\(name)"))
            )
        }
        let steps: [ImageTransform] = [.resize(60, 90)]
        let upright = try Picture(file("Landscape_1.jpg"), steps)
        for orientation in 2...8 {
            let image = try DecodedImage(file("Landscape_\(orientation).jpg"), steps)
            // One photo, compressed anew for each: nearly the same pixels.
            #expect(upright.difference(to: image.bytes).mean < 1.5, "\(orientation)")
            let stored = try DecodedImage(file("Landscape_\(orientation).jpg"), steps + [.asStored])
            #expect(upright.difference(to: stored.bytes).mean > 5, "\(orientation)")
        }
    }
}

/// Part of a file, with no pixel changed: what is behind every crop.
struct CutOut {
    var bytes: [UInt8]

    init(
        _ file: [UInt8], x: Int, y: Int, width: Int, height: Int, resized: (width: Int, height: Int)? = nil,
        isPortable: Bool = false, antialias: Bool = true
    ) throws {
        let context = try ImageContext(isPortable: isPortable)
        let recipe = try ImageRecipe([], as: nil, layout: .hwc)
        let size = resized ?? (width, height)
        var row = [UInt8](repeating: 0, count: size.width * size.height * 3)
        try file.withUnsafeBytes { file in
            let info = try context.open(file, allowsDamage: false)
            var view = recipe.view(width: Int(info.width), height: Int(info.height), ImageDraws(seed: 0))
            (view.box_x, view.box_y) = (Int32(x), Int32(y))
            (view.box_width, view.box_height) = (Int32(width), Int32(height))
            (view.resized_width, view.resized_height) = (Int32(size.width), Int32(size.height))
            (view.window_width, view.window_height) = (Int32(size.width), Int32(size.height))
            view.antialias = antialias
            try row.withUnsafeMutableBytes { row in
                try context.read(view, .init(), recipe.pixelLayout, into: row.baseAddress!)
            }
        }
        bytes = row
    }
}
