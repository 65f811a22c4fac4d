import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Compressed files that others wrote or damaged, held against the reference tools' answers.
struct CodecFixtureTests {
    /// Files that are judged differently from the reference tools on purpose, with the reason.
    static let refused: [String: String] = [
        "lz4/libarchive/test_read_filter_lz4_raw_skip":
            "it ends inside a skippable frame that claims 4 GiB; the lz4 program seeks there without a look at the size"
    ]

    @Test(arguments: [("zstd", CodecKind.zstd), ("gzip", .gzip), ("zlib", .zlib), ("lz4", .lz4)])
    func everyFileGetsItsVerdict(_ kind: String, _ codec: CodecKind) throws {
        guard let entries = try Fixtures.entries(kind) else { return }
        for entry in entries {
            let result = decompressEveryWay(entry.bytes, codec, name: entry.path)
            let answer = (entry.view["decompress"] as! [[String: Any]])[0]
            if Self.refused[entry.path] != nil {
                #expect(result.error?.code == .truncated, "\(entry.path)")
                #expect(sha256(result.bytes[...]) == answer["out_sha256"] as! String, "\(entry.path)")
            } else if entry.verdict == "ok" {
                #expect(result.error == nil, "\(entry.path): \(result.error!)")
                #expect(result.bytes.count == answer["out_bytes"] as! Int, "\(entry.path)")
                #expect(sha256(result.bytes[...]) == answer["out_sha256"] as! String, "\(entry.path)")
            } else {
                let error = try #require(result.error, "\(entry.path): accepted, must fail")
                #expect(error.code.category == .data, "\(entry.path): \(error)")
                // Good bytes before the damage are not withheld.
                let good = answer["out_bytes"] as! Int
                #expect(result.bytes.count >= (kind == "zstd" ? 0 : good), "\(entry.path)")
            }
        }
        #expect(entries.count >= 19)
    }

    @Test func dictionariesAreRefusedByName() throws {
        guard let entries = try Fixtures.entries("zstd") else { return }
        var refused = 0
        for entry in entries {
            let answer = (entry.view["decompress"] as! [[String: Any]])[0]
            guard (answer["stderr"] as? String)?.contains("Dictionary mismatch") == true else { continue }
            let error = try #require(decompressEveryWay(entry.bytes, .zstd).error)
            #expect(error.code == .unsupported, "\(entry.path)")
            #expect(error.message.contains(/needs dictionary ID [1-9]\d*/), "\(entry.path): \(error)")
            refused += 1
        }
        #expect(refused == 4)
    }
}
