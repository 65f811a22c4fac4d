import Foundation
import Testing

/// Real files of other projects, good and damaged, through the built tool: the trusted readers' answers are
/// beside them, and the folder is no part of the repository.
struct FixtureFileTests {
    /// Files that are judged differently from the readers on purpose.
    static let accepted: [String: String] = [
        "tar/go-fuzz-corpus/08323bfc64e3b27a8757710dc0318817d2072b13-9":
            "its checksum is the sum of signed bytes, as some old tars wrote it",
        "tar/libarchive/test_read_format_gtar_sparse_1_17_posix10_modified.tar":
            "the broken sparse map is in a member without a field name, which is passed over unread",
    ]
    static let refused: [String: String] = [
        "tar/dart-tar/bad__truncated_in_header.tar": "it ends after an extended header: a member is missing",
        "tar/golang/pax-path-hdr.tar": "it ends after an extended header: a member is missing",
        "tar/golang/gnu-nil-sparse-data.tar": "sparse member",
        "tar/golang/gnu-nil-sparse-hole.tar": "sparse member",
        "tar/golang/pax-nil-sparse-data.tar": "sparse member",
        "tar/golang/pax-nil-sparse-hole.tar": "sparse member",
        "tar/golang/sparse-formats.tar": "sparse member", "tar/tar-rs/sparse-1.tar": "sparse member",
        "tar/node-tar/excessively-deep.tar": "its name has more bytes than the limit nameBytes",
    ]
    /// Where tarfile, on which the WebDataset reader stands, reads names otherwise than GNU tar and we do.
    static let otherNames: Set<String> = [
        "tar/golang/gnu-multi-hdrs.tar", "tar/golang/pax-multi-hdrs.tar", "tar/golang/invalid-go17.tar",
    ]
    static let peakLimit = 300 << 20

    struct Entry {
        var path: String
        var verdict: String
        var view: [String: Any]

        var inner: [String: Any] { view["inner"] as? [String: Any] ?? [:] }
        var tar: [String: Any]? { (view["tar"] ?? inner["tar"]) as? [String: Any] }
        var tfrecord: [String: Any]? { (view["tfrecord"] ?? inner["tfrecord"]) as? [String: Any] }
        var codec: String { view["kind"] as? String ?? "" }
    }

    static let folder: String? = {
        var candidates: [String] = []
        if let named = ProcessInfo.processInfo.environment["HEADRACE_FIXTURES"] { candidates.append(named) }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        candidates.append(root.deletingLastPathComponent().appendingPathComponent("shared/fixtures").path)
        return candidates.first { FileManager.default.fileExists(atPath: "\($0)/INDEX.tsv") }
    }()

