package import HeadraceCore

// Transforms as `--transform` writes them: words with numbers behind colons, parted by commas.

extension ImageTransform.Step {
    var words: String {
        switch self {
        case .randomResizedCrop(let size, let scale, let ratio):
            var text = "random-resized-crop:\(size)"
            if scale != 0.08...1 || ratio != 3.0 / 4...4.0 / 3 {
                text += ":\(scale.lowerBound)/\(scale.upperBound):\(ratio.lowerBound)/\(ratio.upperBound)"
            }
            return text
        case .centerCrop(let size, let shorterSide): return "center-crop:\(size):\(shorterSide)"
        case .resize(let size): return "resize:\(size)"
        case .flip(let probability): return "flip:\(probability)"
        case .colorJitter(let brightness, let contrast, let saturation):
            return "color-jitter:\(brightness):\(contrast):\(saturation)"
        case .normalize(let mean, let deviation):
            let lists = [mean, deviation].map { $0.map { "\($0)" }.joined(separator: "/") }
            return "normalize:" + lists.joined(separator: ":")
        case .noAntialias: return "no-antialias"
        case .gray: return "gray"
        case .asStored: return "as-stored"
        case .alpha(let background): return "on-\(background.rawValue)"
        case .allowTruncated: return "allow-truncated"
        }
    }
}

extension ImageTransform {
    private static let kinds =
        "random-resized-crop:SIZE[:SCALE/SCALE[:RATIO/RATIO]], center-crop:SIZE[:SHORTER], resize:SIZE, flip[:SHARE], "
        + "color-jitter:BRIGHTNESS:CONTRAST:SATURATION, normalize:imagenet, normalize:MEAN/...:DEVIATION/..., gray, "
        + "no-antialias, as-stored, on-white, on-black, allow-truncated (SIZE is N or HEIGHTxWIDTH)"

    /// The transforms of a list such as `random-resized-crop:224,flip,normalize:imagenet`. Throws `usage` with what
    /// would have been accepted.
    package static func list(_ text: String) throws(HeadraceError) -> [ImageTransform] {
        var transforms: [ImageTransform] = []
        guard !text.isEmpty else { return transforms }
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let transform = one(word) else {
                throw HeadraceError(.usage, "'\(word)' is no transform of images; write \(kinds)")
            }
            transforms.append(transform)
        }
        return transforms
    }

    private static func one(_ word: Substring) -> ImageTransform? {
        let parts = word.split(separator: ":", omittingEmptySubsequences: false)
        let values = parts.dropFirst()
        switch (parts[0], values.count) {
        case ("random-resized-crop", 1...3):
            guard let size = size(values[1]) else { return nil }
            let scale = values.count > 1 ? range(values[2]) : 0.08...1
            let ratio = values.count > 2 ? range(values[3]) : 3.0 / 4...4.0 / 3
            guard let scale, let ratio else { return nil }
            return .randomResizedCrop(size.height, size.width, scale: scale, ratio: ratio)
        case ("center-crop", 1...2):
            guard let size = size(values[1]) else { return nil }
            guard values.count == 2 else { return .centerCrop(size.height, size.width) }
            guard let shorter = Int(values[2]) else { return nil }
            return .centerCrop(size.height, size.width, shorterSide: shorter)
        case ("resize", 1): return size(values[1]).map { .resize($0.height, $0.width) }
        case ("flip", 0): return .flip
        case ("flip", 1): return Double(values[1]).map { .flip(probability: $0) }
        case ("color-jitter", 3):
            let factors = values.compactMap { Double($0) }
            guard factors.count == 3 else { return nil }
            return .colorJitter(brightness: factors[0], contrast: factors[1], saturation: factors[2])
        case ("normalize", 1): return values[1] == "imagenet" ? .normalize(.imageNet) : nil
        case ("normalize", 2):
            guard let mean = numbers(values[1]), let deviation = numbers(values[2]) else { return nil }
            return .normalize(ImageNormalization(mean: mean, standardDeviation: deviation))
        case ("no-antialias", 0): return .noAntialias
        case ("gray", 0), ("grey", 0): return .gray
        case ("as-stored", 0): return .asStored
        case ("on-white", 0): return .alpha(.white)
        case ("on-black", 0): return .alpha(.black)
        case ("allow-truncated", 0): return .allowTruncated
        default: return nil
        }
    }

    private static func size(_ text: Substring) -> ImageSize? {
        let sides = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard (1...2).contains(sides.count), let height = sides[0], let width = sides[sides.count - 1] else {
            return nil
        }
        return ImageSize(height, width)
    }

    private static func numbers(_ text: Substring) -> [Double]? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { Double($0) }
        return numbers.count == parts.count ? numbers : nil
    }

    private static func range(_ text: Substring) -> ClosedRange<Double>? {
        guard let ends = numbers(text), ends.count == 2, ends[0] <= ends[1] else { return nil }
        return ends[0]...ends[1]
    }
}
