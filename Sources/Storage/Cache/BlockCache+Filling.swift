internal import Glibc
package import HeadraceCore

/// What became of a block that was to be in a cache.
package enum BlockTouch: Sendable {
    case held
    case brought
    case passed(PassThrough)
}

extension BlockCache {
    /// Brings the block if the cache lacks it. Throws what the origin throws.
    package func touch(
        _ file: CachedFile, block number: Int, by reader: CachedReader
    ) throws(HeadraceError) -> BlockTouch {
        guard let object = file.object else { return .passed(.noVersion) }
        let nothing = UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1)
        defer { unsafe nothing.deallocate() }
        let part = unsafe BlockPart(object: object, number: number, offset: 0, count: 0, target: nothing)
        let request = unsafe ReadRequest(
            ticket: 0, file: file, offset: part.objectOffset, length: 0, destination: nothing)
        for _ in 0..<CacheLimits.attempts {
            guard case .mine = object.claim(number) else { return .held }
            defer { object.land(number) }
            if find(part) { return .held }
            switch try bring(part, of: file, by: reader.origin, request) {
            case .delivered: return .brought
            case .filled: continue
            case .served(let reason), .refused(let reason): return .passed(reason)
            case .unread: try readAgain(object.block(number), file, reader.origin)
            }
        }
        return .passed(.badBlock)
    }

    /// Throws why the origin does not give the block.
    private func readAgain(
        _ block: BlockFile, _ file: CachedFile, _ origin: OriginAccess
    ) throws(HeadraceError) {
        let memory = unsafe staging.take()
        defer { unsafe staging.give(memory) }
        _ = try unsafe origin.read(
            file.origin, offset: block.number * folder.blockBytes, length: stagedLength(block, file),
            into: memory
        ).get()
    }

    /// Bytes to ask the origin for: whole blocks of its own where it is read directly.
    private func stagedLength(_ block: BlockFile, _ file: CachedFile) -> Int {
        let alignment = max(1, file.origin.alignment)
        return (block.length + alignment - 1) / alignment * alignment
    }

    /// What became of the attempt to bring a block.
    enum Bringing {
        /// The reader has its bytes, and the cache the block.
        case delivered
        /// The reader has its bytes; the block could not be kept.
        case served(PassThrough)
        /// Another process has brought it.
        case filled
        case refused(PassThrough)
        /// The origin did not give the whole block.
        case unread
    }

    /// Brings the block of `part` from the origin, keeps it, and serves the part from it. Room and right to fill it are
    /// secured before a byte is read.
    func bring(
        _ part: BlockPart, of file: CachedFile, by origin: OriginAccess, _ request: ReadRequest
    ) throws(HeadraceError) -> Bringing {
        if let reason = knownRefusal() { return .refused(reason) }
        let block = part.object.block(part.number)
        guard mayWrite(block.fileBytes) else { return .refused(.writeRate) }
        let filling: Filling
        switch folder.claim(block) {
        case .mine(let claimed): filling = claimed
        case .filled: return .filled
        case .refused(let reason):
            noteRefusal(reason)
            return .refused(reason)
        }
        let refused = folder.secure(
            filling, limit: settings.limit, freeSpaceFloor: settings.freeSpaceFloor
        ) { book in makeRoom(for: block.key, &book) }
        if let refused {
            folder.abandon(filling)
            noteRefusal(refused)
            let isFull = refused == .limit && settings.eviction == .clairvoyant
            return .refused(isFull && block.fileBytes <= settings.limit ? .notWorthwhile : refused)
        }
        let memory = unsafe staging.take()
        defer { unsafe staging.give(memory) }
        guard unsafe readWhole(block, file, origin, into: memory) else {
            folder.abandon(filling)
            return .unread
        }
        noteBrought(part)
        if let reason = unsafe keep(filling, file, memory) {
            // The bytes are there and good, whatever became of the block.
            folder.abandon(filling)
            noteRefusal(reason)
            unsafe part.target.copyMemory(from: memory + part.offset, byteCount: part.count)
            return .served(reason)
        }
        return try finish(filling, part, request)
    }

    private func readWhole(
        _ block: BlockFile, _ file: CachedFile, _ origin: OriginAccess, into memory: UnsafeMutableRawPointer
    ) -> Bool {
        let result = unsafe origin.read(
            file.origin, offset: block.number * folder.blockBytes, length: stagedLength(block, file),
            into: memory)
        if case .success(let count) = result { return count >= block.length }
        return false
    }

    private func noteBrought(_ part: BlockPart) {
        let length = part.object.block(part.number).length
        let isRepeated = part.object.noteBrought(part.number)
        note {
            $0.missedBytes += part.count
            if isRepeated { $0.refetchedBytes += length }
        }
    }

    /// Writes the block and gives it its name; the reason where that fails.
    private func keep(
        _ filling: Filling, _ file: CachedFile, _ memory: UnsafeMutableRawPointer
    ) -> PassThrough? {
        // Bytes of another version must not be kept under the name of this one. Origins that check every answer
        // themselves have no version of this kind, and are not asked again.
        if file.origin.version != nil, (try? file.origin.checkUnchanged()) == nil { return .originChanged }
        unsafe filling.block.seal(memory)
        do throws(HeadraceError) {
            let bytes = unsafe UnsafeRawBufferPointer(start: memory, count: filling.block.fileBytes)
            try unsafe writeFully(bytes, to: filling.descriptor, at: 0, folder.path)
        } catch {
            return error.cause?.contains("ENOSPC") == true ? .diskFull : .writeFailed
        }
        return folder.commit(filling)
    }

    private func finish(
        _ filling: Filling, _ part: BlockPart, _ request: ReadRequest
    ) throws(HeadraceError) -> Bringing {
        note {
            $0.fills += 1
            $0.filledBytes += filling.block.length
        }
        if part.object.isFirstFill() { folder.keepNote(part.object.key, part.object.note) }
        guard let facts = FileFacts(filling.descriptor) else {
            close(filling.descriptor)
            return .filled
        }
        let handle = BlockHandle(OpenBlock(descriptor: filling.descriptor, facts: facts))
        // What was just written is what was checksummed.
        folder.noteVerified(filling.block, facts)
        keepOpen(handle, part.object, part.number)
        if settings.eviction != .noEvict { order.use(filling.block.key, filling.block.number) }
        guard let number = unsafe handle.read(at: part.offset, part.count, into: part.target) else {
            return .delivered
        }
        guard number == EFAULT else { return .filled }
        throw systemError(
            number, "reading \(request.length) bytes at offset \(request.offset) failed", request.file.path)
    }
}
