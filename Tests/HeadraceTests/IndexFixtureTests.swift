import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Real files of other projects, good and damaged: what can be read has an index that agrees with reading it.
struct IndexFixtureTests {
    private static let folder: String? = {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let beside = root.deletingLastPathComponent().appendingPathComponent("shared/fixtures").path
        return [ProcessInfo.processInfo.environment["HEADRACE_FIXTURES"], beside].compactMap { $0 }
            .first { FileManager.default.fileExists(atPath: "\($0)/INDEX.tsv") }
    }()

    private struct Reading {
        var offsets: [Int] = []
        var defects: [HeadraceError] = []
    }

    private func read(_ path: String) -> Reading {
        var reading = Reading()
        do throws(HeadraceError) {
            let reader = try ShardReader(path, memory: .mebibytes(256))
            try reader.read { (sample) throws(HeadraceError) in
                // Data that fail their checksum are not looked at for an index.
                if let defect = sample.defect, defect.code != .checksumMismatch || reader.codec != .none {
                    reading.defects.append(defect)
                } else {
                    reading.offsets.append(sample.offset)
                }
                return true
            }
        } catch {
            reading.defects.append(error)
        }
        return reading
    }

    @Test(arguments: ["tar", "tfrecord", "zstd", "gzip", "zlib", "lz4", "dataset"])
    func everyFileHasItsIndexOrIsRefused(kind: String) throws {
        guard let folder = Self.folder else {
            print("SKIPPED: no fixtures of kind \(kind): set HEADRACE_FIXTURES to the folder with INDEX.tsv")
            return
        }
        let lines = try String(contentsOfFile: "\(folder)/INDEX.tsv", encoding: .utf8).split(separator: "\n")
        let paths = lines.compactMap { $0.split(separator: "\t").first.map(String.init) }
            .filter { $0.hasPrefix("\(kind)/") }
        var indexed = 0
        for path in paths {
            let reading = read("\(folder)/\(path)")
            var indexer = ShardIndexer("\(folder)/\(path)")
            indexer.memory = .mebibytes(256)
            indexer.workers = 2
            do throws(HeadraceError) {
                let found = try indexer.find()
                #expect(reading.defects.isEmpty, "\(path): \(reading.defects)")
                #expect(found?.rows.map(\.offset) == reading.offsets, "\(path)")
                indexed += 1
            } catch {
                #expect(error.code == .notIndexable || !reading.defects.isEmpty, "\(path): \(error)")
            }
        }
        #expect(paths.isEmpty || indexed > 0 || kind == "zlib", "no file of \(kind) was indexed")
    }
}
