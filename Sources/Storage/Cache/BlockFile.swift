internal import Glibc
internal import HeadraceCore

/// A block of an object in a file of its own: the bytes, then a trailer that says of which object and which block they
/// are, with a CRC-32C over all of it.
///
///     payload | "HRBLOCK1" | key, 16 bytes | number u64 | payload length u64 | 0 u32 | CRC-32C u32
///
/// All numbers are little endian. The trailer tells a block that was cut, overwritten or put in another's place.
package struct BlockFile: Sendable, Equatable {
    static let trailerBytes = 48
    private static let magic: [UInt8] = Array("HRBLOCK1".utf8)

    package var key: CacheKey
    package var number: Int
    /// Bytes of the object in the block.
    package var length: Int

    /// Bytes of the file.
    package var fileBytes: Int { length + Self.trailerBytes }

    /// The trailer of `payload`, put behind it: memory of ``fileBytes`` bytes of which the first are the payload.
    func seal(_ memory: UnsafeMutableRawPointer) {
        let trailer = unsafe memory + length
        for (place, byte) in Self.magic.enumerated() {
            unsafe trailer.storeBytes(of: byte, toByteOffset: place, as: UInt8.self)
        }
        func put(_ value: UInt64, _ place: Int) {
            unsafe trailer.storeBytes(of: value.littleEndian, toByteOffset: place, as: UInt64.self)
        }
        put(key.high, 8)
        put(key.low, 16)
        put(UInt64(number), 24)
        put(UInt64(length), 32)
        unsafe trailer.storeBytes(of: 0, toByteOffset: 40, as: UInt32.self)
        let crc = unsafe crc32c(UnsafeRawBufferPointer(start: memory, count: fileBytes - 4))
        unsafe trailer.storeBytes(of: crc.littleEndian, toByteOffset: 44, as: UInt32.self)
    }

    /// Whether ``fileBytes`` bytes at `memory` are this block, whole and unchanged.
    func isSound(_ memory: UnsafeRawPointer) -> Bool {
        let crc = unsafe crc32c(UnsafeRawBufferPointer(start: memory, count: fileBytes - 4))
        let trailer = unsafe memory + length
        func number(_ place: Int) -> UInt64 {
            unsafe UInt64(littleEndian: trailer.loadUnaligned(fromByteOffset: place, as: UInt64.self))
        }
        let kept = unsafe UInt32(littleEndian: trailer.loadUnaligned(fromByteOffset: 44, as: UInt32.self))
        let isOurs = Self.magic.enumerated().allSatisfy {
            unsafe trailer.load(fromByteOffset: $0.offset, as: UInt8.self) == $0.element
        }
        return isOurs && kept == crc && number(8) == key.high && number(16) == key.low
            && number(24) == UInt64(self.number) && number(32) == UInt64(length)
    }

    /// Reads the open file and checks it, with memory of its own kind at hand; false for what is not this block.
    func isSound(_ descriptor: Int32, scratch: UnsafeMutableRawPointer) -> Bool {
        var done = 0
        while done < fileBytes {
            let count = unsafe pread(descriptor, scratch + done, fileBytes - done, done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return unsafe isSound(scratch)
    }

    // MARK: Names

    private static let suffix = ".block"

    /// Name of the file in its object's directory.
    static func name(_ number: Int) -> String { padded(number) + suffix }

    /// The number in a block's name; nil for what is no such name.
    static func number(ofName name: some StringProtocol) -> Int? {
        guard name.hasSuffix(suffix) else { return nil }
        return number(name.dropLast(suffix.count))
    }

    static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
    }

    static func number(_ digits: some StringProtocol) -> Int? {
        guard digits.utf8.count >= 8, digits.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(digits)
    }
}
