internal import HeadraceCore
internal import HeadraceDecode

/// The images of one field, by their headers.
package struct ImageSizes: Sendable, Equatable {
    package internal(set) var count = 0
    package internal(set) var jpegCount = 0
    package internal(set) var progressiveCount = 0
    package internal(set) var turnedCount = 0
    package internal(set) var grayCount = 0
    /// Images whose header cannot be read.
    package internal(set) var unreadableCount = 0
    package internal(set) var pixelCount = 0
    package internal(set) var width = Extent()
    package internal(set) var height = Extent()
    /// Images by their shorter side: place `p` counts those from 2^p up to, not including, 2^(p+1).
    package internal(set) var histogram = [Int](repeating: 0, count: places)

    /// Sides are below 2^31.
    package static let places = 31

    package init() {}

    /// Least and most of one side.
    package struct Extent: Sendable, Equatable {
        package internal(set) var least = Int.max
        package internal(set) var most = 0

        mutating func add(_ other: Extent) {
            least = min(least, other.least)
            most = max(most, other.most)
        }
    }

    package mutating func add(_ other: ImageSizes) {
        count += other.count
        jpegCount += other.jpegCount
        progressiveCount += other.progressiveCount
        turnedCount += other.turnedCount
        grayCount += other.grayCount
        unreadableCount += other.unreadableCount
        pixelCount += other.pixelCount
        width.add(other.width)
        height.add(other.height)
        for place in histogram.indices { histogram[place] += other.histogram[place] }
    }

    mutating func add(_ probe: ImageProbe) {
        count += 1
        jpegCount += probe.format == .jpeg ? 1 : 0
        progressiveCount += probe.isProgressive ? 1 : 0
        turnedCount += probe.isTurned ? 1 : 0
        grayCount += probe.channels <= 2 ? 1 : 0
        pixelCount += probe.width * probe.height
        width.add(Extent(least: probe.width, most: probe.width))
        height.add(Extent(least: probe.height, most: probe.height))
        let shorter = min(probe.width, probe.height)
        histogram[Int.bitWidth - 1 - shorter.leadingZeroBitCount] += 1
    }
}

/// Counts the images among the fields of samples.
final class ImageSurveyor {
    private let prober: ImageProber
    private(set) var fields: [String: ImageSizes] = [:]

    init() throws(HeadraceError) { prober = try ImageProber() }

    /// Counts the payload if it begins like an image; a header that cannot be read is returned as an error.
    func add(_ field: String, _ payload: UnsafeRawBufferPointer) -> HeadraceError? {
        guard unsafe ImageProbe.isImage(payload) else { return nil }
        do throws(HeadraceError) {
            fields[field, default: ImageSizes()].add(try unsafe prober.probe(payload))
            return nil
        } catch {
            fields[field, default: ImageSizes()].unreadableCount += 1
            return error
        }
    }
}
