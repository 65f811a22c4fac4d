internal import CHeadraceImage
package import HeadraceCore

/// Writes JPEGs anew so that a crop can be decoded without what lies around it: the same coefficients, application data
/// and comments, as a baseline file with optimised tables and restart markers every few MCUs. One thread at a time.
package final class CropReadyWriter {
    /// What became of a file.
    package enum Outcome: Sendable, Equatable {
        case rewritten([UInt8])
        /// It is no JPEG.
        case foreign
        /// It is damaged, and for whoever decodes it to judge.
        case damaged
        /// It cannot be written so, or could not be read back: 12 bits a channel, lossless, incomplete progressive scans.
        case unsupported
        /// It has more pixels or scans than ``ImageLimits`` allow.
        case tooLarge
    }

    private let context: ImageContext

    package init() throws(HeadraceError) { context = try ImageContext() }

    /// Version of the library that writes, on which the bytes depend; nil where images are not built in.
    package static var libraryVersion: String? {
        let number = headrace_image_jpeg_version()
        return number == 0 ? nil : "\(number / 1_000_000).\(number / 1000 % 1000).\(number % 1000)"
    }

    /// Writes `file` anew. Throws where the machine is at fault.
    package func rewrite(_ file: ArraySlice<UInt8>) throws(HeadraceError) -> Outcome {
        var result: Result<[UInt8], HeadraceError>?
        unsafe file.withUnsafeBytes { bytes in
            result = Result { () throws(HeadraceError) in try unsafe context.makeCroppable(bytes) }
        }
        switch result! {
        case .success(let bytes): return .rewritten(bytes)
        case .failure(let error):
            switch error.code {
            case .badValue: return .foreign
            case .truncated, .corruptStream: return .damaged
            case .unsupported: return .unsupported
            case .limitExceeded: return .tooLarge
            default: throw error
            }
        }
    }
}
