public import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// Pairs of IDX files, images and labels, as MNIST and its relatives are published, gzipped or not.
///
/// Files are told by their content. `train-images-idx3-ubyte.gz` goes with `train-labels-idx1-ubyte.gz`: the
/// names differ in "images" and "labels" alone. Sample 17 has the key `train-00017`, the field `npy` (its
/// array as .npy, in this machine's byte order) and the field `cls` (its label in decimal digits).
public struct IDXSource: PackSource {
    /// The files, images and labels in any order.
    public let paths: [String]
    /// Files found beside them that are no IDX files.
    var others: [String] = []

    /// The samples of these files.
    public init(_ paths: [String]) { self.paths = paths }

    /// Opens the files, checks their sizes, and lists their items.
    public func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        for path in others {
            inventory.ignore(.noIDX, path: path)
            inventory.count(ignored: try SourceFile(path).byteCount)
        }
        var images: [IDXFile] = []
        var labels: [IDXFile] = []
        for path in paths.sorted(by: { byteOrder($0, $1) < 0 }) {
            guard let file = try IDXFile.open(path) else {
                throw HeadraceError(.unknownFormat, "this is no IDX file", at: .init(shard: path))
            }
            inventory.noteRead(path)
            inventory.count(parsed: file.byteCount)
            if file.dimensions.count == 1 { labels.append(file) } else { images.append(file) }
        }
        for image in images {
            let label = try Self.label(of: image, among: &labels, isOnlyPair: images.count == 1)
            try Self.add(image, label, to: &inventory)
        }
        if let label = labels.first {
            throw HeadraceError(
                .notFound, "there are no images for these labels", at: .init(shard: label.path))
        }
    }

    /// Takes the labels of `image` out of `labels`.
    private static func label(
        of image: IDXFile, among labels: inout [IDXFile], isOnlyPair: Bool
    ) throws(HeadraceError) -> IDXFile {
        let stem = stem(image.path, word: "images")
        let match = labels.firstIndex {
            Self.stem($0.path, word: "labels").utf8.elementsEqual(stem.utf8)
        }
        guard let index = match ?? (isOnlyPair && labels.count == 1 ? 0 : nil) else {
            throw HeadraceError(
                .notFound,
                "there are no labels for these images; their name would begin with '\(stem)labels'",
                at: .init(shard: image.path))
        }
        let label = labels.remove(at: index)
        guard label.dimensions[0] == image.dimensions[0] else {
            throw HeadraceError(
                .badValue, "there are \(label.dimensions[0]) labels for \(image.dimensions[0]) images",
                at: .init(shard: label.path))
        }
        switch label.type {
        case .uint8, .int8, .int16, .int32: return label
        default:
            throw HeadraceError(
                .unsupported, "labels of type \(label.type.rawValue) are no class numbers",
                at: .init(shard: label.path))
        }
    }

    /// Adds the items of a pair.
    private static func add(
        _ image: IDXFile, _ label: IDXFile, to inventory: inout PackInventory
    ) throws(HeadraceError) {
        let shape = Array(image.dimensions.dropFirst())
        guard shape.count <= NpyLimits.dimensions else {
            throw HeadraceError(
                .unsupported, "arrays of \(shape.count) dimensions cannot be written as .npy",
                at: .init(shard: image.path))
        }
        let header = NpyHeader.write(image.type, shape: shape)
        let arrays = IDXArrays(image, header: header)
        let count = image.dimensions[0]
        let digits = String(max(0, count - 1)).utf8.count
        let prefix = keyPrefix(image.path)
        try inventory.checkRoom(
            sampleCount: count, fieldCount: 2, keyByteCount: prefix.utf8.count + digits, numberCount: 1,
            claim: "the IDX file with the dimensions \(image.dimensions)", path: image.path)
        for index in 0..<count {
            if index & 0xFFF == 0 { try inventory.checkGoesOn() }
            let number = String(index)
            let padding = String(repeating: "0", count: digits - number.utf8.count)
            inventory.add(
                key: "\(prefix)\(padding)\(number)",
                fields: [
                    (
                        name: "npy",
                        payload: .item(arrays, index: index, byteCount: header.count + image.itemByteCount)
                    ),
                    (name: "cls", payload: .bytes(Array(String(try value(of: label, at: index)).utf8))),
                ])
        }
    }

    /// A label as a number.
    private static func value(of label: IDXFile, at index: Int) throws(HeadraceError) -> Int {
        let buffer = OutputBuffer(capacity: 8)
        try unsafe buffer.appendInPlace(room: label.type.byteCount) {
            (room: UnsafeMutableRawBufferPointer) throws(HeadraceError) -> Int in
            try unsafe label.read(index, offset: 0, into: room)
            return room.count
        }
        return switch label.type {
        case .int8: unsafe Int(buffer.bytes.load(as: Int8.self))
        case .int16: unsafe Int(buffer.bytes.load(as: Int16.self))
        case .int32: unsafe Int(buffer.bytes.load(as: Int32.self))
        default: unsafe Int(buffer.bytes.load(as: UInt8.self))
        }
    }

    /// The file's path up to `word`: what images and labels of one set share.
    private static func stem(_ path: String, word: String) -> String {
        guard let range = lastRange(of: word, in: Array(path.utf8)) else { return path }
        return String(decoding: Array(path.utf8)[..<range], as: UTF8.self)
    }

    /// What keys begin with: the name's part before "images", so that `train` and `t10k` never collide; a key
    /// has no dots.
    private static func keyPrefix(_ path: String) -> String {
        let base = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { Array(path.utf8[$0...].dropFirst()) }
        var name = base ?? Array(path.utf8)
        if let end = lastRange(of: "images", in: name) {
            name = Array(name[..<end])
        } else {
            name = Array(name.prefix { $0 != UInt8(ascii: ".") })
        }
        while let last = name.last, [UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ".")].contains(last) {
            name.removeLast()
        }
        let text = String(
            decoding: name.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "-") : $0 }, as: UTF8.self)
        return text.isEmpty ? "" : text + "-"
    }

    /// Where `word` begins in the last part of a path.
    private static func lastRange(of word: String, in bytes: [UInt8]) -> Int? {
        let word = Array(word.utf8)
        let base = bytes.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
        guard bytes.count - base >= word.count else { return nil }
        return (base...bytes.count - word.count).last { bytes[$0...].starts(with: word) }
    }
}

/// The items of an IDX file as .npy files.
private final class IDXArrays: PlacedItems {
    private let file: IDXFile
    private let header: [UInt8]

    var path: String { file.path }

    func start(of item: Int) -> Int { file.headerByteCount + item * file.itemByteCount }

    init(_ file: IDXFile, header: [UInt8]) {
        self.file = file
        self.header = header
    }

    func read(
        item index: Int, offset: Int, into destination: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        let rest = unsafe copyHead(header, from: offset, to: destination)
        guard rest.count > 0 else { return }
        let fromHeader = destination.count - rest.count
        try unsafe file.read(index, offset: offset + fromHeader - header.count, into: rest)
    }
}
