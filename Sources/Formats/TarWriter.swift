internal import Glibc

/// Writes POSIX tar members whose bytes depend on name and payload alone: owner 0, time 0, mode 0444.
///
/// Names that fit are plain ustar blocks (up to 100 bytes, or split at a '/' into prefix and name), in raw UTF-8,
/// as GNU tar writes and Python's `tarfile` reads them: a PAX header for every accented name would cost 1 KiB a
/// member and help no reader. What ustar cannot say, a name that does not split or a size of 8 GiB and more, goes
/// into a PAX header, the standard's own answer; GNU tar, `tarfile` and webdataset all read it, while base-256
/// sizes are a GNU extension that some readers of tar shards take for zero.
///
/// The archive ends with the two zero blocks that POSIX demands. They are not padded to a 10 KiB tape record:
/// nothing reads the padding.
package final class TarWriter {
    package static let blockByteCount = 512
    /// Bytes of the end-of-archive marker.
    package static let endByteCount = 1024
    /// The largest size that eleven octal digits hold: 8 GiB - 1.
    package static let largestOctalSize = 0o77_777_777_777

    private let name = OutputBuffer(capacity: 256)
    private let records = OutputBuffer(capacity: 512)

    package init() {}

    /// Zero bytes between the end of a payload and the next block.
    package static func paddingByteCount(payloadByteCount: Int) -> Int {
        (blockByteCount - payloadByteCount % blockByteCount) % blockByteCount
    }

    /// Bytes of all headers in front of the payload of member `key`.`field`.
    package func headerByteCount(key: String, field: String, payloadByteCount: Int) -> Int {
        compose(key: key, field: field)
        composeRecords(payloadByteCount: payloadByteCount)
        guard records.count > 0 else { return Self.blockByteCount }
        return 2 * Self.blockByteCount + records.count
            + Self.paddingByteCount(payloadByteCount: records.count)
    }

    /// Appends all headers of member `key`.`field`; the payload and its padding are the caller's to append.
    package func appendHeader(key: String, field: String, payloadByteCount: Int, to buffer: OutputBuffer) {
        compose(key: key, field: field)
        composeRecords(payloadByteCount: payloadByteCount)
        let split = splitName()
        if records.count > 0 {
            unsafe "././@PaxHeader".utf8.withContiguousStorageIfAvailable { paxName in
                unsafe appendBlock(
                    prefix: UnsafeRawBufferPointer(start: nil, count: 0),
                    name: UnsafeRawBufferPointer(paxName), size: records.count, type: UInt8(ascii: "x"),
                    to: buffer)
            }
            unsafe buffer.append(records.bytes)
            buffer.appendZeros(Self.paddingByteCount(payloadByteCount: records.count))
        }
        let bytes = unsafe name.bytes
        let (prefix, rest): (UnsafeRawBufferPointer, UnsafeRawBufferPointer)
        switch split {
        case .whole: unsafe (prefix, rest) = (.init(rebasing: bytes[0..<0]), bytes)
        case .at(let slash):
            unsafe (prefix, rest) = (.init(rebasing: bytes[..<slash]), .init(rebasing: bytes[(slash + 1)...]))
        case .tooLong:
            unsafe (prefix, rest) = (
                .init(rebasing: bytes[0..<0]), .init(rebasing: bytes[..<cutOfLongName()])
            )
        }
        let size = payloadByteCount > Self.largestOctalSize ? 0 : payloadByteCount
        unsafe appendBlock(prefix: prefix, name: rest, size: size, type: UInt8(ascii: "0"), to: buffer)
    }

    /// Appends the zero bytes that fill a payload's last block.
    package func appendPadding(payloadByteCount: Int, to buffer: OutputBuffer) {
        buffer.appendZeros(Self.paddingByteCount(payloadByteCount: payloadByteCount))
    }

    /// Appends the end-of-archive marker.
    package func appendEnd(to buffer: OutputBuffer) { buffer.appendZeros(Self.endByteCount) }

    private enum NameSplit { case whole, at(slash: Int), tooLong }

    private func compose(key: String, field: String) {
        name.removeAll()
        name.append(key)
        name.append(byte: UInt8(ascii: "."))
        name.append(field)
    }

    /// The leftmost '/' that leaves at most 155 bytes before and 1 to 100 after it.
    private func splitName() -> NameSplit {
        let bytes = unsafe name.bytes
        if bytes.count <= 100 { return .whole }
        var slash = bytes.count - 101
        while slash < bytes.count - 1, slash <= 155 {
            if slash > 0, unsafe bytes[slash] == UInt8(ascii: "/") { return .at(slash: slash) }
            slash += 1
        }
        return .tooLong
    }

    /// Where a name that PAX carries is cut for readers that ignore PAX: at most 100 bytes, no character in half.
    private func cutOfLongName() -> Int {
        var cut = 100
        while cut > 0, unsafe name.bytes[cut] & 0xC0 == 0x80 { cut -= 1 }
        return cut
    }

    private func composeRecords(payloadByteCount: Int) {
        records.removeAll()
        if case .tooLong = splitName() {
            let length = Self.recordByteCount(keyword: 4, value: name.count)
            records.append("\(length) path=")
            unsafe records.append(name.bytes)
            records.append(byte: UInt8(ascii: "\n"))
        }
        if payloadByteCount > Self.largestOctalSize {
            let value = "\(payloadByteCount)"
            records.append("\(Self.recordByteCount(keyword: 4, value: value.utf8.count)) size=\(value)\n")
        }
    }

    /// Length of the PAX record "LENGTH keyword=value\n", which counts its own digits.
    private static func recordByteCount(keyword: Int, value: Int) -> Int {
        let rest = keyword + value + 3
        var total = rest + 1
        while "\(total)".utf8.count + rest != total { total = "\(total)".utf8.count + rest }
        return total
    }

    private func appendBlock(
        prefix: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer, size: Int, type: UInt8,
        to buffer: OutputBuffer
    ) {
        unsafe buffer.appendInPlace(room: Self.blockByteCount) { (block: UnsafeMutableRawBufferPointer) in
            unsafe memset(block.baseAddress!, 0, block.count)
            func put(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
                unsafe UnsafeMutableRawBufferPointer(rebasing: block[offset..<offset + bytes.count])
                    .copyMemory(from: bytes)
            }
            func put(octal value: Int, digits: Int, at offset: Int) {
                for digit in 0..<digits {
                    unsafe block[offset + digits - 1 - digit] =
                        UInt8(ascii: "0") + UInt8((value >> (3 * digit)) & 7)
                }
            }
            unsafe put(name, at: 0)
            put(octal: 0o444, digits: 7, at: 100)
            put(octal: 0, digits: 7, at: 108)
            put(octal: 0, digits: 7, at: 116)
            put(octal: size, digits: 11, at: 124)
            put(octal: 0, digits: 11, at: 136)
            unsafe memset(block.baseAddress! + 148, 0x20, 8)
            unsafe block[156] = type
            unsafe memcpy(block.baseAddress! + 257, "ustar\u{0}00", 8)
            unsafe put(prefix, at: 345)
            var sum = 0
            for index in 0..<Self.blockByteCount { sum += unsafe Int(block[index]) }
            put(octal: sum, digits: 6, at: 148)
            unsafe block[154] = 0
            return Self.blockByteCount
        }
    }
}
