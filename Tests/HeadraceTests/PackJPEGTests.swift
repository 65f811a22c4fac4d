import Foundation
import HeadraceCore
import HeadraceDecode
import HeadraceFormats
import Testing

@testable import Headrace

/// Shards whose JPEGs are written anew.
@Suite struct PackJPEGTests {
    private let folder = TemporaryFolder()

    private static func bytes(_ text: String) -> [UInt8] { [UInt8](Data(base64Encoded: text)!) }

    /// 93 x 61, one component, and 79 x 53, 4:2:0, progressive; written by Pillow 13.0.0.
    private static let gray = bytes(
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KSEiMEExNDk7Pj4+\
        JS5ESUM8SDc9Pjv/wAALCAA9AF0BAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9\
        AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZn\
        aGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP0\
        9fb3+Pn6/9oACAEBAAA/APNZXiu9TurmCNYoppneNUiEaqpYkAICQox/Dk49TWvZRAbRk4+vSugsYenG4euK6Cyjzjj8RXQWMRUjAwa3\
        YWit4HnnkWOGEFnkdgqoo5JJPTjrXiPxUnkl8cTxm2W38yG3kdX8l5QQh4ZkGVPzEEFjnCnJXZjEsoRxk5FdBZQ4/wAa6Cxjx0Gcelb9\
        nEcADJrftYz5fHoO9fPVlDuPI56V0FhEOAeo7niugs4+nAJrfsYeOf5V0NjFkj+dWNc1KbQfD15qifZ820EjhrmTaoYK2wf7RL7FxkZ3\
        dc4B+brfzLieS4nkeWaVi8kjsWZmPUknqT3NbllCf4v1roLKHpwAfrXQ2SYC4GR6V0FnBkYx+VbttAxQnDfyr56sYzwMEfhXQ2ULcY7j\
        9a6CyjHoOvWugsoicHHB4roLOIDaMZOOteU/GXWLe413T7W0meV7WGZJA8KtCC52EoSMlsqwJ5Csoxhg2OJs48qPcjtXQWcPH16Yrfs4\
        sAHuK6Czi7AfnW/ZRcjapI+ua37eFfL5Gfwr57soSQD3roLKHvj3roLOEfljv3roLKPGM45rWluY9N02a7mmt4VjT711P5Ue48AM5BwC\
        SBnB69DXzfq+qv4j8Q3mrvB5LXcu8RmRn2joBubk4AHoPQAYAuWUXA67u9dFZxnA459fat+ziyM/0710VlEAwHt/nmt6yh+UdgD0Fecf\
        GbVLC1vtNieyttTZFkVorjzQlu3yHho2T5mDKSpJwAhAXdlsCxh6YPXsO1dBYxZA9h2710FlDhRx19a37KIggZ/xrmfivqNivhm70q5a\
        aNmjSVZIixxIX/dIVBAZXEcxySQvl5wSVB8ZsYQAuDkfSugsocEZGB3rfsogcZxx1PrXQWUWAPlGD1GK6GyhPrgfWtaa4XTdMu799gW1\
        geVi5IUbVJ5KhiBx2BPselfNOr3Nxqmt315eXDyzyTtud51lJwcAb1AVgAAAVAXAGABgV3NnEGPpjv1roLKEccc9hXQWUeArY69Aa3YT\
        FbwPPPKsUcKF3ldsKoHJJPpivCPiVqmm6744nuNMkhngijSJpoo9okdc5O7J39gG44AAyAGObYxEnp7V0FlECVI/Kt+wixtBPSuhsofm\
        B/r0rfso+Rg81h/FTUG0zwaI44EuftE6iSB1DK0IPzFhgnbuKDcpUhnQhgcA+F28H7sbW/M16VYRg4z0HSugsounbpnHrXQWcRypx1o8\
        TeIbHwzok019HKzTRSLCkTNF5jBSSvmjARsZI5DHB2hjgV88CefULya9u38ya5laWRwAMuxJY4HA5J6Vt2UXT5SOnat+zi5BII+g6V0F\
        lDkDGB64robGLAGM49P8a6Cyixjgcfma+fviDqN7q/jaeS+sfsMsUUaLCJXfC7Qyn5wCuQ2du1cZ5AbdmhbQsEOCR09K9HsxlB9K6KyQ\
        DaPTvit60jHlhvbgVwnxq027XSbPUpLq2a2E32aK3Fp86hwHJMhY85hGNqqcEjJGc+W2SDIFdFZICMemK3rBRuA5roLZVH8I4/WugslB\
        9ue1dDaoBtHXtzXy/dapfa9qz6jqU/n3VwB5kmxVzhQo4UAdFArSt4t0Qwdv4V//2Q==
        """)
    private static let staged = bytes(
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KSEiMEExNDk7Pj4+\
        JS5ESUM8SDc9Pjv/2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7\
        Ozv/wgARCAA1AE8DASIAAhEBAxEB/8QAGgAAAwEBAQEAAAAAAAAAAAAAAgMEAAEFBv/EABkBAQEAAwEAAAAAAAAAAAAAAAQFAQIDBv/a\
        AAwDAQACEAMQAAAB+eafM6jQNJKIULPDfJ43Lh8p6zRSWsaUIG52KC5fT8tGkr2ufMQ2hmXzGdHnxKpYXZ0vn2cqxQIz59Vkx8qnLTsc\
        TaNld/HdtX8+DNoVWujZKv/EACEQAAICAgICAwEAAAAAAAAAAAABAhIDERMhIjEEIzJC/9oACAEBAAEFAlPKi8pv2uXOb2Qy5MazTnOZ\
        bIh5cuQ8SthQ0LRRkvrh7FjZFaVbHGxKp+hYxHyNTSxtCOPYoVNlbihUTKdS6muxYhKp0zj71UXkLEjJOijGwsejej9lKnZGOymhbJJT\
        lWptnHs1pxVhTTxtEfckuP8ApeoaniRBJqq1/8QAIBEAAQMEAwEBAAAAAAAAAAAAAAECAxESMVEEEyEyYf/aAAgBAwEBPwGJEVa0GU0V\
        Y1lXYL+x6uUZbojXZGujmT2R2plRjtkblI/Mka6J+T3SeEX6RrQalB/yowZlRmT/xAAfEQACAwACAgMAAAAAAAAAAAABAgADESExBBIi\
        UWH/2gAIAQIBAT8BtsziF2msx7gBAzZ6Sywu5Jg/JSmnZ6/cICjW6jMfc7F56lKYJf5i1fAcmMbLTrmDk7E7l5K0MREHJidz/8QAJRAA\
        AgEDAgUFAAAAAAAAAAAAAREAECExAgMSIEFhcSIjMjOh/9oACAEBAAY/AiWWck3j3NTPei49SSXSXN4Rt6lxZU+zUR5mZ6Sh2nuF+aW5\
        CesPeYiMtRRVAFXTEccxHL3mKKLFUaLnvVqWireadzh+S/anxDQa0mHyf//EACIQAAICAgICAgMAAAAAAAAAAAABESExQVFhcdEQoZGx\
        8P/aAAgBAQABPyF/MYRLM5eLsbR1+w7UrYnJ2TNxPUYEyTI1uXcjdUEQWYK/LRmX9qRBUG+wn+0vwLViNtNL16KYeCbTbQ502sHYJzlL\
        JaqbA4fl8ERuBpBWHJkzGehKEMsb0RVQ6Ng0xxNDKMMTVRY67tdGfsLqEbaPgd3mEhGx9HGDVt2QvJIpg3uxCVs1LYrZIogbKNcSq/vB\
        v64EpO0VS0iHB2hZFbFd39EebMgkpWdg8bt8ngTkuWUiTJMlEsD2gQEcPEl7IHVeC8XLJTCrgS3c1fIltvszFL8CSWWJLalvZQarwf/a\
        AAwDAQACAAMAAAAQnv5j3rQ6YW+kWUOf+dhi/8QAHREBAAICAwEBAAAAAAAAAAAAAQARIUExUWGRwf/aAAgBAwEBPxCyKPdQYlGChCC0\
        54zxEggtuFIoxuowBwinmF4pClGNRINIj1nnDB+/amjNC9Q1R2nyokq6YrywARpjcZ//xAAgEQEAAgEEAgMAAAAAAAAAAAABABExIVFh\
        cYHBsdHw/9oACAECAQE/EHeHjbxWeuQL1whuJmpe4UsIpfccOJgq2SF4ugG50ik3vcbAqjLG0PhPua4n7aNVZV9TDFbpCBVzCR//xAAi\
        EAEBAAICAgIDAQEAAAAAAAABEQAhMUFRYXHwgZGhseH/2gAIAQEAAT8Qmzyd0rAVXuJstuM5liOjwHRV41hIJNwbv4zUCQKTRHER1Amp\
        MhlsNl2W93zgRWiDAQ3KcuyYeqZokKORmwU5QeS5JuOekxBHCEScgTvkc6HBMBIzUhQQ1olQ5dt6HYF2kd9c4xSez5+uTKnJ1/mCf61x\
        /M3riZ7LlOYNdXxfxTNDBprbt9uKXinGzKQgOMEGK3ZMUOvJX/nGBq1N7feMGI05ePOXla+XAN0kdZsRTVITsHvYfk9YJegXm0MhS3wY\
        2awpdYhOhPrWC5TNXgfGTbaskuDY+QmWC/3l01adw8WHnHhVDYY4d15e94IJHD8smQfrLBo7We8KV9AOM6ke0cphibbO+MkQXPTrO42O\
        3HQRKF61Nz29h2ZyTHj5fZkTV2m/GCgAeDnAka+H8YgCU0V++MC5nqDfxgykGW8YOuDw7zeG17S4vBsobQ/L948AWNvyL+/nNiKcc3Ox\
        va5e1jggzHKKBdkyR61v0HM69NzCcud9MIER5F05FzWeL/pxlMUPhM/eCI8hHafZkwAKG9gZfWACbo8uGaRtbsxAka7RFz//2Q==
        """)

