internal import CHeadraceImage
internal import HeadraceCore

/// The state that decoding needs, kept from image to image: one thread at a time.
// Sendable: the pool's lock hands it to one owner at a time.
@safe final class ImageContext: @unchecked Sendable {
    private let context: OpaquePointer

    /// - Parameter isPortable: leaves vector instructions alone, for comparison.
    init(isPortable: Bool = false) throws(HeadraceError) {
        guard let context = unsafe headrace_image_create(isPortable) else {
            throw HeadraceError(.environment, "no memory to decode images")
        }
        unsafe self.context = context
    }

    deinit { unsafe headrace_image_destroy(context) }

    /// Reads the header of a file, which must stay where it is until ``read(_:_:_:into:)``.
    func open(
        _ file: UnsafeRawBufferPointer, allowsDamage: Bool,
        pixelLimit: Int = ImageLimits.imagePixels
    ) throws(HeadraceError) -> headrace_image_info {
        var limits = Self.limits(pixels: pixelLimit, allowsDamage: allowsDamage)
        var info = headrace_image_info()
        let bytes = unsafe file.assumingMemoryBound(to: UInt8.self)
        let status = unsafe headrace_image_open(context, bytes.baseAddress, bytes.count, &limits, &info)
        if status != 0 { throw error(status) }
        return info
    }

    /// The same JPEG with restart markers every few MCUs.
    func makeCroppable(_ file: UnsafeRawBufferPointer) throws(HeadraceError) -> [UInt8] {
        var limits = Self.limits(pixels: ImageLimits.imagePixels, allowsDamage: false)
        var result: UnsafePointer<UInt8>?
        var count = 0
        let bytes = unsafe file.assumingMemoryBound(to: UInt8.self)
        let status = unsafe headrace_image_make_croppable(
            context, bytes.baseAddress, bytes.count, &limits, &result, &count)
        if status != 0 { throw error(status) }
        return unsafe Array(UnsafeBufferPointer(start: result, count: count))
    }

    private static func limits(pixels: Int, allowsDamage: Bool) -> headrace_image_limits {
        var limits = headrace_image_limits()
        limits.pixels = Int64(pixels)
        limits.side = Int32(ImageLimits.imageSide)
        limits.scans = Int32(ImageLimits.imageScans)
        limits.allows_damage = allowsDamage
        return limits
    }

    /// Writes the pixels of the file that was opened last.
    func read(
        _ view: headrace_image_view, _ jitter: headrace_image_jitter, _ layout: headrace_image_layout,
        into row: UnsafeMutableRawPointer
    ) throws(HeadraceError) {
        var view = view
        var jitter = jitter
        var layout = layout
        let status = unsafe headrace_image_read(context, &view, &jitter, &layout, row)
        if status != 0 { throw error(status) }
    }

    /// What the library remarked on the last file that is no damage.
    var remark: String? {
        let words = unsafe String(cString: headrace_image_remark(context))
        return words.isEmpty ? nil : words
    }

    private func error(_ status: Int32) -> HeadraceError {
        let words = unsafe String(cString: headrace_image_message(context))
        return HeadraceError(Self.code(status), words)
    }

    private static func code(_ status: Int32) -> HeadraceError.Code {
        switch Int(status) {
        case HEADRACE_IMAGE_FOREIGN: .badValue
        case HEADRACE_IMAGE_TRUNCATED: .truncated
        case HEADRACE_IMAGE_CORRUPT: .corruptStream
        case HEADRACE_IMAGE_UNSUPPORTED: .unsupported
        case HEADRACE_IMAGE_LIMIT: .limitExceeded
        default: .environment
        }
    }
}

/// The contexts that no thread uses now. There are never more than threads have decoded at once.
// Sendable: `free` is guarded by `lock`.
final class ImageContextPool: @unchecked Sendable {
    private let lock = Lock()
    private var free: [ImageContext] = []

    func with<Result>(
        _ body: (ImageContext) throws(HeadraceError) -> Result
    ) throws(HeadraceError) -> Result {
        let known = lock.withLock { free.popLast() }
        let context = if let known { known } else { try ImageContext() }
        defer { lock.withLock { free.append(context) } }
        return try body(context)
    }
}
