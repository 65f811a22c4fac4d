internal import HeadraceCore

/// Which block a full cache gives up next.
///
/// Every block has a rank: when it was used last, or, for the clairvoyant, when it is needed next, counted backwards. The
/// lowest goes first. A heap holds the ranks that blocks had when they were put in; where a rank has risen since, the
/// entry is put back with it.
// Sendable: `lock` guards everything.
final class VictimOrder: @unchecked Sendable {
    struct Victim: Hashable {
        var key: CacheKey
        var number: Int
    }

    private let isClairvoyant: Bool
    private let lock = Lock()
    private var heap: [(rank: Int, victim: Victim)] = []
    private var ranks: [Victim: Int] = [:]
    /// All blocks that are known to be in the cache, those that cannot be given up now as well.
    private var known: [CacheKey: Set<Int>] = [:]
    private var uses = 0
    /// By URL: places in the plan at which the object is opened from now on, in order.
    private var future: [String: [Int]] = [:]
    private var urls: [CacheKey: String] = [:]
    /// Files of the object that are open: it is in use, and not given up.
    private var pins: [CacheKey: Int] = [:]

    init(isClairvoyant: Bool) { self.isClairvoyant = isClairvoyant }

    /// Takes in the plan: what will be opened, in order, from now on.
    func plan(_ urls: [String]) {
        lock.withLock {
            future = [:]
            for (place, url) in urls.enumerated() { future[url, default: []].append(place) }
            for key in known.keys { rank(key) }
        }
    }

    /// The object was opened: one use in the plan has come.
    func open(_ key: CacheKey, url: String) {
        guard isClairvoyant else { return }
        lock.withLock {
            urls[key] = url
            if future[url]?.isEmpty == false { future[url]?.removeFirst() }
            pins[key, default: 0] += 1
            for number in known[key] ?? [] { ranks[Victim(key: key, number: number)] = nil }
        }
    }

    func close(_ key: CacheKey) {
        guard isClairvoyant else { return }
        lock.withLock {
            let left = (pins[key] ?? 1) - 1
            pins[key] = left > 0 ? left : nil
            rank(key)
        }
    }

    /// The block is in the cache, or was used.
    func use(_ key: CacheKey, _ number: Int) {
        lock.withLock {
            let victim = Victim(key: key, number: number)
            known[key, default: []].insert(number)
            guard !isClairvoyant else {
                rank(key, number)
                return
            }
            uses += 1
            if ranks.updateValue(uses, forKey: victim) == nil { push((uses, victim)) }
        }
    }

    /// Blocks that lay in the cache already, the oldest first.
    func add(_ found: [(victim: Victim, url: String?)]) {
        lock.withLock {
            for (place, entry) in found.enumerated() {
                guard known[entry.victim.key, default: []].insert(entry.victim.number).inserted else {
                    continue
                }
                if let url = entry.url, urls[entry.victim.key] == nil { urls[entry.victim.key] = url }
                if isClairvoyant {
                    rank(entry.victim.key, entry.victim.number)
                } else {
                    ranks[entry.victim] = place - found.count
                    push((place - found.count, entry.victim))
                }
            }
        }
    }

    func forget(_ key: CacheKey, _ number: Int) {
        lock.withLock {
            ranks[Victim(key: key, number: number)] = nil
            known[key]?.remove(number)
        }
    }

    /// The block to give up for one of `key`; nil where none is, or all are needed no later than that one.
    func next(for key: CacheKey) -> Victim? {
        lock.withLock {
            let candidate = isClairvoyant ? nextRank(key) : Int.max
            while let top = heap.first {
                guard let rank = ranks[top.victim] else {
                    pop()
                    continue
                }
                guard rank == top.rank else {
                    pop()
                    push((rank, top.victim))
                    continue
                }
                guard rank < candidate else { return nil }
                pop()
                ranks[top.victim] = nil
                known[top.victim.key]?.remove(top.victim.number)
                return top.victim
            }
            return nil
        }
    }

    // MARK: Ranks of the clairvoyant

    private func nextRank(_ key: CacheKey) -> Int {
        guard let url = urls[key], let place = future[url]?.first else { return -Int.max }
        return -place
    }

    private func rank(_ key: CacheKey) {
        for number in known[key] ?? [] { rank(key, number) }
    }

    private func rank(_ key: CacheKey, _ number: Int) {
        let victim = Victim(key: key, number: number)
        guard pins[key] == nil else {
            ranks[victim] = nil
            return
        }
        let rank = nextRank(key)
        if ranks.updateValue(rank, forKey: victim) != rank { push((rank, victim)) }
    }

    // MARK: The heap

    private func push(_ entry: (rank: Int, victim: Victim)) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0, heap[child].rank < heap[(child - 1) / 2].rank {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private func pop() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].rank < heap[least].rank { least = child }
            guard least != parent else { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}
