internal import CHeadraceDevice
public import HeadraceCore

/// Brings batches to a CUDA device: workers fill page-locked memory, copies run on a stream of the back end's own while
/// the next batches are decoded, and the consumer gets a batch when it has arrived.
///
/// Who may touch what, and when:
/// - Staging memory is the workers' until `place`, the copy's until its event, and then free for the next batch.
/// - Device memory is the copy's until that event, the consumer's until `release`, and the consumer's streams' until
///   the events that `release` records there. Only behind those does the next copy into it begin: the copying stream
///   waits, no thread does.
///
/// What the device refuses, also late and for some earlier call, ends the back end: every later placement throws the
/// same, and memory that a copy or kernel might still touch is not used again.
///
/// Sendable: `lock` guards all mutable state.
@safe public final class CUDABackend: ComputeBackend, @unchecked Sendable {
    private let cuda: CUDADevice
    private let pool: SlabPool
    private let stream: headrace_cu_stream?
    private let lock = Lock()

    // Guarded by `lock` from here on.
    private var keptStaging: [Int: [PinnedBuffer]] = [:]
    private var idle: [Int: [DeviceBuffer]] = [:]
    /// All memory there is: what was lost on the way (a batch that was given up, an error) is freed at the end, when
    /// nothing can touch it any more.
    private var allStaging: [ObjectIdentifier: PinnedBuffer] = [:]
    private var allBuffers: [ObjectIdentifier: DeviceBuffer] = [:]
    private var normalizer: CUDANormalizer?
    private var failure: HeadraceError?
    /// Bytes of staging memory in the hands of workers and copies.
    private var stagedBytes = 0
    /// Placements that were not released.
    private var held = 0

    /// A back end whose staging memory is charged to `pool`.
    package init(_ cuda: CUDADevice, pool: SlabPool) throws(HeadraceError) {
        self.cuda = cuda
        self.pool = pool
        // Not blocking: a stream that is would wait for whatever the consumer puts on the default stream.
        unsafe stream = try cuda.current { () throws(HeadraceError) -> headrace_cu_stream? in
            var stream: headrace_cu_stream?
            try cuda.call(
                "cuStreamCreate", "making a stream for copies",
                unsafe cuda.driver.calls.pointee.stream_create(
                    &stream, UInt32(HEADRACE_CU_STREAM_NON_BLOCKING)))
            return unsafe stream
        }
    }

    deinit {
        // Every batch has been released, or never will be: what is left is freed behind all that was queued.
        try? cuda.current {
            _ = unsafe cuda.driver.calls.pointee.stream_synchronize(stream)
            for buffer in allBuffers.values { buffer.free(cuda) }
            for buffer in allStaging.values { buffer.free(cuda) }
            normalizer?.free(cuda)
            _ = unsafe cuda.driver.calls.pointee.stream_destroy(stream)
        }
    }

    /// The device.
    public var device: ComputeDevice { .cuda(cuda.ordinal) }

    /// Bytes of staging memory that somebody holds or a copy reads.
    package var stagedByteCount: Int { lock.withLock { stagedBytes } }
    /// Batches, or columns of them, that were placed and not released.
    package var heldPlacements: Int { lock.withLock { held } }

    // MARK: Staging

