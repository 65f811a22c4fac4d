extension Mixture {
    /// Samples of each data set, those of later passes included, at the places before `limit`.
    func delivered(before limit: Int) -> [Int] {
        (0..<dataSetCount).map { index in
            // Places grow with numbers: the first number whose place is not before the limit, by bisection.
            var low = 0
            var high = min(limit, count)
            while low < high {
                let middle = low + (high - low) / 2
                if let place = place(of: middle, in: index), place < limit {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            return low
        }
    }
}

/// What an epoch of a mixture, shared by some ranks, has of each of its data sets.
struct MixtureShares {
    let delivered: [Int]
    /// Of these, what the epoch delivers more than once.
    let repeated: [Int]
    let leftOut: [Int]

    init(_ mixture: Mixture, counts: [Int], share: RankShare) {
        // What ranks leave out are the last places, and what makes them equal by repeating are the first ones again.
        let had = mixture.delivered(before: mixture.count - share.droppedCount)
        var again = counts.map { _ in 0 }
        if share.uneven == .repeating, share.surplusCount > 0, mixture.count > 0 {
            let (rounds, rest) = share.surplusCount.quotientAndRemainder(dividingBy: mixture.count)
            let whole = mixture.delivered
            again = mixture.delivered(before: rest)
            for index in again.indices { again[index] += rounds * whole[index] }
        }
        delivered = zip(had, again).map { $0 + $1 }
        repeated = zip(zip(had, again), counts).map { max(0, $0.0 - $1) + $0.1 }
        leftOut = zip(had, counts).map { max(0, $1 - $0) }
    }
}
