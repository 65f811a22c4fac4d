import HeadraceCore
import HeadraceFormats

/// Stops the fuzzer where a rule is broken; it keeps the input.
func require(_ condition: Bool, _ rule: @autoclosure () -> String) {
    if !condition { preconditionFailure(rule()) }
}

/// What a scanner said about a shard, in places of the shard.
private struct Scan: Equatable {
    var samples: [Place] = []
    var fields: [Place] = []
    var defects: [String] = []
    var account = ShardAccount()

    struct Place: Equatable {
        var offset: Int
        var length: Int
    }
}

/// Feeds a shard in pieces of `step` bytes, and more where the scanner asks for more.
private func scan(
    _ shard: [UInt8], _ scanner: any ShardScanner, step: Int, total: Int?, hasPayloads: Bool = true
) -> Scan {
    var result = Scan()
    var table = SampleTable()
    var offset = 0
    var arrived = 0
    var needed = 1
    while true {
        offset = min(offset, shard.count)
        arrived = min(shard.count, max(arrived &+ step, offset &+ min(needed, shard.count)))
        let isLast = arrived == shard.count
        // Of its own and exactly as large, so that the address sanitizer sees a read beyond it.
        let slab = Array(shard[offset..<arrived])
        table.removeAll()
        let outcome = slab.withUnsafeBytes {
            scanner.scan($0, at: offset, isLast: isLast, total: total, into: &table)
        }
        for sample in table.samples {
            result.samples.append(.init(offset: sample.offset, length: Int(sample.fieldCount)))
        }
        for field in table.fields {
            require(
                !hasPayloads
                    || field.offset >= 0 && field.length >= 0 && field.offset + field.length <= slab.count,
                "a field must lie in the slab")
            result.fields.append(.init(offset: offset + field.offset, length: field.length))
        }
        result.defects += table.defects.map(\.description)
        if isLast {
            require(outcome.consumed == slab.count, "the last call must take everything")
            break
        }
        require(outcome.consumed > 0 || outcome.needed > slab.count || outcome.needed == 0, "progress")
        offset += outcome.consumed
        needed = max(1, outcome.needed)
        if outcome.consumed == 0, outcome.needed == 0 { needed = slab.count + 1 }
    }
    result.account = scanner.account
    return result
}

private func checkShard(
    _ shard: [UInt8], _ format: ShardFormatKind, control: UInt8, examples: Bool
) {
    func run(step: Int) -> Scan {
        let scanner = format.makeScanner(names: FieldNames(), examples: examples)
        return scan(shard, scanner, step: step, total: control & 2 == 0 ? shard.count : nil)
    }
    let whole = run(step: max(1, shard.count))
    let account = whole.account
    require(
        account.bytesParsed + account.bytesIgnored + account.bytesLost == shard.count,
        "the account must add up: \(account)")
    require(account.samples == whole.samples.count, "every sample must be accounted for")
    require(run(step: 61 + Int(control >> 3) * 97) == whole, "the pieces must not matter")
    if !examples { checkSpans(shard, format, whole, control: control) }
}

/// What is found by headers alone is what a whole scan finds, unless the shard has no index.
private func checkSpans(_ shard: [UInt8], _ format: ShardFormatKind, _ whole: Scan, control: UInt8) {
    guard let scanner = format.makeScanner(names: FieldNames()) as? any SpanScanner else {
        preconditionFailure("every format has an index")
    }
    scanner.passPayloads()
    let total = control & 2 == 0 ? shard.count : nil
    let found = scan(shard, scanner, step: 61 + Int(control >> 3) * 97, total: total, hasPayloads: false)
    guard !found.defects.contains(where: { $0.contains("[notIndexable]") }) else { return }
    var spans: [ByteSpan] = []
    scanner.takeSpans(into: &spans)
    // A record whose data fail their checksum is a defect of the whole scan alone.
    let hidden = whole.defects.filter { $0.contains("[checksumMismatch]") }.count
    require(found.defects.count == whole.defects.count - hidden, "the same is wrong")
    require(spans.count == whole.samples.count - whole.defects.count + hidden, "every sample has a row")
    var end = 0
    for span in spans {
        require(span.offset >= end && span.length > 0, "rows do not overlap")
        end = span.offset + span.length
        require(end <= shard.count, "rows are in the shard")
    }
}

/// Puts the right checksum into every block that has the marks of a tar header, else hardly any mutation would come
/// beyond it.
private func mendTar(_ shard: inout [UInt8]) {
    for start in stride(from: 0, to: shard.count - 511, by: 512) {
        guard shard[start + 257] == 0x75 || shard[start + 156] >= 0x30 else { continue }
        for index in 148..<156 { shard[start + index] = 0x20 }
        var sum = 0
        for index in 0..<512 { sum += Int(shard[start + index]) }
        for digit in 0..<6 { shard[start + 148 + digit] = 0x30 + UInt8(sum >> (3 * (5 - digit)) & 7) }
        shard[start + 154] = 0
    }
}

/// Puts the right checksums into TFRecord framing, as far as the lengths allow.
private func mendTFRecord(_ shard: inout [UInt8]) {
    func put(_ value: UInt32, at offset: Int) {
        for index in 0..<4 { shard[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }
    var offset = 0
    while offset + 12 <= shard.count {
        put(shard[offset..<offset + 8].withUnsafeBytes { maskedCRC32C($0) }, at: offset + 8)
        let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(shard[offset + $1]) << (8 * UInt64($1)) }
        guard length <= UInt64(shard.count - offset) else { return }
        let end = offset + 12 + Int(length)
        guard end + 4 <= shard.count else { return }
        put(shard[offset + 12..<end].withUnsafeBytes { maskedCRC32C($0) }, at: end)
        offset = end + 4
    }
}

/// Bit 0: mend the checksums. Bit 1: the size is unknown. Bit 2: parse Examples. The rest: size of the pieces.
func fuzzTar(_ input: UnsafeRawBufferPointer) {
    var shard = Array(input.dropFirst())
    if input[0] & 1 != 0 { mendTar(&shard) }
    checkShard(shard, .tar, control: input[0], examples: false)
}

func fuzzTFRecord(_ input: UnsafeRawBufferPointer) {
    var shard = Array(input.dropFirst())
    if input[0] & 1 != 0 { mendTFRecord(&shard) }
    checkShard(shard, .tfrecord, control: input[0], examples: input[0] & 4 != 0)
}

/// The whole input is the head of a file: recognising it must neither trap nor take long.
func fuzzSniffer(_ input: UnsafeRawBufferPointer) {
    let names = ["x", "x.tar", "x.tar.gz", "x.tfrecord", "x.tar.zst", "x.tfrecord.lz4", "x.zlib"]
    let head = UnsafeRawBufferPointer(rebasing: input.dropFirst())
    _ = try? ShardSniffer.sniff(head: head, name: names[Int(input[0]) % names.count])
}