    /// Page-locked memory, kept for reuse once it was made.
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
        let size = SlabPool.sizeClass(byteCount)
        return try lock.withLock { () throws(HeadraceError) -> StagingMemory? in
            if let failure { throw failure }
            guard let buffer = try takeStaging(size, keeping: reserve) else { return nil }
            stagedBytes += size
            return unsafe StagingMemory(base: buffer.base, capacity: size, resource: Staged(buffer))
        }
    }

    private func takeStaging(_ size: Int, keeping reserve: Int) throws(HeadraceError) -> PinnedBuffer? {
        if let kept = keptStaging[size]?.last {
            guard pool.reserve(0, keeping: reserve) else { return nil }
            keptStaging[size]?.removeLast()
            return kept
        }
        return try cuda.current { () throws(HeadraceError) -> PinnedBuffer? in
            while !pool.reserve(size, keeping: reserve) {
                // Memory of other sizes that nobody uses makes room.
                guard let other = keptStaging.first(where: { !$0.value.isEmpty })?.key,
                    let buffer = keptStaging[other]?.popLast()
                else { return nil }
                free(buffer)
            }
            do throws(HeadraceError) {
                let buffer = try PinnedBuffer(cuda, size)
                allStaging[ObjectIdentifier(buffer)] = buffer
                return buffer
            } catch {
                pool.discharge(size)
                throw error
            }
        }
    }

    private func free(_ buffer: PinnedBuffer) {
        allStaging[ObjectIdentifier(buffer)] = nil
        buffer.free(cuda)
        pool.discharge(buffer.byteCount)
    }

    /// Page-locked memory that was never given to the device can be used again at once.
    public func discard(_ staging: StagingMemory) {
        lock.withLock {
            let buffer = unpack(staging)
            stagedBytes -= buffer.byteCount
            keptStaging[buffer.byteCount, default: []].append(buffer)
        }
    }

    private func unpack(_ staging: StagingMemory) -> PinnedBuffer {
        guard let staged = staging.resource as? Staged else {
            preconditionFailure("memory of another back end")
        }
        return staged.take()
    }

    // MARK: Placing

    /// Starts a copy, behind the last use of the device memory it goes to.
    public func place(_ staging: StagingMemory, byteCount: Int) throws(HeadraceError) -> Placement {
        precondition(byteCount >= 0 && byteCount <= staging.capacity, "more bytes than the slot has")
        return try unsafe place(staging, arriving: byteCount) { (buffer, source) throws(HeadraceError) in
            guard byteCount > 0 else { return }
            try unsafe copy(source, byteCount, to: buffer.address)
        }
    }

    /// Starts a copy of the bytes and, behind it, the work that makes numbers of them.
    public func place(_ staging: StagingMemory, normalizing rows: NormalizedRows) throws(HeadraceError)
        -> Placement
    {
        precondition(rows.elementCount <= staging.capacity, "more bytes than the slot has")
        return try unsafe place(staging, arriving: rows.byteCount) { (buffer, source) throws(HeadraceError) in
            guard rows.elementCount > 0 else { return }
            if self.normalizer == nil { self.normalizer = try CUDANormalizer(cuda) }
            guard let normalizer = self.normalizer else { return }
            // One piece of memory for the bytes of all batches: the stream does one after the other.
            let bytes = try unsafe normalizer.bytes(rows.elementCount, cuda, stream)
            try unsafe copy(source, rows.elementCount, to: bytes)
            try unsafe normalizer.launch(rows, from: bytes, to: buffer.address, stream, cuda)
        }
    }

    private func copy(
        _ source: UnsafeMutableRawPointer, _ byteCount: Int, to address: headrace_cu_address
    ) throws(HeadraceError) {
        try cuda.call(
            "cuMemcpyHtoDAsync", "copying \(byteCount) bytes of a batch",
            unsafe cuda.driver.calls.pointee.copy_to_device(address, source, byteCount, stream))
    }

    private func place(
        _ staging: StagingMemory, arriving byteCount: Int,
        _ fill: (DeviceBuffer, UnsafeMutableRawPointer) throws(HeadraceError) -> Void
    ) throws(HeadraceError) -> Placement {
        try lock.withLock { () throws(HeadraceError) -> Placement in
            let pinned = unpack(staging)
            if let failure {
                stagedBytes -= pinned.byteCount
                throw failure
            }
            do throws(HeadraceError) {
                let buffer = try cuda.current { () throws(HeadraceError) -> DeviceBuffer in
                    let buffer = try takeBuffer(SlabPool.sizeClass(byteCount))
                    try unsafe fill(buffer, pinned.base)
                    try unsafe buffer.arrival.record(stream, cuda)
                    return buffer
                }
                let resource = Placed(buffer, pinned)
                guard let address = unsafe UnsafeMutableRawPointer(bitPattern: UInt(buffer.address)) else {
                    throw HeadraceError(.device, "the CUDA driver gave the address 0 on \(device)")
                }
                held += 1
                return unsafe Placement(
                    address: address, byteCount: byteCount, device: device, resource: resource)
            } catch {
                failure = error
                stagedBytes -= pinned.byteCount
                throw error
            }
        }
    }

    /// Device memory that is free, or will be when the stream gets there.
    private func takeBuffer(_ size: Int) throws(HeadraceError) -> DeviceBuffer {
        let known = idle[size] ?? []
        for (place, buffer) in known.enumerated() where try buffer.isFree(cuda) {
            return idle[size]!.remove(at: place)
        }
        guard !known.isEmpty else {
            let buffer = try DeviceBuffer(cuda, size)
            allBuffers[ObjectIdentifier(buffer)] = buffer
            return buffer
        }
        let oldest = idle[size]!.removeFirst()
        try unsafe oldest.holdBack(stream, cuda)
        return oldest
    }

    /// Waits for the copy's event; the staging memory is free from then on.
    public func wait(for placement: Placement) throws(HeadraceError) {
        let placed = unpack(placement)
        do throws(HeadraceError) {
            // Without the lock: others place and release meanwhile.
            try cuda.current { () throws(HeadraceError) in try placed.buffer.arrival.wait(cuda) }
        } catch {
            throw lock.withLock {
                failure = failure ?? error
                return error
            }
        }
        lock.withLock {
            guard let pinned = placed.staging else { return }
            placed.staging = nil
            stagedBytes -= pinned.byteCount
            keptStaging[pinned.byteCount, default: []].append(pinned)
        }
    }

    /// Copies from the device, for who wants to look at a batch there.
    public func copy(
        _ bytes: Range<Int>, of placement: Placement, to memory: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        precondition(
            bytes.lowerBound >= 0 && bytes.upperBound <= placement.byteCount, "bytes beyond the batch")
        precondition(memory.count >= bytes.count, "no room for the bytes")
        let placed = unpack(placement)
        guard let target = memory.baseAddress, !bytes.isEmpty else { return }
        try cuda.current { () throws(HeadraceError) in
            try cuda.call(
                "cuMemcpyDtoH", "copying \(bytes.count) bytes of a batch to the host",
                unsafe cuda.driver.calls.pointee.copy_to_host(
                    target, placed.buffer.address + UInt64(bytes.lowerBound), bytes.count))
        }
    }

    // MARK: Release

    /// Puts the stream among those that the release marks.
    public func noteUse(of placement: Placement, on stream: DeviceStream) {
        let placed = unpack(placement)
        lock.withLock {
            // A thread's own default stream (2) can be marked by that thread only, and 0 names either by how the
            // driver's caller was built; the legacy default stream is behind both.
            let marked = stream.handle == 0 || stream.handle == 2 ? DeviceStream.defaultStream : stream
            if !placed.streams.contains(marked) { placed.streams.append(marked) }
        }
    }

    /// Marks the streams that used the batch; its memory is used again behind those marks.
    public func release(_ placement: Placement) {
        let placed = unpack(placement)
        // Not waited for: it was never delivered, and its staging memory must not be used again before the copy is over.
        if lock.withLock({ placed.staging != nil }) { try? wait(for: placement) }
        lock.withLock {
            precondition(!placed.isReleased, "a batch slot was released twice")
            placed.isReleased = true
            held -= 1
            if let pinned = placed.staging {
                // Its copy failed: nobody knows whether it is over.
                stagedBytes -= pinned.byteCount
                placed.staging = nil
            }
            let streams = placed.streams.isEmpty ? [DeviceStream.defaultStream] : placed.streams
            do throws(HeadraceError) {
                try cuda.current { () throws(HeadraceError) in
                    try placed.buffer.recordRelease(streams, cuda)
                }
                idle[placed.buffer.byteCount, default: []].append(placed.buffer)
            } catch {
                failure = failure ?? error
            }
        }
    }

    /// Frees what nobody holds and nothing uses.
    public func close() {
        lock.withLock {
            try? cuda.current {
                _ = unsafe cuda.driver.calls.pointee.stream_synchronize(stream)
                for buffer in keptStaging.values.joined() { free(buffer) }
                keptStaging = [:]
                for (size, buffers) in idle {
                    var used: [DeviceBuffer] = []
                    for buffer in buffers {
                        guard (try? buffer.isFree(cuda)) == true else {
                            used.append(buffer)
                            continue
                        }
                        allBuffers[ObjectIdentifier(buffer)] = nil
                        buffer.free(cuda)
                    }
                    idle[size] = used
                }
            }
        }
    }

    private func unpack(_ placement: Placement) -> Placed {
        guard let placed = placement.resource as? Placed else {
            preconditionFailure("a batch of another back end")
        }
        return placed
    }

    /// Staging memory in a worker's hands. Guards against the mistake that would corrupt batches in silence: memory given
    /// back twice would be handed to two batches at once.
    // Sendable: the back end's lock guards `buffer`.
    private final class Staged: @unchecked Sendable {
        private var buffer: PinnedBuffer?

        init(_ buffer: PinnedBuffer) { self.buffer = buffer }

        func take() -> PinnedBuffer {
            guard let taken = buffer else { preconditionFailure("a batch slot was released twice") }
            buffer = nil
            return taken
        }
    }

    // Sendable: the back end's lock guards what changes.
    private final class Placed: @unchecked Sendable {
        let buffer: DeviceBuffer
        /// Until its copy is known to be over.
        var staging: PinnedBuffer?
        var streams: [DeviceStream] = []
        var isReleased = false

        init(_ buffer: DeviceBuffer, _ staging: PinnedBuffer) {
            self.buffer = buffer
            self.staging = staging
        }
    }
}
