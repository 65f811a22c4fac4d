import HeadraceCore
import Testing

@testable import Headrace

@Suite struct LoaderStateTests {
    private static let shards = (0..<13).map {
        DataFingerprint.Shard(name: "train-\($0).tar", byteCount: 1000 + $0, sampleCount: 100 + $0)
    }
    private static let options = ["shuffle": "global", "seed": "42", "uneven": "drop", "last": "keep"]

    private static func state(_ shards: [DataFingerprint.Shard] = shards) -> LoaderState {
        LoaderState(
            walk: .indexed, data: DataFingerprint(shards), options: options,
            position: EpochPosition(
                epoch: 3, position: 1504,
                segments: [
                    .init(start: 0, worldSize: 8, batchSize: 16),
                    .init(start: 1024, worldSize: 3, batchSize: 16),
                ]),
            local: .init(rank: 2, digest: OrderedDigest(value: .max), setDigest: SetDigest(value: 7)))
    }

    private static let streamed = LoaderState(
        walk: .streamed, data: DataFingerprint(shards), options: options,
        position: EpochPosition(startOf: 0, worldSize: 1, batchSize: 32),
        local: .init(
            rank: 0, skips: .init(total: 12, inEpoch: 5, seenInEpoch: 1700)))

    private static func loader(
        _ shards: [DataFingerprint.Shard] = shards, _ options: [String: String] = options,
        walk: Walk = .indexed,
        world: Int = 3, batch: Int = 16, elastic: Bool = true
    ) -> LoaderState.Loader {
        LoaderState.Loader(
            walk: walk, shards: shards, options: options, worldSize: world, batchSize: batch,
            isElastic: elastic)
    }

    @Test func roundTrip() throws {
        for state in [Self.state(), Self.streamed] {
            let bytes = state.encoded()
            #expect(try LoaderState(parsing: bytes) == state)
            #expect(try LoaderState(parsing: bytes).encoded() == bytes)
            #expect(bytes.count < 1500)
        }
    }

    /// The bytes are a contract: other versions and other tools read them. The hashes are from an implementation in
    /// Python of their definition.
    @Test func golden() {
        let state = LoaderState(
            walk: .indexed, data: DataFingerprint([.init(name: "a.tar", byteCount: 10, sampleCount: 2)]),
            options: ["seed": "1"], position: EpochPosition(startOf: 7, worldSize: 2, batchSize: 4),
            local: .init(rank: 1, setDigest: SetDigest(value: 255)))
        #expect(String(decoding: state.encoded(), as: UTF8.self) == Self.goldenText)
    }

    private static let goldenText = """
        {
          "data": {
            "bytes": 10,
            "count_hash": "8b7f74c9d91e6c7d",
            "groups": "f21e7dc1",
            "hash": "135ae1a0f21e7dc1",
            "samples": 2,
            "shards": 1
          },
          "epoch": 7,
          "local": {
            "digest": null,
            "rank": 1,
            "seen_in_epoch": 0,
            "set_digest": "00000000000000ff",
            "skipped": 0,
            "skipped_in_epoch": 0
          },
          "options": {
            "seed": "1"
          },
          "options_hash": "ef36082d0ee4eb86",
          "plan_version": 1,
          "position": 0,
          "schema": "headrace.state/1",
          "segments": [
            {
              "batch": 4,
              "start": 0,
              "world_size": 2
            }
          ],
          "walk": "indexed"
        }

        """

    @Test func aMillionShardsMakeASmallState() throws {
        let shards = (0..<1_000_00).map {
            DataFingerprint.Shard(name: "\($0)", byteCount: $0, sampleCount: nil)
        }
        let state = Self.state(shards)
        #expect(state.encoded().count < 4096)
        #expect(try LoaderState(parsing: state.encoded()) == state)
        var others = shards
        others[77_777].byteCount += 1
        let difference = try #require(state.data.difference(from: others))
        #expect(difference.contains("among shards 77"))
        #expect(state.data.difference(from: shards) == nil)
    }

