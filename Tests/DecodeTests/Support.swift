import Foundation
import HeadraceCore
import HeadraceDecode

/// Runs a decoder over payloads as the loader does: one column from the first payload, one run into one slot.
struct DecodedColumn {
    var layout: ColumnLayout
    var rows: [UInt8]
    var failures: [(row: Int, error: HeadraceError)]

    init(_ decoder: any Decoder, _ payloads: [[UInt8]], column: [UInt8]? = nil) throws(HeadraceError) {
        let buffers = payloads.map { bytes in
            // At an odd address, as payloads in a slab may be.
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count + 1, alignment: 16)
            copy.baseAddress!.advanced(by: 1).copyMemory(from: bytes, byteCount: bytes.count)
            return copy
        }
        defer { for buffer in buffers { buffer.deallocate() } }
        let payloads = buffers.map { UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer($0)[1...]) }
        var first = column
        let layout: ColumnLayout
        if first == nil {
            layout = try decoder.column(for: payloads[0])
        } else {
            let bytes = first!
            first = nil
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
            copy.copyBytes(from: bytes)
            defer { copy.deallocate() }
            layout = try decoder.column(for: UnsafeRawBufferPointer(copy))
        }
        let rowBytes = layout.rowBytes
        // One row more than there is, to see that nothing is written beyond the last.
        let guardByte: UInt8 = 0xa5
        var rows = [UInt8](repeating: guardByte, count: rowBytes * payloads.count + 64)
        var failures: [(row: Int, error: HeadraceError)] = []
        rows.withUnsafeMutableBytes { rows in
            payloads.withUnsafeBufferPointer { payloads in
                var run = DecodeRun(
                    payloads: payloads, rows: rowBytes > 0 ? rows.baseAddress : nil, layout: layout)
                decoder.decode(&run)
                failures = run.failures
            }
        }
        precondition(rows.suffix(64).allSatisfy { $0 == guardByte }, "written beyond the rows")
        self.layout = layout
        self.rows = Array(rows.dropLast(64))
        self.failures = failures
    }
}

enum Oracle {
    /// Output of `python3 -c script arguments`; nil, and said aloud, when it cannot be had.
    static func python(_ script: String, _ arguments: [String] = [], for test: String) throws -> Data? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", script] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            print("SKIPPED: \(test): python3 or a module that it needs is missing")
            return nil
        }
        return data
    }

    /// The folder of files from other projects, which is not part of the package; nil, and said aloud,
    /// without it.
    static func fixtures(for test: String) -> String? {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let path =
            ProcessInfo.processInfo.environment["HEADRACE_FIXTURES"]
            ?? root.deletingLastPathComponent().appendingPathComponent("shared/fixtures").path
        guard FileManager.default.fileExists(atPath: path + "/EXPECTED/npy.jsonl") else {
            print("SKIPPED: \(test): no fixtures at \(path); set HEADRACE_FIXTURES")
            return nil
        }
        return path
    }
}

/// Records of a file that an oracle wrote: each a little-endian length of four bytes, and so many bytes.
struct OracleRecords: Sequence, IteratorProtocol {
    private var rest: ArraySlice<UInt8>

    init(_ data: Data) { rest = [UInt8](data)[...] }

    mutating func next() -> [UInt8]? {
        guard rest.count >= 4 else { return nil }
        let count = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        defer { rest = rest.dropFirst(4 + count) }
        return Array(rest.dropFirst(4).prefix(count))
    }
}
