internal import Headrace

/// Several runs of the same, as one: what a single run says can be luck.
enum ReadMedian {
    /// The run in the middle by speed, with the median of every time and size that is measured.
    ///
    /// Counts stay those of that one run, so that its accounts still add up.
    static func of(_ results: [ReadResult]) -> ReadResult {
        let sorted = results.sorted { $0.samplesPerSecond < $1.samplesPerSecond }
        var middle = sorted[(sorted.count - 1) / 2]
        let reports = results.map(\.report)
        middle.report.openSeconds = median(reports.map(\.openSeconds))
        middle.report.firstBatchSeconds = median(reports.map(\.firstBatchSeconds))
        middle.report.wallSeconds = median(reports.map(\.wallSeconds))
        middle.report.cpuSeconds = median(reports.map(\.cpuSeconds))
        middle.report.waitShare = median(reports.map(\.waitShare))
        middle.report.peakBytes = median(reports.map(\.peakBytes))
        let device = reports.compactMap(\.deviceBytes)
        if device.count == reports.count {
            let local = middle.report.origins.localBytes
            middle.report.origins.deviceBytes = min(median(device), local)
        }
        for index in middle.report.rooms.indices {
            let times = reports.map { $0.rooms[index].times }
            middle.report.rooms[index].times.busyNanoseconds = median(times.map(\.busyNanoseconds))
            middle.report.rooms[index].times.waitInputNanoseconds = median(times.map(\.waitInputNanoseconds))
            middle.report.rooms[index].times.waitRoomNanoseconds = median(times.map(\.waitRoomNanoseconds))
        }
        // A digest speaks for all runs, or for none.
        if Set(reports.map(\.digest)).count > 1 { middle.report.digest = nil }
        if Set(reports.map(\.setDigest)).count > 1 { middle.report.setDigest = nil }
        return middle
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    private static func median(_ values: [Int]) -> Int { Int(median(values.map(Double.init))) }
}
