import HeadraceCore
import Testing

@Suite struct PermutationTests {
    // From an implementation in Python of the definition, not from this code. They decide saved orders: a change
    // here breaks every saved state.
    @Test(
        arguments: [
            (1025, 1, [922, 780, 531, 399, 362]), (10_007, 42, [3727, 5293, 7866, 5921, 558]),
            (1_000_000_000, 7, [452_194_454, 132_683_855, 387_820_473, 847_467_420, 472_310_899]),
            (
                Int.max, 3,
                [
                    1_209_916_083_404_292_160, 8_646_952_413_247_967_917, 7_540_321_110_081_796_393,
                    1_687_816_546_579_811_490, 5_287_258_013_773_257_771,
                ]
            ),
        ] as [(Int, UInt64, [Int])])
    func golden(count: Int, key: UInt64, numbers: [Int]) {
        let permutation = Permutation(count: count, key: key)
        #expect([0, 1, 2, count / 2, count - 1].map { permutation($0) } == numbers)
    }

    /// Up to the limit it is the table of `shuffle`, which has golden values of its own.
    @Test(arguments: [0, 1, 2, 10, 1000, Permutation.tableLimit]) func smallOnesAreTheTable(count: Int) {
        var table: [UInt32] = []
        shuffle(count, key: 42, into: &table)
        let permutation = Permutation(count: count, key: 42)
        #expect((0..<count).map { permutation($0) } == table.map(Int.init))
    }

    @Test(arguments: [1, 2, 3, 7, 1023, 1024, 1025, 1026, 4095, 4096, 4097, 10_007, 65_536, 65_537, 250_000])
    func everyNumberComesOnce(count: Int) {
        for key in 0..<3 as Range<UInt64> {
            var numbers: [Int] = []
            Permutation(count: count, key: key).append(0..<count, to: &numbers)
            #expect(numbers.sorted() == Array(0..<count))
        }
    }

    /// Small rectangles walk their cycles most; all sizes of them.
    @Test func everySmallNetworkIsABijection() {
        for count in 2...300 {
            let permutation = Permutation(networkOf: count, key: UInt64(count))
            #expect(Set((0..<count).map { permutation($0) }) == Set(0..<count))
        }
    }

    /// Rows times columns exceeds 2^63 for some of these.
    @Test(arguments: [1 << 31, (1 << 31) + 1, 1 << 62, (1 << 62) + 12345, Int.max - 1, Int.max])
    func hugeCountsStayInside(count: Int) {
        let permutation = Permutation(count: count, key: 9)
        let positions = [0, 1, 2, 99, count / 3, count / 2, count - 2, count - 1]
        let numbers = positions.map { permutation($0) }
        #expect(numbers.allSatisfy { (0..<count).contains($0) })
        #expect(Set(numbers).count == positions.count)
        // Far apart, as random numbers are: their mean is no extreme.
        let share = numbers.reduce(0.0) { $0 + Double($1) / Double(count) } / Double(numbers.count)
        #expect((0.1...0.9).contains(share))
    }

    @Test func bulkAndSingleAgree() {
        for count in [900, 5000] {
            let permutation = Permutation(count: count, key: 4)
            var numbers = [-1]
            permutation.append(100..<700, to: &numbers)
            permutation.append(700..<700, to: &numbers)
            #expect(numbers == [-1] + (100..<700).map { permutation($0) })
        }
    }

    @Test func resetIsANewOne() {
        var permutation = Permutation(count: 5000, key: 1)
        for (count, key) in [(20, 3), (3000, 2), (0, 1), (1024, 8), (1025, 8)] as [(Int, UInt64)] {
            permutation.reset(count: count, key: key)
            let fresh = Permutation(count: count, key: key)
            #expect(permutation.count == count)
            #expect((0..<count).map { permutation($0) } == (0..<count).map { fresh($0) })
        }
    }

    @Test func keysMakeDifferentOrders() {
        let orders = (0..<50 as Range<UInt64>).map { key in
            let permutation = Permutation(count: 2000, key: key)
            return (0..<2000).map { permutation($0) }
        }
        #expect(Set(orders).count == 50)
        // Two unrelated permutations agree in one place on average.
        for (left, right) in zip(orders, orders.dropFirst()) {
            #expect(zip(left, right).filter { $0 == $1 }.count < 10)
        }
    }

