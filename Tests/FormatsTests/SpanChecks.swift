import HeadraceCore
import HeadraceFormats
import Testing

/// What a scanner finds by headers alone.
struct FoundSpans {
    var spans: [ByteSpan] = []
    var defects: [HeadraceError] = []
}

func findSpans(
    _ bytes: [UInt8], _ format: ShardFormatKind, limits: FormatLimits = FormatLimits(),
    _ chunking: Chunking = .whole, knowsTotal: Bool = true
) -> FoundSpans {
    let names = FieldNames()
    let scanner = format.makeScanner(names: names, limits: limits) as! any SpanScanner
    scanner.passPayloads()
    var found = FoundSpans()
    found.defects = feed(bytes, to: scanner, names: names, chunking, knowsTotal: knowsTotal).defects
    scanner.takeSpans(into: &found.spans)
    return found
}

/// Demands that the samples found by headers alone are those of the whole scan, that the same is wrong with the shard
/// however it is cut, and that each sample's own bytes give that sample and no other.
func checkSpans(
    _ bytes: [UInt8], _ format: ShardFormatKind, _ whole: ScannedShard, limits: FormatLimits, name: String
) {
    // Data that fail their checksum are not looked at here.
    let visible = whole.defects.filter { $0.code != .checksumMismatch }
    let samples = whole.samples.filter { sample in
        sample.defect == nil || sample.defect!.contains("[checksumMismatch]")
    }
    var ways: [(Chunking, Bool)] = [(.whole, true), (.whole, false)]
    if bytes.count < 300_000 {
        let random = Chunking.random(seed: UInt64(bytes.count) + 2, upTo: 5000)
        ways += [(.asNeeded, true), (.asNeeded, false), (random, true), (random, false)]
    }
    for (chunking, knowsTotal) in ways {
        let found = findSpans(bytes, format, limits: limits, chunking, knowsTotal: knowsTotal)
        let label = "\(name): by headers, \(chunking), total known: \(knowsTotal)"
        if found.defects.last?.code == .notIndexable {
            #expect(found.spans.map(\.offset) == samples.prefix(found.spans.count).map(\.offset), "\(label)")
            continue
        }
        // The cause of a defect may know more: what was wrong with a member whose payload turned out to be cut.
        #expect(found.defects.map(said) == visible.map(said), "\(label)")
        #expect(found.spans.map(\.offset) == samples.map(\.offset), "\(label)")
        if case .whole = chunking, knowsTotal {
            checkRows(bytes, format, found.spans, samples, limits, label)
        }
    }
}

private func said(_ error: HeadraceError) -> String {
    var error = error
    error.cause = nil
    return error.description
}

private func checkRows(
    _ bytes: [UInt8], _ format: ShardFormatKind, _ spans: [ByteSpan], _ samples: [ScannedShard.Sample],
    _ limits: FormatLimits, _ label: String
) {
    var end = 0
    for (span, sample) in zip(spans, samples) {
        #expect(span.offset >= end && span.length > 0, "\(label): rows overlap")
        end = span.offset + span.length
        guard end <= bytes.count else {
            Issue.record("\(label): a row ends behind the shard")
            return
        }
        let names = FieldNames()
        let alone = feed(
            Array(bytes[span.offset..<end]), to: format.makeScanner(names: names, limits: limits),
            names: names,
            .whole)
        var expected = sample
        expected.offset = 0
        for index in expected.fields.indices { expected.fields[index].offset -= span.offset }
        if sample.defect == nil {
            #expect(alone.samples == [expected], "\(label): the sample at \(span.offset)")
        } else {
            #expect(
                alone.defects.map(\.code) == [.checksumMismatch], "\(label): the record at \(span.offset)")
        }
    }
}
