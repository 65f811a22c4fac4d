import ArgumentParser
import Foundation
import Glibc

/// Measures Headrace: the whole loader (`read`) or one of its rooms (`room`). Prints one JSON object a run.
@main struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "headrace-bench",
        abstract: "Measures the loader, or one of its rooms alone, and prints one JSON object.",
        subcommands: [Read.self, Room.self])
}

/// What every program here prints, ours, the ceilings and the peers alike.
struct Measurement: Encodable {
    var workload: String
    var samples = 0
    /// Bytes of the shards, uncompressed where the program can tell, else payload.
    var bytes = 0
    var wall_s = 0.0
    var cpu_s = 0.0
    /// Megabytes are 10^6 bytes, here and everywhere else.
    var peak_rss_mb = 0.0
    /// Peak after each epoch; it must not grow.
    var rss_mb_by_epoch: [Double]?
    var budget_mb: Double?
    /// The most of the budget that was resident at once, by the loader's own account.
    var pool_mb: Double?

    func printLine() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(self), as: UTF8.self))
    }
}

/// Wall and CPU time of the process since it was made.
struct Stopwatch {
    private let wall = ContinuousClock.now
    private let cpu = Stopwatch.cpuSeconds()

    func stop(_ measurement: inout Measurement) {
        let elapsed = (ContinuousClock.now - wall).components
        measurement.wall_s = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
        measurement.cpu_s = Self.cpuSeconds() - cpu
        measurement.peak_rss_mb = Self.peakMegabytes()
    }

    private static func usage() -> rusage {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage
    }

    private static func cpuSeconds() -> Double {
        let usage = usage()
        return [usage.ru_utime, usage.ru_stime].reduce(0) {
            $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6
        }
    }

    /// The most memory that was resident at once, in units of 10^6 bytes; the kernel counts in units of 1024.
    static func peakMegabytes() -> Double { Double(usage().ru_maxrss) * 1024 / 1e6 }
}
