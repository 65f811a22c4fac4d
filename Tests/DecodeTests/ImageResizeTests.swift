import Foundation
import HeadraceCore
import Testing

@testable import HeadraceDecode

/// Pixels: against Pillow byte for byte, and against arithmetic in real numbers.
@Suite struct ImageResizeTests {
    /// Crops and sizes as (x, y, width, height, new width, new height) of a picture of 93 x 69.
    private static let cuts = [
        [0, 0, 93, 69, 40, 30], [0, 0, 93, 69, 93, 69], [5, 7, 60, 50, 33, 47], [11, 3, 80, 66, 224, 200],
        [40, 30, 1, 1, 5, 4], [0, 10, 93, 3, 31, 64], [1, 1, 91, 67, 30, 18], [20, 0, 37, 69, 36, 68],
    ]

    /// Pillow resizes in two passes; which comes first depends on its version and the sizes, so it is asked for the
    /// width alone and then for the height.
    @Test func pillowByteForByte() throws {
        let script = """
            import sys, base64, io, numpy as np
            from PIL import Image
            image = Image.open(io.BytesIO(base64.b64decode(sys.argv[1]))).convert('RGB')
            out = sys.stdout.buffer
            for cut in sys.argv[2].split(';'):
                x, y, w, h, tw, th = map(int, cut.split(','))
                part = image.crop((x, y, x + w, y + h)).resize((tw, h), Image.BILINEAR).resize((tw, th), Image.BILINEAR)
                data = np.asarray(part).tobytes()
                out.write(len(data).to_bytes(4, 'little') + data)
            """
        let cuts = Self.cuts.map { $0.map(String.init).joined(separator: ",") }.joined(separator: ";")
        let file = Data(SmallImages.baseline).base64EncodedString()
        guard let output = try Oracle.python(script, [file, cuts], for: "pillowByteForByte") else { return }
        for (cut, expected) in zip(Self.cuts, OracleRecords(output)) {
            for isPortable in [false, true] {
                let ours = try cutOut(cut, isPortable: isPortable)
                #expect(ours == expected, "\(cut), portable \(isPortable)")
            }
        }
    }

    private func cutOut(_ cut: [Int], isPortable: Bool = false, antialias: Bool = true) throws -> [UInt8] {
        try CutOut(
            SmallImages.baseline, x: cut[0], y: cut[1], width: cut[2], height: cut[3],
            resized: (cut[4], cut[5]), isPortable: isPortable, antialias: antialias
        ).bytes
    }

