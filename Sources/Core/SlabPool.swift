internal import Glibc
internal import Synchronization

/// One piece of pinned-down memory: page-aligned, writable, recycled for ever.
// Sendable: owned by one room at a time; rooms hand over under a lock.
@safe package final class Slab: @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let capacity: Int
    /// Place in the pool's region, stable for the pool's life (an I/O engine may register it); nil for a
    /// mapping of its own.
    package let index: Int?
    /// Counts how often the slab's pages were given back to the kernel. An I/O engine that pinned them must pin
    /// anew when this has moved: it would go on filling pages that are no longer mapped here.
    package var pageGeneration: Int { generation.load(ordering: .acquiring) }
    fileprivate let generation = Atomic<Int>(0)

    fileprivate init(base: UnsafeMutableRawPointer, capacity: Int, index: Int?) {
        unsafe self.base = base
        self.capacity = capacity
        self.index = index
    }

    // A mapping of its own ends with its last user, whether or not it was given back: loaders are dropped half-way.
    deinit {
        if index == nil { unsafe munmap(base, capacity) }
    }
}

/// The memory budget of a loader and the slabs that spend it.
///
/// New memory is slow (a first touch costs ten times a copy), recycled memory is not: slabs are carved from
/// one mapping backed by huge pages, taken last-in first-out, and never unmapped while there is room in the
/// budget. What counts is resident memory, used or kept for reuse; kept memory is given back to the kernel
/// when something else needs the room.
// Sendable: `lock` guards all state.
@safe package final class SlabPool: @unchecked Sendable {
    /// Bytes that all slabs, mappings and charges together may hold.
    package let limit: Int
    /// Capacity of an ordinary slab.
    package let slabBytes: Int

    private static let hugePage = 2 << 20

    private let lock = Lock()
    private let region: UnsafeMutableRawPointer
    private let regionBytes: Int
    private var carved = 0
    private var free: [Slab] = []
    private var freeWithoutPages: [Slab] = []
    private var freeLarge: [Int: [Slab]] = [:]
    private var resident = 0
    private var inUse = 0
    private var peakResident = 0

    /// Reserves address space for `limit` bytes of slabs; pages come with the first touch.
    package init(limit: Int, slabBytes: Int) throws(HeadraceError) {
        self.limit = limit
        self.slabBytes = slabBytes
        let count = max(1, limit / slabBytes)
        regionBytes = (count * slabBytes + 2 * Self.hugePage) & ~(Self.hugePage - 1)
        unsafe region = try Self.map(regionBytes)
    }

    deinit {
        unsafe munmap(region, regionBytes)
    }

    /// Bytes in the hands of rooms, queues and batches now.
    package var bytesInUse: Int { lock.withLock { inUse } }
    /// The most bytes that were ever resident at once.
    package var peakBytes: Int { lock.withLock { peakResident } }

    /// An ordinary slab, or nil when fewer than `reserve` further bytes would be left in the budget.
    package func take(keeping reserve: Int = 0) -> Slab? {
        lock.withLock {
            guard inUse + slabBytes + reserve <= limit else { return nil }
            if let slab = free.popLast() {
                inUse += slabBytes
                return slab
            }
            guard makeRoom(slabBytes) else { return nil }
            let slab: Slab
            if let known = freeWithoutPages.popLast() {
                slab = known
            } else {
                let start = unsafe alignedRegion + carved * slabBytes
                slab = unsafe Slab(base: start, capacity: slabBytes, index: carved)
                carved += 1
            }
            grow(slabBytes)
            inUse += slabBytes
            return slab
        }
    }

    /// A mapping of its own for at least `bytes`, rounded up to a size class; nil when the budget has no room
    /// now.
    package func takeLarge(_ bytes: Int, keeping reserve: Int = 0) -> Slab? {
        // Also keeps a size that a damaged header claims away from the arithmetic below.
        guard bytes <= limit, reserve <= limit else { return nil }
        let size = Self.sizeClass(bytes)
        return lock.withLock {
            guard inUse + size + reserve <= limit else { return nil }
            if let slab = freeLarge[size]?.popLast() {
                inUse += size
                return slab
            }
            guard makeRoom(size), let base = unsafe try? Self.map(size) else { return nil }
            grow(size)
            inUse += size
            return unsafe Slab(base: base, capacity: size, index: nil)
        }
    }

    /// Takes a slab back. Its pages stay, for the next taker.
    package func give(_ slab: Slab) {
        lock.withLock {
            inUse -= slab.capacity
            if slab.index != nil {
                free.append(slab)
            } else {
                freeLarge[slab.capacity, default: []].append(slab)
            }
        }
    }

    /// Counts memory that is held elsewhere (tables, rows). Never refused, so that nothing fails half-way: it
    /// slows the admission of further slabs instead.
    package func charge(_ bytes: Int) {
        lock.withLock {
            inUse += bytes
            _ = makeRoom(bytes)
            grow(bytes)
        }
    }

    /// Counts memory that is mapped elsewhere, as ``takeLarge(_:keeping:)`` does its own; false, and nothing is counted,
    /// when the budget has no room now.
    package func reserve(_ bytes: Int, keeping reserve: Int = 0) -> Bool {
        guard bytes <= limit, reserve <= limit else { return false }
        return lock.withLock {
            guard inUse + bytes + reserve <= limit, makeRoom(bytes) else { return false }
            inUse += bytes
            grow(bytes)
            return true
        }
    }

    package func discharge(_ bytes: Int) {
        lock.withLock {
            inUse -= bytes
            resident -= bytes
        }
    }

    /// What a request for `bytes` occupies: eight classes for each power of two, in whole pages.
    package static func sizeClass(_ bytes: Int) -> Int {
        guard bytes <= 1 << 60 else { return Int.max / 4 }
        guard bytes > 4096 else { return 4096 }
        // The power of two below, in eighths: a sixteenth is wasted on average, and neighbours share a class.
        let power = 1 << (Int.bitWidth - 1 - (bytes - 1).leadingZeroBitCount)
        let step = max(4096, power / 8)
        return (bytes + step - 1) / step * step
    }

    private var alignedRegion: UnsafeMutableRawPointer {
        unsafe region.alignedUp(toMultipleOf: Self.hugePage)
    }

    private func grow(_ bytes: Int) {
        resident += bytes
        peakResident = max(peakResident, resident)
    }

    /// Gives kept pages back to the kernel until `bytes` more fit; the caller holds the lock.
    private func makeRoom(_ bytes: Int) -> Bool {
        while resident + bytes > limit {
            if let size = freeLarge.first(where: { !$0.value.isEmpty })?.key {
                freeLarge[size]!.removeLast()
                resident -= size
            } else if let slab = free.popLast() {
                unsafe madvise(slab.base, slab.capacity, Int32(MADV_DONTNEED))
                slab.generation.add(1, ordering: .releasing)
                freeWithoutPages.append(slab)
                resident -= slabBytes
            } else {
                return false
            }
        }
        return true
    }

    private static func map(_ bytes: Int) throws(HeadraceError) -> UnsafeMutableRawPointer {
        let flags = MAP_PRIVATE | Int32(MAP_ANONYMOUS) | Int32(MAP_NORESERVE)
        let address = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw HeadraceError(
                .environment, "could not map \(bytes) bytes of memory; lower the memory budget",
                cause: errorDescription(errno))
        }
        if bytes >= hugePage { unsafe madvise(address, bytes, Int32(MADV_HUGEPAGE)) }
        return unsafe address
    }
}
