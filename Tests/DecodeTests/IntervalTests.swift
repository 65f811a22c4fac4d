import CHeadraceImage
import Foundation
import HeadraceCore
import Testing

@testable import HeadraceDecode

/// Crops that are decoded by their restart intervals only.
@Suite struct IntervalTests {
    /// A view of a file: what libjpeg makes of all of it, or what the intervals do.
    private struct Reader {
        let context: ImageContext

        init(isPortable: Bool = false) throws(HeadraceError) {
            context = try ImageContext(isPortable: isPortable)
        }

        func size(_ file: [UInt8]) throws -> (width: Int, height: Int) {
            let info = try file.withUnsafeBytes { try context.open($0, allowsDamage: false) }
            return (Int(info.width), Int(info.height))
        }

        func pixels(_ file: [UInt8], _ view: headrace_image_view, whole: Bool = false) throws -> [UInt8] {
            var view = view
            view.whole = whole
            var layout = headrace_image_layout()
            layout.channels = 3
            let count = Int(view.window_width * view.window_height) * 3
            var pixels = [UInt8](repeating: 0xa5, count: count + 64)
            try file.withUnsafeBytes { bytes in
                _ = try context.open(bytes, allowsDamage: false)
                try pixels.withUnsafeMutableBytes {
                    try context.read(view, headrace_image_jitter(), layout, into: $0.baseAddress!)
                }
            }
            #expect(pixels.suffix(64).allSatisfy { $0 == 0xa5 })
            return Array(pixels.prefix(count))
        }
    }

    /// A box of a picture that is wanted at 1/`scale` of its size; 1: pixel by pixel.
    private func view(x: Int, y: Int, width: Int, height: Int, scale: Int = 1) -> headrace_image_view {
        var view = headrace_image_view()
        view.orientation = 1
        view.antialias = true
        view.box_x = Int32(x)
        view.box_y = Int32(y)
        view.box_width = Int32(width)
        view.box_height = Int32(height)
        view.resized_width = Int32(max(1, width / scale))
        view.resized_height = Int32(max(1, height / scale))
        view.window_width = view.resized_width
        view.window_height = view.resized_height
        return view
    }

    private func cropReady(_ file: [UInt8]) throws -> [UInt8] {
        guard case .rewritten(let bytes) = try CropReadyWriter().rewrite(file[...]) else {
            throw HeadraceError(.usage, "the file stayed as it is")
        }
        return bytes
    }

    /// Each corner of a crop at each distance from the blocks around it.
    @Test(arguments: [1, 4, 8, 16]) func cropsEqualTheWhole(scale: Int) throws {
        for isPortable in [false, true] {
            let reader = try Reader(isPortable: isPortable)
            for file in CropReadyImages.all {
                let new = try cropReady(file)
                let size = try reader.size(file)
                for step in 0..<160 {
                    let x = step * 7 % (size.width - 1)
                    let y = step * 11 % (size.height - 1)
                    let width = 1 + step * 13 % (size.width - x)
                    let height = 1 + step * 17 % (size.height - y)
                    let view = view(x: x, y: y, width: width, height: height, scale: scale)
                    let expected = try reader.pixels(file, view, whole: true)
                    #expect(try reader.pixels(new, view) == expected, "\(size) \(x) \(y) \(width) \(height)")
                }
            }
        }
    }

    /// Every box of a few columns and rows at once.
    @Test func everyPlace() throws {
        let reader = try Reader()
        let file = CropReadyImages.narrow
        let new = try cropReady(file)
        let size = try reader.size(file)
        for x in 0..<size.width {
            let view = view(x: x, y: x % 60, width: 1, height: 1 + x % 9)
            #expect(try reader.pixels(new, view) == reader.pixels(file, view, whole: true), "\(x)")
        }
        for y in 0..<size.height {
            let view = view(x: y, y: y, width: 1 + y % 30, height: 1)
            #expect(try reader.pixels(new, view) == reader.pixels(file, view, whole: true), "\(y)")
        }
    }

