internal import CHeadraceRing
internal import Glibc
internal import HeadraceCore

/// The slabs that a ring has pinned, so that each read saves pinning them anew.
///
/// Only a saving: where the system refuses (no sparse tables before Linux 5.19, `ulimit -l`), reads go to plain
/// memory. A slab is pinned at its first read and unpinned when the pool gave its pages back to the kernel.
@safe final class RegisteredSlabs {
    /// Slabs with a higher index are not registered.
    static let placeCount = 4096

    private let ring: OpaquePointer
    private var places: [Place?] = []
    private var canRegister = true
    private var highestPlace = 0
    private var nextToCheck = 0
    private(set) var count = 0

    private struct Place {
        var slab: Slab
        var pageGeneration: Int
        var inFlight = 0

        var isStale: Bool { slab.pageGeneration != pageGeneration }
        /// The pool and everybody else let go of the slab.
        var isOrphan: Bool { mutating get { isKnownUniquelyReferenced(&slab) } }
    }

    init(_ ring: OpaquePointer) {
        unsafe self.ring = ring
    }

    /// The place that a read to registered memory names, counted as in flight; nil for a plain read.
    func place(for request: ReadRequest) -> Int? {
        guard let slab = request.slab, let index = slab.index, index < Self.placeCount else { return nil }
        let start = unsafe request.destination - slab.base
        guard start >= 0, start <= slab.capacity, request.length <= slab.capacity - start else { return nil }
        guard prepare(index, for: slab) else { return nil }
        places[index]!.inFlight += 1
        return index
    }

    func release(_ place: Int?) {
        if let place { places[place]!.inFlight -= 1 }
    }

    /// Looks at one place a call, so that pages which the pool gave back do not stay pinned for long.
    func dropOneStale() {
        guard count > 0 else { return }
        nextToCheck = nextToCheck < highestPlace ? nextToCheck + 1 : 0
        if isAbandoned(nextToCheck) { clear(nextToCheck) }
    }

    /// Sees to it that `index` is registered for `slab`; false where it is not.
    private func prepare(_ index: Int, for slab: Slab) -> Bool {
        if places.isEmpty && !reserve() { return false }
        if isAbandoned(index) { clear(index) }
        // Where another pool has a slab of this number, who came first keeps the place while that pool lives.
        if let known = places[index] { return known.slab === slab && !known.isStale }
        return register(slab, at: index)
    }

    private func isAbandoned(_ index: Int) -> Bool {
        guard places[index] != nil, places[index]!.inFlight == 0 else { return false }
        return places[index]!.isStale || places[index]!.isOrphan
    }

    private func reserve() -> Bool {
        guard canRegister, unsafe headrace_ring_reserve_buffers(ring, UInt32(Self.placeCount)) == 0 else {
            canRegister = false
            return false
        }
        places = Array(repeating: nil, count: Self.placeCount)
        return true
    }

    private func register(_ slab: Slab, at index: Int) -> Bool {
        let generation = slab.pageGeneration
        guard canRegister,
            unsafe headrace_ring_set_buffer(ring, UInt32(index), slab.base, slab.capacity) == 0
        else {
            // What is pinned stays in use; the limit that stopped this one would stop the next.
            canRegister = false
            return false
        }
        places[index] = Place(slab: slab, pageGeneration: generation)
        highestPlace = max(highestPlace, index)
        count += 1
        return true
    }

    private func clear(_ index: Int) {
        _ = unsafe headrace_ring_set_buffer(ring, UInt32(index), nil, 0)
        places[index] = nil
        count -= 1
    }
}

/// The files that a ring holds a reference to, so that each read saves taking one.
///
/// A file is registered at its second read: one that is read whole in one go would only pay. Its place follows
/// from its descriptor, so finding it costs nothing.
@safe final class RegisteredFiles {
    static let placeCount = 256

    private let ring: OpaquePointer
    private var places: [Place]
    private var isAvailable = true
    private var isReserved = false
    private var nextToCheck = 0
    private(set) var count = 0

    private struct Place {
        /// Weak: a file that nobody else holds must close, or its space on disk would stay taken.
        weak var file: LocalFile?
        var isRegistered = false
        var inFlight = 0
    }

    init(_ ring: OpaquePointer) {
        unsafe self.ring = ring
        places = Array(repeating: Place(), count: Self.placeCount)
    }

    /// The place that a read of a registered file names, counted as in flight; nil for a plain read.
    func place(for file: LocalFile) -> Int? {
        guard isAvailable else { return nil }
        let index = Int(file.descriptor) % Self.placeCount
        let known = places[index].file
        if known !== file {
            // A living registered file keeps its place; a reader of that many files gains nothing from swapping.
            guard known == nil || !places[index].isRegistered, places[index].inFlight == 0 else { return nil }
            clear(index)
            places[index].file = file
            return nil
        }
        if !places[index].isRegistered && !register(file, at: index) { return nil }
        places[index].inFlight += 1
        return index
    }

    func release(_ place: Int?) {
        if let place { places[place].inFlight -= 1 }
    }

    /// Looks at one place a call, so that a file which is closed everywhere else does not live on here.
    func dropOneStale() {
        guard count > 0 else { return }
        nextToCheck = (nextToCheck + 1) % Self.placeCount
        if places[nextToCheck].isRegistered && places[nextToCheck].file == nil
            && places[nextToCheck].inFlight == 0
        {
            clear(nextToCheck)
        }
    }

    private func register(_ file: LocalFile, at index: Int) -> Bool {
        if !isReserved {
            isReserved = unsafe headrace_ring_reserve_files(ring, UInt32(Self.placeCount)) == 0
        }
        guard isReserved, unsafe headrace_ring_set_file(ring, UInt32(index), file.descriptor) == 0 else {
            isAvailable = false
            return false
        }
        places[index].isRegistered = true
        count += 1
        return true
    }

    private func clear(_ index: Int) {
        guard places[index].isRegistered else { return }
        _ = unsafe headrace_ring_set_file(ring, UInt32(index), -1)
        places[index].isRegistered = false
        count -= 1
    }
}
