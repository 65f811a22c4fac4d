package import HeadraceCore

/// Where a planned sample is.
package struct SamplePlace: Sendable, Hashable {
    /// The data set of a mixture; 0 where there is one.
    package var dataSet: Int
    /// How often this epoch walked through the data set before: 0, or more in a mixture that repeats. A part of the
    /// sample's randomness, so that a second look at it is another one.
    package var pass: Int
    /// The shard's number in the catalog of its data set.
    package var shard: Int
    /// The sample's number in its shard.
    package var ordinal: Int
}

/// An epoch of an indexed walk: from a place in its order to a sample of a shard.
///
/// A function of data set, options, seed and epoch, in memory that grows with the number of shards alone.
package struct EpochWalk: Sendable {
    private let dataSets: [SampleNumbers]
    private let mixture: Mixture?
    private let order: SampleOrder
    private let key: UInt64
    /// The pass that was asked for last, by data set.
    private var passes: [(number: Int, order: EpochOrder)]

    /// The walk over one data set.
    package init(_ numbers: SampleNumbers, order: SampleOrder, seed: UInt64, epoch: Int) {
        dataSets = [numbers]
        mixture = nil
        self.order = order
        key = EpochOrder.key(seed: seed, epoch: epoch)
        passes = [(0, EpochOrder(count: numbers.count, order: order, key: key))]
    }

    /// The walk over a mixture of data sets.
    package init(
        _ dataSets: [SampleNumbers], weights: [Int], end: MixtureEnd, order: SampleOrder, seed: UInt64,
        epoch: Int
    ) throws(HeadraceError) {
        mixture = try Mixture(weights: weights, counts: dataSets.map(\.count), end: end)
        self.dataSets = dataSets
        self.order = order
        key = EpochOrder.key(seed: seed, epoch: epoch)
        passes = []
        for index in dataSets.indices { passes.append((0, pass(0, of: index))) }
    }

    /// Places of the epoch.
    package var count: Int { mixture?.count ?? dataSets[0].count }

    /// Whether what is at `place` was at an earlier place of the epoch already.
    package func isRepeat(_ place: Int) -> Bool { (mixture?.part(at: place).pass ?? 0) > 0 }

    /// Samples of all data sets that no place of the epoch has: what a mixture ends before.
    package var unreachedCount: Int {
        guard let mixture else { return 0 }
        return zip(mixture.delivered, dataSets).reduce(0) { $0 + max(0, $1.1.count - $1.0) }
    }

    /// What is at `place`.
    package mutating func sample(at place: Int) -> SamplePlace {
        guard let mixture else {
            let (shard, ordinal) = dataSets[0].place(of: passes[0].order.number(at: place))
            return SamplePlace(dataSet: 0, pass: 0, shard: shard, ordinal: ordinal)
        }
        let part = mixture.part(at: place)
        if passes[part.dataSet].number != part.pass {
            passes[part.dataSet] = (part.pass, pass(part.pass, of: part.dataSet))
        }
        let number = passes[part.dataSet].order.number(at: part.place)
        let (shard, ordinal) = dataSets[part.dataSet].place(of: number)
        return SamplePlace(dataSet: part.dataSet, pass: part.pass, shard: shard, ordinal: ordinal)
    }

    /// Puts what is at each of `places` behind the samples in `samples`; one call for many is several times faster.
    package mutating func append(_ places: [Int], to samples: inout [SamplePlace]) {
        samples.reserveCapacity(samples.count + places.count)
        guard mixture == nil else {
            for place in places { samples.append(sample(at: place)) }
            return
        }
        let dataSet = dataSets[0]
        var numbers: [Int] = []
        passes[0].order.append(places, to: &numbers)
        for number in numbers {
            let (shard, ordinal) = dataSet.place(of: number)
            samples.append(SamplePlace(dataSet: 0, pass: 0, shard: shard, ordinal: ordinal))
        }
    }

    private func pass(_ number: Int, of dataSet: Int) -> EpochOrder {
        EpochOrder(
            count: dataSets[dataSet].count, order: order, key: mixed(key, UInt64(dataSet), UInt64(number)))
    }
}
