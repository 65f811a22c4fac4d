import Foundation

/// Runs the tools that we are held against. Where one is missing, the test says so loudly and ends.
enum Oracle {
    /// A folder that is removed with the closure's end.
    static func inTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "headrace-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try body(folder)
    }

    struct Output {
        var status: Int32
        var stdout: [UInt8]
    }

    /// Runs a command line; nil, after saying so, where the program is missing.
    static func run(_ arguments: [String], in folder: URL, input: [UInt8]? = nil) throws -> Output? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.currentDirectoryURL = folder
        let out = folder.appendingPathComponent("stdout-\(UUID().uuidString)")
        _ = FileManager.default.createFile(atPath: out.path, contents: nil)
        process.standardOutput = try FileHandle(forWritingTo: out)
        process.standardError = FileHandle.nullDevice
        if let input {
            let file = folder.appendingPathComponent("stdin-\(UUID().uuidString)")
            try Data(input).write(to: file)
            process.standardInput = try FileHandle(forReadingFrom: file)
        }
        try process.run()
        process.waitUntilExit()
        if process.terminationStatus == 127 {
            print("SKIPPED: \(arguments[0]) is not installed")
            return nil
        }
        return Output(status: process.terminationStatus, stdout: [UInt8](try Data(contentsOf: out)))
    }

    /// Runs a Python script in `folder`; nil, after saying so, where Python or a module it imports is missing.
    static func python(_ script: String, _ arguments: [String] = [], in folder: URL) throws -> [UInt8]? {
        let guarded =
            "import sys\ntry:\n"
            + script.split(separator: "\n", omittingEmptySubsequences: false).map { "    \($0)" }
            .joined(separator: "\n") + "\nexcept ImportError as e:\n    print(e); sys.exit(77)\n"
        guard let output = try run(["python3", "-c", guarded] + arguments, in: folder) else { return nil }
        if output.status == 77 {
            print("SKIPPED: Python lacks a module: \(String(decoding: output.stdout, as: UTF8.self))")
            return nil
        }
        guard output.status == 0 else {
            throw OracleFailure(description: "python3 ended with \(output.status)")
        }
        return output.stdout
    }

    static func read(_ name: String, in folder: URL) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: folder.appendingPathComponent(name)))
    }
}

struct OracleFailure: Error, CustomStringConvertible {
    var description: String
}
