import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Random archives in every dialect, written by tarfile and GNU tar, read by us, tarfile and WebDataset.
struct TarOracleTests {
    /// Writes archives of random names and sizes, and beside each what tarfile and WebDataset find in it.
    private static let script = """
        import tarfile, random, io, json, os, sys, hashlib, warnings
        warnings.simplefilter('ignore')
        from webdataset.tariterators import tar_file_iterator, group_by_keys
        random.seed(int(sys.argv[1]))
        def component(n):
            return ''.join(random.choice('abcXYZ012_- \\u00e9\\u4e2d') for _ in range(n))
        def name(limit):
            parts = [component(random.randint(1, 12)) + random.choice(['', '', '.d']) for _ in range(random.randint(0, 3))]
            if random.random() < .15: parts = [component(random.randint(30, limit)) for _ in range(random.randint(1, 4))]
            base = random.choice(['s', 't', component(3), component(random.randint(1, 60))])
            kind = random.random()
            if kind < .06: base = base
            elif kind < .1: base = '__' + base + '__' + random.choice(['', '.json'])
            else: base += '.' + random.choice(['jpg', 'JPG', 'cls', 'seg.png', '', 'Json', '\\u00c9'])
            return '/'.join(parts + [base])
        def write(path, fmt, limit, pax):
            with tarfile.open(path, 'w', format=fmt, encoding='utf-8', pax_headers=pax) as t:
                for _ in range(random.randint(1, 60)):
                    n = name(limit)
                    i = tarfile.TarInfo(n)
                    kind = random.random()
                    data = random.randbytes(random.choice([0, 1, 511, 512, 513, random.randint(0, 5000)]))
                    i.mtime = random.choice([0, 1700000000, 1700000000.5])
                    if kind < .05: i.type = tarfile.DIRTYPE; data = b''
                    elif kind < .1: i.type = random.choice([tarfile.SYMTYPE, tarfile.LNKTYPE]); i.linkname = name(limit)[:90]; data = b''
                    elif kind < .12: i.type = tarfile.FIFOTYPE; data = b''
                    elif kind < .14: i.type = tarfile.CONTTYPE
                    i.size = len(data)
                    try: t.addfile(i, io.BytesIO(data))
                    except ValueError: pass
        answers = []
        formats = [('ustar', tarfile.USTAR_FORMAT, 40, None), ('gnu', tarfile.GNU_FORMAT, 90, None), ('pax', tarfile.PAX_FORMAT, 90, None),
            ('paxglobal', tarfile.PAX_FORMAT, 90, {'comment': 'all'})]
        for round in range(int(sys.argv[2])):
            for label, fmt, limit, pax in formats:
                path = '%s-%d.tar' % (label, round)
                write(path, fmt, limit, pax)
                members = []
                with tarfile.open(path) as t:
                    for m in t:
                        data = t.extractfile(m).read() if m.isreg() else b''
                        members.append([m.name, len(data), hashlib.sha256(data).hexdigest()])
                samples, error = [], False
                try:
                    files = ({**f, '__url__': ''} for f in tar_file_iterator(open(path, 'rb')))
                    for s in group_by_keys(files):
                        samples.append([s['__key__'], {k: hashlib.sha256(v).hexdigest() for k, v in s.items() if not k.startswith('__')}])
                except ValueError: error = True
                answers.append({'path': path, 'members': members, 'samples': samples, 'error': error})
        print(json.dumps(answers))
        """

    @Test(arguments: [1, 2, 3])
    func randomArchivesReadAsTarfileAndWebDatasetReadThem(_ seed: Int) throws {
        try Oracle.inTemporaryFolder { folder in
            guard let output = try Oracle.python(Self.script, ["\(seed)", "5"], in: folder) else { return }
            let answers = try JSONSerialization.jsonObject(with: Data(output)) as! [[String: Any]]
            #expect(answers.count == 20)
            for answer in answers {
                let path = answer["path"] as! String
                try compare(answer, try Oracle.read(path, in: folder), "seed \(seed): \(path)")
            }
        }
    }

