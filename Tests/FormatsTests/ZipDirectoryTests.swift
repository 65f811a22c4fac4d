import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// The directory of zip archives, whole and damaged. Members' contents are tested with the decoder of .npz fields.
struct ZipDirectoryTests {
    private func members(_ archive: [UInt8]) throws(HeadraceError) -> [(name: String, ZipMember)] {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: archive.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: archive)
        var members: [(String, ZipMember)] = []
        try ZipDirectory(UnsafeRawBufferPointer(copy)).forEachMember {
            members.append((String(decoding: copy[$0.name], as: UTF8.self), $0))
            return true
        }
        return members
    }

    /// Archives as `zip` and Python write them: comments, folders, streams, zip64, unsorted directories.
    private static let script = """
        import zipfile, io, json, struct
        def write(name, **options):
            with zipfile.ZipFile(name, 'w', **options) as z:
                z.writestr('a/b.txt', b'x' * 1000)
                z.writestr('\\u00e9', bytes(range(256)), zipfile.ZIP_DEFLATED)
                with z.open('s', 'w', force_zip64=True) as f: f.write(b'hello')
                z.comment = b'a comment'
        write('plain'); write('deflated', compression=zipfile.ZIP_DEFLATED)
        class Stream(io.RawIOBase):
            def __init__(s, f): s.f = f
            def writable(s): return True
            def write(s, b): return s.f.write(b)
        with open('streamed', 'wb') as f: write(Stream(f))
        open('none', 'wb').write(b'PK\\x05\\x06' + bytes(18))
        # The same archive with a zip64 end record, and one with its directory in another order.
        b = open('plain', 'rb').read()
        end = b.rindex(b'PK\\x05\\x06')
        size, start = struct.unpack('<II', b[end + 12:end + 20])
        record = struct.pack('<IQHHIIQQQQ', 0x06064b50, 44, 45, 45, 0, 0, 3, 3, size, start) + struct.pack('<IIQI', 0x07064b50, 0, end, 1)
        open('zip64', 'wb').write(b[:end] + record + b[end:end + 8] + b'\\xff' * 12 + b[end + 20:])
        first = b.index(b'PK\\x01\\x02', start + 4)
        open('unsorted', 'wb').write(b[:start] + b[first:end] + b[start:first] + b[end:])
        print(json.dumps({name: [[i.filename, i.file_size, i.CRC, i.compress_type] for i in zipfile.ZipFile(name).infolist()]
            for name in ['plain', 'deflated', 'streamed', 'none', 'zip64', 'unsorted']}))
        """

    @Test func whatPythonWrites() throws {
        try Oracle.inTemporaryFolder { folder in
            guard let output = try Oracle.python(Self.script, in: folder) else { return }
            let answers = try JSONSerialization.jsonObject(with: Data(output)) as! [String: [[Any]]]
            #expect(answers.count == 6)
            for (name, answer) in answers {
                let found = try members(try Oracle.read(name, in: folder))
                #expect(found.count == answer.count, "\(name)")
                for ((member, place), expected) in zip(found, answer) {
                    #expect(member == expected[0] as! String && place.byteCount == expected[1] as! Int)
                    #expect(Int(place.checksum) == expected[2] as! Int)
                    #expect((place.method == .stored ? 0 : 8) == expected[3] as! Int)
                }
            }
        }
    }

    /// 10^5 damaged archives: never a crash, and members lie inside the archive and apart from each other.
    @Test func damageNeverTraps() throws {
        try Oracle.inTemporaryFolder { folder in
            guard try Oracle.python(Self.script, in: folder) != nil else { return }
            var generator = SeededGenerator(77)
            var refused = 0
            for name in ["deflated", "streamed", "zip64", "unsorted"] {
                let good = try Oracle.read(name, in: folder)
                for round in 0..<25_000 {
                    var bytes = good
                    for _ in 0..<1 + round % 3 {
                        // Mostly in the directory: that is what is read.
                        let place = Int.random(
                            in: 0..<(round % 5 == 0 ? bytes.count : 300), using: &generator)
                        bytes[bytes.count - 1 - place] = [
                            0, 1, 0xff, UInt8.random(in: 0...255, using: &generator),
                        ]
                        .randomElement(using: &generator)!
                    }
                    if round % 50 == 0 {
                        bytes.removeLast(Int.random(in: 1...bytes.count, using: &generator))
                    }
                    guard let found = try? members(bytes) else {
                        refused += 1
                        continue
                    }
                    let places = found.map(\.1.data).sorted { $0.lowerBound < $1.lowerBound }
                    #expect((places.last?.upperBound ?? 0) <= bytes.count)
                    for index in places.indices.dropFirst() {
                        #expect(places[index].lowerBound >= places[index - 1].upperBound)
                    }
                }
            }
            #expect(refused > 30_000, "\(refused)")
        }
    }
}
