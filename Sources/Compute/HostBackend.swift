public import HeadraceCore

/// Leaves batches where they were made: the consumer reads the very memory that the workers wrote.
///
/// Slots are mappings of the loader's pool, pageable on purpose: a copy from pageable memory is over when the
/// call that makes it returns, so a consumer in another language cannot hold a slot's bytes beyond its
/// release.
public struct HostBackend: ComputeBackend {
    private let pool: SlabPool

    /// A back end that takes its slots from `pool`, and so from the loader's budget.
    package init(pool: SlabPool) { self.pool = pool }

    /// The host.
    public var device: ComputeDevice { .host }

    /// A mapping of the pool.
    public func allocateStaging(_ byteCount: Int, keeping reserve: Int) throws(HeadraceError)
        -> StagingMemory?
    {
        guard byteCount >= 0, reserve >= 0, byteCount <= pool.limit, reserve <= pool.limit,
            SlabPool.sizeClass(byteCount) + reserve <= pool.limit
        else {
            throw HeadraceError(
                .budget,
                "a batch slot of \(byteCount) bytes beside \(reserve) bytes needed with it can never fit the memory "
                    + "budget of \(pool.limit) bytes; raise the budget or lower the batch size")
        }
        guard let slab = pool.takeLarge(byteCount, keeping: reserve) else { return nil }
        return unsafe StagingMemory(base: slab.base, capacity: slab.capacity, resource: Slot(slab))
    }

    /// The mapping goes back to the pool.
    public func discard(_ staging: StagingMemory) { giveBack(staging.resource) }

    /// Hands the same memory on; there is nothing to wait for.
    public func place(_ staging: StagingMemory, byteCount: Int) throws(HeadraceError) -> Placement {
        precondition(byteCount >= 0 && byteCount <= staging.capacity, "more bytes than the slot has")
        return unsafe Placement(
            address: staging.base, byteCount: byteCount, device: .host, resource: staging.resource)
    }

    /// Returns at once: what is placed on the host has arrived.
    public func wait(for placement: Placement) throws(HeadraceError) {}

    /// Copies within the host's memory.
    public func copy(
        _ bytes: Range<Int>, of placement: Placement, to memory: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        precondition(
            bytes.lowerBound >= 0 && bytes.upperBound <= placement.byteCount, "bytes beyond the batch")
        precondition(memory.count >= bytes.count, "no room for the bytes")
        guard let target = memory.baseAddress, !bytes.isEmpty else { return }
        unsafe target.copyMemory(from: placement.address + bytes.lowerBound, byteCount: bytes.count)
    }

    /// The mapping goes back to the pool, for the next batch.
    public func release(_ placement: Placement) { giveBack(placement.resource) }

    private func giveBack(_ resource: any AnyObject & Sendable) {
        guard let slot = resource as? Slot else { preconditionFailure("memory of another back end") }
        pool.give(slot.take())
    }

    /// Guards against the one mistake that would corrupt batches in silence: a slot given back twice would be
    /// handed to two batches at once.
    // Sendable: `lock` guards `slab`.
    private final class Slot: @unchecked Sendable {
        private let lock = Lock()
        private var slab: Slab?

        init(_ slab: Slab) { self.slab = slab }

        func take() -> Slab {
            lock.withLock {
                guard let taken = slab else { preconditionFailure("a batch slot was released twice") }
                slab = nil
                return taken
            }
        }
    }
}
