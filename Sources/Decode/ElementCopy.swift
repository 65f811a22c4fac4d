internal import HeadraceCore

/// Copies the elements of an array into C order and the machine's byte order.
package enum ElementCopy {
    /// Whether the elements have to change places, so that they cannot be read where they are to lie.
    package static func isTransposed(_ header: NpyHeader) -> Bool {
        header.isFortranOrder && header.shape.count(where: { $0 > 1 }) > 1
    }

    /// `source` holds exactly the elements that `header` describes; `destination` has room for as many.
    package static func copy(
        _ source: UnsafeRawBufferPointer, _ header: NpyHeader, to destination: UnsafeMutableRawPointer
    ) {
        guard source.count > 0, let start = source.baseAddress else { return }
        if isTransposed(header) {
            switch header.elementType.byteCount {
            case 1: unsafe transpose(start, header.shape, UInt8.self, to: destination)
            case 2: unsafe transpose(start, header.shape, UInt16.self, to: destination)
            case 4: unsafe transpose(start, header.shape, UInt32.self, to: destination)
            case 8: unsafe transpose(start, header.shape, UInt64.self, to: destination)
            default: unsafe transpose(start, header.shape, UInt128.self, to: destination)
            }
        } else {
            unsafe destination.copyMemory(from: start, byteCount: source.count)
        }
        unsafe finish(destination, source.count, header)
    }

    /// Brings elements that lie in their places into the machine's byte order.
    package static func finish(_ elements: UnsafeMutableRawPointer, _ byteCount: Int, _ header: NpyHeader) {
        if header.isByteSwapped { unsafe swap(elements, byteCount, header.elementType) }
    }

    /// Walks the destination in its order and gathers from the source, where index `i` advances by the
    /// product of the extents before it.
    private static func transpose<Element: BitwiseCopyable>(
        _ source: UnsafeRawPointer, _ shape: [Int], _: Element.Type, to destination: UnsafeMutableRawPointer
    ) {
        let size = MemoryLayout<Element>.stride
        let dimensions = shape.count
        // On the stack: this is done for every row.
        unsafe withUnsafeTemporaryAllocation(of: Int.self, capacity: 2 * dimensions) { scratch in
            let strides = unsafe UnsafeMutableBufferPointer(rebasing: scratch[..<dimensions])
            let index = unsafe UnsafeMutableBufferPointer(rebasing: scratch[dimensions...])
            var total = size
            for place in shape.indices {
                unsafe strides[place] = total
                unsafe index[place] = 0
                total *= shape[place]
            }
            let last = dimensions - 1
            var from = 0
            var to = 0
            while to < total {
                var at = from
                for _ in 0..<shape[last] {
                    let element = unsafe source.loadUnaligned(fromByteOffset: at, as: Element.self)
                    unsafe destination.storeBytes(of: element, toByteOffset: to, as: Element.self)
                    at += unsafe strides[last]
                    to += size
                }
                // The next index, like an odometer: the wheel before the last turns fastest.
                var wheel = last - 1
                while wheel >= 0 {
                    unsafe index[wheel] += 1
                    from += unsafe strides[wheel]
                    if unsafe index[wheel] < shape[wheel] { break }
                    from -= unsafe index[wheel] * strides[wheel]
                    unsafe index[wheel] = 0
                    wheel -= 1
                }
            }
        }
    }

    private static func swap(_ bytes: UnsafeMutableRawPointer, _ count: Int, _ type: ElementType) {
        // A complex number is two numbers, each swapped in its place.
        let isComplex = type == .complex64 || type == .complex128
        switch isComplex ? type.byteCount / 2 : type.byteCount {
        case 2: unsafe swap(bytes, count, UInt16.self)
        case 4: unsafe swap(bytes, count, UInt32.self)
        default: unsafe swap(bytes, count, UInt64.self)
        }
    }

    private static func swap<Word: FixedWidthInteger & BitwiseCopyable>(
        _ bytes: UnsafeMutableRawPointer, _ count: Int, _: Word.Type
    ) {
        for offset in stride(from: 0, to: count, by: MemoryLayout<Word>.size) {
            let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: Word.self)
            unsafe bytes.storeBytes(of: word.byteSwapped, toByteOffset: offset, as: Word.self)
        }
    }
}
