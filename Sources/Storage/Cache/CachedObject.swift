internal import Glibc
internal import HeadraceCore

/// An open block file; closed when the last reader lets go.
final class BlockHandle: Sendable {
    let descriptor: Int32
    let inode: UInt64

    init(_ open: OpenBlock) {
        descriptor = open.descriptor
        inode = open.facts.inode
    }

    deinit { close(descriptor) }

    /// Reads `count` bytes of the block; nil when they came, else the errno (0: the file is too short).
    func read(at offset: Int, _ count: Int, into target: UnsafeMutableRawPointer) -> Int32? {
        var done = 0
        while done < count {
            let part = unsafe pread(descriptor, target + done, count - done, offset + done)
            if part > 0 {
                done += part
            } else if part == 0 {
                return 0
            } else if errno != EINTR {
                return errno
            }
        }
        return nil
    }
}

/// One version of one object, as this process knows it: its open blocks, and who is bringing which.
// Sendable: `lock` guards what changes.
final class CachedObject: @unchecked Sendable {
    let key: CacheKey
    let note: CacheFolder.ObjectNote
    let blockBytes: Int

    private let lock = Lock()
    private let landed: Condition
    private var handles: [BlockHandle?] = []
    /// Blocks that a thread of this process is looking for or bringing.
    private var flights: Set<Int> = []
    /// Blocks that this process has brought from the origin.
    private var brought: Set<Int> = []
    private var hasFilled = false
    private var hits = 0
    private var hitBytes = 0

    init(_ key: CacheKey, _ note: CacheFolder.ObjectNote, blockBytes: Int) {
        self.key = key
        self.note = note
        self.blockBytes = blockBytes
        landed = Condition(lock)
    }

    /// The block as a file.
    func block(_ number: Int) -> BlockFile {
        BlockFile(key: key, number: number, length: min(blockBytes, note.size - number * blockBytes))
    }

    enum Claim {
        case open(BlockHandle)
        /// The caller must find the block or bring it, and then ``land(_:)``.
        case mine
    }

    /// The open block, or the duty to get it. Waits while another thread has that duty.
    func claim(_ number: Int) -> Claim {
        lock.withLock {
            while true {
                if number < handles.count, let handle = handles[number] { return .open(handle) }
                if flights.insert(number).inserted { return .mine }
                landed.wait()
            }
        }
    }

    func land(_ number: Int) {
        lock.withLock {
            flights.remove(number)
            landed.broadcast()
        }
    }

    /// The open block, if it is.
    func openHandle(_ number: Int) -> BlockHandle? {
        lock.lock()
        defer { lock.unlock() }
        return number < handles.count ? handles[number] : nil
    }

    func keep(_ handle: BlockHandle, _ number: Int) {
        lock.withLock {
            while handles.count <= number { handles.append(nil) }
            handles[number] = handle
        }
    }

    func drop(_ number: Int) {
        let dropped = lock.withLock { () -> BlockHandle? in
            guard number < handles.count else { return nil }
            defer { handles[number] = nil }
            return handles[number]
        }
        _ = dropped
    }

    func noteHit(_ count: Int) {
        lock.withLock {
            hits += 1
            hitBytes += count
        }
    }

    /// Notes that the block was brought from the origin; true where it had been before.
    func noteBrought(_ number: Int) -> Bool { lock.withLock { !brought.insert(number).inserted } }

    /// True once.
    func isFirstFill() -> Bool {
        lock.withLock {
            defer { hasFilled = true }
            return !hasFilled
        }
    }

    var hitCounts: (reads: Int, bytes: Int) { lock.withLock { (hits, hitBytes) } }
}
