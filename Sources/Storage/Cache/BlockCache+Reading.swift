internal import Glibc
internal import HeadraceCore

/// A part of a read that lies in one block.
@safe struct BlockPart {
    var object: CachedObject
    var number: Int
    /// In the block.
    var offset: Int
    var count: Int
    var target: UnsafeMutableRawPointer

    /// In the object.
    var objectOffset: Int { number * object.blockBytes + offset }
}

extension BlockCache {
    /// Reads the range of a file, as far as the file goes. Blocks the calling thread, whose `origin` it is.
    func read(_ request: ReadRequest, of file: CachedFile, by origin: OriginAccess) -> Result<
        Int, HeadraceError
    > {
        guard request.offset >= 0, request.length >= 0 else {
            return .failure(PendingRead.refusal(request, "offset and length must not be negative"))
        }
        let expected = max(0, min(request.length, file.size - min(request.offset, file.size)))
        guard let object = file.object else {
            notePassed(.noVersion, expected)
            note { $0.missedBytes += expected }
            return unsafe origin.read(
                file.origin, offset: request.offset, length: request.length, into: request.destination)
        }
        var done = 0
        while done < expected {
            let place = request.offset + done
            let number = place / object.blockBytes
            let offset = place - number * object.blockBytes
            let part = unsafe BlockPart(
                object: object, number: number, offset: offset,
                count: min(object.blockBytes - offset, expected - done),
                target: request.destination + done)
            do throws(HeadraceError) { try read(part, of: file, by: origin, request) } catch {
                return .failure(error)
            }
            done += part.count
        }
        return .success(expected)
    }

    private func read(
        _ part: BlockPart, of file: CachedFile, by origin: OriginAccess, _ request: ReadRequest
    ) throws(HeadraceError) {
        for _ in 0..<CacheLimits.attempts {
            switch part.object.claim(part.number) {
            case .open(let handle):
                if try deliver(part, handle, request) {
                    part.object.noteHit(part.count)
                    origin.sources.cache += part.count
                    return
                }
            case .mine:
                defer { part.object.land(part.number) }
                // Found: around again, where it is open.
                if find(part) { continue }
                switch try bring(part, of: file, by: origin, request) {
                case .delivered: return
                case .served(let reason):
                    notePassed(reason, part.count)
                    return
                case .filled: continue
                case .refused(let reason):
                    notePassed(reason, part.count)
                    return try pass(part, file, origin)
                case .unread: return try pass(part, file, origin)
                }
            }
        }
        notePassed(.badBlock, part.count)
        try pass(part, file, origin)
    }

    /// Serves the part from its open block; false where that turns out to be bad, and is put away.
    private func deliver(
        _ part: BlockPart, _ handle: BlockHandle, _ request: ReadRequest
    ) throws(HeadraceError) -> Bool {
        guard let number = unsafe handle.read(at: part.offset, part.count, into: part.target) else {
            if settings.eviction == .lru { order.use(part.object.key, part.number) }
            return true
        }
        if number == EFAULT {
            throw systemError(
                number, "reading \(request.length) bytes at offset \(request.offset) failed",
                request.file.path)
        }
        part.object.drop(part.number)
        putAway(part.object.block(part.number), inode: handle.inode)
        return false
    }

    private func putAway(_ block: BlockFile, inode: UInt64) {
        folder.quarantine(block, inode: inode)
        order.forget(block.key, block.number)
        note { $0.badBlocks += 1 }
    }

    /// Opens the block if the directory has it, and checks it where that was not done since the machine was started.
    func find(_ part: BlockPart) -> Bool {
        let block = part.object.block(part.number)
        guard let open = folder.open(block) else { return false }
        let handle = BlockHandle(open)
        guard open.facts.size == block.fileBytes, isSound(block, open) else {
            putAway(block, inode: open.facts.inode)
            return false
        }
        keepOpen(handle, part.object, part.number)
        if settings.eviction != .noEvict { order.use(block.key, block.number) }
        return true
    }

    private func isSound(_ block: BlockFile, _ open: OpenBlock) -> Bool {
        if folder.isVerified(block, open.facts) { return true }
        let memory = unsafe staging.take()
        defer { unsafe staging.give(memory) }
        guard unsafe block.isSound(open.descriptor, scratch: memory) else { return false }
        folder.noteVerified(block, open.facts)
        return true
    }

    /// Serves the part from the origin, and keeps nothing.
    private func pass(
        _ part: BlockPart, _ file: CachedFile, _ origin: OriginAccess
    ) throws(HeadraceError) {
        let alignment = max(1, file.origin.alignment)
        let count: Int
        if alignment == 1 {
            count = try unsafe origin.read(
                file.origin, offset: part.objectOffset, length: part.count, into: part.target
            ).get()
        } else {
            count = try passAligned(part, file, origin, alignment)
        }
        note { $0.missedBytes += part.count }
        guard count >= part.count else {
            throw HeadraceError(
                .fileChanged, "the file ended early while it was read",
                at: .init(shard: file.path, offset: part.objectOffset + count))
        }
    }

    /// The same for an origin that is read in whole blocks of its own.
    private func passAligned(
        _ part: BlockPart, _ file: CachedFile, _ origin: OriginAccess, _ alignment: Int
    ) throws(HeadraceError) -> Int {
        let memory = unsafe staging.take()
        defer { unsafe staging.give(memory) }
        let start = part.objectOffset / alignment * alignment
        let end = (part.objectOffset + part.count + alignment - 1) / alignment * alignment
        let count = try unsafe origin.read(file.origin, offset: start, length: end - start, into: memory)
            .get()
        let lead = part.objectOffset - start
        let wanted = max(0, min(part.count, count - lead))
        unsafe part.target.copyMemory(from: memory + lead, byteCount: wanted)
        return wanted
    }
}
