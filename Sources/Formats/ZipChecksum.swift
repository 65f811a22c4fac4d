internal import CHeadraceZlib

/// The CRC-32 of a zip member, fed piece by piece.
package final class ZipChecksum {
    package private(set) var value: UInt32 = 0

    package init() {}

    package func update(_ bytes: UnsafeRawBufferPointer) {
        value = unsafe UInt32(
            truncatingIfNeeded: crc32_z(
                UInt(value), bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count))
    }
}
