import Foundation
import Glibc
import Testing

/// One run of a built tool as a process of its own: what scripts see.
struct ToolProcess {
    /// The exit status, or 128 + the signal that ended it.
    var status: Int32
    var output: Data
    var error: String
    /// The most memory that was seen resident.
    var peakByteCount: Int
    /// It had to be killed.
    var timedOut: Bool

    var text: String { String(decoding: output, as: UTF8.self) }
    var lines: [String] { text.split(separator: "\n").map(String.init) }

    /// The output as JSON objects, one a line.
    var objects: [[String: Any]] {
        get throws {
            try lines.map { line in
                let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
                return try #require(value as? [String: Any], "a line is no object: \(line)")
            }
        }
    }

    /// The folder of the binaries that were built with these tests.
    static let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().path

    static func path(_ tool: String) -> String { "\(folder)/\(tool)" }

    /// A process that takes longer hangs. On a busy machine with one core what takes a second may take minutes.
    static let secondsLimit = 600.0

    /// Runs `headrace` with `arguments` to its end.
    static func headrace(_ arguments: String..., in directory: String? = nil) throws -> ToolProcess {
        try run(path("headrace"), arguments, in: directory)
    }

    /// Runs a program to its end; output goes to files, so that no full pipe can hold it up.
    static func run(
        _ program: String, _ arguments: [String], in directory: String? = nil
    ) throws -> ToolProcess {
        let scratch = try Scratch()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
        let outputPath = scratch.path("out")
        let errorPath = scratch.path("err")
        for path in [outputPath, errorPath] {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: outputPath))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: errorPath))
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let deadline = Date(timeIntervalSinceNow: secondsLimit)
        var peak = 0
        var timedOut = false
        while process.isRunning {
            peak = max(peak, residentPeak(process.processIdentifier))
            if Date() > deadline {
                timedOut = true
                kill(process.processIdentifier, SIGKILL)
                break
            }
            usleep(1000)
        }
        process.waitUntilExit()
        let status = process.terminationStatus
        return ToolProcess(
            status: process.terminationReason == .uncaughtSignal ? 128 + status : status,
            output: try Data(contentsOf: URL(fileURLWithPath: outputPath)),
            error: String(decoding: try Data(contentsOf: URL(fileURLWithPath: errorPath)), as: UTF8.self),
            peakByteCount: peak, timedOut: timedOut)
    }

    /// Waits until the process has blocked SIGINT, which it does before it starts a thread that takes it: however
    /// slow the machine is, a signal sent after this ends it in order.
    static func waitUntilItHearsSignals(_ process: Process) {
        let deadline = Date(timeIntervalSinceNow: secondsLimit)
        while process.isRunning {
            if Date() > deadline {
                Issue.record("the process has not blocked SIGINT after \(secondsLimit) s")
                return
            }
            let path = "/proc/\(process.processIdentifier)/status"
            let status = try? String(contentsOfFile: path, encoding: .utf8)
            let line = status?.split(separator: "\n").first { $0.hasPrefix("SigBlk:") }
            let mask = line.flatMap { UInt64($0.dropFirst(7).drop { $0 == "\t" || $0 == " " }, radix: 16) }
            if let mask, mask & (1 << UInt64(SIGINT - 1)) != 0 { return }
            usleep(500)
        }
    }

    /// Waits for the end of a process; kills one that hangs.
    static func waitUntilItEnds(_ process: Process) {
        let deadline = Date(timeIntervalSinceNow: secondsLimit)
        while process.isRunning {
            if Date() > deadline {
                Issue.record("the process goes on after \(secondsLimit) s")
                kill(process.processIdentifier, SIGKILL)
                break
            }
            usleep(2000)
        }
        process.waitUntilExit()
    }

    /// The kernel's high-water mark of the process; 0 when it is gone.
    private static func residentPeak(_ process: Int32) -> Int {
        guard let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
        else { return 0 }
        return (Int(line.filter(\.isNumber)) ?? 0) << 10
    }
}

/// A folder that is removed with the last reference to it.
final class Scratch {
    let directory: String

    init() throws {
        directory = NSTemporaryDirectory() + "headrace-tools-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    func write(_ bytes: some Sequence<UInt8>, to name: String) throws {
        let url = URL(fileURLWithPath: path(name))
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
    }

    /// Names of the files in `folder`, hidden ones too.
    func names(in folder: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path(folder)).sorted()
    }

    /// Samples of three fields in two directories, of bytes that compress a little.
    func makeSamples(_ count: Int, in folder: String = "src", payloadByteCount: Int = 3000) throws {
        var state: UInt64 = 1
        for index in 0..<count {
            var payload = Data(capacity: payloadByteCount)
            for _ in 0..<payloadByteCount {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                payload.append(UInt8(state >> 60) + 65)
            }
            let stem = "\(folder)/\(index % 2 == 0 ? "cat" : "dog")/\(String(format: "%05d", index))"
            try write(payload, to: "\(stem).bin")
            try write("caption \(index)".utf8, to: "\(stem).txt")
        }
    }
}

/// Whether a program is in the search path; says so loudly where it is not.
func findProgram(_ name: String) -> String? {
    for folder in (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":") {
        let path = "\(folder)/\(name)"
        if access(path, X_OK) == 0 { return path }
    }
    print("SKIPPED: \(name) is not installed, so it cannot be asked for its opinion")
    return nil
}
