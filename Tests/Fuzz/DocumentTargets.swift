import Glibc
import Headrace
import HeadraceCore
import HeadraceDecode
import HeadraceFormats

/// A file in memory with the fuzzer's bytes, for parsers that read by `pread`.
private let scratchPath: String = {
    let path = "/dev/shm/headrace-fuzz-\(getpid())"
    require(open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600) >= 0, "/dev/shm is writable")
    return path
}()
private let scratch = open(scratchPath, O_RDWR)

/// What reads back must be what was written, and nothing but valid JSON is taken.
func fuzzJSON(_ input: UnsafeRawBufferPointer) {
    let bytes = Array(input.dropFirst())
    guard let value = try? JSONValue(parsing: bytes) else { return }
    let line = value.line()
    guard let again = try? JSONValue(parsing: line) else {
        preconditionFailure("what is written must be read")
    }
    require(again.line() == line, "writing must be stable")
}

func fuzzManifest(_ input: UnsafeRawBufferPointer) {
    let bytes = Array(input.dropFirst())
    guard let manifest = try? Manifest(parsing: bytes, path: "manifest.json") else { return }
    guard let again = try? Manifest(parsing: manifest.encoded(), path: "manifest.json") else {
        preconditionFailure("what is written must be read")
    }
    require(again.encoded() == manifest.encoded(), "writing must be stable")
}

/// A state that is taken is written as it was read, and deals an epoch of as many samples as the first byte says.
func fuzzState(_ input: UnsafeRawBufferPointer) {
    guard let state = try? LoaderState(parsing: Array(input.dropFirst())) else { return }
    require((try? LoaderState(parsing: state.encoded())) == state, "what is written must be read")
    let count = Int(input[0]) << 8
    let share = try? RankShare(
        sampleCount: count, blockSize: count & 256 == 0 ? nil : 7, segments: state.position.segments,
        uneven: .pad, last: .keep)
    guard let share, share.stepCount > 0 else { return }
    for step in [0, share.stepCount - 1] {
        let row = share.row(step: step, rank: share.worldSize - 1, row: 0)
        require(row.isPadding || row.place < count, "a place is in the epoch")
    }
}

/// Bit 0 of the first byte: mend the checksums of the tables and of the whole.
func fuzzIndex(_ input: UnsafeRawBufferPointer) {
    var bytes = Array(input.dropFirst())
    if input[0] & 1 != 0 { mendIndex(&bytes) }
    require(ftruncate(scratch, 0) == 0, "ftruncate")
    require(pwrite(scratch, bytes, bytes.count, 0) == bytes.count, "pwrite")
    guard let index = try? ShardIndex.read(scratchPath) else { return }
    try? index.verifyChecksum()
    var rows: [ShardIndexRow] = []
    try? index.rows(0..<index.header.sampleCount, into: &rows)
    for row in rows { require(row.length > 0 && row.offset >= 0, "a row is a place") }
    for frame in index.frames {
        require(frame.length >= 0 && frame.compressedLength >= 0, "a frame is a place")
    }
}

/// Bit 0 of the first byte: of a TFRecord shard. The other bits choose the shard's size.
func fuzzDALI(_ input: UnsafeRawBufferPointer) {
    let bytes = Array(input.dropFirst())
    let size = Int(input[0] >> 1) * 2048
    let isTar = input[0] & 1 == 0
    let found =
        isTar
        ? try? DALIIndex.tarRows(bytes, shardByteCount: size, path: "x.idx")
        : try? DALIIndex.recordRows(bytes, shardByteCount: size, path: "x.idx")
    var end = 0
    for row in found ?? [] {
        require(row.offset == end && row.length > 0, "rows follow each other")
        end = row.offset + row.length
        require(end <= size, "a row is in the shard")
    }
}

private func mendIndex(_ bytes: inout [UInt8]) {
    func number(_ offset: Int) -> Int {
        (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
    }
    func put(_ value: UInt32, at offset: Int) {
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }
    guard bytes.count >= 68 else { return }
    let tables = number(48) + number(52) * ShardIndexLayout.frameByteCount
    if tables <= bytes.count - 64 { put(bytes[64..<64 + tables].withUnsafeBytes { crc32c($0) }, at: 56) }
    put(bytes[..<60].withUnsafeBytes { crc32c($0) }, at: 60)
    put(bytes[..<(bytes.count - 4)].withUnsafeBytes { crc32c($0) }, at: bytes.count - 4)
}