    /// Two files take turns, each with something of its own behind its end.
    private func file(_ number: Int) -> [UInt8] {
        (number % 2 == 0 ? Self.gray : Self.staged) + Array("image \(number)".utf8)
    }

    private func rewritten(_ file: [UInt8]) throws -> [UInt8] {
        guard case .rewritten(let bytes) = try CropReadyWriter().rewrite(file[...]) else {
            throw HeadraceError(.usage, "the file stayed as it is")
        }
        return bytes
    }

    private var samples: [(key: String, fields: [(String, [UInt8])])] {
        (0..<40).map { number in
            (
                "k\(number + 100)",
                [
                    ("jpg", file(number)), ("cls", Array("\(number)".utf8)),
                    ("raw", file(number)), ("mask.jpeg", file(number + 1)),
                ]
            )
        }
    }

    private func options(_ output: String, workers: Int = 2) -> PackOptions {
        var options = PackOptions(output: folder(output))
        options.jpeg = .cropReady
        options.workers = workers
        options.shardLimit = .samples(9)
        if output.hasSuffix(".zst") { options.frameByteCount = 16 << 10 }
        return options
    }

    private func contents(_ folderName: String) throws -> [String: [UInt8]] {
        var contents: [String: [UInt8]] = [:]
        let root = folder(folderName)
        let names = (FileManager.default.enumerator(atPath: root)?.allObjects as? [String]) ?? []
        for name in names {
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: "\(root)/\(name)", isDirectory: &isDirectory)
            if isDirectory.boolValue { continue }
            contents[name] = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(root)/\(name)")))
        }
        return contents
    }

    /// These fields of every sample as the loader reads them, in the order of their bytes.
    private func fields(_ pattern: String, _ names: [String]) throws -> [[[UInt8]]] {
        var dataset = Dataset(folder(pattern)).with { $0.batchSize = 7 }
        if pattern.contains("tfrecord") { dataset = dataset.parsingExamples() }
        for name in names { dataset = dataset.decoding(name, with: .raw, optional: true) }
        let loader = try dataset.loader()
        defer { loader.close() }
        var rows: [[[UInt8]]] = []
        while let batch = try loader.next() {
            for row in 0..<batch.count {
                rows.append(try names.map { try batch[$0].bytes(ofRow: row) })
            }
        }
        return sorted(rows)
    }

    private func sorted(_ rows: [[[UInt8]]]) -> [[[UInt8]]] {
        rows.sorted { $0.joined().lexicographicallyPrecedes($1.joined()) }
    }

    @Test(arguments: ["x-%d.tar", "x-%d.tar.zst", "x-%d.tfrecord", "x-%d.tfrecord.zst"])
    func fieldsThatAreNamedSoAreRewritten(name: String) throws {
        let result = try Packer([ListSource(samples: samples)], options: options("one/\(name)")).run()
        #expect(result.jpegs?.rewritten == 80 && result.jpegs?.kept == [:])
        let (old, new) = samples.reduce(into: (0, 0)) { sum, sample in
            for (field, bytes) in sample.fields where field.hasSuffix("g") {
                sum.0 += bytes.count
                sum.1 += (try? rewritten(bytes).count) ?? 0
            }
        }
        #expect(result.jpegs?.sourceByteCount == old && result.jpegs?.byteCount == new)
        // Another number of workers, and the same bytes.
        for (index, workers) in [1, 3].enumerated() {
            _ = try Packer(
                [ListSource(samples: samples)], options: options("other\(index)/\(name)", workers: workers)
            ).run()
            #expect(try contents("other\(index)") == contents("one"))
        }
        let rows = try fields(
            "one/" + name.replacingOccurrences(of: "%d", with: "{0..4}"), ["jpg", "raw", "mask.jpeg"])
        let expected = try samples.map {
            [try rewritten($0.fields[0].1), $0.fields[2].1, try rewritten($0.fields[3].1)]
        }
        #expect(rows == sorted(expected))
        let manifest = try Manifest.read(folder("one/.headrace/manifest.json"))
        #expect(manifest.sets[0].jpeg == "crop-ready" && manifest.sets[0].libraries["libjpeg-turbo"] != nil)
        #expect(manifest.sets[0].uncompressedByteCount == result.summary.uncompressedByteCount)
    }

    /// Pixels are those of shards that keep their JPEGs, crop by crop.
    @Test func cropsAreTheSame() throws {
        var plain = options("plain/x-%d.tar")
        plain.jpeg = .keep
        let kept = try Packer([ListSource(samples: samples)], options: plain).run()
        #expect(kept.jpegs?.isEmpty == true && kept.summary.jpeg == .keep)
        _ = try Packer([ListSource(samples: samples)], options: options("ready/x-%d.tar")).run()
        func pixels(_ name: String) throws -> [[Float]] {
            let dataset = try Dataset(folder("\(name)/x-{0..4}.tar"))
                .with {
                    $0.batchSize = 8
                    $0.seed = 3
                }
                .decoding("jpg", with: .image(.randomResizedCrop(16), .flip, .normalize(.imageNet))).repeated(
                    3)
            let loader = try dataset.loader()
            defer { loader.close() }
            var rows: [[Float]] = []
            while let batch = try loader.next() {
                for row in 0..<batch.count { rows.append(try batch["jpg"].elements(ofRow: row)) }
            }
            return rows
        }
        let rows = try pixels("plain")
        #expect(rows.count == 120)
        #expect(try pixels("ready") == rows)
    }

    @Test func whatStaysIsCounted() throws {
        let good = file(0)
        let list = ListSource(samples: [
            ("a", [("jpg", Array(good.prefix(900)))]), ("b", [("jpg", Array("no picture".utf8))]),
            ("c", [("jpg", [])]), ("d", [("jpg", good)]), ("e", [("png", good)]),
        ])
        let result = try Packer([list], options: options("x-%d.tar")).run()
        #expect(result.jpegs?.rewritten == 1)
        #expect(result.jpegs?.kept == [.damaged: 1, .notJPEG: 2])
        let rows = try fields("x-0.tar", ["jpg"])
        let expected = [Array(good.prefix(900)), Array("no picture".utf8), [], try rewritten(good), []]
        #expect(rows == sorted(expected.map { [$0] }))
    }

    /// Of Examples the content tells what is a JPEG, whatever its name; into tar as well as in records that stay.
    @Test func valuesOfExamplesAreRewritten() throws {
        var plain = options("plain/x-%d.tfrecord")
        plain.jpeg = .keep
        let list = ListSource(
            samples: (0..<20).map { ("k\($0 + 10)", [("image", file($0)), ("txt", [1, 2])]) })
        _ = try Packer([list], options: plain).run()
        let source = ShardSource((0..<3).map { folder("plain/x-\($0).tfrecord") })
        for name in ["x-%d.tar", "x-%d.tfrecord", "x-%d.tfrecord.lz4"] {
            let result = try Packer([source], options: options("new/\(name)")).run()
            #expect(result.jpegs?.rewritten == 20, "\(name)")
            let rows = try fields(
                "new/" + name.replacingOccurrences(of: "%d", with: "{0..2}"), ["image", "txt"])
            let expected = try (0..<20).map { [try rewritten(file($0)), [1, 2]] }
            #expect(rows == sorted(expected), "\(name)")
        }
        // What was packed at once is the same as what was packed in two steps.
        let direct = ListSource(
            samples: (0..<20).map { ("k\($0 + 10)", [("jpg", file($0)), ("txt", [1, 2])]) })
        plain.output = folder("plain2/x-%d.tfrecord")
        _ = try Packer([direct], options: plain).run()
        _ = try Packer([direct], options: options("direct/x-%d.tfrecord")).run()
        let again = ShardSource((0..<3).map { folder("plain2/x-\($0).tfrecord") })
        _ = try Packer([again], options: options("steps/x-%d.tfrecord")).run()
        let (one, two) = (try contents("direct"), try contents("steps"))
        #expect(one.keys == two.keys && one["x-1.tfrecord"] == two["x-1.tfrecord"])
    }

    /// Compressed sources are read in order, on one thread; the bytes are the same.
    @Test func compressedSources() throws {
        var plain = options("plain/x-%d.tar.zst")
        plain.jpeg = .keep
        _ = try Packer([ListSource(samples: samples)], options: plain).run()
        let source = ShardSource((0..<5).map { folder("plain/x-\($0).tar.zst") })
        _ = try Packer([source], options: options("ready/x-%d.tar")).run()
        _ = try Packer([ListSource(samples: samples)], options: options("direct/x-%d.tar")).run()
        #expect(
            try fields("ready/x-{0..4}.tar", ["jpg", "cls"]) == fields("direct/x-{0..4}.tar", ["jpg", "cls"]))
    }

    /// A sample larger than a frame stays in one piece, because nobody knows where its pieces would be.
    @Test func largeSamples() throws {
        let large = file(0) + [UInt8](repeating: 7, count: 90_000)
        let list = ListSource(samples: [("a", [("jpg", large), ("cls", [49])]), ("b", [("bin", large)])])
        let result = try Packer([list], options: options("x-%d.tar.zst")).run()
        #expect(result.jpegs?.rewritten == 1)
        #expect(try fields("x-0.tar.zst", ["jpg"]) == [[[]], [try rewritten(large)]])
    }

    @Test(arguments: ["x-%02d.tar.zst", "x-%02d.tfrecord"])
    func anInterruptedRunIsGoneOnWith(name: String) throws {
        let tree = try PackTree()
        for number in 0..<120 {
            try tree.put("s\(number + 100).jpg", file(number))
            try tree.put("s\(number + 100).cls", "\(number)")
        }
        func options(_ output: String, resume: Bool = true) -> PackOptions {
            var options = PackOptions(output: "\(output)/\(name)")
            options.jpeg = .cropReady
            options.workers = 2
            options.shardLimit = .samples(9)
            options.resume = resume
            if name.hasSuffix(".zst") { options.frameByteCount = 16 << 10 }
            return options
        }
        let whole = try Packer(
            [DirectorySource(tree.source)], options: options("\(tree.root)/reference")
        ).run()
        let packer = try Packer([DirectorySource(tree.source)], options: options(tree.output))
        #expect(throws: HeadraceError.self) {
            try packer.run { if $0.sampleCount > 50, $0.shardCount > 3 { packer.cancel() } }
        }
        // Another way with JPEGs is another run.
        var keeping = options(tree.output)
        keeping.jpeg = .keep
        let refusal = #expect(throws: HeadraceError.self) {
            try Packer([DirectorySource(tree.source)], options: keeping).run()
        }
        #expect(refusal?.message.contains("jpeg crop-ready, this one has none") == true)
        let rest = try Packer([DirectorySource(tree.source)], options: options(tree.output)).run()
        #expect(rest.keptShardCount > 3 && rest.shards == whole.shards)
        // Shards that were there already count in.
        #expect(rest.jpegs == whole.jpegs && rest.jpegs?.rewritten == 120)
        #expect(rest.summary.uncompressedByteCount == whole.summary.uncompressedByteCount)
        // And nothing is left to do, unless JPEGs are to stay.
        let again = try Packer([DirectorySource(tree.source)], options: options(tree.output)).run()
        #expect(again.wasFinished && again.jpegs == nil)
        let other = #expect(throws: HeadraceError.self) {
            try Packer([DirectorySource(tree.source)], options: keeping).run()
        }
        #expect(other?.message.contains("the set has jpeg crop-ready, this run none") == true)
    }

    @Test func aPlanSaysSoAndWritesNothing() throws {
        let summary = try Packer([ListSource(samples: samples)], options: options("out/x-%d.tar")).plan()
        #expect(summary.jpeg == .cropReady && summary.shardCount == 5)
        #expect(!FileManager.default.fileExists(atPath: folder("out")))
    }
}
