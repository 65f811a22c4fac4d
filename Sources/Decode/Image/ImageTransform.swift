/// How the elements of an image lie in its row.
public enum ImageLayout: String, Hashable, Sendable, CaseIterable {
    /// Channels, height, width: a plane a channel.
    case chw
    /// Height, width, channels: the channels of a pixel side by side.
    case hwc
}

/// One step from an image file to a row of a batch, or a rule for reading the file.
///
/// The steps are always taken in one order, whatever their order in the list: geometry, flip, colour, normalise.
/// What is random is drawn from the sample's own seed, so that it is the same for any number of workers and after a
/// resume, and another one every epoch. Two fields of one sample that have the same geometry get the same crop.
public struct ImageTransform: Hashable, Sendable, CustomStringConvertible {
    enum Step: Hashable, Sendable {
        case randomResizedCrop(ImageSize, scale: ClosedRange<Double>, ratio: ClosedRange<Double>)
        case centerCrop(ImageSize, shorterSide: Int)
        case resize(ImageSize)
        case flip(Double)
        case colorJitter(brightness: Double, contrast: Double, saturation: Double)
        case normalize(mean: [Double], standardDeviation: [Double])
        case noAntialias
        case gray
        case asStored
        case alpha(ImageBackground)
        case allowTruncated
    }

    let step: Step

    /// The step as `--transform` reads it.
    public var description: String { step.words }

    /// A random part of the image of random shape, resized: torchvision's RandomResizedCrop.
    ///
    /// - Parameters:
    ///   - scale: the part's area, as a share of the image's.
    ///   - ratio: its width divided by its height, uniform in the logarithm.
    public static func randomResizedCrop(
        _ height: Int, _ width: Int? = nil, scale: ClosedRange<Double> = 0.08...1,
        ratio: ClosedRange<Double> = 3.0 / 4...4.0 / 3
    ) -> ImageTransform {
        Self(step: .randomResizedCrop(ImageSize(height, width ?? height), scale: scale, ratio: ratio))
    }

    /// Resizes the shorter side, then cuts out the middle.
    ///
    /// - Parameter shorterSide: what the shorter side becomes; nil: 8/7 of the larger side of the result (256 for 224).
    public static func centerCrop(_ height: Int, _ width: Int? = nil, shorterSide: Int? = nil)
        -> ImageTransform
    {
        let size = ImageSize(height, width ?? height)
        let larger = max(size.height, size.width)
        return Self(step: .centerCrop(size, shorterSide: shorterSide ?? Self.shorterSide(larger)))
    }

    /// 8/7 of it, rounded up; a side that is refused anyway is left as it is.
    private static func shorterSide(_ larger: Int) -> Int {
        larger > ImageLimits.resultSide ? larger : (larger * 8 + 6) / 7
    }

    /// Resizes the whole image to this size, whatever its shape.
    public static func resize(_ height: Int, _ width: Int? = nil) -> ImageTransform {
        Self(step: .resize(ImageSize(height, width ?? height)))
    }

    /// Mirrors every second image, left to right.
    public static var flip: ImageTransform { flip(probability: 0.5) }

    /// Mirrors that share of the images, left to right.
    public static func flip(probability: Double) -> ImageTransform { Self(step: .flip(probability)) }

    /// Changes brightness, contrast and saturation in random order, each by a factor from 1 - x to 1 + x.
    public static func colorJitter(
        brightness: Double = 0, contrast: Double = 0, saturation: Double = 0
    ) -> ImageTransform {
        Self(step: .colorJitter(brightness: brightness, contrast: contrast, saturation: saturation))
    }

    /// Of channels as shares of 1, subtracts the mean and divides by the standard deviation. Needs elements that are
    /// floating-point numbers.
    public static func normalize(_ values: ImageNormalization) -> ImageTransform {
        Self(step: .normalize(mean: values.mean, standardDeviation: values.standardDeviation))
    }

    /// Interpolates between the four neighbours of a point, instead of averaging over all that a pixel covers.
    public static var noAntialias: ImageTransform { Self(step: .noAntialias) }
    /// One channel of brightness instead of red, green and blue.
    public static var gray: ImageTransform { Self(step: .gray) }
    /// Leaves the orientation in the file's EXIF data alone; else images are turned upright.
    public static var asStored: ImageTransform { Self(step: .asStored) }
    /// Lays transparent images over a background; else transparency is left out of account.
    public static func alpha(_ background: ImageBackground) -> ImageTransform {
        Self(step: .alpha(background))
    }
    /// Lets files through that end too early or are damaged in a way that the library conceals; what is missing
    /// is gray or black.
    public static var allowTruncated: ImageTransform { Self(step: .allowTruncated) }
}

/// What transparent images are laid over.
public enum ImageBackground: String, Hashable, Sendable, CaseIterable {
    case black
    case white
}

/// Mean and standard deviation of the channels of a data set, as shares of 1.
public struct ImageNormalization: Hashable, Sendable {
    /// One a channel.
    public var mean: [Double]
    /// One a channel.
    public var standardDeviation: [Double]

    /// One number a channel; one number alone is for all of them.
    public init(mean: [Double], standardDeviation: [Double]) {
        self.mean = mean
        self.standardDeviation = standardDeviation
    }

    /// Of ImageNet's red, green and blue.
    public static var imageNet: ImageNormalization {
        ImageNormalization(mean: [0.485, 0.456, 0.406], standardDeviation: [0.229, 0.224, 0.225])
    }
}

/// Height and width of a result.
struct ImageSize: Hashable, Sendable, CustomStringConvertible {
    var height: Int
    var width: Int

    init(_ height: Int, _ width: Int) {
        self.height = height
        self.width = width
    }

    var description: String { height == width ? "\(height)" : "\(height)x\(width)" }
}