    /// Each number is at each position equally often, over many keys.
    @Test(arguments: [
        (2, 40_000), (3, 30_000), (5, 20_000), (10, 10_000), (100, 1_000), (1000, 150), (10_007, 15),
    ])
    func positionsAndNumbersAreIndependent(count: Int, keys: Int) {
        let places = Classes(count: count)
        var seen = [Int](repeating: 0, count: places.bins * places.bins)
        forEachOrder(count, keys) { order in
            for (position, number) in order.enumerated() {
                seen[places.bin(position) * places.bins + places.bin(number)] += 1
            }
        }
        let expected = seen.indices.map { index in
            Double(keys * places.size(index / places.bins) * places.size(index % places.bins)) / Double(count)
        }
        let freedom = (places.bins - 1) * (places.bins - 1)
        let z = deviation(seen, expected, freedom: freedom)
        // A normal deviate: beyond 3.3 once in a thousand, for keys that are fixed.
        #expect(abs(z) < 3.3, "count \(count): \(z)")
    }

    /// What follows a number says nothing about the number: each distance between neighbours (round the end) comes
    /// equally often.
    @Test(arguments: [(3, 30_000), (5, 20_000), (10, 10_000), (100, 1_000), (1000, 150), (10_007, 30)])
    func neighboursAreIndependent(count: Int, keys: Int) {
        var seen = [Int](repeating: 0, count: count)
        forEachOrder(count, keys) { order in
            for (number, next) in zip(order, order.dropFirst()) { seen[(next - number + count) % count] += 1 }
        }
        #expect(seen.removeFirst() == 0)
        let expected = [Double](repeating: Double(keys), count: count - 1)
        let z = deviation(seen, expected, freedom: count - 2)
        #expect(abs(z) < 3.3, "count \(count): \(z)")
    }

    /// The network itself has to be uniform well below the counts it is used for.
    @Test(arguments: [(128, 1_000), (512, 300), (1025, 150)])
    func theNetworkIsUniform(count: Int, keys: Int) {
        let places = Classes(count: count)
        var seen = [Int](repeating: 0, count: places.bins * places.bins)
        var distances = [Int](repeating: 0, count: count)
        for key in 0..<UInt64(keys) {
            var order: [Int] = []
            Permutation(networkOf: count, key: mixed(77, key)).append(0..<count, to: &order)
            for (position, number) in order.enumerated() {
                seen[places.bin(position) * places.bins + places.bin(number)] += 1
            }
            for (number, next) in zip(order, order.dropFirst()) {
                distances[(next - number + count) % count] += 1
            }
        }
        let expected = seen.indices.map { index in
            Double(keys * places.size(index / places.bins) * places.size(index % places.bins)) / Double(count)
        }
        let z = deviation(seen, expected, freedom: (places.bins - 1) * (places.bins - 1))
        #expect(abs(z) < 3.3, "count \(count): \(z)")
        distances.removeFirst()
        let even = [Double](repeating: Double(keys), count: count - 1)
        let neighbours = deviation(distances, even, freedom: count - 2)
        #expect(abs(neighbours) < 3.3, "count \(count): \(neighbours)")
    }

    @Test func badArgumentsStopAtOnce() async {
        await #expect(processExitsWith: .failure) { _ = Permutation(count: -1, key: 0) }
        await #expect(processExitsWith: .failure) { _ = Permutation(count: 3000, key: 0)(3000) }
        await #expect(processExitsWith: .failure) { _ = Permutation(count: 3000, key: 0)(-1) }
    }

    private func forEachOrder(_ count: Int, _ keys: Int, _ body: ([Int]) -> Void) {
        var permutation = Permutation(count: 0, key: 0)
        var order: [Int] = []
        for key in 0..<UInt64(keys) {
            permutation.reset(count: count, key: mixed(5, key))
            order.removeAll(keepingCapacity: true)
            permutation.append(0..<count, to: &order)
            body(order)
        }
    }
}

/// Numbers below `count` in at most 32 classes of nearly one size.
private struct Classes {
    let count: Int
    let bins: Int

    init(count: Int) {
        self.count = count
        bins = min(count, 32)
    }

    func bin(_ number: Int) -> Int { number * bins / count }
    func size(_ bin: Int) -> Int { ((bin + 1) * count + bins - 1) / bins - (bin * count + bins - 1) / bins }
}

/// Chi-squared as a normal deviate (Wilson and Hilferty), good from one degree of freedom to millions.
private func deviation(_ seen: [Int], _ expected: [Double], freedom: Int) -> Double {
    let statistic = zip(seen, expected).reduce(0.0) {
        $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) / $1.1
    }
    let spread = 2 / (9 * Double(freedom))
    return (cubeRoot(statistic / Double(freedom)) - (1 - spread)) / spread.squareRoot()
}

private func cubeRoot(_ value: Double) -> Double {
    guard value > 0 else { return 0 }
    var root = max(value, 1)
    for _ in 0..<200 { root -= (root * root * root - value) / (3 * root * root) }
    return root
}