    private func compare(_ answer: [String: Any], _ bytes: [UInt8], _ label: String) throws {
        let shard = scanEveryWay(bytes, .tar, name: label)
        #expect(shard.defects.allSatisfy { $0.code == .duplicateField }, "\(label): \(shard.defects)")
        let names = FieldNames()
        let scanner = TarScanner(names: names)
        var members: [TarMember] = []
        scanner.onMember = { members.append($0) }
        _ = feed(bytes, to: scanner, names: names, .asNeeded)
        let expected = answer["members"] as! [[Any]]
        #expect(members.count == expected.count, "\(label)")
        for (member, expected) in zip(members, expected) {
            var name = String(decoding: member.name, as: UTF8.self)
            if member.type == UInt8(ascii: "5") { while name.hasSuffix("/") { name.removeLast() } }
            #expect(name == expected[0] as! String, "\(label)")
            #expect(member.size == expected[1] as! Int, "\(label): \(name)")
            let payload = bytes[member.payloadOffset..<member.payloadOffset + member.size]
            #expect(sha256(payload) == expected[2] as! String, "\(label): \(name)")
        }
        // WebDataset stops at a duplicate; the samples before it are compared all the same.
        let samples = answer["samples"] as! [[Any]]
        let good = shard.samples.prefix { $0.defect == nil }
        if answer["error"] as! Bool {
            #expect(!shard.defects.isEmpty, "\(label)")
            #expect(good.count == samples.count, "\(label)")
        } else {
            #expect(shard.samples.count == samples.count && shard.defects.isEmpty, "\(label)")
        }
        for (sample, expected) in zip(good, samples) {
            #expect(String(decoding: sample.key, as: UTF8.self) == expected[0] as! String, "\(label)")
            var found: [String: String] = [:]
            for field in sample.fields {
                found[field.name] = sha256(bytes[field.offset..<field.offset + field.length])
            }
            #expect(found == expected[1] as! [String: String], "\(label): \(expected[0])")
        }
    }

    @Test(arguments: ["v7", "oldgnu", "gnu", "ustar", "posix"])
    func whatGNUTarWritesIsRead(_ format: String) throws {
        try Oracle.inTemporaryFolder { folder in
            var generator = SeededGenerator(11)
            var files: [String: [UInt8]] = [:]
            let deep = format == "v7" ? "d" : String(repeating: "directory/", count: 12) + "last"
            for index in 0..<30 {
                let directory = index % 3 == 0 ? deep : "short"
                let name = "\(directory)/\(index / 2).\(index % 2 == 0 ? "bin" : "txt")"
                files[name] = (0..<Int.random(in: 0...3000, using: &generator)).map { _ in generator.next() }
                    .map {
                        UInt8(truncatingIfNeeded: $0)
                    }
            }
            for (name, bytes) in files {
                let url = folder.appendingPathComponent("in/" + name)
                try FileManager.default.createDirectory(
                    at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(bytes).write(to: url)
            }
            let made = try Oracle.run(
                ["tar", "--format=\(format)", "--sort=name", "-C", "in", "-cf", "a.tar", "."], in: folder)
            guard let made else { return }
            #expect(made.status == 0)
            let bytes = try Oracle.read("a.tar", in: folder)
            let shard = scanEveryWay(bytes, .tar)
            #expect(shard.defects.isEmpty, "\(shard.defects)")
            var found: [String: [UInt8]] = [:]
            for sample in shard.samples {
                for field in sample.fields {
                    let key = String(decoding: sample.key, as: UTF8.self).dropFirst(2)
                    found["\(key).\(field.name)"] = Array(bytes[field.offset..<field.offset + field.length])
                }
            }
            #expect(found.mapValues { sha256($0[...]) } == files.mapValues { sha256($0[...]) })
        }
    }

    @Test func whatGNUTarStoresSparseIsRefused() throws {
        try Oracle.inTemporaryFolder { folder in
            let file = folder.appendingPathComponent("a.img").path
            _ = FileManager.default.createFile(atPath: file, contents: nil)
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
            // Nine islands of data: an old GNU header holds four, so a further block is needed.
            for index in 0..<9 {
                try handle.seek(toOffset: UInt64(index * 1 << 20))
                try handle.write(contentsOf: Data(repeating: 7, count: 4096))
            }
            try handle.truncate(atOffset: 10 << 20)
            try handle.close()
            try Data([1]).write(to: folder.appendingPathComponent("b.img"))
            for arguments in [
                ["--format=gnu"], ["--format=posix", "--sparse-version=0.0"],
                ["--format=posix", "--sparse-version=0.1"],
                ["--format=posix", "--sparse-version=1.0"],
            ] {
                guard
                    let made = try Oracle.run(
                        ["tar", "-S", "-cf", "s.tar"] + arguments + ["a.img", "b.img"], in: folder)
                else { return }
                #expect(made.status == 0)
                let shard = scanEveryWay(try Oracle.read("s.tar", in: folder), .tar)
                #expect(
                    shard.samples.map { String(decoding: $0.key, as: UTF8.self) } == ["a", "b"],
                    "\(arguments)")
                #expect(shard.defects.map(\.code) == [.sparseMember], "\(arguments)")
            }
        }
    }
}
