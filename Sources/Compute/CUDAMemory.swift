internal import CHeadraceDevice
internal import HeadraceCore

/// Memory of the host that the device fetches by itself: page-locked, so that copies from it are over when their event
/// says so and not before.
///
/// It is allocated by the driver, not taken from the loader's mapping and locked: the pool gives kept pages back to the
/// kernel, and a device that had them locked would go on reading the old ones.
///
/// Sendable: nothing in it changes; whose turn it is to write or read it, the back end settles.
@safe final class PinnedBuffer: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let byteCount: Int

    init(_ device: CUDADevice, _ byteCount: Int) throws(HeadraceError) {
        var address: UnsafeMutableRawPointer?
        try device.call(
            "cuMemHostAlloc", "page-locking \(byteCount) bytes of memory for batches",
            unsafe device.driver.calls.pointee.host_alloc(
                &address, byteCount, UInt32(HEADRACE_CU_HOST_ALLOC_PORTABLE)))
        guard let address = unsafe address else {
            throw HeadraceError(.device, "the CUDA driver gave no memory for \(byteCount) bytes of batches")
        }
        unsafe base = address
        self.byteCount = byteCount
    }

    /// With the device's context current.
    func free(_ device: CUDADevice) { _ = unsafe device.driver.calls.pointee.host_free(base) }
}

/// Memory of the device for one column of one batch, with the events that say when it may be read and written.
///
/// Sendable: the back end's lock guards what changes.
@safe final class DeviceBuffer: @unchecked Sendable {
    let address: headrace_cu_address
    let byteCount: Int
    /// Recorded behind the copy into it.
    let arrival: CUDAEvent
    /// Recorded at its release, one on each stream that used it; made as needed and kept.
    private var releases: [CUDAEvent] = []
    /// Of these, how many the last release has recorded.
    private(set) var recorded = 0

    init(_ device: CUDADevice, _ byteCount: Int) throws(HeadraceError) {
        var address: headrace_cu_address = 0
        try device.call(
            "cuMemAlloc", "taking \(byteCount) bytes for a batch",
            unsafe device.driver.calls.pointee.device_alloc(&address, max(1, byteCount)))
        self.address = address
        self.byteCount = byteCount
        do throws(HeadraceError) {
            arrival = try CUDAEvent(device)
        } catch {
            _ = unsafe device.driver.calls.pointee.device_free(address)
            throw error
        }
    }

    /// Marks the end of what each stream has been given so far.
    func recordRelease(_ streams: [DeviceStream], _ device: CUDADevice) throws(HeadraceError) {
        recorded = 0
        for stream in streams {
            if releases.count == recorded { releases.append(try CUDAEvent(device)) }
            try unsafe releases[recorded].record(headrace_cu_stream(bitPattern: stream.handle), device)
            recorded += 1
        }
    }

    /// Whether all that used it is over.
    func isFree(_ device: CUDADevice) throws(HeadraceError) -> Bool {
        for event in releases.prefix(recorded) where try !event.isOver(device) { return false }
        return true
    }

    /// Makes what is queued on `stream` from now on wait until all that used it is over.
    func holdBack(_ stream: headrace_cu_stream?, _ device: CUDADevice) throws(HeadraceError) {
        for event in releases.prefix(recorded) { try unsafe event.holdBack(stream, device) }
    }

    /// With the device's context current; waits for all that uses it.
    func free(_ device: CUDADevice) {
        try? arrival.wait(device)
        for event in releases.prefix(recorded) { try? event.wait(device) }
        _ = unsafe device.driver.calls.pointee.device_free(address)
        arrival.destroy(device)
        for event in releases { event.destroy(device) }
    }
}

/// A mark in a device's stream.
///
/// Sendable: the handle does not change.
@safe final class CUDAEvent: @unchecked Sendable {
    private let handle: headrace_cu_event?

    init(_ device: CUDADevice) throws(HeadraceError) {
        var handle: headrace_cu_event?
        // Whoever waits sleeps, and no time is taken: both cost less.
        let flags = HEADRACE_CU_EVENT_BLOCKING_SYNC | HEADRACE_CU_EVENT_DISABLE_TIMING
        try device.call(
            "cuEventCreate", "making an event",
            unsafe device.driver.calls.pointee.event_create(&handle, UInt32(flags)))
        unsafe self.handle = handle
    }

    func record(_ stream: headrace_cu_stream?, _ device: CUDADevice) throws(HeadraceError) {
        try device.call(
            "cuEventRecord", "marking a batch's place in a stream",
            unsafe device.driver.calls.pointee.event_record(handle, stream))
    }

    func holdBack(_ stream: headrace_cu_stream?, _ device: CUDADevice) throws(HeadraceError) {
        try device.call(
            "cuStreamWaitEvent", "waiting for the last use of a batch's memory",
            unsafe device.driver.calls.pointee.stream_wait(stream, handle, 0))
    }

    func isOver(_ device: CUDADevice) throws(HeadraceError) -> Bool {
        let status = unsafe device.driver.calls.pointee.event_query(handle)
        if status == HEADRACE_CU_NOT_READY { return false }
        try device.call("cuEventQuery", "looking at a batch's event", status)
        return true
    }

    func wait(_ device: CUDADevice) throws(HeadraceError) {
        try device.call(
            "cuEventSynchronize", "waiting for a batch to arrive",
            unsafe device.driver.calls.pointee.event_synchronize(handle))
    }

    func destroy(_ device: CUDADevice) { _ = unsafe device.driver.calls.pointee.event_destroy(handle) }
}
