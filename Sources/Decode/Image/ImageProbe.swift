internal import CHeadraceImage
package import HeadraceCore

/// What the header of an image says; nothing is decoded.
package struct ImageProbe: Sendable, Equatable {
    package enum Format: String, Sendable, CaseIterable {
        case jpeg
        case png
    }

    package let format: Format
    /// As stored.
    package let width: Int
    package let height: Int
    /// Channels as stored.
    package let channels: Int
    /// Bits of a channel as stored.
    package let bits: Int
    /// Progressive or interlaced.
    package let isProgressive: Bool
    /// Whether EXIF says that it has to be turned.
    package let isTurned: Bool

    /// Whether a payload begins like an image.
    package static func isImage(_ payload: UnsafeRawBufferPointer) -> Bool {
        unsafe payload.starts(with: [0xff, 0xd8, 0xff])
            || payload.starts(with: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
    }
}

/// Reads headers, one after the other, with the memory of one.
@safe package final class ImageProber {
    /// The pixels of a verified image are of no use to anybody: few of them are made.
    private static let side = 8

    private let context: ImageContext
    private let room = UnsafeMutableRawPointer.allocate(byteCount: 3 * side * side, alignment: 64)

    package init() throws(HeadraceError) { context = try ImageContext() }

    deinit { unsafe room.deallocate() }

    /// Throws what a decoder would throw for the header.
    package func probe(_ payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ImageProbe {
        let info = try unsafe context.open(payload, allowsDamage: false)
        return ImageProbe(
            format: info.format == HEADRACE_IMAGE_JPEG ? .jpeg : .png, width: Int(info.width),
            height: Int(info.height), channels: Int(info.components), bits: Int(info.bits),
            isProgressive: info.is_progressive, isTurned: info.orientation > 1)
    }

    /// Decodes all of an image and throws what is wrong with it; returns what the library remarked that is no damage.
    package func verify(_ payload: UnsafeRawBufferPointer) throws(HeadraceError) -> String? {
        let info = try unsafe context.open(payload, allowsDamage: false)
        let recipe = try ImageRecipe([.resize(Self.side)], as: nil, layout: .hwc)
        var view = recipe.view(width: Int(info.width), height: Int(info.height), ImageDraws(seed: 0))
        view.whole = true
        try unsafe context.read(view, headrace_image_jitter(), recipe.pixelLayout, into: room)
        return context.remark
    }
}
