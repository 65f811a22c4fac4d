internal import CHeadraceImage
package import HeadraceCore

/// A list of transforms, checked and sorted out: what is done to every image.
struct ImageRecipe: Hashable, Sendable {
    enum Geometry: Hashable, Sendable {
        /// The image as it is: all must have one size.
        case none
        case randomResizedCrop(ImageSize, scale: ClosedRange<Double>, ratio: ClosedRange<Double>)
        case centerCrop(ImageSize, shorterSide: Int)
        case resize(ImageSize)
    }

    struct Jitter: Hashable, Sendable {
        var brightness = 0.0
        var contrast = 0.0
        var saturation = 0.0
    }

    var geometry = Geometry.none
    var flipShare = 0.0
    var jitter: Jitter?
    var normalization: ImageNormalization?
    var antialias = true
    var isGray = false
    var turnsUpright = true
    var background: ImageBackground?
    var allowsTruncated = false
    var elementType: ElementType
    var layout: ImageLayout
    var pixelLimit = ImageLimits.imagePixels

    /// Throws `usage` where the transforms contradict each other or their numbers make no sense.
    init(
        _ transforms: [ImageTransform], as elementType: ElementType?, layout: ImageLayout
    ) throws(HeadraceError) {
        self.layout = layout
        let isNormalized = transforms.contains { if case .normalize = $0.step { true } else { false } }
        self.elementType = elementType ?? (isNormalized ? .float32 : .uint8)
        guard ImageLimits.elementTypes.contains(self.elementType) else {
            let names = ImageLimits.elementTypes.map(\.rawValue).joined(separator: ", ")
            throw Self.refusal("images are read as \(names), not as \(self.elementType.rawValue)")
        }
        var kinds: Set<String> = []
        for transform in transforms {
            let words = transform.description
            let kind = transform.step.isGeometry ? "geometry" : String(words.prefix { $0 != ":" })
            guard kinds.insert(kind).inserted else {
                throw Self.refusal(
                    kind == "geometry"
                        ? "'\(words)' is a second one of random-resized-crop, center-crop and resize"
                        : "'\(kind)' is there twice")
            }
            try take(transform.step, words)
        }
        if normalization != nil, self.elementType == .uint8 {
            throw Self.refusal("normalize gives fractions, which uint8 cannot hold: ask for float32")
        }
        let channels = isGray ? 1 : 3
        if let count = normalization?.mean.count, count != channels, count != 1 {
            throw Self.refusal("normalize has numbers for \(count) channels, but images have \(channels)")
        }
    }

    private mutating func take(_ step: ImageTransform.Step, _ words: String) throws(HeadraceError) {
        switch step {
        case .randomResizedCrop(let size, let scale, let ratio):
            try Self.check(size, words)
            guard scale.lowerBound > 0, scale.upperBound <= 1, ratio.lowerBound > 0, ratio.upperBound.isFinite
            else { throw Self.refusal("'\(words)': scales are shares above 0 up to 1, ratios are above 0") }
            geometry = .randomResizedCrop(size, scale: scale, ratio: ratio)
        case .centerCrop(let size, let shorterSide):
            try Self.check(size, words)
            guard shorterSide >= max(size.height, size.width), shorterSide <= ImageLimits.resultSide else {
                throw Self.refusal(
                    "'\(words)': the shorter side must become at least as long as the crop, and at most "
                        + "\(ImageLimits.resultSide)")
            }
            geometry = .centerCrop(size, shorterSide: shorterSide)
        case .resize(let size):
            try Self.check(size, words)
            geometry = .resize(size)
        case .flip(let share):
            guard (0...1).contains(share) else { throw Self.refusal("'\(words)': a share is from 0 to 1") }
            flipShare = share
        case .colorJitter(let brightness, let contrast, let saturation):
            guard [brightness, contrast, saturation].allSatisfy({ (0...ImageLimits.jitter).contains($0) })
            else {
                throw Self.refusal("'\(words)': color-jitter takes numbers from 0 to \(ImageLimits.jitter)")
            }
            jitter = Jitter(brightness: brightness, contrast: contrast, saturation: saturation)
        case .normalize(let mean, let deviation):
            guard mean.count == deviation.count, !mean.isEmpty, mean.allSatisfy(\.isFinite),
                deviation.allSatisfy({ $0.isFinite && $0 > 0 })
            else {
                throw Self.refusal("'\(words)': normalize takes as many means as standard deviations above 0")
            }
            normalization = ImageNormalization(mean: mean, standardDeviation: deviation)
        case .noAntialias: antialias = false
        case .gray: isGray = true
        case .asStored: turnsUpright = false
        case .alpha(let color): background = color
        case .allowTruncated: allowsTruncated = true
        }
    }

