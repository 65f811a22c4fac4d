import ArgumentParser
import Glibc
import HeadraceCore
import HeadraceFormats

/// One room of the loader alone: one thread, shards in memory, output into memory that is used again.
struct Room: ParsableCommand {
    enum Kind: String, CaseIterable, ExpressibleByArgument {
        case tar, tfrecord, examples, exampleParser = "example-parser", crc32c
        case zstd, zstdFrames = "zstd-frames", lz4, lz4Frames = "lz4-frames"
    }

    static let configuration = CommandConfiguration(abstract: "Measures one room alone, in one thread.")

    @Argument(help: "One of \(Kind.allCases.map(\.rawValue).joined(separator: ", ")).") var kind: Kind
    @Argument(help: "Shards that it can read.") var shards: [String]
    @Option var epochs = 1
    @Option(help: "Bytes that a scanner or a stream is given at once.") var slab = 4 << 20

    func run() throws {
        let files = try shards.map { try InMemory($0) }
        let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 20, alignment: 4096)
        memset(output.baseAddress!, 1, output.count)
        let records = kind == .exampleParser ? try files.map { try Records($0) } : []
        var result = Measurement(workload: "room \(kind.rawValue)")
        let watch = Stopwatch()
        for _ in 0..<epochs {
            for (index, file) in files.enumerated() {
                switch kind {
                case .tar: try scan(file, TarScanner(names: FieldNames()), &result)
                case .tfrecord: try scan(file, TFRecordScanner(names: FieldNames()), &result)
                case .examples: try scan(file, TFRecordScanner(names: FieldNames(), examples: true), &result)
                case .exampleParser: try parse(records[index], &result)
                case .crc32c:
                    _ = crc32c(file.bytes)
                    result.bytes += file.bytes.count
                case .zstd: try stream(file, .zstd, output, &result)
                case .lz4: try stream(file, .lz4, output, &result)
                case .zstdFrames: try frames(file, .zstd, output, &result)
                case .lz4Frames: try frames(file, .lz4, output, &result)
                }
            }
        }
        watch.stop(&result)
        try result.printLine()
    }

    private func scan(_ file: InMemory, _ scanner: any ShardScanner, _ result: inout Measurement) throws {
        var table = SampleTable()
        var offset = 0
        var size = slab
        while offset < file.bytes.count {
            let end = min(file.bytes.count, offset + size)
            table.removeAll()
            let outcome = scanner.scan(
                UnsafeRawBufferPointer(rebasing: file.bytes[offset..<end]), at: offset,
                isLast: end == file.bytes.count, total: file.bytes.count, into: &table)
            if let defect = table.defects.first { throw defect }
            result.samples += table.samples.count
            offset += outcome.consumed
            // A sample longer than what was offered.
            size = outcome.consumed > 0 ? slab : max(size * 2, outcome.needed)
            if outcome.isEnded { break }
        }
        result.bytes += file.bytes.count
    }

    private func parse(_ records: Records, _ result: inout Measurement) throws {
        var parser = ExampleParser()
        for range in records.ranges {
            let record = UnsafeRawBufferPointer(rebasing: records.file.bytes[range])
            guard parser.parse(record.bytes) == .example else {
                throw ValidationError("a record is no tf.Example")
            }
            result.bytes += range.count
        }
        result.samples += records.ranges.count
    }

    private func stream(
        _ file: InMemory, _ codec: CodecKind, _ output: UnsafeMutableRawBufferPointer,
        _ result: inout Measurement
    ) throws {
        let decompressor = try codec.makeStreamDecompressor()
        let room = UnsafeMutableRawBufferPointer(rebasing: output[..<max(slab, decompressor.preferredRoom)])
        var offset = 0
        while true {
            let end = min(file.bytes.count, offset + slab)
            let input = UnsafeRawBufferPointer(rebasing: file.bytes[offset..<end])
            let (consumed, produced) = try decompressor.decompress(input, into: room)
            offset += consumed
            result.bytes += produced
            if consumed == 0 && produced == 0 { break }
        }
        try decompressor.finish()
    }

    private func frames(
        _ file: InMemory, _ codec: CodecKind, _ output: UnsafeMutableRawBufferPointer,
        _ result: inout Measurement
    ) throws {
        let decompressor = try codec.makeFrameDecompressor()
        for frame in try file.frames(codec) {
            guard frame.length <= output.count else {
                throw ValidationError("a frame of \(frame.length) bytes")
            }
            let place = frame.compressedOffset..<frame.compressedOffset + frame.compressedLength
            try decompressor.decompress(
                frame, UnsafeRawBufferPointer(rebasing: file.bytes[place]),
                into: UnsafeMutableRawBufferPointer(rebasing: output[..<frame.length]))
            result.bytes += frame.length
        }
    }
}

/// A file, mapped and read in; it stays until the process ends.
struct InMemory {
    let bytes: UnsafeRawBufferPointer

    init(_ path: String) throws {
        let descriptor = open(path, O_RDONLY)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0, status.st_size > 0 else {
            throw ValidationError("\(path) cannot be opened or is empty")
        }
        defer { close(descriptor) }
        let size = Int(status.st_size)
        let address = mmap(nil, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, descriptor, 0)
        guard let address, address != MAP_FAILED else { throw ValidationError("\(path) cannot be mapped") }
        bytes = UnsafeRawBufferPointer(start: address, count: size)
    }

    func frames(_ codec: CodecKind) throws -> [Frame] {
        let footer = UnsafeRawBufferPointer(rebasing: bytes.suffix(SeekTable.footerBytes))
        guard let table = SeekTable.of(codec),
            let length = try table.tableLength(footer: footer, fileSize: bytes.count)
        else { throw ValidationError("a shard without a seek table has no frames to measure") }
        let last = UnsafeRawBufferPointer(rebasing: bytes.suffix(length))
        return try table.frames(table: last, fileSize: bytes.count)
    }
}

/// Where the records of a TFRecord file are.
struct Records {
    let file: InMemory
    var ranges: [Range<Int>] = []

    init(_ file: InMemory) throws {
        self.file = file
        var offset = 0
        while offset < file.bytes.count {
            guard offset + 16 <= file.bytes.count else {
                throw ValidationError("the TFRecord file is cut off")
            }
            let length = Int(file.bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            ranges.append(offset + 12..<offset + 12 + length)
            offset += 16 + length
        }
    }
}
