import CHeadraceImage
import HeadraceCore
import HeadraceDecode

// Rewriting of JPEGs and decoding by restart intervals, held against libjpeg from front to back.

nonisolated(unsafe) private let contexts = (
    plain: headrace_image_create(false)!, ready: headrace_image_create(false)!,
    portable: headrace_image_create(true)!
)

/// Large pictures would only take the fuzzer's time.
nonisolated(unsafe) private var limits = headrace_image_limits(
    pixels: 100_000, side: 65_535, scans: 20, allows_damage: false)

/// The pixels of a part that the flags choose; nil where the file is refused.
private func pixels(
    _ file: [UInt8], _ context: OpaquePointer, flags: UInt8, whole: Bool
) -> [UInt8]? {
    file.withUnsafeBufferPointer { bytes -> [UInt8]? in
        var info = headrace_image_info()
        guard headrace_image_open(context, bytes.baseAddress, bytes.count, &limits, &info) == 0 else {
            return nil
        }
        var view = headrace_image_view()
        view.orientation = 1
        view.antialias = true
        view.whole = whole
        view.box_x = info.width * Int32(flags & 3) / 4
        view.box_y = info.height * Int32(flags >> 2 & 3) / 4
        view.box_width = max(1, (info.width - view.box_x) / Int32(1 + flags >> 4 & 1))
        view.box_height = max(1, (info.height - view.box_y) / Int32(1 + flags >> 5 & 1))
        let scale = [1, 4, 8, 16][Int(flags >> 6)] as Int32
        view.resized_width = max(1, view.box_width / scale)
        view.resized_height = max(1, view.box_height / scale)
        view.window_width = view.resized_width
        view.window_height = view.resized_height
        var layout = headrace_image_layout()
        layout.channels = 3
        var jitter = headrace_image_jitter()
        let count = Int(view.window_width) * Int(view.window_height) * 3
        var pixels = [UInt8](repeating: 0xa5, count: count + 64)
        let status = pixels.withUnsafeMutableBytes {
            headrace_image_read(context, &view, &jitter, &layout, $0.baseAddress)
        }
        require(pixels.suffix(64).allSatisfy { $0 == 0xa5 }, "no more than the picture")
        return status == 0 ? Array(pixels.prefix(count)) : nil
    }
}

/// What can be decoded is rewritten to the same pixels, or left alone; what is rewritten can be decoded.
func fuzzCroppable(_ input: UnsafeRawBufferPointer) {
    let file = Array(input.dropFirst())
    guard let writer = try? CropReadyWriter(), case .rewritten(let new) = try? writer.rewrite(file[...])
    else {
        return
    }
    require(try! writer.rewrite(new[...]) == .rewritten(new), "rewriting twice changes nothing")
    guard let old = pixels(file, contexts.plain, flags: input[0], whole: true) else { return }
    require(pixels(new, contexts.ready, flags: input[0], whole: true) == old, "the same pixels")
    require(pixels(new, contexts.ready, flags: input[0], whole: false) == old, "the same pixels by intervals")
}

/// A file that libjpeg decodes without a complaint has those pixels, whichever way its intervals are found.
func fuzzIntervals(_ input: UnsafeRawBufferPointer) {
    let file = Array(input.dropFirst())
    let some = pixels(file, contexts.ready, flags: input[0], whole: false)
    require(pixels(file, contexts.portable, flags: input[0], whole: false) == some, "alike without vectors")
    guard let all = pixels(file, contexts.plain, flags: input[0], whole: true) else { return }
    require(some == all, "the same pixels")
}