    /// Files of other projects, of every sampling, random crops of each at every reduction.
    @Test func fixtures() throws {
        guard let folder = Oracle.fixtures(for: "jpeg") else { return }
        let reader = try Reader()
        var random = SplitMix64(3)
        func below(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }
        let names = FileManager.default.enumerator(atPath: "\(folder)/jpeg")?.allObjects as? [String] ?? []
        var count = 0
        for name in names.sorted() {
            guard let data = FileManager.default.contents(atPath: "\(folder)/jpeg/\(name)"),
                data.count < 200_000,
                let new = try? cropReady([UInt8](data))
            else { continue }
            let size = try reader.size(new)
            for scale in [1, 4, 8, 16] {
                let (x, y) = (below(size.width), below(size.height))
                let view = view(
                    x: x, y: y, width: 1 + below(size.width - x), height: 1 + below(size.height - y),
                    scale: scale)
                let expected = try reader.pixels([UInt8](data), view, whole: true)
                #expect(try reader.pixels(new, view) == expected, "\(name) \(view)")
                count += 1
            }
        }
        #expect(count > 400)
    }

    /// Where what the crop does not touch is damaged, it is decoded: the proof that nothing else is looked at.
    @Test func onlyWhatTheCropTouchesIsDecoded() throws {
        let reader = try Reader()
        let file = try cropReady(CropReadyImages.wide)
        let size = try reader.size(file)
        let corner = view(x: size.width - 20, y: size.height - 12, width: 20, height: 12)
        let expected = try reader.pixels(file, corner)
        var damaged = file
        let scan = try #require(file.indices.first { file[$0] == 0xff && file[$0 + 1] == 0xda })
        let end = try #require(markers(file).first)
        // Half of the first interval is not there.
        damaged.removeSubrange((scan + end) / 2..<end)
        #expect(try reader.pixels(damaged, corner) == expected)
        let top = view(x: 0, y: 0, width: 20, height: 12)
        #expect(throws: HeadraceError.self) { try reader.pixels(damaged, top, whole: true) }
        #expect(throws: HeadraceError.self) { try reader.pixels(damaged, top) }
    }

    // MARK: - Hostile

    /// Where the restart markers are.
    private func markers(_ file: [UInt8]) -> [Int] {
        file.indices.dropLast().filter { file[$0] == 0xff && (0xd0...0xd7).contains(file[$0 + 1]) }
    }

    /// A file that libjpeg decodes whole without a complaint has those pixels; any other is refused, or decoded where
    /// the damage does not show. Returns whether the whole is good.
    @discardableResult
    private func check(_ file: [UInt8], _ reader: Reader, _ comment: String) -> Bool {
        guard let size = try? reader.size(file) else { return false }
        let box = view(
            x: size.width / 3, y: size.height / 3, width: max(1, size.width / 3),
            height: max(1, size.height / 3))
        let all = view(x: 0, y: 0, width: size.width, height: size.height)
        var isGood = true
        for view in [box, all] {
            let pixels = try? reader.pixels(file, view)
            guard let expected = try? reader.pixels(file, view, whole: true) else {
                isGood = false
                continue
            }
            #expect(pixels == expected, "\(comment)")
        }
        return isGood
    }