    private static func check(_ size: ImageSize, _ words: String) throws(HeadraceError) {
        guard (1...ImageLimits.resultSide).contains(size.height),
            (1...ImageLimits.resultSide).contains(size.width)
        else { throw refusal("'\(words)': sides are from 1 to \(ImageLimits.resultSide) pixels") }
    }

    private static func refusal(_ message: String) -> HeadraceError { HeadraceError(.usage, message) }

    /// Channels of the result.
    var channels: Int { isGray ? 1 : 3 }

    /// The shape of a row of that size.
    func shape(_ size: ImageSize) -> [Int] {
        switch layout {
        case .chw: [channels, size.height, size.width]
        case .hwc: [size.height, size.width, channels]
        }
    }

    /// The size of every result; nil: that of the image.
    var size: ImageSize? {
        switch geometry {
        case .none: nil
        case .randomResizedCrop(let size, _, _), .centerCrop(let size, _), .resize(let size): size
        }
    }

    /// How the C side writes pixels.
    var pixelLayout: headrace_image_layout {
        var layout = headrace_image_layout()
        layout.channels = Int32(channels)
        layout.planar = self.layout == .chw
        switch elementType {
        case .float32: layout.element = Int32(HEADRACE_IMAGE_F32)
        case .float16: layout.element = Int32(HEADRACE_IMAGE_F16)
        case .bfloat16: layout.element = Int32(HEADRACE_IMAGE_BF16)
        default: layout.element = Int32(HEADRACE_IMAGE_U8)
        }
        let values = normalization ?? ImageNormalization(mean: [0], standardDeviation: [1])
        func scale(_ channel: Int) -> (Float, Float) {
            let mean = values.mean[values.mean.count == 1 ? 0 : channel]
            let deviation = values.standardDeviation[values.mean.count == 1 ? 0 : channel]
            return (Float(1 / (255 * deviation)), Float(-mean / deviation))
        }
        let all = (0..<3).map { scale($0 < channels ? $0 : 0) }
        layout.scale = (all[0].0, all[1].0, all[2].0)
        layout.bias = (all[0].1, all[1].1, all[2].1)
        return layout
    }
}

extension ImageTransform.Step {
    fileprivate var isGeometry: Bool {
        switch self {
        case .randomResizedCrop, .centerCrop, .resize: true
        default: false
        }
    }
}

/// Caps on images, each with its default.
package enum ImageLimits {
    /// Pixels of an image as stored. A file of a few KB can claim billions, and decoding goes through all of them.
    package static let imagePixels = 100_000_000
    /// Its longer side; JPEG cannot say more.
    package static let imageSide = 65_535
    /// Scans of a progressive JPEG. Encoders write about 10; a file of scans without content is a bomb.
    package static let imageScans = 100
    /// Sides of a result.
    package static let resultSide = 16_384
    /// Strength of a change of colour.
    package static let jitter = 10.0
    /// What elements of images can be.
    package static let elementTypes: [ElementType] = [.uint8, .float32, .float16, .bfloat16]
}
