import HeadraceCore
import Testing

private func digest(key: String, _ fields: [(String, [UInt8])]) -> UInt64 {
    var digest = Array(key.utf8).withUnsafeBytes { SampleDigest(key: $0) }
    for (name, payload) in fields {
        Array(name.utf8).withUnsafeBytes { name in
            payload.withUnsafeBytes { digest.add(name: name, payload: $0) }
        }
    }
    return digest.value
}

// Pinned by an implementation in Python of the definition: published digests must stay comparable.
@Suite struct DigestTests {
    private let first = digest(key: "a/0001", [("cls", [0x37]), ("jpg", (0...255).map { UInt8($0) })])
    private let second = digest(key: "train.tfrecord:17", [("record", [])])

    @Test func golden() throws {
        #expect(first == 0xcba3_811a_ece6_2d35)
        #expect(second == 0xd367_ad6e_b68e_2b25)
        var ordered = OrderedDigest()
        ordered.add(first)
        ordered.add(second)
        #expect(ordered.hexadecimal == "f86d0b6bf07d0762")
        var set = SetDigest()
        set.add(second)
        set.add(first)
        #expect(set.hexadecimal == "f0153ce5515e481f")
    }

    @Test func boundariesMatter() {
        let whole = digest(key: "k", [("a", [1, 2]), ("b", [3])])
        #expect(whole != digest(key: "k", [("a", [1]), ("b", [2, 3])]))
        #expect(whole != digest(key: "k", [("a", [1, 2, 3]), ("b", [])]))
        #expect(whole != digest(key: "ka", [("", [1, 2]), ("b", [3])]))
        #expect(digest(key: "k", []) != digest(key: "k", [("", [])]))
    }

    @Test func orderMattersToOneOnly() {
        var forward = OrderedDigest()
        var backward = OrderedDigest()
        var forwardSet = SetDigest()
        var backwardSet = SetDigest()
        for sample in 1...100 as ClosedRange<UInt64> {
            forward.add(sample)
            forwardSet.add(sample)
            backward.add(101 - sample)
            backwardSet.add(101 - sample)
        }
        #expect(forward != backward)
        #expect(forwardSet == backwardSet)
    }

    @Test func piecesChainToTheWhole() throws {
        var whole = OrderedDigest()
        var piece = OrderedDigest()
        var left = SetDigest()
        var right = SetDigest()
        var all = SetDigest()
        for sample in 0..<50 as Range<UInt64> {
            if sample == 20 { piece = try #require(OrderedDigest(hexadecimal: piece.hexadecimal)) }
            whole.add(sample)
            piece.add(sample)
            all.add(sample)
            if sample < 20 { left.add(sample) } else { right.add(sample) }
        }
        left.add(right)
        #expect(piece == whole)
        #expect(left == all)
    }

    @Test func lossDoublingAndSwapShow() {
        func fold(_ samples: [UInt64]) -> (UInt64, UInt64) {
            var ordered = OrderedDigest()
            var set = SetDigest()
            for sample in samples {
                ordered.add(sample)
                set.add(sample)
            }
            return (ordered.value, set.value)
        }
        let good = fold([1, 2, 3])
        #expect(good != fold([1, 2]))
        #expect(good.1 != fold([1, 2]).1)
        #expect(good.1 != fold([1, 2, 3, 3]).1)
        #expect(good.0 != fold([2, 1, 3]).0)
        // A zero hash counts too.
        #expect(fold([0]).1 != fold([]).1)
        #expect(fold([0]).0 != fold([]).0)
    }

    @Test(arguments: [
        "", "0123", "0123456789abcdeg", "+123456789abcdef", "0123456789abcdef0", " 23456789abcdef0",
    ])
    func badHexadecimalIsRefused(text: String) {
        #expect(OrderedDigest(hexadecimal: text) == nil)
        #expect(SetDigest(hexadecimal: text) == nil)
    }
}
