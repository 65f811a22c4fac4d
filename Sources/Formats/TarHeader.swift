/// One 512-byte tar header: the layout that v7, ustar, GNU and PAX archives share.
///
/// Works on the block in place: nothing is copied, nothing is allocated, because a shard of small files is half
/// headers.
enum TarHeader {
    static let blockBytes = 512

    /// Layout: where each field that concerns reading lies in the block.
    static let nameBytes = 100
    private static let sizeField = (offset: 124, count: 12)
    private static let checksumField = (offset: 148, count: 8)
    private static let typeOffset = 156
    private static let magicOffset = 257
    private static let prefixField = (offset: 345, count: 155)
    private static let isExtendedOffset = 482
    /// Where a block of further GNU sparse entries says whether yet another follows.
    static let sparseContinuationOffset = 504

    /// The bytes' sum, which is 0 for a zero block only.
    ///
    /// Four 16-bit sums in one word, each of 128 bytes, which cannot overflow: written byte by byte, the compiler
    /// loads four bytes at a time and takes four times as long.
    @inline(__always)
    static func sum(_ block: RawSpan) -> UInt32 {
        let evenBytes: UInt64 = 0x00ff_00ff_00ff_00ff
        var sums: UInt64 = 0
        for offset in stride(from: 0, to: blockBytes, by: 8) {
            let word = block.littleEndian64(offset)
            sums &+= (word & evenBytes) &+ (word >> 8 & evenBytes)
        }
        let pairs = (sums & 0x0000_ffff_0000_ffff) &+ (sums >> 16 & 0x0000_ffff_0000_ffff)
        return UInt32(truncatingIfNeeded: pairs &+ pairs >> 32)
    }

    /// Whether the stored checksum fits. Some old tars summed signed characters; both sums are accepted.
    static func isIntact(_ block: RawSpan, sum: UInt32) -> Bool {
        let stored = octal(block, at: checksumField.offset, count: checksumField.count)
        guard stored >= 0 else { return false }
        var fieldSum = 0
        for offset in checksumField.offset..<checksumField.offset + checksumField.count {
            fieldSum += Int(block.byte(offset))
        }
        let unsigned = Int(sum) - fieldSum + checksumField.count * 0x20
        if stored == unsigned { return true }
        var highBytes = 0
        for offset in 0..<blockBytes
        where block.byte(offset) >= 0x80
            && !(checksumField.offset..<checksumField.offset + checksumField.count).contains(offset)
        {
            highBytes += 1
        }
        return stored == unsigned - 256 * highBytes
    }

    static func type(_ block: RawSpan) -> UInt8 { block.byte(typeOffset) }

    /// Payload bytes, or -1 where the field holds no number, a negative one or one beyond 63 bits.
    @inline(__always)
    static func size(_ block: RawSpan) -> Int {
        let first = block.byte(sizeField.offset)
        if first & 0x80 == 0 { return octal(block, at: sizeField.offset, count: sizeField.count) }
        return binarySize(block)
    }

    /// A base-256 size. The first byte is 0x80 for a positive number and 0xFF for a negative one; no other is
    /// written by any tar.
    private static func binarySize(_ block: RawSpan) -> Int {
        guard block.byte(sizeField.offset) == 0x80 else { return -1 }
        var value: UInt64 = 0
        for offset in sizeField.offset + 1..<sizeField.offset + sizeField.count {
            guard value >> 55 == 0 else { return -1 }
            value = value << 8 | UInt64(block.byte(offset))
        }
        return Int(exactly: value) ?? -1
    }

    /// An octal field as real tars write them: spaces before it, a NUL or space or nothing after it; -1 for
    /// anything else. An empty field is 0.
    @inline(__always)
    static func octal(_ block: RawSpan, at start: Int, count: Int) -> Int {
        var offset = start
        let end = start + count
        while offset < end, block.byte(offset) == 0x20 { offset += 1 }
        var value = 0
        while offset < end {
            let digit = block.byte(offset) &- 0x30
            if digit > 7 {
                let byte = block.byte(offset)
                return byte == 0 || byte == 0x20 ? value : -1
            }
            value = value << 3 | Int(digit)
            offset += 1
        }
        return value
    }

    /// Bytes of the name field up to its NUL.
    @inline(__always)
    static func nameLength(_ block: RawSpan) -> Int {
        var length = 0
        while length < nameBytes, block.byte(length) != 0 { length += 1 }
        return length
    }

    /// Bytes of the ustar prefix, 0 where there is none. Only the POSIX magic has one: GNU's own headers keep
    /// times and sparse maps in the same place.
    @inline(__always)
    static func prefixLength(_ block: RawSpan) -> Int {
        guard block.byte(prefixField.offset) != 0,
            block.byte(magicOffset) == UInt8(ascii: "u"), block.byte(magicOffset + 1) == UInt8(ascii: "s"),
            block.byte(magicOffset + 2) == UInt8(ascii: "t"),
            block.byte(magicOffset + 3) == UInt8(ascii: "a"),
            block.byte(magicOffset + 4) == UInt8(ascii: "r"), block.byte(magicOffset + 5) == 0
        else { return 0 }
        var length = 0
        while length < prefixField.count, block.byte(prefixField.offset + length) != 0 { length += 1 }
        return length
    }

    /// Prefix, slash and name, put together in `buffer`.
    static func joinedName(_ block: RawSpan, prefixLength: Int, nameLength: Int, into buffer: inout [UInt8]) {
        buffer.removeAll(keepingCapacity: true)
        for offset in 0..<prefixLength { buffer.append(block.byte(prefixField.offset + offset)) }
        buffer.append(UInt8(ascii: "/"))
        for offset in 0..<nameLength { buffer.append(block.byte(offset)) }
    }

    /// Whether blocks of further sparse entries follow this old GNU sparse header.
    static func hasSparseContinuation(_ block: RawSpan) -> Bool { block.byte(isExtendedOffset) != 0 }

    /// `size` rounded up to whole blocks. Sizes are capped before, so the sum cannot overflow.
    @inline(__always)
    static func padded(_ size: Int) -> Int { (size + blockBytes - 1) & ~(blockBytes - 1) }

    /// Whether `head` starts with a tar header or the zero block of an empty archive.
    static func isPlausible(_ head: RawSpan) -> Bool {
        guard head.byteCount >= blockBytes else { return false }
        let block = head.extracting(0..<blockBytes)
        let sum = sum(block)
        return sum == 0 || isIntact(block, sum: sum)
    }
}

/// Type flags of tar members, by their POSIX and GNU names.
enum TarType {
    static let regularOld: UInt8 = 0
    static let regular = UInt8(ascii: "0")
    static let hardLink = UInt8(ascii: "1")
    static let symbolicLink = UInt8(ascii: "2")
    static let characterDevice = UInt8(ascii: "3")
    static let blockDevice = UInt8(ascii: "4")
    static let directory = UInt8(ascii: "5")
    static let fifo = UInt8(ascii: "6")
    static let contiguous = UInt8(ascii: "7")
    static let paxLocal = UInt8(ascii: "x")
    /// Solaris' name for the local extended header, from before POSIX had one.
    static let paxLocalSolaris = UInt8(ascii: "X")
    static let paxGlobal = UInt8(ascii: "g")
    static let gnuLongName = UInt8(ascii: "L")
    static let gnuLongLink = UInt8(ascii: "K")
    static let gnuSparse = UInt8(ascii: "S")
    static let gnuDumpDirectory = UInt8(ascii: "D")
    static let gnuMultiVolume = UInt8(ascii: "M")
}
