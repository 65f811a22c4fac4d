import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Every tar that others wrote or damaged gets the verdict it deserves.
struct TarFixtureTests {
    /// Files where we differ from the readers on purpose, each with its reason.
    static let exemptions: [String: String] = [
        "tar/golang/invalid-go17.tar":
            "tarfile takes GNU's sparse area for a ustar prefix; GNU tar and bsdtar do not, nor do we",
        "tar/golang/gnu-multi-hdrs.tar":
            "of two GNU long names tarfile takes the first, GNU tar and we the last",
        "tar/golang/pax-multi-hdrs.tar": "of two PAX paths tarfile takes the first, GNU tar and we the last",
        "tar/node-tar/excessively-deep.tar": "its name has more bytes than the limit nameBytes",
    ]
    /// Refused by one strict reading, accepted here.
    static let accepted: [String: String] = [
        "tar/go-fuzz-corpus/08323bfc64e3b27a8757710dc0318817d2072b13-9":
            "its checksum is the sum of signed bytes, as some old tars wrote it; tarfile and GNU tar accept it",
        "tar/libarchive/test_read_format_gtar_sparse_1_17_posix10_modified.tar":
            "the broken sparse map is in a member without a field name, which is passed over unread and counted",
    ]
    /// Archives that end after an extended header: GNU tar shrugs, but a member is missing.
    static let dangling: Set<String> = [
        "tar/dart-tar/bad__truncated_in_header.tar", "tar/golang/pax-path-hdr.tar",
    ]
    /// Sparse members are refused (the readers expand them); so is what stands in their place.
    static let sparse: Set<String> = [
        "tar/golang/gnu-nil-sparse-data.tar", "tar/golang/gnu-nil-sparse-hole.tar",
        "tar/golang/pax-nil-sparse-data.tar", "tar/golang/pax-nil-sparse-hole.tar",
        "tar/golang/sparse-formats.tar", "tar/tar-rs/sparse-1.tar",
    ]

    @Test func everyFileGetsItsVerdict() throws {
        guard let tars = try Fixtures.entries("tar"), let sets = try Fixtures.entries("dataset") else {
            return
        }
        var count = 0
        for entry in tars + sets where entry.tar != nil {
            try check(entry)
            count += 1
        }
        #expect(count >= 190, "only \(count) tar files were found in the fixtures")
    }

    private func check(_ entry: Fixtures.Entry) throws {
        let path = entry.path
        let content: ShardContent
        switch sniff(entry.bytes, name: path) {
        case .success(let found): content = found
        case .failure(let error):
            // The content is no tar and the name does not claim one: refused before it is scanned.
            #expect(entry.verdict == "fail" || entry.verdict == "lenient", "\(path): \(error)")
            #expect(!path.hasSuffix(".tar"), "\(path): a name that says tar must lead to the exact defect")
            return checkForced(entry)
        }
        #expect(content.format == .tar, "\(path)")
        var bytes = entry.bytes
        if content.codec != .none {
            let plain = decompressEveryWay(entry.bytes, content.codec, name: path)
            #expect(plain.error == nil, "\(path): \(plain.error!)")
            bytes = plain.bytes
        }
        try check(entry, bytes)
    }

    /// Scanned as a tar all the same, as a caller would who insists.
    private func checkForced(_ entry: Fixtures.Entry) {
        let shard = scanEveryWay(entry.bytes, .tar, name: entry.path)
        #expect(!shard.defects.isEmpty, "\(entry.path)")
    }