    static func entries(_ kind: String) throws -> [Entry] {
        guard let folder else {
            print(
                "SKIPPED: no fixtures of kind \(kind): set HEADRACE_FIXTURES to the folder with INDEX.tsv"
            )
            return []
        }
        let text = try String(contentsOfFile: "\(folder)/EXPECTED/\(kind).jsonl", encoding: .utf8)
        return try text.split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any]
            return Entry(
                path: object["path"] as! String, verdict: object["verdict"] as! String,
                view: object["view"] as! [String: Any])
        }
    }

    @Test(arguments: ["tar", "tfrecord", "zstd", "gzip", "zlib", "lz4", "dataset"])
    func everyFileIsListedOrRefused(kind: String) throws {
        for entry in try Self.entries(kind) {
            let path = "\(Self.folder!)/\(entry.path)"
            let ls = try ToolProcess.headrace("ls", "-j", "--sha256", path)
            let verify = try ToolProcess.headrace("verify", "-j", path)
            for run in [ls, verify] {
                #expect(!run.timedOut, "\(entry.path) hangs")
                #expect(run.status == 0 || run.status == 1, "\(entry.path): exit \(run.status): \(run.error)")
                #expect(
                    run.peakByteCount < Self.peakLimit, "\(entry.path): \(run.peakByteCount) bytes resident")
            }
            #expect(ls.status == verify.status, "\(entry.path): ls and verify disagree")
            try check(entry, path, ls, verify)
        }
    }

    private func check(_ entry: Entry, _ path: String, _ ls: ToolProcess, _ verify: ToolProcess) throws {
        let verdict = try #require(try verify.objects.first, "\(entry.path)")
        #expect(verdict["ok"] as? Bool == (verify.status == 0), "\(entry.path)")
        let defects = verdict["defects"] as! [[String: Any]]
        #expect(!defects.contains { $0["code"] as? String == "unaccounted" }, "\(entry.path): \(defects)")
        let strict = (entry.tar ?? entry.tfrecord)?["strict"] as? [String: Any]
        let isShard = entry.tar != nil || entry.tfrecord != nil
        let isFaulty =
            entry.verdict == "fail" || entry.verdict == "wds-error" || strict?["ok"] as? Bool == false
        if Self.accepted[entry.path] != nil {
            #expect(ls.status == 0, "\(entry.path): \(ls.error)")
        } else if !isShard || isFaulty || Self.refused[entry.path] != nil {
            #expect(ls.status == 1, "\(entry.path): accepted")
            #expect(ls.error.contains(path), "\(entry.path): the error does not say where")
        } else {
            #expect(ls.status == 0, "\(entry.path): \(ls.error)")
        }
        // A damaged stream is found where the decompressor finds it, not where the tar in it breaks off.
        if ls.status == 1, isShard, entry.view["decompress_ok"] as? Bool ?? true,
            let problem = (strict?["problems"] as? [String])?.first,
            let match = problem.firstMatch(of: /at byte (\d+)/), !defects.contains(where: isUnrecognised)
        {
            let places = defects.compactMap { $0["offset"] as? Int }
            #expect(places.contains(Int(match.1)!), "\(entry.path): '\(problem)', found at \(places)")
        }
        if entry.verdict == "warn" {
            #expect((verdict["ignored"] as? [String: Int])?["dataAfterEnd"] ?? 0 > 0, "\(entry.path)")
        }
        if entry.tar != nil { try compareSamples(entry, ls) }
        if let strict, entry.tfrecord != nil {
            try compareRecords(entry, strict, ls, defects)
        }
    }

    private func isUnrecognised(_ defect: [String: Any]) -> Bool {
        ["unknownFormat", "unsupported"].contains(defect["code"] as? String)
    }

    /// What the WebDataset reader makes of it, in the same order.
    private func compareSamples(_ entry: Entry, _ ls: ToolProcess) throws {
        let answer = entry.tar!["webdataset"] as? [String: Any] ?? [:]
        guard answer["ok"] as? Bool == true, entry.verdict != "lenient",
            Self.refused[entry.path] == nil, !Self.otherNames.contains(entry.path)
        else { return }
        let all = answer["samples"] as! [[String: Any]]
        // WebDataset makes a sample of `dir/.hidden`, with a key that ends in the slash; we pass it over.
        let expected = all.filter { !($0["key"] as! String).hasSuffix("/") }
        let found = try ls.objects
        // A reader that stops in silence at damage has fewer than the strict one; never more.
        #expect(found.count >= expected.count || ls.status == 1, "\(entry.path)")
        if ls.status == 0 {
            #expect(found.count == answer["count"] as! Int - (all.count - expected.count), "\(entry.path)")
        }
        for (sample, expected) in zip(found, expected) {
            let key = expected["key"] as! String
            // Names that are no UTF-8 come through JSON with stand-ins, tarfile's being others than ours.
            if (sample["key"] as? String)?.contains("\u{fffd}") == false {
                #expect(sample["key"] as? String == key, "\(entry.path)")
            }
            let wanted = expected["fields"] as! [String: [Any]]
            let fields = sample["fields"] as! [[String: Any]]
            #expect(Set(fields.map { $0["name"] as! String }) == Set(wanted.keys), "\(entry.path): \(key)")
            for field in fields {
                guard let wanted = wanted[field["name"] as! String] else { continue }
                #expect(field["bytes"] as? Int == wanted[0] as? Int, "\(entry.path): \(key)")
                #expect(field["sha256"] as? String == wanted[1] as? String, "\(entry.path): \(key)")
            }
        }
    }

    /// The records that a strict reader finds before the damage.
    private func compareRecords(
        _ entry: Entry, _ strict: [String: Any], _ ls: ToolProcess, _ defects: [[String: Any]]
    ) throws {
        let found = try ls.objects
        if let list = strict["record_list"] as? [[Any]], !defects.contains(where: isUnrecognised) {
            #expect(found.count >= list.count, "\(entry.path)")
            for (sample, expected) in zip(found, list) {
                #expect(sample["bytes"] as? Int == expected[0] as? Int, "\(entry.path)")
                #expect(sample["sha256"] as? String == expected[1] as? String, "\(entry.path)")
            }
        }
        if ls.status == 0 { #expect(found.count == strict["records"] as? Int, "\(entry.path)") }
        if let error = strict["error"] as? String,
            let match = error.firstMatch(of: /record (\d+) at byte (\d+)/),
            entry.view["decompress_ok"] as? Bool ?? true, !defects.contains(where: isUnrecognised)
        {
            #expect(defects.first?["offset"] as? Int == Int(match.2)!, "\(entry.path): \(error)")
        }
    }
}
