internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

// What `headrace info --images` says of the images of each field.

extension ImageSizes {
    func adding(_ other: ImageSizes) -> ImageSizes {
        var sum = self
        sum.add(other)
        return sum
    }
}

private func sorted(_ images: [String: ImageSizes]) -> [(name: String, sizes: ImageSizes)] {
    images.map { (name: $0.key, sizes: $0.value) }
        .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
}

func imagesJSON(_ images: [String: ImageSizes]) -> JSONValue {
    .array(
        sorted(images).map { name, sizes in
            let bins = sizes.histogram.indices.filter { sizes.histogram[$0] > 0 }.map { place -> JSONValue in
                ["from": .int(1 << place), "to": .int(2 << place - 1), "count": .int(sizes.histogram[place])]
            }
            let known = sizes.count > 0
            return [
                "name": .string(name), "count": .int(sizes.count), "jpeg": .int(sizes.jpegCount),
                "png": .int(sizes.count - sizes.jpegCount), "progressive": .int(sizes.progressiveCount),
                "turned": .int(sizes.turnedCount), "gray": .int(sizes.grayCount),
                "unreadable": .int(sizes.unreadableCount), "pixels": .int(sizes.pixelCount),
                "min_width": known ? .int(sizes.width.least) : .null, "max_width": .int(sizes.width.most),
                "min_height": known ? .int(sizes.height.least) : .null, "max_height": .int(sizes.height.most),
                "shorter_side": .array(bins),
            ]
        })
}

/// The widest bar, in characters.
private let barWidth = 40

func imageLines(_ images: [String: ImageSizes]) -> [String] {
    if images.isEmpty { return ["images: none"] }
    var lines: [String] = []
    for (name, sizes) in sorted(images) {
        var text = "images in \(printable(name)): \(counted(sizes.jpegCount, "JPEG")), "
        text += counted(sizes.count - sizes.jpegCount, "PNG")
        if sizes.progressiveCount > 0 { text += ", \(sizes.progressiveCount) progressive or interlaced" }
        if sizes.turnedCount > 0 { text += ", \(sizes.turnedCount) to be turned" }
        if sizes.grayCount > 0 { text += ", \(sizes.grayCount) gray" }
        if sizes.unreadableCount > 0 { text += ", \(sizes.unreadableCount) UNREADABLE" }
        lines.append(text)
        guard sizes.count > 0 else { continue }
        lines.append(
            "  \(sizes.width.least) to \(sizes.width.most) wide, \(sizes.height.least) to "
                + "\(sizes.height.most) high, mean \(sizes.pixelCount / sizes.count) pixels; by the shorter side:"
        )
        let largest = sizes.histogram.max() ?? 1
        for place in sizes.histogram.indices where sizes.histogram[place] > 0 {
            let count = sizes.histogram[place]
            let range = "\(1 << place) to \(2 << place - 1)"
            let bar = String(repeating: "#", count: max(1, count * barWidth / largest))
            lines.append(
                "  " + String(repeating: " ", count: max(0, 16 - range.utf8.count)) + range
                    + "  \(bar) \(count)")
        }
    }
    return lines
}
