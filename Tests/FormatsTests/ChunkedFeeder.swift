import HeadraceCore
import HeadraceFormats
import Testing

/// How a shard's bytes reach the scanner.
enum Chunking: Sendable, CustomStringConvertible {
    /// All at once.
    case whole
    /// So many more bytes with each call.
    case steps(Int)
    /// Only what the scanner asked for, or one byte more where it did not say.
    case asNeeded
    /// Random pieces.
    case random(seed: UInt64, upTo: Int)

    var description: String {
        switch self {
        case .whole: "whole"
        case .steps(let count): "steps of \(count)"
        case .asNeeded: "as needed"
        case .random(let seed, let limit): "random \(seed) up to \(limit)"
        }
    }
}

/// A small generator of random numbers that gives the same ones each time (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// All that a scanner said about a shard, in places of the shard, so that it does not depend on the slabs.
struct ScannedShard: Equatable {
    struct Field: Equatable {
        var name: String
        var offset: Int
        var length: Int
    }

    struct Sample: Equatable {
        var key: [UInt8]
        var offset: Int
        var fields: [Field]
        var defect: String?
    }

    var samples: [Sample] = []
    var defects: [HeadraceError] = []
    var account = ShardAccount()
    var isEnded = false
    var calls = 0
    var largestCall = 0

    static func == (one: Self, other: Self) -> Bool {
        one.samples == other.samples && one.account == other.account && one.isEnded == other.isEnded
    }
}

/// Feeds a shard to a scanner as the pipeline does: honours `consumed`, `needed` and the carry, and checks that
/// each call makes the progress that the contract promises.
func feed(
    _ bytes: [UInt8], to scanner: any ShardScanner, names: FieldNames, _ chunking: Chunking,
    knowsTotal: Bool = true
) -> ScannedShard {
    var result = ScannedShard()
    var generator: SeededGenerator
    if case .random(let seed, _) = chunking {
        generator = SeededGenerator(seed)
    } else {
        generator = SeededGenerator(0)
    }
    var table = SampleTable()
    var offset = 0
    var arrived = 0
    var needed = 1
    while true {
        let step: Int =
            switch chunking {
            case .whole: bytes.count
            case .steps(let count): count
            case .asNeeded: 0
            case .random(_, let limit): Int.random(in: 0...limit, using: &generator)
            }
        offset = min(offset, bytes.count)
        arrived = min(bytes.count, max(arrived + step, offset + max(needed, 1)))
        let isLast = arrived == bytes.count
        // A buffer of its own, exactly as large: a read beyond it is seen by the address sanitizer.
        let slab = Array(bytes[offset..<arrived])
        table.removeAll()
        let outcome = slab.withUnsafeBytes {
            scanner.scan($0, at: offset, isLast: isLast, total: knowsTotal ? bytes.count : nil, into: &table)
        }
        result.calls += 1
        result.largestCall = max(result.largestCall, slab.count)
        collect(table, at: offset, names, into: &result)
        result.isEnded = outcome.isEnded
        if isLast {
            #expect(outcome.consumed == slab.count, "the last call must take everything")
            break
        }
        if outcome.consumed == 0 {
            #expect(outcome.needed > slab.count || outcome.needed == 0, "no progress, and nothing asked for")
        }
        #expect(outcome.consumed >= 0 && outcome.needed >= 0)
        offset += outcome.consumed
        needed = outcome.needed > 0 ? outcome.needed : 1
        if outcome.consumed == 0, outcome.needed == 0 { needed = slab.count + 1 }
    }
    result.account = scanner.account
    return result
}

private func collect(
    _ table: SampleTable, at offset: Int, _ names: FieldNames, into result: inout ScannedShard
) {
    for sample in table.samples {
        let first = Int(sample.firstField)
        let key = Int(sample.keyOffset)
        let fields = table.fields[first..<first + Int(sample.fieldCount)].map {
            ScannedShard.Field(name: names.name(of: $0.name), offset: offset + $0.offset, length: $0.length)
        }
        result.samples.append(
            ScannedShard.Sample(
                key: Array(table.keys[key..<key + Int(sample.keyLength)]), offset: sample.offset,
                fields: fields,
                defect: sample.defect >= 0 ? table.defects[Int(sample.defect)].description : nil))
    }
    result.defects += table.defects
}

/// Scans a shard in several chunkings, demands that all agree, and that the account adds up to the size.
func scanEveryWay(
    _ bytes: [UInt8], _ format: ShardFormatKind, limits: FormatLimits = FormatLimits(),
    examples: Bool = false,
    name: String = ""
) -> ScannedShard {
    func scan(_ chunking: Chunking, knowsTotal: Bool) -> ScannedShard {
        let names = FieldNames()
        let scanner = format.makeScanner(names: names, limits: limits, examples: examples)
        return feed(bytes, to: scanner, names: names, chunking, knowsTotal: knowsTotal)
    }
    let whole = scan(.whole, knowsTotal: true)
    let account = whole.account
    #expect(
        account.bytesParsed + account.bytesIgnored + account.bytesLost == bytes.count,
        "\(name): the account does not add up: \(account)")
    #expect(account.samples == whole.samples.count, "\(name)")
    var ways: [(Chunking, Bool)] = [
        (.whole, false), (.random(seed: UInt64(bytes.count) + 1, upTo: 100_000), false),
    ]
    if bytes.count < 300_000 {
        ways += [
            (.steps(1024), true), (.asNeeded, true), (.asNeeded, false),
            (.random(seed: UInt64(bytes.count), upTo: 5000), true),
        ]
    }
    if bytes.count < 5000 { ways += [(.steps(1), true), (.steps(7), false)] }
    for (chunking, knowsTotal) in ways {
        let other = scan(chunking, knowsTotal: knowsTotal)
        #expect(other == whole, "\(name): \(chunking), total known: \(knowsTotal)")
    }
    if !examples { checkSpans(bytes, format, whole, limits: limits, name: name) }
    return whole
}
