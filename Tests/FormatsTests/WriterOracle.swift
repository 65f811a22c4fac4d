import Foundation
import Testing

/// Programs that are not ours and read or write the same formats.
enum WriterOracle {
    struct Outcome {
        let status: Int32
        let output: String
        let errors: String
    }

    /// Runs a program found in PATH; nil, said loudly, where it is missing.
    static func run(_ words: [String], test: String = #function) throws -> Outcome? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        let output = temporaryPath("out")
        let errors = temporaryPath("err")
        _ = FileManager.default.createFile(atPath: output, contents: nil)
        _ = FileManager.default.createFile(atPath: errors, contents: nil)
        defer {
            try? FileManager.default.removeItem(atPath: output)
            try? FileManager.default.removeItem(atPath: errors)
        }
        process.standardOutput = FileHandle(forWritingAtPath: output)
        process.standardError = FileHandle(forWritingAtPath: errors)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        if process.terminationStatus == 127 {
            print("SKIPPED: \(test): the program \(words[0]) is not installed")
            return nil
        }
        return Outcome(
            status: process.terminationStatus, output: try String(contentsOfFile: output, encoding: .utf8),
            errors: try String(contentsOfFile: errors, encoding: .utf8))
    }

    /// Runs a Python script that must succeed, and returns what it printed. A module in `needing` that is missing is
    /// said loudly and gives nil.
    static func python(
        _ script: String, _ arguments: [String] = [], needing modules: [String] = [], test: String = #function
    ) throws -> String? {
        for module in modules {
            guard let found = try run(["python3", "-c", "import \(module)"], test: test) else { return nil }
            if found.status != 0 {
                print("SKIPPED: \(test): Python's module \(module) is not installed")
                return nil
            }
        }
        guard let outcome = try run(["python3", "-c", script] + arguments, test: test) else { return nil }
        try #require(outcome.status == 0, "\(outcome.errors)")
        return outcome.output
    }

    static func temporaryPath(_ ending: String) -> String {
        "\(NSTemporaryDirectory())headrace-writers-\(UUID().uuidString).\(ending)"
    }
}
