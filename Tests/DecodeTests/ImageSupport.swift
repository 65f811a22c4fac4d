import Foundation
import HeadraceCore
import Testing

@testable import HeadraceDecode

/// One image through a decoder, as the loader does it.
struct DecodedImage {
    var shape: [Int] = []
    var bytes: [UInt8] = []

    init(
        _ file: [UInt8], _ transforms: [ImageTransform] = [], as elementType: ElementType? = nil,
        layout: ImageLayout = .hwc, seed: UInt64 = 0
    ) throws(HeadraceError) {
        let decoder = try ImageDecoder(transforms, as: elementType, layout: layout)
        let images = try Self.rows(decoder, [file], seeds: [seed])
        self = images[0]
    }

    private init(shape: [Int], bytes: [UInt8]) {
        self.shape = shape
        self.bytes = bytes
    }

    /// Several files through one decoder, in one run. Throws the first failure.
    static func rows(
        _ decoder: ImageDecoder, _ files: [[UInt8]], seeds: [UInt64]
    ) throws(HeadraceError) -> [DecodedImage] {
        // Each in a block of its own: a read beyond it is seen by the address sanitizer.
        let buffers = files.map { file in
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, file.count), alignment: 1)
            copy.copyBytes(from: file)
            return copy
        }
        defer { for buffer in buffers { buffer.deallocate() } }
        let payloads = zip(buffers, files).map {
            UnsafeRawBufferPointer(start: $0.0.baseAddress, count: $0.1.count)
        }
        let layout = try decoder.column(for: payloads[0])
        guard case .fixed(_, let shape) = layout else { preconditionFailure("images have a shape") }
        var rows = [UInt8](repeating: 0xa5, count: layout.rowBytes * files.count + 64)
        var failure: HeadraceError?
        rows.withUnsafeMutableBytes { memory in
            payloads.withUnsafeBufferPointer { payloads in
                seeds.withUnsafeBufferPointer { seeds in
                    var run = DecodeRun(
                        payloads: payloads, rows: memory.baseAddress, layout: layout, seeds: seeds)
                    decoder.decode(&run)
                    failure = run.failures.first?.error
                }
            }
        }
        #expect(rows.suffix(64).allSatisfy { $0 == 0xa5 }, "written beyond the rows")
        if let failure { throw failure }
        return files.indices.map { index in
            DecodedImage(
                shape: shape, bytes: Array(rows[index * layout.rowBytes..<(index + 1) * layout.rowBytes]))
        }
    }

    /// Elements of two bytes or four.
    func elements<Element>(_ type: Element.Type) -> [Element] {
        bytes.withUnsafeBytes { Array($0.bindMemory(to: type)) }
    }
}

/// A picture of three channels in plain Swift, for what is checked by arithmetic of its own.
struct Picture {
    var width: Int
    var height: Int
    var values: [Double]

    init(width: Int, height: Int, _ value: (Int, Int, Int) -> Double) {
        self.width = width
        self.height = height
        values = []
        for y in 0..<height {
            for x in 0..<width { for channel in 0..<3 { values.append(value(x, y, channel)) } }
        }
    }

    /// The whole file, upright.
    init(_ file: [UInt8], _ transforms: [ImageTransform] = []) throws {
        let image = try DecodedImage(file, transforms)
        width = image.shape[1]
        height = image.shape[0]
        values = image.bytes.map(Double.init)
    }

    subscript(x: Int, y: Int, channel: Int) -> Double { values[(y * width + x) * 3 + channel] }

    func cropped(x: Int, y: Int, width: Int, height: Int) -> Picture {
        Picture(width: width, height: height) { self[x + $0, y + $1, $2] }
    }

    var mirrored: Picture { Picture(width: width, height: height) { self[width - 1 - $0, $1, $2] } }

    /// A triangle filter as wide as the reduction, in real numbers and both directions at once.
    func resized(width newWidth: Int, height newHeight: Int) -> Picture {
        func weights(_ size: Int, _ newSize: Int) -> [[(Int, Double)]] {
            let scale = Double(size) / Double(newSize)
            let reach = max(1, scale)
            return (0..<newSize).map { place in
                let center = (Double(place) + 0.5) * scale
                let all = (0..<size).map { ($0, max(0, 1 - abs(Double($0) + 0.5 - center) / reach)) }
                let sum = all.map(\.1).reduce(0, +)
                return all.filter { $0.1 > 0 }.map { ($0.0, $0.1 / sum) }
            }
        }
        let across = weights(width, newWidth)
        let down = weights(height, newHeight)
        let narrow = Picture(width: newWidth, height: height) { x, y, channel in
            across[x].reduce(0) { $0 + $1.1 * self[$1.0, y, channel] }
        }
        return Picture(width: newWidth, height: newHeight) { x, y, channel in
            down[y].reduce(0) { $0 + $1.1 * narrow[x, $1.0, channel] }
        }
    }

    /// Largest and mean difference to pixels of the same shape.
    func difference(to bytes: [UInt8]) -> (largest: Double, mean: Double) {
        precondition(bytes.count == values.count)
        let all = zip(values, bytes).map { abs($0 - Double($1)) }
        return (all.max() ?? 0, all.reduce(0, +) / Double(max(1, all.count)))
    }
}