    /// With vector instructions and without: the same pixels.
    @Test func everyCPU() throws {
        for cut in Self.cuts {
            for antialias in [true, false] {
                #expect(
                    try cutOut(cut, antialias: antialias)
                        == cutOut(cut, isPortable: true, antialias: antialias))
            }
        }
    }

    /// The fused path against the full decode, cropped and resized in real numbers: a rounding to 8 bits after
    /// each of two passes is all that is lost.
    @Test func realNumbers() throws {
        let whole = try Picture(SmallImages.baseline)
        for cut in Self.cuts {
            let expected = whole.cropped(x: cut[0], y: cut[1], width: cut[2], height: cut[3])
                .resized(width: cut[4], height: cut[5])
            let error = expected.difference(to: try cutOut(cut))
            #expect(error.largest <= 1.01 && error.mean < 0.5, "\(cut): \(error)")
        }
    }

    /// Of a picture much larger than the result a half, a quarter or an eighth is decoded: close to averaging over
    /// all its pixels.
    @Test(arguments: [(20, 15), (8, 8), (3, 2)])
    func reducedDecode(_ width: Int, _ height: Int) throws {
        for file in [SmallImages.baseline, SmallImages.progressive] {
            let expected = try Picture(file).resized(width: width, height: height)
            let error = expected.difference(to: try DecodedImage(file, [.resize(height, width)]).bytes)
            #expect(error.largest <= 16 && error.mean < 3, "\(width) x \(height): \(error)")
        }
    }

    @Test func plainBilinear() throws {
        let whole = try Picture(SmallImages.baseline)
        let (width, height) = (50, 20)
        let image = try DecodedImage(SmallImages.baseline, [.resize(height, width), .noAntialias])
        let expected = Picture(width: width, height: height) { x, y, channel in
            func near(_ place: Int, _ size: Int, _ newSize: Int) -> (Int, Int, Double) {
                let at = (Double(place) + 0.5) * Double(size) / Double(newSize) - 0.5
                let first = Int(at.rounded(.down))
                return (max(0, first), min(size - 1, first + 1), at - Double(first))
            }
            let (left, right, across) = near(x, 93, width)
            let (upper, lower, down) = near(y, 69, height)
            let top = whole[left, upper, channel] * (1 - across) + whole[right, upper, channel] * across
            let bottom = whole[left, lower, channel] * (1 - across) + whole[right, lower, channel] * across
            return top * (1 - down) + bottom * down
        }
        #expect(expected.difference(to: image.bytes).largest <= 1.01)
    }

    /// The middle, after the shorter side has been resized: torchvision's Resize and CenterCrop.
    @Test func centerCrop() throws {
        let image = try DecodedImage(SmallImages.baseline, [.centerCrop(30, 40, shorterSide: 46)])
        #expect(image.shape == [30, 40, 3])
        // 93 x 69 becomes 62 x 46, of which 40 x 30 at (11, 8) are kept.
        let expected = try Picture(SmallImages.baseline).resized(width: 62, height: 46)
            .cropped(x: 11, y: 8, width: 40, height: 30)
        #expect(expected.difference(to: image.bytes).largest <= 1.01)
    }

    @Test func flips() throws {
        for file in [SmallImages.baseline, SmallImages.turned, SmallImages.transparent] {
            let straight = try Picture(file, [.resize(20, 31)])
            let mirrored = try DecodedImage(file, [.resize(20, 31), .flip(probability: 1)])
            #expect(straight.mirrored.difference(to: mirrored.bytes).largest == 0)
        }
    }

    /// EXIF orientation 6: the columns of the file are the rows that are seen.
    @Test func turnedUpright() throws {
        let stored = try Picture(SmallImages.turned, [.asStored])
        let upright = try DecodedImage(SmallImages.turned)
        #expect(stored.width == 53 && stored.height == 34 && upright.shape == [53, 34, 3])
        let expected = Picture(width: 34, height: 53) { stored[$1, 33 - $0, $2] }
        #expect(expected.difference(to: upright.bytes).largest == 0)
    }

    // MARK: Elements and layouts

    @Test func layoutsAndElements() throws {
        let steps: [ImageTransform] = [.resize(19, 23), .normalize(.imageNet)]
        let bytes = try DecodedImage(SmallImages.baseline, [.resize(19, 23)]).bytes
        let planes = try DecodedImage(SmallImages.baseline, [.resize(19, 23)], layout: .chw)
        #expect(planes.shape == [3, 19, 23])
        let floats = try DecodedImage(SmallImages.baseline, steps).elements(Float.self)
        let floatPlanes = try DecodedImage(SmallImages.baseline, steps, layout: .chw).elements(Float.self)
        let halves = try DecodedImage(SmallImages.baseline, steps, as: .float16, layout: .chw)
            .elements(UInt16.self)
        let brains = try DecodedImage(SmallImages.baseline, steps, as: .bfloat16).elements(UInt16.self)
        let shares = try DecodedImage(SmallImages.baseline, [.resize(19, 23)], as: .float32)
            .elements(Float.self)
        let mean = [0.485, 0.456, 0.406]
        let deviation = [0.229, 0.224, 0.225]
        for pixel in 0..<19 * 23 {
            for channel in 0..<3 {
                let at = pixel * 3 + channel
                let plane = channel * 19 * 23 + pixel
                #expect(planes.bytes[plane] == bytes[at])
                let value = (Double(bytes[at]) / 255 - mean[channel]) / deviation[channel]
                #expect(abs(Double(floats[at]) - value) < 1e-6)
                #expect(floatPlanes[plane] == floats[at])
                // Rounded to the nearest number that there is.
                #expect(halves[plane] == Float16(floats[at]).bitPattern)
                let brain = Float(bitPattern: UInt32(brains[at]) << 16)
                #expect(abs(brain - floats[at]) <= abs(floats[at]) / 256)
                #expect(abs(shares[at] - Float(bytes[at]) / 255) < 1e-6)
            }
        }
    }

    @Test func grayAndInk() throws {
        let gray = try DecodedImage(SmallImages.gray)
        #expect(gray.shape == [31, 40, 3])
        for pixel in 0..<40 * 31 { #expect(gray.bytes[3 * pixel] == gray.bytes[3 * pixel + 2]) }
        let one = try DecodedImage(SmallImages.gray, [.gray])
        #expect(one.shape == [31, 40, 1])
        #expect(one.bytes == stride(from: 0, to: gray.bytes.count, by: 3).map { gray.bytes[$0] })
        let color = try DecodedImage(SmallImages.baseline).bytes
        let luma = try DecodedImage(SmallImages.baseline, [.gray], layout: .chw).bytes
        for pixel in luma.indices {
            let rgb = (0..<3).map { Double(color[3 * pixel + $0]) }
            let expected = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
            #expect(abs(Double(luma[pixel]) - expected) < 0.51)
        }
        #expect(try DecodedImage(SmallImages.ink).shape == [24, 24, 3])
    }

    /// Transparency is left out of account, or laid over what was asked for.
    @Test func backgrounds() throws {
        let plain = try Picture(SmallImages.transparent)
        // The file's alpha rises by 8 a column, cut to multiples of 16.
        for (background, ground) in [(ImageBackground.white, 255.0), (.black, 0)] {
            let image = try DecodedImage(SmallImages.transparent, [.alpha(background)])
            let expected = Picture(width: 30, height: 22) { x, y, channel in
                let opacity = Double(x * 8 / 16 * 16) / 255
                return plain[x, y, channel] * opacity + ground * (1 - opacity)
            }
            #expect(expected.difference(to: image.bytes).largest <= 0.51)
        }
    }
}
