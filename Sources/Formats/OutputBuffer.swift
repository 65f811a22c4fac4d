internal import Glibc

/// Bytes on their way into a shard. It grows, is emptied and used again, so that a member costs no allocation and
/// a frame no page faults.
// Sendable: owned by one job at a time; owners hand it over under the lock of their queue.
@safe package final class OutputBuffer: @unchecked Sendable {
    private var storage: UnsafeMutableRawPointer
    private var capacity: Int
    package private(set) var count = 0

    package init(capacity: Int = 4096) {
        self.capacity = max(capacity, 64)
        unsafe storage = .allocate(byteCount: self.capacity, alignment: 16)
    }

    deinit { unsafe storage.deallocate() }

    /// What was appended; valid until the next change.
    package var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: storage, count: count)
    }

    /// What was appended, in memory of its own.
    package func copy() -> [UInt8] { unsafe Array(bytes) }

    /// Empties the buffer and keeps its memory.
    package func removeAll() { count = 0 }

    /// Drops the first bytes and moves the rest to the front.
    package func removeFirst(_ dropCount: Int) {
        precondition(dropCount >= 0 && dropCount <= count, "only bytes that are there can be dropped")
        count -= dropCount
        unsafe memmove(storage, storage + dropCount, count)
    }

    /// Makes room for `additional` bytes more.
    package func reserve(_ additional: Int) {
        guard count + additional > capacity else { return }
        let grown = max(count + additional, capacity * 2)
        let fresh = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 16)
        unsafe fresh.copyMemory(from: storage, byteCount: count)
        unsafe storage.deallocate()
        unsafe storage = fresh
        capacity = grown
    }

    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        reserve(bytes.count)
        unsafe (storage + count).copyMemory(from: base, byteCount: bytes.count)
        count += bytes.count
    }

    package func append(_ text: String) {
        var text = text
        text.withUTF8 { unsafe append(UnsafeRawBufferPointer($0)) }
    }

    package func append(byte: UInt8) {
        reserve(1)
        unsafe storage.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    package func append(littleEndian value: UInt32) {
        reserve(4)
        unsafe storage.storeBytes(of: value.littleEndian, toByteOffset: count, as: UInt32.self)
        count += 4
    }

    package func append(littleEndian value: UInt64) {
        reserve(8)
        unsafe storage.storeBytes(of: value.littleEndian, toByteOffset: count, as: UInt64.self)
        count += 8
    }

    package func appendZeros(_ zeroCount: Int) {
        reserve(zeroCount)
        unsafe memset(storage + count, 0, zeroCount)
        count += zeroCount
    }

    /// Lets `fill` write up to `room` bytes in place; it returns how many it wrote.
    package func appendInPlace<Failure: Error>(
        room: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) {
        reserve(room)
        let written = try unsafe fill(UnsafeMutableRawBufferPointer(start: storage + count, count: room))
        precondition(written >= 0 && written <= room, "more bytes were written than there was room for")
        count += written
    }
}
