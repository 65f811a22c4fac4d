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
package final class ImageProber {
    private let context: ImageContext

    package init() throws(HeadraceError) { context = try ImageContext() }

    /// Throws what a decoder would throw for the header.
    package func probe(_ payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ImageProbe {
        let info = try unsafe context.open(payload, allowsDamage: false)
        return ImageProbe(
            format: info.format == HEADRACE_IMAGE_JPEG ? .jpeg : .png, width: Int(info.width),
            height: Int(info.height), channels: Int(info.components), bits: Int(info.bits),
            isProgressive: info.is_progressive, isTurned: info.orientation > 1)
    }
}