    @Test func itResumesWhatItFits() throws {
        let state = Self.state()
        #expect(try state.resumed(by: Self.loader()) == state.position)
        let other = try state.resumed(by: Self.loader(world: 5, batch: 8))
        #expect(other.segments.last == .init(start: 1504, worldSize: 5, batchSize: 8))
        #expect(other.position == 1504 && other.segments.count == 3)
        #expect(
            try Self.streamed.resumed(by: Self.loader(walk: .streamed, world: 1, batch: 32))
                == Self.streamed.position)
    }

    /// An index made after the state, or lost since, is no difference.
    @Test func countsMayComeLater() throws {
        let uncounted = Self.shards.map { shard in
            DataFingerprint.Shard(name: shard.name, byteCount: shard.byteCount, sampleCount: nil)
        }
        _ = try Self.state(uncounted).resumed(by: Self.loader())
        _ = try Self.state().resumed(by: Self.loader(uncounted))
    }

    private func refusal(_ state: LoaderState = state(), _ loader: LoaderState.Loader) -> String {
        do throws(HeadraceError) {
            _ = try state.resumed(by: loader)
            return "accepted"
        } catch {
            return error.code == .usage ? error.message : "another error: \(error)"
        }
    }

    @Test func differencesAreNamed() {
        var shards = Self.shards
        shards[4].byteCount = 9
        #expect(refusal(Self.state(), Self.loader(shards)).contains("shard 4, now 'train-4.tar' of 9 bytes"))
        shards = Self.shards
        shards[12].name = "other.tar"
        #expect(refusal(Self.state(), Self.loader(shards)).contains("shard 12, now 'other.tar'"))
        shards = Self.shards
        shards.swapAt(0, 6)
        #expect(
            refusal(Self.state(), Self.loader(shards)).contains(
                "in another order; the first that differs is shard 0"))
        #expect(
            refusal(Self.state(), Self.loader(Array(Self.shards.dropLast())))
                .contains("13 shards of 13078 bytes in all, and there are 12 of 12066"))
        shards = Self.shards
        shards[0].sampleCount = 1
        #expect(refusal(Self.state(), Self.loader(shards)).contains("other sample counts (1378 samples"))
        let options = ["shuffle": "block:64", "seed": "42", "uneven": "drop", "lanes": "8"]
        let words = refusal(Self.state(), Self.loader(Self.shards, options))
        #expect(words.contains("'shuffle' was global and is block:64"), "\(words)")
        #expect(
            words.contains("'last' was keep and is not set") && words.contains("'lanes' was not set and is 8")
        )
        #expect(
            refusal(Self.state(), Self.loader(walk: .streamed)).contains(
                "indexed walk, and this loader's is streamed"))
        let world = refusal(Self.streamed, Self.loader(walk: .streamed, world: 2, batch: 32))
        #expect(world.contains("2 ranks") && world.contains("headrace index"))
        #expect(refusal(Self.state(), Self.loader(world: 5, elastic: false)).contains("only with 3 ranks"))
    }

    /// Digests and counts of skips are a rank's own, and of no use to a job of another size.
    @Test func whatIsARanksOwn() {
        let state = Self.state()
        #expect(state.carried(rank: 2, worldSize: 3)?.setDigest == SetDigest(value: 7))
        #expect(state.carried(rank: 1, worldSize: 3) == nil)
        #expect(state.carried(rank: 2, worldSize: 4) == nil)
    }

    /// States of one step agree whatever rank they are of; other steps do not.
    @Test func ranksAgree() {
        var other = Self.state()
        other.local = .init(rank: 0)
        #expect(other.agrees(with: Self.state()))
        other.position.position += 48
        #expect(!other.agrees(with: Self.state()))
    }

    @Test(arguments: [
        ("\"headrace.state/1\"", "\"headrace.state/2\""), ("\"plan_version\": 1", "\"plan_version\": 2"),
        ("\"epoch\": 3", "\"epoch\": -1"), ("\"epoch\": 3", "\"epoch\": 3.5"),
        ("\"epoch\": 3", "\"epoch\": \"3\""),
        ("\"epoch\": 3", "\"epoch\": 9223372036854775807"), ("\"skipped\": 0", "\"skipped\": -1"),
        ("\"seen_in_epoch\": 0", "\"seen_in_epoch\": 9223372036854775807"),
        ("\"epoch\": 3", "\"epoch\": 99999999999999999999"), ("\"epoch\": 3", "\"epochs\": 3"),
        ("\"epoch\": 3", "\"epoch\": 3, \"more\": 1"), ("\"epoch\": 3", "\"epoch\": null"),
        ("\"position\": 1504", "\"position\": 1505"), ("\"position\": 1504", "\"position\": 1000"),
        ("\"position\": 1504", "\"position\": 9223372036854775807"), ("\"start\": 0", "\"start\": -16"),
        ("\"world_size\": 3", "\"world_size\": 0"),
        ("\"world_size\": 3", "\"world_size\": 9223372036854775807"),
        ("\"batch\": 16", "\"batch\": 4611686018427387904"), ("\"seed\": \"42\"", "\"seed\": \"43\""),
        ("\"seed\": \"42\"", "\"seed\": 42"), ("\"walk\": \"indexed\"", "\"walk\": \"random\""),
        ("\"shards\": 13", "\"shards\": 14"), ("\"shards\": 13", "\"shards\": 9223372036854775807"),
        ("\"rank\": 2", "\"rank\": 99999999"), ("\"set_digest\": \"00", "\"set_digest\": \"0x"),
        ("ffffffffffffffff", "fffffffffffffff"), ("\"local\"", "\"loca1\""), ("{", "["), ("}", ""),
    ])
    func hostileTextIsRefused(what: String, with: String) throws {
        let text = String(decoding: Self.state().encoded(), as: UTF8.self)
        let range = try #require(text.firstRange(of: what))
        let changed = text.replacingCharacters(in: range, with: with)
        #expect(throws: HeadraceError.self) { try LoaderState(parsing: Array(changed.utf8)) }
    }

    /// Segments that cannot follow each other are found where the epoch is dealt, with its real size.
    @Test func aPositionBeyondTheDataIsRefused() throws {
        let state = Self.state()
        #expect(throws: HeadraceError.self) {
            try RankShare(
                sampleCount: 1000, blockSize: nil, segments: state.position.segments, uneven: .drop,
                last: .keep)
        }
    }

    @Test func depthAndSizeAreLimited() {
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: HeadraceError.self) { try LoaderState(parsing: Array(deep.utf8)) }
        let long = [UInt8](repeating: 0x20, count: LoaderStateLimits.byteCount + 1)
        #expect(throws: HeadraceError.self) { try LoaderState(parsing: long) }
    }

    /// Any byte changed or any end cut off: refused, or a state that encodes and deals without a crash.
    @Test func damageNeverCrashes() {
        var random = SplitMix64(99)
        for state in [Self.state(), Self.streamed] {
            let bytes = state.encoded()
            for _ in 0..<3000 {
                var damaged = bytes
                for _ in 0..<random.below(3) + 1 {
                    let at = Int(random.below(UInt64(damaged.count)))
                    switch random.below(4) {
                    case 0: damaged[at] = UInt8(truncatingIfNeeded: random.next())
                    case 1: damaged[at] = UInt8(ascii: "0") + UInt8(random.below(10))
                    case 2: damaged.remove(at: at)
                    default: damaged.insert(UInt8(ascii: "9"), at: at)
                    }
                }
                guard let read = try? LoaderState(parsing: damaged) else { continue }
                #expect((try? LoaderState(parsing: read.encoded())) == read)
                _ = try? read.resumed(by: Self.loader())
                let share = try? RankShare(
                    sampleCount: 1378, blockSize: 10, segments: read.position.segments, uneven: .pad,
                    last: .keep)
                if let share, share.stepCount > 0 { _ = share.row(step: 0, rank: 0, row: 0) }
            }
            for cut in stride(from: 0, to: bytes.count - 2, by: 3) {
                #expect(throws: HeadraceError.self) { try LoaderState(parsing: Array(bytes[..<cut])) }
            }
        }
    }
}

extension String {
    /// Foundation has this, and these tests do without it.
    fileprivate func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        var copy = self
        copy.replaceSubrange(range, with: text)
        return copy
    }
}