    @Test func wrongMarkersAreNoWrongPixels() throws {
        let reader = try Reader()
        var count = 0
        for original in CropReadyImages.all {
            let file = try cropReady(original)
            let markers = markers(file)
            guard markers.count > 10 else { continue }
            count += 1
            func changed(_ change: (inout [UInt8]) -> Void) -> [UInt8] {
                var copy = file
                change(&copy)
                return copy
            }
            let (second, third) = (markers[2], markers[3])
            let hostile = [
                ("a number too many", changed { $0[second + 1] = 0xd0 | ($0[second + 1] + 1) & 7 }),
                ("no marker", changed { $0.removeSubrange(second..<second + 2) }),
                ("a marker twice", changed { $0.insert(contentsOf: [0xff, $0[second + 1]], at: second) }),
                ("an interval twice", changed { $0.insert(contentsOf: file[second..<third], at: third) }),
                ("an interval lost", changed { $0.removeSubrange(second..<third) }),
                ("eight intervals lost", changed { $0.removeSubrange(second..<markers[10]) }),
                ("an end inside", changed { $0[second + 1] = 0xd9 }),
                ("a fill byte", changed { $0.insert(0xff, at: second) }),
                (
                    "another interval",
                    changed { file in
                        let place = file.indices.first { file[$0] == 0xff && file[$0 + 1] == 0xdd }!
                        file[place + 5] += 1
                    }
                ),
                ("stray bytes", changed { $0.insert(contentsOf: [1, 2, 3], at: second) }),
                ("a byte lost", changed { $0.remove(at: second - 1) }),
                ("no end", Array(file.dropLast(2))),
                ("half", Array(file.prefix(file.count / 2))),
            ]
            for (name, bytes) in hostile {
                let isGood = check(bytes, reader, name)
                // libjpeg lets these pass.
                #expect(isGood == (name == "a fill byte" || name == "stray bytes"), "\(name)")
            }
        }
        #expect(count >= 4)
    }

    @Test func damageAtRandom() throws {
        var random = SplitMix64(11)
        func below(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }
        let reader = try Reader()
        let files = try CropReadyImages.all.map { try cropReady($0) }
        var good = 0
        for round in 0..<1500 {
            var file = files[round % files.count]
            let scan = try #require(file.indices.first { file[$0] == 0xff && file[$0 + 1] == 0xda })
            for _ in 0...below(3) {
                let place = below(4) == 0 ? below(file.count) : scan + below(file.count - scan)
                switch below(3) {
                case 0: file[place] ^= 1 << UInt8(below(8))
                case 1: file[place] = UInt8(below(256))
                default: file.removeSubrange(place..<min(file.count, place + 1 + below(4)))
                }
            }
            if check(file, reader, "round \(round)") { good += 1 }
        }
        #expect(good > 0)
    }

    /// A file without tables is read by the standard ones, or refused, whatever the file before it had.
    @Test func tablesOfAnotherFileAreNotTaken() throws {
        func without(_ marker: UInt8, _ file: [UInt8]) throws -> [UInt8] {
            var file = file
            while let at = file.indices.dropLast().first(where: { file[$0] == 0xff && file[$0 + 1] == marker }
            ) {
                file.removeSubrange(at..<at + 2 + Int(file[at + 2]) << 8 + Int(file[at + 3]))
            }
            return file
        }
        let box = view(x: 20, y: 8, width: 40, height: 25)
        let reader = try Reader()
        for file in [CropReadyImages.wide, try cropReady(CropReadyImages.full)] {
            for marker in [0xdb, 0xc4] as [UInt8] {
                let bare = try without(marker, file)
                let alone = try? Reader().pixels(bare, box)
                #expect(marker == 0xc4 || alone == nil)
                for other in CropReadyImages.all {
                    _ = try reader.pixels(try cropReady(other), box)
                    #expect((try? reader.pixels(bare, box)) == alone)
                    _ = try? reader.pixels(bare, box)
                    #expect(try reader.pixels(file, box) == Reader().pixels(file, box))
                }
            }
        }
    }

    /// What one file leaves behind has no influence on the next.
    @Test func contextsForget() throws {
        let files = try CropReadyImages.all.flatMap { [$0, try cropReady($0)] }
        let reader = try Reader()
        let box = view(x: 20, y: 8, width: 40, height: 25)
        for first in files {
            for second in files {
                let expected = try Reader().pixels(second, box)
                _ = try reader.pixels(first, box)
                #expect(try reader.pixels(second, box) == expected)
            }
        }
    }
}
