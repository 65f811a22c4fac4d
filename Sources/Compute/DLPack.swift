internal import CHeadraceDevice
package import HeadraceCore

/// Makes the structures by which DLPack's consumers take tensors over without a copy.
///
/// A structure keeps `owner`, and with it the elements, until its deleter is called: once, from any thread, however
/// long after everything else has ended.
package enum DLPack {
    /// What a structure says of its tensor.
    package struct Description: Sendable {
        /// The first element, as a number: the address may be a device's.
        package var address: UInt
        package var device: ComputeDevice
        package var elementType: ElementType
        package var shape: [Int]

        package init(address: UInt, device: ComputeDevice, elementType: ElementType, shape: [Int]) {
            self.address = address
            self.device = device
            self.elementType = elementType
            self.shape = shape
        }
    }

    /// A `DLManagedTensorVersioned`.
    package static func versioned(
        _ description: Description, readOnly: Bool, owner: any AnyObject & Sendable
    ) -> UnsafeMutableRawPointer {
        let pointer = UnsafeMutablePointer<headrace_dl_versioned>.allocate(capacity: 1)
        let held = unsafe Unmanaged.passRetained(Held(description.shape, owner))
        unsafe pointer.initialize(
            to: headrace_dl_versioned(
                major: UInt32(HEADRACE_DL_MAJOR_VERSION),
                minor: UInt32(HEADRACE_DL_MINOR_VERSION),
                manager: held.toOpaque(),
                deleter: { pointer in
                    guard let pointer = unsafe pointer else { return }
                    unsafe Held.release(pointer.pointee.manager)
                    unsafe pointer.deallocate()
                },
                flags: readOnly ? readOnlyFlag : 0,
                tensor: tensor(description, held.takeUnretainedValue())))
        return UnsafeMutableRawPointer(pointer)
    }

    /// A `DLManagedTensor`, for consumers from before version 1.
    package static func unversioned(
        _ description: Description, owner: any AnyObject & Sendable
    ) -> UnsafeMutableRawPointer {
        let pointer = UnsafeMutablePointer<headrace_dl_managed>.allocate(capacity: 1)
        let held = unsafe Unmanaged.passRetained(Held(description.shape, owner))
        unsafe pointer.initialize(
            to: headrace_dl_managed(
                tensor: tensor(description, held.takeUnretainedValue()), manager: held.toOpaque(),
                deleter: { pointer in
                    guard let pointer = unsafe pointer else { return }
                    unsafe Held.release(pointer.pointee.manager)
                    unsafe pointer.deallocate()
                }))
        return UnsafeMutableRawPointer(pointer)
    }

    private static let readOnlyFlag: UInt64 = 1

    private static func tensor(_ description: Description, _ held: Held) -> headrace_dl_tensor {
        let (kind, ordinal) =
            switch description.device {
            case .host: (HEADRACE_DL_CPU, 0)
            case .cuda(let ordinal): (HEADRACE_DL_CUDA, ordinal)
            }
        // Of a tensor without elements DLPack wants no address.
        let isEmpty = description.shape.contains(0)
        return unsafe headrace_dl_tensor(
            data: isEmpty ? nil : UnsafeMutableRawPointer(bitPattern: description.address),
            device_type: Int32(kind), device_id: Int32(ordinal),
            ndim: Int32(description.shape.count), code: code(description.elementType),
            bits: UInt8(8 * description.elementType.byteCount), lanes: 1,
            shape: held.shape, strides: held.strides, byte_offset: 0)
    }

    private static func code(_ type: ElementType) -> UInt8 {
        let code =
            switch type {
            case .int8, .int16, .int32, .int64: HEADRACE_DL_INT
            case .uint8, .uint16, .uint32, .uint64: HEADRACE_DL_UINT
            case .float16, .float32, .float64: HEADRACE_DL_FLOAT
            case .bfloat16: HEADRACE_DL_BFLOAT
            case .complex64, .complex128: HEADRACE_DL_COMPLEX
            case .bool: HEADRACE_DL_BOOL
            }
        return UInt8(code)
    }

    /// What a structure points to, and what it keeps.
    @safe private final class Held {
        let shape: UnsafeMutablePointer<Int64>
        let strides: UnsafeMutablePointer<Int64>
        private let owner: any AnyObject & Sendable

        init(_ extents: [Int], _ owner: any AnyObject & Sendable) {
            self.owner = owner
            unsafe shape = .allocate(capacity: max(1, extents.count))
            unsafe strides = .allocate(capacity: max(1, extents.count))
            var stride = 1
            for place in extents.indices.reversed() {
                unsafe shape[place] = Int64(extents[place])
                unsafe strides[place] = Int64(stride)
                stride *= max(1, extents[place])
            }
        }

        deinit {
            unsafe shape.deallocate()
            unsafe strides.deallocate()
        }

        static func release(_ manager: UnsafeMutableRawPointer?) {
            guard let manager = unsafe manager else { return }
            unsafe Unmanaged<Held>.fromOpaque(manager).release()
        }
    }
}
