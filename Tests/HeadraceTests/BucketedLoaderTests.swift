import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Batches of samples of like length, affinity to nodes, and padding.
@Suite struct BucketedLoaderTests {
    private static func fixture(_ name: String = "s-%03d.tar") throws -> LoaderFixture {
        // Lengths from 0 to 40 blocks of a tar, so that they differ in the index.
        try LoaderFixture(name, counts: [140, 77, 203, 61, 1]) { ($0 * 7919) % 20_000 }
    }

    private static func spread(_ batches: [DeliveredBatch], _ fixture: LoaderFixture) -> Int {
        batches.reduce(0) { sum, batch in
            let lengths = batch.keys.compactMap { fixture.payloads[$0]?.count }
            return sum + (lengths.max() ?? 0) - (lengths.min() ?? 0)
        }
    }

    /// The window's samples stay in the window, and its batches are the sorted samples cut into batches.
    @Test(arguments: ["s-%03d.tar", "s-%03d.tfrecord", "s-%03d.tar.zst"], [1, 2, 3])
    func batchesHaveLikeLengths(name: String, worldSize: Int) throws {
        let fixture = try Self.fixture(name)
        let plain = Dataset(fixture.pattern).shuffledGlobally(seed: 4).batched(8).parsingExamples()
        var keys: [String] = []
        for rank in 0..<worldSize {
            let (before, _) = try deliver(plain.sharded(rank: rank, of: worldSize))
            let (after, report) = try deliver(
                plain.bucketedByLength(window: 10).sharded(rank: rank, of: worldSize))
            #expect(before.map(\.keys.count) == after.map(\.keys.count))
            for window in stride(from: 0, to: before.count, by: 10) {
                let range = window..<min(before.count, window + 10)
                #expect(
                    before[range].flatMap(\.keys).sorted() == after[range].flatMap(\.keys).sorted())
                let whole = range.filter { before[$0].keys.count == 8 }
                let sets = Set(whole.map { Set(after[$0].keys) })
                // Records of a TFRecord are longer by the length of their keys, tar members by whole blocks.
                let slack = name.hasSuffix("tfrecord") ? 8 : 512
                let sorted = whole.flatMap { after[$0].keys }.map { fixture.payloads[$0]!.count }.sorted()
                for batch in sets {
                    let lengths = batch.map { fixture.payloads[$0]!.count }
                    let least = sorted.firstIndex { $0 >= lengths.min()! - slack }!
                    let most = sorted.lastIndex { $0 <= lengths.max()! + slack }!
                    #expect(most - least < 8 + 2 * whole.count)
                }
            }
            #expect(3 * Self.spread(after, fixture) < Self.spread(before, fixture))
            expectBalance(report)
            keys += after.flatMap(\.keys)
        }
        #expect(Set(keys).count == keys.count && keys.count == 482 / worldSize * worldSize)
    }

    @Test func aBucketedWalkResumesAndIsNotResizedInAWindow() throws {
        let fixture = try Self.fixture()
        let dataset = Dataset(fixture.pattern).shuffledGlobally(seed: 4).batched(8).repeated(2)
            .bucketedByLength(window: 10)
        let whole = try deliver(dataset).batches
        for number in stride(from: 0, to: whole.count, by: 7) {
            #expect(
                try deliver(dataset.workers(1), resuming: whole[number].state).batches
                    == Array(whole[(number + 1)...]))
        }
        #expect(throws: HeadraceError.self) {
            try dataset.sharded(rank: 0, of: 2).loader(resuming: whole[4].state)
        }
        // Between windows it can be.
        var rest: [String] = []
        for rank in 0..<2 {
            rest += try deliver(
                dataset.repeated(1).sharded(rank: rank, of: 2), resuming: whole[9].state
            ).batches.flatMap(\.keys)
        }
        #expect(rest.count == 402 && Set(rest).isDisjoint(with: whole[..<10].flatMap(\.keys)))
    }

    @Test func aStreamedWalkHasNoBuckets() throws {
        let fixture = try LoaderFixture()
        let dataset = Dataset(fixture.pattern).batched(8)
        let refusals = [
            dataset.shuffled(seed: 1).bucketedByLength(), dataset.bucketedByLength(window: 0),
            dataset.bucketedByLength(window: 1 << 40),
        ]
        for refused in refusals {
            let error = #expect(throws: HeadraceError.self) { try refused.loader() }
            #expect(error?.code == .usage)
        }
    }

    // MARK: Affinity

    /// A node's ranks see its own shards in every epoch, all ranks make equally many steps, and nothing comes twice.
    @Test(arguments: [Walk.indexed, .streamed], [2, 3])
    func shardsStayOnTheirNodes(walk: Walk, nodes: Int) throws {
        let fixture = try LoaderFixture(counts: [40, 37, 43, 41, 38, 40])
        let dataset = Dataset(fixture.pattern).batched(8).repeated(2).affineToNodes(nodes).with {
            $0.walk = walk
            $0.shuffle = walk == .indexed ? .global : .buffer(16)
            $0.seed = 3
        }
        let worldSize = 2 * nodes
        var seen = [[Set<String>]](repeating: [[], []], count: nodes)
        var orders: [[String]] = []
        var steps: Set<Int> = []
        var dropped = 0
        for rank in 0..<worldSize {
            let (batches, report) = try deliver(dataset.sharded(rank: rank, of: worldSize))
            steps.insert(batches.count)
            for epoch in 0..<2 {
                let keys = batches.filter { $0.epoch == epoch }.flatMap(\.keys)
                orders.append(keys)
                #expect(seen[rank / 2][epoch].isDisjoint(with: keys), "two ranks share no sample")
                seen[rank / 2][epoch].formUnion(keys)
            }
            dropped += report.dropped
            expectBalance(report)
        }
        #expect(steps.count == 1)
        let all = (0..<2).map { epoch in seen.map { $0[epoch] } }
        #expect(all[0].map(\.count).reduce(0, +) + all[1].map(\.count).reduce(0, +) + dropped == 2 * 239)
        func shards(_ keys: Set<String>) -> Set<Substring> { Set(keys.map { $0.split(separator: "-")[0] }) }
        for node in 0..<nodes {
            #expect(shards(all[0][node]) == shards(all[1][node]), "the node's shards stay")
            for other in 0..<node { #expect(shards(all[0][node]).isDisjoint(with: shards(all[0][other]))) }
        }
        #expect(orders[0] != orders[1], "epochs differ")
    }

    @Test func nodesMustBeKnownAndEqual() throws {
        let fixture = try LoaderFixture()
        let dataset = Dataset(fixture.pattern).shuffledGlobally(seed: 1)
        for (count, world) in [(2, 3), (0, 2), (5, 2)] {
            let error = #expect(throws: HeadraceError.self) {
                try dataset.affineToNodes(count).sharded(rank: 0, of: world).loader()
            }
            #expect(error?.code == .usage)
        }
    }

    /// Rows, states and steps of nodes go on where they were.
    @Test func anAffineWalkResumes() throws {
        let fixture = try LoaderFixture(counts: [40, 37, 43, 41])
        let dataset = Dataset(fixture.pattern).shuffledGlobally(seed: 2).batched(8).repeated(2)
            .affineToNodes(2).sharded(rank: 3, of: 4)
        let whole = try deliver(dataset).batches
        for (number, batch) in whole.enumerated() {
            #expect(
                try deliver(dataset, resuming: batch.state).batches == Array(whole[(number + 1)...]))
        }
        let error = #expect(throws: HeadraceError.self) {
            try dataset.sharded(rank: 1, of: 2).loader(resuming: whole[1].state)
        }
        #expect(error?.code == .usage)
    }

    // MARK: Padding

    private func padded(_ column: Tensor, _ padding: Padding, with fill: Double = 0) throws -> PaddedRows {
        try column.padded(padding, with: fill)
    }

    @Test func rowsAreFilledUp() throws {
        let fixture = try LoaderFixture("s-%03d.tfrecord", counts: [40, 23])
        let lengths = fixture.payloads.mapValues(\.count)
        let longest = lengths.values.max() ?? 0
        let dataset = Dataset(fixture.pattern).parsingExamples().batched(8)
            .decoding("bin", with: .raw.padded(to: longest, with: 7), as: "fixed")
            .decoding("bin", with: .raw.lengths, as: "lengths").decoding("bin", with: .raw)
        let loader = try dataset.loader()
        while let batch = try loader.next() {
            let fixed = try batch["fixed"]
            #expect(fixed.shape == [batch.count, longest] && fixed.elementType == .uint8)
            let numbers = try batch["lengths"].elements(as: Int64.self)
            let gathered = try padded(batch["bin"], .longest(multipleOf: 16), with: 9)
            let own = batch.keys.map { lengths[$0]! }
            #expect(gathered.lengths == own && numbers == own.map(Int64.init))
            #expect(gathered.shape == [batch.count, (own.max()! + 15) / 16 * 16])
            for (row, key) in batch.keys.enumerated() {
                let payload = fixture.payloads[key]!
                #expect(
                    fixed.bytes(ofRow: row)
                        == payload + [UInt8](repeating: 7, count: longest - payload.count))
                let width = gathered.shape[1]
                #expect(
                    Array(gathered.bytes[row * width..<(row + 1) * width])
                        == payload + [UInt8](repeating: 9, count: width - payload.count))
            }
            #expect(throws: HeadraceError.self) {
                try padded(batch["bin"], .length(max(0, own.max()! - 1)))
            }
            #expect(throws: HeadraceError.self) { try padded(batch["bin"], .longest(multipleOf: 0)) }
            #expect(throws: HeadraceError.self) {
                try padded(batch["bin"], .longest(multipleOf: 1), with: 256)
            }
        }
    }

    /// A row that does not fit is a defect with its place, never cut.
    @Test func aLongerRowIsADefect() throws {
        let fixture = try LoaderFixture(counts: [40])
        let longest = fixture.payloads.values.map(\.count).max()!
        let dataset = Dataset(fixture.pattern).batched(8)
            .decoding("bin", with: .raw.padded(to: longest - 1))
        let error = #expect(throws: HeadraceError.self) { try drain(dataset) }
        #expect(error?.code == .badValue && error?.place.key != nil)
        let report = try drain(dataset.onDefect(.skip(limit: 5))).report
        #expect(report.skipped == fixture.payloads.values.count { $0.count == longest })
        for (length, fill) in [(0, 0.0), ((1 << 26) + 1, 0), (5, 0.5), (5, -1)] {
            let refused = Dataset(fixture.pattern).decoding("bin", with: .raw.padded(to: length, with: fill))
            #expect(throws: HeadraceError.self) { try refused.loader() }
        }
        #expect(throws: HeadraceError.self) {
            try Dataset(fixture.pattern).decoding("cls", with: .integer.padded(to: 4)).loader()
        }
    }
}