    private func check(_ entry: Fixtures.Entry, _ bytes: [UInt8]) throws {
        let path = entry.path
        let shard = scanEveryWay(bytes, .tar, name: path)
        let strict = entry.tar!["strict"] as! [String: Any]
        let isGood = strict["ok"] as! Bool && entry.verdict != "fail" && entry.verdict != "wds-error"
        if Self.dangling.contains(path) {
            #expect(shard.defects.map(\.code) == [.truncated], "\(path)")
        } else if Self.sparse.contains(path) {
            #expect(shard.defects.contains { $0.code == .sparseMember }, "\(path)")
            #expect(shard.defects.allSatisfy { $0.code == .sparseMember }, "\(path): \(shard.defects)")
        } else if path == "tar/node-tar/excessively-deep.tar" {
            #expect(shard.defects.map(\.code) == [.limitExceeded], "\(path)")
        } else if isGood || Self.accepted[path] != nil {
            #expect(shard.defects.isEmpty, "\(path): \(shard.defects)")
            #expect(shard.account.bytesLost == 0, "\(path)")
        } else {
            #expect(!shard.defects.isEmpty, "\(path): accepted, must fail: \(strict["problems"] ?? "")")
            checkPlace(entry, shard, strict)
        }
        if entry.verdict == "wds-error" { #expect(shard.defects.first?.code == .duplicateField, "\(path)") }
        if entry.verdict == "warn" { #expect(shard.account.ignored["dataAfterEnd"] ?? 0 > 0, "\(path)") }
        if let end = strict["end"] as? String, end.hasPrefix("no end-of-archive"), isGood,
            !Self.dangling.contains(path)
        {
            #expect(shard.account.ignored["missingEndOfArchive"] == 1, "\(path)")
        }
        guard Self.exemptions[path] == nil else { return }
        try compareMembers(entry, bytes)
        try compareSamples(entry, shard, bytes)
    }

    /// The defect stands where the strict reading of the file says.
    private func checkPlace(_ entry: Fixtures.Entry, _ shard: ScannedShard, _ strict: [String: Any]) {
        guard let problem = (strict["problems"] as! [String]).first,
            let match = problem.firstMatch(of: /at byte (\d+)/)
        else { return }
        let places = shard.defects.compactMap(\.place.offset)
        #expect(places.contains(Int(match.1)!), "\(entry.path): '\(problem)', found at \(places)")
    }

    private func compareMembers(_ entry: Fixtures.Entry, _ bytes: [UInt8]) throws {
        let answer = entry.tar!["python_tarfile"] as! [String: Any]
        guard answer["ok"] as! Bool, entry.verdict != "lenient" else { return }
        let names = FieldNames()
        let scanner = TarScanner(names: names)
        var members: [TarMember] = []
        scanner.onMember = { members.append($0) }
        _ = feed(bytes, to: scanner, names: names, .steps(3000))
        let expected = answer["members"] as! [[String: Any]]
        // Long lists were cut; their counts were not.
        #expect(members.count == answer["count"] as! Int, "\(entry.path)")
        for (member, expected) in zip(members, expected) {
            var name = member.name
            while name.last == UInt8(ascii: "/"), name.count > 1 { name.removeLast() }
            var wanted = Array((expected["name"] as! String).utf8)
            while wanted.last == UInt8(ascii: "/"), wanted.count > 1 { wanted.removeLast() }
            // Names that are no UTF-8 come through JSON with stand-ins: compared by length only there.
            if String(validating: name, as: UTF8.self) != nil { #expect(name == wanted, "\(entry.path)") }
            #expect(member.offset == expected["offset"] as! Int, "\(entry.path): \(wanted)")
            guard let sum = expected["sha256"] as? String, !member.isSparse else { continue }
            #expect(member.size == expected["size"] as! Int, "\(entry.path): \(wanted)")
            let payload = bytes[member.payloadOffset..<member.payloadOffset + member.size]
            #expect(sha256(payload) == sum, "\(entry.path): \(wanted)")
        }
    }

    private func compareSamples(_ entry: Fixtures.Entry, _ shard: ScannedShard, _ bytes: [UInt8]) throws {
        let answer = entry.tar!["webdataset"] as? [String: Any] ?? [:]
        guard answer["ok"] as? Bool == true, entry.verdict != "lenient", !Self.sparse.contains(entry.path)
        else { return }
        // WebDataset makes a sample of `dir/.hidden`, with a key that ends in the slash; we pass it over.
        let all = answer["samples"] as! [[String: Any]]
        let expected = all.filter { !($0["key"] as! String).hasSuffix("/") }
        let found = shard.samples.filter { $0.defect == nil }
        #expect(found.count == answer["count"] as! Int - (all.count - expected.count), "\(entry.path)")
        for (sample, expected) in zip(found, expected) {
            let key = String(decoding: sample.key, as: UTF8.self)
            if String(validating: sample.key, as: UTF8.self) != nil {
                #expect(key == expected["key"] as! String, "\(entry.path)")
            }
            let fields = expected["fields"] as! [String: [Any]]
            #expect(Set(sample.fields.map(\.name)) == Set(fields.keys), "\(entry.path): \(key)")
            for field in sample.fields {
                guard let wanted = fields[field.name] else { continue }
                #expect(field.length == wanted[0] as! Int, "\(entry.path): \(key).\(field.name)")
                let payload = bytes[field.offset..<field.offset + field.length]
                #expect(sha256(payload) == wanted[1] as! String, "\(entry.path): \(key).\(field.name)")
            }
        }
    }
}
