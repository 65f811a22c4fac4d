import FakeCUDA
import HeadraceCore
import Testing

@testable import HeadraceCompute

/// Images to normalise, and what must come of them.
struct NormalizationCase {
    static let types: [ElementType] = [.float32, .float16, .bfloat16]
    let rows: NormalizedRows
    let bytes: [UInt8]

    init(_ type: ElementType, _ channels: DeviceNormalization.Channels, count: Int = 3, pixels: Int = 130)
        throws
    {
        let normalization = try DeviceNormalization(
            mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225], as: type, channels: channels)
        rows = NormalizedRows(normalization, count: count, pixels: pixels)
        var random = SplitMix64(UInt64(count * pixels))
        bytes = (0..<rows.elementCount).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Worked out the plain way in double precision, to the bits of the element type's nearest number.
    private func exact(_ row: Int, _ channel: Int, _ pixel: Int) -> Double {
        let normalization = rows.normalization
        let base = row * rows.pixels * 3
        let place = normalization.channels == .last ? pixel * 3 + channel : channel * rows.pixels + pixel
        return (Double(bytes[base + place]) / 255 - Double(normalization.mean[channel]))
            / Double(normalization.deviation[channel])
    }

    /// The largest error of what arrived, in steps of the element type at 1; infinite where an element is not there.
    func error(of arrived: [UInt8]) -> Double {
        let type = rows.normalization.elementType
        guard arrived.count == rows.byteCount else { return .infinity }
        let step = type == .float32 ? Double(Float.ulpOfOne) : type == .float16 ? 0x1p-10 : 0x1p-7
        var worst = 0.0
        for row in 0..<rows.count {
            for channel in 0..<3 {
                for pixel in 0..<rows.pixels {
                    let place = ((row * 3 + channel) * rows.pixels + pixel) * type.byteCount
                    let value = arrived.withUnsafeBytes { bytes -> Double in
                        switch type {
                        case .float32: return Double(bytes.load(fromByteOffset: place, as: Float.self))
                        case .float16: return Double(bytes.load(fromByteOffset: place, as: Float16.self))
                        default:
                            let high = UInt32(bytes.load(fromByteOffset: place, as: UInt16.self))
                            return Double(Float(bitPattern: high << 16))
                        }
                    }
                    let expected = exact(row, channel, pixel)
                    worst = max(worst, abs(value - expected) / (step * max(1, abs(expected))))
                }
            }
        }
        return worst
    }
}

@Suite struct NormalizationTests {
    /// The very text that the driver gets, run by an interpreter. Half a step is the rounding; the rest is that the
    /// coefficients are numbers of 32 bits.
    @Test(arguments: NormalizationCase.types, [DeviceNormalization.Channels.last, .first])
    func theProgramComputesWhatItSays(type: ElementType, channels: DeviceNormalization.Channels) throws {
        let images = try NormalizationCase(type, channels)
        let rows = images.rows
        let program = try PTXInterpreter(NormalizationKernel.text, function: NormalizationKernel.name(type))
        var arrived = [UInt8](repeating: 0xff, count: rows.byteCount + 64)
        let threads = NormalizationKernel.threadsPerBlock
        let total = rows.count * rows.pixels
        try images.bytes.withUnsafeBytes { source in
            try rows.normalization.coefficients.withUnsafeBytes { coefficients in
                try arrived.withUnsafeMutableBytes { target in
                    func address(_ pointer: UnsafeRawPointer?) -> UInt64 { UInt64(UInt(bitPattern: pointer)) }
                    try program.run(
                        blocks: (total + threads - 1) / threads, threads: threads,
                        [
                            address(source.baseAddress), address(target.baseAddress),
                            address(coefficients.baseAddress),
                            UInt64(total), UInt64(rows.pixels), 3, channels == .last ? 1 : 0,
                        ])
                }
            }
        }
        #expect(arrived.suffix(64).allSatisfy { $0 == 0xff }, "written beyond the end")
        #expect(images.error(of: arrived.dropLast(64)) < (type == .float32 ? 4 : 0.51))
    }

    /// Rounding to bfloat16 is done by hand: every byte, for coefficients that put results on and beside the middle
    /// between two numbers.
    @Test func bfloat16IsRoundedToTheNearestEven() throws {
        let program = try PTXInterpreter(
            NormalizationKernel.text, function: NormalizationKernel.name(.bfloat16))
        for scale: Float in [1, 0x1.01p0, 0x1.0101p0, -3, 0x1p-100, 255] {
            let bytes = (0..<256).map { UInt8($0) }
            var arrived = [UInt16](repeating: 0, count: 256)
            let coefficients: [Float] = [scale, 0x1p-9]
            try bytes.withUnsafeBytes { source in
                try coefficients.withUnsafeBytes { coefficients in
                    try arrived.withUnsafeMutableBytes { target in
                        func address(_ pointer: UnsafeRawPointer?) -> UInt64 {
                            UInt64(UInt(bitPattern: pointer))
                        }
                        try program.run(
                            blocks: 1, threads: 256,
                            [
                                address(source.baseAddress), address(target.baseAddress),
                                address(coefficients.baseAddress), 256, 256, 1, 0,
                            ])
                    }
                }
            }
            for byte in 0..<256 {
                let value = Float(0x1p-9).addingProduct(Float(byte), scale)
                // Of the two neighbours the nearer, or the even one.
                let below = value.bitPattern & 0xffff_0000
                let above = below &+ 0x1_0000
                let middle = below | 0x8000
                let expected =
                    value.bitPattern < middle || value.bitPattern == middle && below & 0x1_0000 == 0
                    ? below : above
                #expect(UInt32(arrived[byte]) << 16 == expected, "\(byte) \(scale)")
            }
        }
    }
}

/// What only a device can show. Skipped, and said so, where there is none.
@Suite(.enabled(if: BackendKind.present.contains(.cuda), "SKIPPED: there is no CUDA device here"))
struct CUDADeviceTests {
    @Test(arguments: NormalizationCase.types, [DeviceNormalization.Channels.last, .first])
    func imagesArriveNormalised(type: ElementType, channels: DeviceNormalization.Channels) throws {
        let images = try NormalizationCase(type, channels, count: 64, pixels: 1000)
        let pool = try SlabPool(limit: 64 << 20, slabBytes: 1 << 20)
        let backend = try CUDABackend(CUDADevice(0, driver: CUDADriver()), pool: pool)
        for _ in 0..<4 {
            let staging = try #require(try backend.allocateStaging(images.bytes.count, keeping: 0))
            staging.base.copyMemory(from: images.bytes, byteCount: images.bytes.count)
            let placement = try backend.place(staging, normalizing: images.rows)
            try backend.wait(for: placement)
            var arrived = [UInt8](repeating: 0, count: placement.byteCount)
            let count = arrived.count
            try arrived.withUnsafeMutableBytes { try backend.copy(0..<count, of: placement, to: $0) }
            #expect(images.error(of: arrived) < (type == .float32 ? 4 : 0.51))
            backend.release(placement)
        }
    }
}
