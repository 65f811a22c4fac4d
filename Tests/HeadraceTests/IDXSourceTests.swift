import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

@Suite struct IDXSourceTests {
    private static func idx(_ type: UInt8, _ dimensions: [Int], _ data: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [0, 0, type, UInt8(dimensions.count)]
        for dimension in dimensions {
            for shift in [24, 16, 8, 0] { bytes.append(UInt8(dimension >> shift & 255)) }
        }
        return bytes + data
    }

    private static let pixels = (0..<12 * 28 * 28).map { UInt8(truncatingIfNeeded: $0 * 31 >> 2) }
    private static let images = idx(8, [12, 28, 28], pixels)
    private static let labels = idx(8, [12], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 255])

    /// Every sample as numpy reads it back.
    private static let reader = """
        import sys, io, numpy, webdataset as wds
        for s in wds.WebDataset(["file:" + sys.argv[1]], shardshuffle=False, empty_check=False):
            a = numpy.load(io.BytesIO(s["npy"]))
            assert a.dtype.isnative
            print(s["__key__"], a.dtype, list(a.shape), s["cls"].decode(), float(a.astype("f8").sum()), float(a.flat[1]))
        """

    private func gzip(_ path: String) throws -> Bool {
        guard let outcome = try PackOracle.run(["gzip", "-f", path]) else { return false }
        #expect(outcome.status == 0)
        return true
    }

    @Test(arguments: [false, true], ["train-images-idx3-ubyte", "t10k-images.idx3-ubyte"])
    func imagesAndLabelsBecomeSamples(isGzipped: Bool, name: String) throws {
        let tree = try PackTree()
        let labelName = name.replacingOccurrences(of: "images", with: "labels").replacingOccurrences(
            of: "3", with: "1")
        try tree.put(name, Self.images)
        try tree.put(labelName, Self.labels)
        try tree.put("README.txt", "beside")
        if isGzipped {
            for file in [name, labelName] { guard try gzip("\(tree.source)/\(file)") else { return } }
        }
        let sources = try packSources(at: [tree.source])
        let result = try Packer(sources, options: tree.options("m.tar")).run()
        #expect(result.summary.sampleCount == 12 && result.summary.fields == ["cls", "npy"])
        #expect(result.summary.ignored == [.noIDX: 1])
        guard
            let found = try PackOracle.python(
                Self.reader, ["\(tree.output)/m.tar"], needing: ["webdataset", "numpy"])
        else { return }
        let prefix = name.hasPrefix("train") ? "train" : "t10k"
        let expected = (0..<12).map { index -> String in
            let item = Self.pixels[index * 784..<(index + 1) * 784]
            let number = index < 10 ? "0\(index)" : "\(index)"
            let sum = Double(item.reduce(0) { $0 + Int($1) })
            return
                "\(prefix)-\(number) uint8 [28, 28] \(Self.labels[8 + index]) \(sum) \(Double(item[item.startIndex + 1]))"
        }
        #expect(found == expected)
    }

    @Test(
        arguments: [
            (9, "int8", [0xFF, 0x01]), (0x0B, "int16", [0xFF, 0xFE, 0x01, 0x00]),
            (0x0C, "int32", [0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFD]),
            (0x0D, "float32", [0x3F, 0xC0, 0, 0, 0xC0, 0x20, 0, 0]),
            (0x0E, "float64", [0x3F, 0xF8, 0, 0, 0, 0, 0, 0, 0xC0, 4, 0, 0, 0, 0, 0, 0]),
        ] as [(UInt8, String, [UInt8])])
    func everyElementTypeIsTurnedToThisMachinesOrder(code: UInt8, name: String, item: [UInt8]) throws {
        let values: [String: (Double, Double)] = [
            "int8": (-1, 1), "int16": (-2, 256), "int32": (1, -3), "float32": (1.5, -2.5),
            "float64": (1.5, -2.5),
        ]
        let tree = try PackTree()
        let count = 3000
        try tree.put("data-images", Self.idx(code, [count, 1, 2], (0..<count).flatMap { _ in item }))
        try tree.put(
            "data-labels",
            Self.idx(0x0C, [count], (0..<count).flatMap { _ in [0xFF, 0xFF, 0xFF, 0xF9] as [UInt8] }))
        var options = tree.options("m.tar")
        options.workers = 3
        _ = try Packer(try packSources(at: [tree.source]), options: options).run()
        guard
            let found = try PackOracle.python(
                Self.reader, ["\(tree.output)/m.tar"], needing: ["webdataset", "numpy"])
        else { return }
        let (first, second) = try #require(values[name])
        #expect(found.count == count)
        #expect(found.last == "data-2999 \(name) [1, 2] -7 \(first + second) \(second)")
    }

    /// A wide item is cut into pieces at odd places.
    @Test func piecesOfLargeItemsKeepTheirElements() throws {
        let tree = try PackTree()
        let data = (0..<100_000).flatMap { (value: Int) -> [UInt8] in
            [24, 16, 8, 0].map { UInt8(value >> $0 & 255) }
        }
        try tree.put("a-images", Self.idx(0x0C, [1, 100_000], data))
        try tree.put("a-labels", Self.idx(8, [1], [3]))
        var options = tree.options("m.tar.zst")
        options.frameByteCount = 16_385
        _ = try Packer(try packSources(at: [tree.source]), options: options).run()
        let script = """
            import sys, io, numpy, webdataset as wds
            for s in wds.WebDataset(["pipe:zstd -dc " + sys.argv[1]], shardshuffle=False, empty_check=False):
                print((numpy.load(io.BytesIO(s["npy"])) == numpy.arange(100000)).all())
            """
        guard
            let found = try PackOracle.python(
                script, ["\(tree.output)/m.tar.zst"], needing: ["webdataset", "numpy"])
        else { return }
        #expect(found == ["True"])
    }

    @Test func damageIsNamed() throws {
        let cases: [(String, [UInt8], [UInt8], HeadraceError.Code)] = [
            ("short images", Array(Self.images.dropLast()), Self.labels, .truncated),
            ("long images", Self.images + [0], Self.labels, .badValue),
            ("short labels", Self.images, Array(Self.labels.dropLast(3)), .truncated),
            ("fewer labels", Self.images, Self.idx(8, [11], Array(repeating: 0, count: 11)), .badValue),
            ("cut header", Array(Self.images.prefix(9)), Self.labels, .truncated),
            ("no bytes in an item", Self.idx(8, [0x7FFF_FFFF, 0], []), Self.labels, .badValue),
            ("overflow", Self.idx(8, [0x7FFF_FFFF, 0x7FFF_FFFF, 0x7FFF_FFFF], [1]), Self.labels, .truncated),
            (
                "overflow at no items", Self.idx(8, [0, 0x7FFF_FFFF, 0x7FFF_FFFF, 0x7FFF_FFFF], []),
                Self.labels, .badValue
            ),
            ("float labels", Self.images, Self.idx(0x0D, [12], Array(repeating: 0, count: 48)), .unsupported),
        ]
        for isGzipped in [false, true] {
            for (what, images, labels, code) in cases {
                let tree = try PackTree()
                try tree.put("x-images", images)
                try tree.put("x-labels", labels)
                if isGzipped {
                    for file in ["x-images", "x-labels"] {
                        guard try gzip("\(tree.source)/\(file)") else { return }
                    }
                }
                let error = #expect(throws: HeadraceError.self, "\(what)") {
                    try Packer(try packSources(at: [tree.source]), options: tree.options("m.tar")).run()
                }
                // What is beyond any memory is refused before it is decompressed.
                let expected = isGzipped && what == "overflow" ? .limitExceeded : code
                #expect(
                    error?.code == expected,
                    "\(what), gzipped \(isGzipped): \(error.map(\.description) ?? "")")
                #expect(tree.outputNames() == [])
            }
        }
    }

    @Test func missingPartnersAndOtherFilesAreRefused() throws {
        let tree = try PackTree()
        try tree.put("x-images", Self.images)
        let packer = { try Packer(try packSources(at: [tree.source]), options: tree.options("m.tar")).run() }
        #expect(#expect(throws: HeadraceError.self) { try packer() }?.code == .notFound)
        try FileManager.default.removeItem(atPath: "\(tree.source)/x-images")
        try tree.put("x-labels", Self.labels)
        #expect(#expect(throws: HeadraceError.self) { try packer() }?.code == .notFound)
        try tree.put("plain.dat", "text")
        let error = #expect(throws: HeadraceError.self) { try packSources(at: ["\(tree.source)/plain.dat"]) }
        #expect(error?.code == .unknownFormat)
    }

    @Test func cutGzipIsAnError() throws {
        let tree = try PackTree()
        try tree.put("x-images", Self.images)
        try tree.put("x-labels", Self.labels)
        guard try gzip("\(tree.source)/x-images") else { return }
        let path = "\(tree.source)/x-images.gz"
        let size = try tree.content(path).count
        for cut in [size - 1, size - 8, size / 2] {
            truncate(path, off_t(cut))
            #expect(throws: HeadraceError.self, "cut at \(cut)") {
                try Packer(try packSources(at: [tree.source]), options: tree.options("m.tar")).run()
            }
        }
    }
}
