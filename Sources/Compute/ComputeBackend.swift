public import HeadraceCore

/// Where batches are to go: the host's own memory, or a device's.
///
/// A batch has two lives. While workers fill it, it is ``StagingMemory``, memory that the host writes and the
/// device can fetch (page-locked, for a GPU). `place` starts its way to the device and takes the staging
/// memory over; from then on it is a ``Placement``, which the consumer reads and at last releases. A back end
/// that copies reuses the staging memory when its copy is over, and the device memory when everything that
/// the consumer had queued before the release is over: both are the back end's to know, so the loader never
/// waits for an event of its own accord.
///
/// All calls may come from any thread. None allocates once as many slots are in circulation as the run needs.
public protocol ComputeBackend: Sendable {
    /// What `place` brings batches to.
    var device: ComputeDevice { get }

    /// Memory for one batch slot, charged to the loader's budget; nil when there is no room now, but will be
    /// once batches are released.
    ///
    /// - Parameter reserve: bytes of the budget that must be left over, for what the same admission needs besides.
    ///
    /// Throws `budget`, with the figure, when the request can never be met.
    func allocateStaging(_ byteCount: Int, keeping reserve: Int) throws(HeadraceError) -> StagingMemory?

    /// Gives staging memory back that was not placed, because its batch was given up.
    func discard(_ staging: StagingMemory)

    /// Starts bringing the first `byteCount` bytes to the device, and takes the staging memory over, also where it
    /// throws. May return before they have arrived.
    func place(_ staging: StagingMemory, byteCount: Int) throws(HeadraceError) -> Placement

    /// The same for rows of `uint8` images that are to arrive normalised, in the layout that `rows` tells.
    func place(_ staging: StagingMemory, normalizing rows: NormalizedRows) throws(HeadraceError) -> Placement

    /// Waits until the bytes are where ``Placement/address`` says, and throws what went wrong on the way.
    func wait(for placement: Placement) throws(HeadraceError)

    /// Copies bytes of a batch that has arrived into the host's memory, and returns when they are there.
    func copy(
        _ bytes: Range<Int>, of placement: Placement, to memory: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError)

    /// Says that work on `stream` may read the batch: `release` is then behind all that was queued there before it.
    func noteUse(of placement: Placement, on stream: DeviceStream)

    /// Takes the batch back. Must be called exactly once for every placement, waited for or not.
    func release(_ placement: Placement)

    /// No batch will be placed any more: waits for copies that are under way and frees what nobody holds. What is held
    /// is freed when it was released, at the latest with the back end itself.
    func close()
}

extension ComputeBackend {
    /// Refused, by back ends that compute nothing.
    public func place(_ staging: StagingMemory, normalizing rows: NormalizedRows) throws(HeadraceError)
        -> Placement
    {
        discard(staging)
        throw HeadraceError(
            .unsupported,
            "\(device) does not normalise batches; let the decoder do it, or place them on a device that does"
        )
    }

    /// Nothing, for back ends without streams.
    public func noteUse(of placement: Placement, on stream: DeviceStream) {}

    /// Nothing, for back ends that keep nothing.
    public func close() {}
}

/// A queue of a device's work, named by its driver's handle: for CUDA a `CUstream` as a number.
public struct DeviceStream: Hashable, Sendable {
    /// The handle.
    public let handle: UInt

    /// The stream with that handle; 1 is CUDA's legacy default stream, as in DLPack.
    public init(handle: UInt) { self.handle = handle }

    /// CUDA's legacy default stream, which is behind all streams that were not made non-blocking.
    public static let defaultStream = DeviceStream(handle: 1)
}

/// A device that batches can be placed on.
public enum ComputeDevice: Hashable, Sendable, CustomStringConvertible {
    /// The host's memory.
    case host
    /// A CUDA device, by its ordinal.
    case cuda(Int)

    /// The device that `description` names; nil for anything else.
    public init?(_ description: String) {
        if description == "host" {
            self = .host
        } else if description.hasPrefix("cuda:"), let ordinal = Int(description.dropFirst(5)),
            description == "cuda:\(ordinal)", (0..<Self.cudaDevices).contains(ordinal)
        {
            self = .cuda(ordinal)
        } else {
            return nil
        }
    }

    /// More CUDA devices than a machine has: larger ordinals are slips of the pen.
    static let cudaDevices = 1024

    /// "host" or "cuda:0", as in an option.
    public var description: String {
        switch self {
        case .host: "host"
        case .cuda(let ordinal): "cuda:\(ordinal)"
        }
    }
}

/// Memory that workers fill with one batch.
@safe public final class StagingMemory: @unchecked Sendable {
    // Sendable: address and size never change; the rooms hand the memory itself from one owner to the next.
    /// The first byte, aligned to a page.
    public let base: UnsafeMutableRawPointer
    /// Bytes that may be written; at least as many as were asked for.
    public let capacity: Int
    /// What the back end needs to know this memory again.
    public let resource: any AnyObject & Sendable

    /// For back ends: memory at `base`, with whatever they need to reuse or free it.
    public init(base: UnsafeMutableRawPointer, capacity: Int, resource: any AnyObject & Sendable) {
        unsafe self.base = base
        self.capacity = capacity
        self.resource = resource
    }
}

/// One batch on its way to a device, or there.
@safe public final class Placement: @unchecked Sendable {
    // Sendable: nothing in it changes.
    /// Address on `device`; no host address unless `device` is ``ComputeDevice/host``.
    public let address: UnsafeMutableRawPointer
    /// Bytes placed.
    public let byteCount: Int
    /// Where they are.
    public let device: ComputeDevice
    /// What the back end needs to know this batch again.
    public let resource: any AnyObject & Sendable

    /// For back ends: `byteCount` bytes at `address`, with whatever they need to wait for and release them.
    public init(
        address: UnsafeMutableRawPointer, byteCount: Int, device: ComputeDevice,
        resource: any AnyObject & Sendable
    ) {
        unsafe self.address = address
        self.byteCount = byteCount
        self.device = device
        self.resource = resource
    }
}
