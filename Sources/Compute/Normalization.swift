public import HeadraceCore

/// Images that leave the host as bytes and become normalised numbers on the device: a quarter of the bytes of `float32`
/// cross the bus, and the host does none of the arithmetic.
///
/// Each byte `b` of channel `c` becomes `(b / 255 - mean[c]) / deviation[c]`, in `elementType`, channels first.
public struct DeviceNormalization: Hashable, Sendable, CustomStringConvertible {
    /// Where a row of the column has its channels.
    public enum Channels: String, Hashable, Sendable {
        /// Height, width, channels.
        case last
        /// Channels, height, width.
        case first
    }

    /// Most channels of an image.
    public static let channelLimit = 1024

    /// Mean of each channel, of values from 0 to 1.
    public let mean: [Float]
    /// Standard deviation of each channel, of values from 0 to 1.
    public let deviation: [Float]
    /// What arrives: `float32`, `float16` or `bfloat16`.
    public let elementType: ElementType
    /// What leaves the host.
    public let channels: Channels

    /// A normalisation. Throws `usage` for numbers that make none.
    public init(
        mean: [Float], deviation: [Float], as elementType: ElementType = .float32, channels: Channels = .last
    ) throws(HeadraceError) {
        guard mean.count == deviation.count, (1...Self.channelLimit).contains(mean.count) else {
            throw HeadraceError(
                .usage,
                "\(mean.count) means and \(deviation.count) deviations; a normalisation has one of each for every "
                    + "channel, of 1 to \(Self.channelLimit) channels")
        }
        guard mean.allSatisfy(\.isFinite), deviation.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw HeadraceError(
                .usage, "a normalisation has finite means, and finite deviations greater than 0")
        }
        guard [.float32, .float16, .bfloat16].contains(elementType) else {
            throw HeadraceError(
                .usage, "a normalised image is float32, float16 or bfloat16, not \(elementType.rawValue)")
        }
        self.mean = mean
        self.deviation = deviation
        self.elementType = elementType
        self.channels = channels
    }

    /// As two numbers for each channel: `b * scale + shift` is what `b` becomes.
    var coefficients: [Float] {
        var numbers: [Float] = []
        for (mean, deviation) in zip(mean, deviation) {
            let scale: Float = 1 / (255 * deviation)
            numbers += [scale, -(mean / deviation)]
        }
        return numbers
    }

    /// The numbers that decide what arrives.
    public var description: String {
        let pairs = zip(mean, deviation).map { "\($0):\($1)" }.joined(separator: ",")
        return "\(elementType.rawValue)(\(pairs)),channels-\(channels.rawValue)"
    }
}

/// Rows of one batch that are to arrive normalised.
public struct NormalizedRows: Sendable {
    /// What becomes of each element.
    public let normalization: DeviceNormalization
    /// Rows, each of as many channels as the normalisation has.
    public let count: Int
    /// Height times width of a row.
    public let pixels: Int

    /// `count` rows of `pixels` pixels each.
    public init(_ normalization: DeviceNormalization, count: Int, pixels: Int) {
        self.normalization = normalization
        self.count = count
        self.pixels = pixels
    }

    /// Elements of all rows: bytes that leave the host.
    public var elementCount: Int { count * pixels * normalization.mean.count }
    /// Bytes that the device has in the end.
    public var byteCount: Int { elementCount * normalization.elementType.byteCount }
}
