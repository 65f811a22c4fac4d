import HeadraceCompute
import HeadraceCore
import Testing

/// The structures as their specification lays them out, read byte by byte.
struct ReadTensor {
    let data: UInt
    let deviceType: Int32
    let deviceID: Int32
    let code: UInt8
    let bits: UInt8
    let lanes: UInt16
    let shape: [Int64]
    let strides: [Int64]
    let byteOffset: UInt64

    init(_ at: UnsafeRawPointer) {
        data = at.load(as: UInt.self)
        deviceType = at.load(fromByteOffset: 8, as: Int32.self)
        deviceID = at.load(fromByteOffset: 12, as: Int32.self)
        let dimensions = Int(at.load(fromByteOffset: 16, as: Int32.self))
        code = at.load(fromByteOffset: 20, as: UInt8.self)
        bits = at.load(fromByteOffset: 21, as: UInt8.self)
        lanes = at.load(fromByteOffset: 22, as: UInt16.self)
        let shape = at.load(fromByteOffset: 24, as: UnsafePointer<Int64>.self)
        let strides = at.load(fromByteOffset: 32, as: UnsafePointer<Int64>.self)
        self.shape = (0..<dimensions).map { shape[$0] }
        self.strides = (0..<dimensions).map { strides[$0] }
        byteOffset = at.load(fromByteOffset: 40, as: UInt64.self)
    }
}

private typealias Deleter = @convention(c) (UnsafeMutableRawPointer) -> Void

@Suite struct DLPackTests {
    private final class Owner: Sendable {}

    private func description(
        _ type: ElementType = .float32, _ shape: [Int] = [4, 3, 2], device: ComputeDevice = .host
    ) -> DLPack.Description {
        DLPack.Description(address: 0x1000, device: device, elementType: type, shape: shape)
    }

    @Test func versionedHasEveryFieldWhereTheSpecificationSays() {
        var owner: Owner? = Owner()
        weak let watched = owner
        let pointer = DLPack.versioned(description(device: .cuda(3)), readOnly: true, owner: owner!)
        owner = nil
        #expect(pointer.load(as: UInt32.self) == 1)
        #expect(pointer.load(fromByteOffset: 4, as: UInt32.self) == 0)
        #expect(pointer.load(fromByteOffset: 8, as: UInt.self) != 0)
        #expect(pointer.load(fromByteOffset: 24, as: UInt64.self) == 1)
        let tensor = ReadTensor(pointer + 32)
        #expect(tensor.data == 0x1000)
        #expect(tensor.deviceType == 2)
        #expect(tensor.deviceID == 3)
        #expect((tensor.code, tensor.bits, tensor.lanes) == (2, 32, 1))
        #expect(tensor.shape == [4, 3, 2])
        #expect(tensor.strides == [6, 2, 1])
        #expect(tensor.byteOffset == 0)
        #expect(watched != nil)
        pointer.load(fromByteOffset: 16, as: Deleter.self)(pointer)
        #expect(watched == nil)
    }

    @Test func unversionedHasEveryFieldWhereTheSpecificationSays() {
        var owner: Owner? = Owner()
        weak let watched = owner
        let pointer = DLPack.unversioned(description(.int64, [7]), owner: owner!)
        owner = nil
        let tensor = ReadTensor(pointer)
        #expect(tensor.data == 0x1000)
        #expect((tensor.deviceType, tensor.deviceID) == (1, 0))
        #expect((tensor.code, tensor.bits, tensor.lanes) == (0, 64, 1))
        #expect(tensor.shape == [7])
        #expect(tensor.strides == [1])
        #expect(pointer.load(fromByteOffset: 48, as: UInt.self) != 0)
        #expect(watched != nil)
        pointer.load(fromByteOffset: 56, as: Deleter.self)(pointer)
        #expect(watched == nil)
    }

    @Test func writableIsSaid() {
        let pointer = DLPack.versioned(description(), readOnly: false, owner: Owner())
        #expect(pointer.load(fromByteOffset: 24, as: UInt64.self) == 0)
        pointer.load(fromByteOffset: 16, as: Deleter.self)(pointer)
    }

    /// Codes of DLDataTypeCode: int 0, uint 1, float 2, bfloat 4, complex 5, bool 6.
    @Test func elementTypes() {
        let expected: [ElementType: (UInt8, UInt8)] = [
            .bool: (6, 8), .int8: (0, 8), .int16: (0, 16), .int32: (0, 32), .int64: (0, 64), .uint8: (1, 8),
            .uint16: (1, 16), .uint32: (1, 32), .uint64: (1, 64), .float16: (2, 16), .bfloat16: (4, 16),
            .float32: (2, 32), .float64: (2, 64), .complex64: (5, 64), .complex128: (5, 128),
        ]
        #expect(expected.count == ElementType.allCases.count)
        for (type, code) in expected {
            let pointer = DLPack.unversioned(description(type), owner: Owner())
            let tensor = ReadTensor(pointer)
            #expect((tensor.code, tensor.bits) == code, "\(type)")
            #expect(tensor.lanes == 1)
            pointer.load(fromByteOffset: 56, as: Deleter.self)(pointer)
        }
    }

    @Test func emptyTensorsHaveNoAddress() {
        for shape in [[0], [0, 3], [3, 0, 2]] {
            let pointer = DLPack.unversioned(description(.uint8, shape), owner: Owner())
            let tensor = ReadTensor(pointer)
            #expect(tensor.data == 0)
            #expect(tensor.shape == shape.map(Int64.init))
            #expect(tensor.strides.allSatisfy { $0 > 0 })
            pointer.load(fromByteOffset: 56, as: Deleter.self)(pointer)
        }
    }
}
