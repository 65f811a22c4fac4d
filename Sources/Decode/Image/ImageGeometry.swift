internal import CHeadraceImage
internal import HeadraceCore

/// What is drawn for one sample.
///
/// Each kind of draw has a generator of its own: a mask with the same crop but no colour jitter stays aligned with
/// its image, however many numbers either takes.
struct ImageDraws {
    private let seed: UInt64

    init(seed: UInt64) { self.seed = seed }

    /// The part that a random resized crop of a picture of this size takes, by torchvision's definition.
    func crop(
        width: Int, height: Int, scale: ClosedRange<Double>, ratio: ClosedRange<Double>
    ) -> (x: Int, y: Int, width: Int, height: Int) {
        var random = SplitMix64(mixed(seed, 1))
        let area = Double(width) * Double(height)
        let lowest = naturalLogarithm(ratio.lowerBound)
        let highest = naturalLogarithm(ratio.upperBound)
        for _ in 0..<10 {
            let target = area * (scale.lowerBound + (scale.upperBound - scale.lowerBound) * random.unit())
            let aspect = exponential(lowest + (highest - lowest) * random.unit())
            let across = (target * aspect).squareRoot().rounded(.toNearestOrEven)
            let down = (target / aspect).squareRoot().rounded(.toNearestOrEven)
            guard across >= 1, down >= 1, across <= Double(width), down <= Double(height) else { continue }
            let y = Int(random.below(UInt64(height - Int(down) + 1)))
            let x = Int(random.below(UInt64(width - Int(across) + 1)))
            return (x, y, Int(across), Int(down))
        }
        let shape = Double(width) / Double(height)
        var part = (width: width, height: height)
        if shape < ratio.lowerBound {
            part.height = Int((Double(width) / ratio.lowerBound).rounded(.toNearestOrEven))
        } else if shape > ratio.upperBound {
            part.width = Int((Double(height) * ratio.upperBound).rounded(.toNearestOrEven))
        }
        part = (min(width, max(1, part.width)), min(height, max(1, part.height)))
        return ((width - part.width) / 2, (height - part.height) / 2, part.width, part.height)
    }

    /// Whether a share of all samples includes this one.
    func flips(_ share: Double) -> Bool {
        guard share > 0 else { return false }
        var random = SplitMix64(mixed(seed, 2))
        return random.unit() < share
    }

    /// The three changes of colour, in random order.
    func jitter(_ strength: ImageRecipe.Jitter) -> headrace_image_jitter {
        var random = SplitMix64(mixed(seed, 3))
        // A tuple: an array would be allocated for every image.
        var steps = (
            (Int32(HEADRACE_JITTER_BRIGHTNESS), strength.brightness),
            (Int32(HEADRACE_JITTER_CONTRAST), strength.contrast),
            (Int32(HEADRACE_JITTER_SATURATION), strength.saturation)
        )
        switch random.below(3) {
        case 0: swap(&steps.0, &steps.2)
        case 1: swap(&steps.1, &steps.2)
        default: break
        }
        if random.below(2) == 0 { swap(&steps.0, &steps.1) }
        func factor(_ strength: Double) -> Int32 {
            let lowest = max(0, 1 - strength)
            return Int32(((lowest + (1 + strength - lowest) * random.unit()) * 65536).rounded())
        }
        func operation(_ step: (Int32, Double)) -> Int32 {
            step.1 > 0 ? step.0 : Int32(HEADRACE_JITTER_NONE)
        }
        var jitter = headrace_image_jitter()
        jitter.operation = (operation(steps.0), operation(steps.1), operation(steps.2))
        jitter.factor.0 = factor(steps.0.1)
        jitter.factor.1 = factor(steps.1.1)
        jitter.factor.2 = factor(steps.2.1)
        return jitter
    }
}

extension ImageRecipe {
    /// What is to be cut out of a picture of this (upright) size.
    func view(width: Int, height: Int, _ draws: ImageDraws) -> headrace_image_view {
        var view = headrace_image_view()
        view.orientation = 1
        view.antialias = antialias
        view.flip = draws.flips(flipShare)
        switch background {
        case nil: view.alpha = Int32(HEADRACE_ALPHA_DROP)
        case .black: view.alpha = Int32(HEADRACE_ALPHA_ON_BLACK)
        case .white: view.alpha = Int32(HEADRACE_ALPHA_ON_WHITE)
        }
        view.box_width = Int32(width)
        view.box_height = Int32(height)
        var resized = (width: width, height: height)
        var window = (x: 0, y: 0, width: width, height: height)
        switch geometry {
        case .none: break
        case .resize(let size):
            resized = (size.width, size.height)
            window = (0, 0, size.width, size.height)
        case .randomResizedCrop(let size, let scale, let ratio):
            let part = draws.crop(width: width, height: height, scale: scale, ratio: ratio)
            view.box_x = Int32(part.x)
            view.box_y = Int32(part.y)
            view.box_width = Int32(part.width)
            view.box_height = Int32(part.height)
            resized = (size.width, size.height)
            window = (0, 0, size.width, size.height)
        case .centerCrop(let size, let shorterSide):
            let shorter = min(width, height)
            resized = (shorterSide * width / shorter, shorterSide * height / shorter)
            window = (
                Self.half(resized.width - size.width), Self.half(resized.height - size.height), size.width,
                size.height
            )
        }
        view.resized_width = Int32(resized.width)
        view.resized_height = Int32(resized.height)
        view.window_x = Int32(window.x)
        view.window_y = Int32(window.y)
        view.window_width = Int32(window.width)
        view.window_height = Int32(window.height)
        return view
    }

    /// As Python rounds a half: to the even neighbour.
    private static func half(_ number: Int) -> Int { Int((Double(number) / 2).rounded(.toNearestOrEven)) }
}

// The C library's functions may differ in the last bit from machine to machine, and a crop with them. These use
// nothing but operations that IEEE 754 defines exactly.

/// e to the power of a number of moderate size.
func exponential(_ x: Double) -> Double {
    // By the series for x / 1024, and ten squarings.
    let small = x / 1024
    var term = 1.0
    var sum = 1.0
    for place in 1...12 {
        term = term * small / Double(place)
        sum += term
    }
    for _ in 0..<10 { sum *= sum }
    return sum
}

/// The number whose ``exponential(_:)`` is `x`, above 0.
func naturalLogarithm(_ x: Double) -> Double {
    // The power of two first; then Newton's method, which doubles the correct digits each time.
    let exponent = Double(x.exponent)
    var estimate = x.significand - 1
    for _ in 0..<6 { estimate += x.significand / exponential(estimate) - 1 }
    return exponent * 0x1.62e42fefa39efp-1 + estimate
}
