internal import CHeadraceImage
public import HeadraceCore

/// Reads a field that is a JPEG or PNG (found by content) into a tensor of pixels.
///
/// ```swift
/// .decoding("jpg", with: .image(.randomResizedCrop(224), .flip, .normalize(.imageNet)))
/// ```
///
/// Of a JPEG only what the crop needs is decoded, at a half, a quarter or an eighth of its size where the result is
/// much smaller than the crop, and written once: resized, turned upright, normalised, in the layout asked for.
/// Resizing averages over all pixels that one of the result covers; it is Pillow's bilinear resize (width first) bit
/// for bit, on any CPU. 16-bit PNGs keep their upper 8 bits.
///
/// A file that ends too early or that the library calls corrupt is a defect of its sample, and so is one larger
/// than ``ImageLimits`` allow. Lossless and 12-bit JPEGs are refused by name.
public struct ImageDecoder: Decoder, CustomStringConvertible {
    private(set) var recipe: ImageRecipe
    private let transforms: [ImageTransform]
    private let contexts = ImageContextPool()

    /// A decoder with these steps.
    ///
    /// Without a crop or resize all images must have the size of the first. Throws `usage` where the steps contradict
    /// each other.
    ///
    /// - Parameters:
    ///   - elementType: `uint8`, `float32`, `float16` or `bfloat16`; nil: `float32` where the images are normalised,
    ///     else `uint8`. Floating-point elements without normalisation are from 0 to 1.
    ///   - layout: channels first or last.
    public init(
        _ transforms: [ImageTransform], as elementType: ElementType? = nil, layout: ImageLayout = .chw
    ) throws(HeadraceError) {
        recipe = try ImageRecipe(transforms, as: elementType, layout: layout)
        self.transforms = transforms
    }

    /// The same with another limit of pixels.
    package func limited(toPixels limit: Int) -> ImageDecoder {
        var copy = self
        copy.recipe.pixelLimit = limit
        return copy
    }

    /// The steps, element type and layout.
    public var description: String {
        let words = transforms.map(\.description).joined(separator: ",")
        return "image(\(words) \(recipe.elementType.rawValue) \(recipe.layout.rawValue))"
    }

    /// The element type, and the shape that all images get; without a crop or resize that of `payload`.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        let recipe = recipe
        return try contexts.with { (context) throws(HeadraceError) in
            let info = try unsafe context.open(
                payload, allowsDamage: recipe.allowsTruncated, pixelLimit: recipe.pixelLimit)
            let size = recipe.size ?? recipe.uprightSize(info)
            return .fixed(recipe.elementType, shape: recipe.shape(size))
        }
    }

    /// Fills one image a payload.
    public func decode(_ run: inout DecodeRun) {
        guard let rows = unsafe run.rows else { return }
        let rowBytes = run.layout.rowBytes
        let pixelLayout = recipe.pixelLayout
        do throws(HeadraceError) {
            try contexts.with { (context) throws(HeadraceError) in
                for row in unsafe run.payloads.indices where !run.isAbsent(row) {
                    do throws(HeadraceError) {
                        try unsafe read(
                            run.payloads[row], seed: run.randomness(row), run.layout, pixelLayout, context,
                            into: rows + row * rowBytes)
                    } catch {
                        run.fail(row, error)
                    }
                }
            }
        } catch {
            for row in unsafe run.payloads.indices { run.fail(row, error) }
        }
    }

    private func read(
        _ file: UnsafeRawBufferPointer, seed: UInt64, _ column: ColumnLayout,
        _ pixelLayout: headrace_image_layout,
        _ context: ImageContext, into row: UnsafeMutableRawPointer
    ) throws(HeadraceError) {
        let info = try unsafe context.open(
            file, allowsDamage: recipe.allowsTruncated, pixelLimit: recipe.pixelLimit)
        let size = recipe.uprightSize(info)
        if recipe.geometry == .none { try check(size, column) }
        let draws = ImageDraws(seed: seed)
        var view = recipe.view(width: size.width, height: size.height, draws)
        if recipe.turnsUpright { view.orientation = info.orientation }
        let jitter = recipe.jitter.map { draws.jitter($0) } ?? headrace_image_jitter()
        try unsafe context.read(view, jitter, pixelLayout, into: row)
    }

    private func check(_ size: ImageSize, _ column: ColumnLayout) throws(HeadraceError) {
        guard case .fixed(_, let shape) = column, shape == recipe.shape(size) else {
            let place = recipe.layout == .chw ? 1 : 0
            guard case .fixed(_, let shape) = column else { return }
            throw HeadraceError(
                .shapeMismatch,
                "an image of \(size.width) x \(size.height) pixels in a column of \(shape[place + 1]) x "
                    + "\(shape[place]): images of varying sizes need random-resized-crop, center-crop or resize"
            )
        }
    }
}

extension ImageRecipe {
    /// The size of a picture as it is seen: turned upright, unless it is to stay as it is stored.
    func uprightSize(_ info: headrace_image_info) -> ImageSize {
        let (width, height) = (Int(info.width), Int(info.height))
        let isTurned = turnsUpright && info.orientation >= 5
        return isTurned ? ImageSize(width, height) : ImageSize(height, width)
    }
}
