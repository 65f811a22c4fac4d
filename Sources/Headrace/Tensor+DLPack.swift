public import HeadraceCompute
public import HeadraceCore
internal import HeadraceDecode

extension Tensor {
    /// The tensor as a `DLManagedTensorVersioned` of DLPack 1.0, for whatever reads that: NumPy, PyTorch, JAX. Nothing
    /// is copied.
    ///
    /// The structure keeps the batch's memory, as a tensor does, until the consumer calls its deleter: once, from any
    /// thread, also after the loader was closed. Until then the batch counts as held.
    ///
    /// Other tensors of the batch see the same memory, so it is marked read-only; `readOnly: false` is for who knows
    /// that nobody else looks at it. Strides are always given, and the address is a multiple of 256, as DLPack wants.
    ///
    /// On a device the elements have arrived. The device's memory is used again when all is over that `stream` was
    /// given before the deleter is called; see ``noteUse(on:)``.
    ///
    /// Throws `shapeMismatch` for rows that differ in length: those stay where they were read.
    public func exportDLPack(
        readOnly: Bool = true, stream: DeviceStream? = nil
    ) throws(HeadraceError) -> UnsafeMutableRawPointer {
        let description = try dlpackDescription()
        if let stream { noteUse(on: stream) }
        return unsafe DLPack.versioned(description, readOnly: readOnly, owner: lease)
    }

    /// The same as a `DLManagedTensor`, for consumers from before DLPack 1.0. It cannot say that it must not be
    /// written to; consumers take it so.
    public func exportUnversionedDLPack(
        stream: DeviceStream? = nil
    ) throws(HeadraceError) -> UnsafeMutableRawPointer {
        let description = try dlpackDescription()
        if let stream { noteUse(on: stream) }
        return unsafe DLPack.unversioned(description, owner: lease)
    }

    private func dlpackDescription() throws(HeadraceError) -> DLPack.Description {
        guard case .fixed(let type, let shape) = layout else {
            throw mismatch("tensor of one shape, which DLPack needs; decode it to a fixed shape")
        }
        return DLPack.Description(
            address: deviceAddress, device: device, elementType: type, shape: [count] + shape)
    }
}
