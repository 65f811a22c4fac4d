internal import Glibc
internal import HeadraceCore

/// An object of which a cache has blocks.
package struct CachedObjectListing: Sendable {
    package var key: CacheKey
    /// What it was opened as, without credentials; nil where the note is lost.
    package var url: String?
    package var objectBytes: Int?
    /// Block numbers and sizes of their files.
    package var blocks: [(number: Int, fileBytes: Int)] = []

    package var fileBytes: Int { blocks.reduce(0) { $0 + $1.fileBytes } }
}

extension CacheFolder {
    /// Calls `body` with each block file: key, number, size, and when it was made.
    func forEachBlock(_ body: (CacheKey, Int, Int, Int) -> Void) {
        for (key, place) in objectPlaces() {
            for name in directoryNames(place) ?? [] {
                guard let number = BlockFile.number(ofName: name),
                    let facts = FileFacts(path: "\(place)/\(name)")
                else { continue }
                body(key, number, facts.size, facts.modificationNanoseconds)
            }
        }
    }

    private func objectPlaces() -> [(CacheKey, String)] {
        var places: [(CacheKey, String)] = []
        for group in (directoryNames("\(path)/objects") ?? []).sorted() {
            for name in (directoryNames("\(path)/objects/\(group)") ?? []).sorted() {
                guard let key = CacheKey(name: name), name.hasPrefix(group) else { continue }
                places.append((key, "\(path)/objects/\(group)/\(name)"))
            }
        }
        return places
    }

    /// Everything that the cache has, by object.
    package func listing() -> [CachedObjectListing] {
        objectPlaces().map { key, place in
            var object = CachedObjectListing(key: key)
            if let note = note(key) {
                object.url = note.url
                object.objectBytes = note.size
            }
            for name in (directoryNames(place) ?? []).sorted() {
                guard let number = BlockFile.number(ofName: name),
                    let facts = FileFacts(path: "\(place)/\(name)")
                else { continue }
                object.blocks.append((number, facts.size))
            }
            return object
        }
    }

    /// What the key stands for; nil where its note is lost or damaged.
    func note(_ key: CacheKey) -> ObjectNote? {
        guard let bytes = try? SmallFile.readBytes("\(objectPath(key))/\(Self.noteName)", limit: 1 << 16),
            let value = try? JSONValue(parsing: bytes), let url = value["url"]?.stringValue,
            let size = value["bytes"]?.intValue, let version = value["version"]?.stringValue,
            CacheKey(url: url, size: size, version: version) == key
        else { return nil }
        return ObjectNote(url: url, size: size, version: version)
    }

    /// Checks one block; a bad one is put away. Nil where it is gone.
    package func verify(
        _ object: CachedObjectListing, _ number: Int, scratch: UnsafeMutableRawPointer
    ) -> Bool? {
        let place = "\(objectPath(object.key))/\(BlockFile.name(number))"
        guard let facts = FileFacts(path: place) else { return nil }
        let length = max(0, facts.size - BlockFile.trailerBytes)
        let block = BlockFile(key: object.key, number: number, length: length)
        guard let open = open(block) else { return nil }
        defer { close(open.descriptor) }
        if facts.size > BlockFile.trailerBytes, facts.size <= blockBytes + BlockFile.trailerBytes,
            open.facts.size == facts.size, unsafe block.isSound(open.descriptor, scratch: scratch)
        {
            noteVerified(block, open.facts)
            return true
        }
        quarantine(block, inode: open.facts.inode)
        return false
    }

    /// Memory that ``verify(_:_:scratch:)`` needs.
    package var scratchBytes: Int { blockBytes + BlockFile.trailerBytes }

    /// Removes the blocks of an object, and its directory with them; returns the bytes of the block files.
    package func remove(_ object: CachedObjectListing) -> (blocks: Int, bytes: Int) {
        var removed = (blocks: 0, bytes: 0)
        for block in object.blocks {
            let file = BlockFile(key: object.key, number: block.number, length: 0)
            if case .success(true) = withLedger({ remove(file, &$0) }) {
                removed.blocks += 1
                removed.bytes += block.fileBytes
            }
        }
        let place = objectPath(object.key)
        guard (directoryNames(place) ?? []).allSatisfy({ BlockFile.number(ofName: $0) == nil }) else {
            return removed
        }
        unsafe unlink("\(place)/\(Self.noteName)")
        unsafe unlink("\(place)/\(Self.verifiedName)")
        // Where something else lies in it, it stays.
        unsafe rmdir(place)
        return removed
    }

    /// Bytes of an open file of the origin that the cache has, in the state that the file is in.
    package func heldBytes(of origin: any StorageFile) -> Int {
        guard let version = origin.cacheVersion else { return 0 }
        let key = CacheKey(url: CacheURL.canonical(origin.path), size: origin.size, version: version)
        return (directoryNames(objectPath(key)) ?? []).reduce(0) { sum, name in
            guard let number = BlockFile.number(ofName: name), number * blockBytes < origin.size else {
                return sum
            }
            return sum + min(blockBytes, origin.size - number * blockBytes)
        }
    }

    /// Whether the block is there, in whatever state.
    package func holds(_ object: CachedObjectListing, _ number: Int) -> Bool {
        FileFacts(path: "\(objectPath(object.key))/\(BlockFile.name(number))") != nil
    }

    /// Removes blocks, those first that were made first, until no more than `limit` bytes are used.
    package func removeOldest(to limit: Int) -> (blocks: Int, bytes: Int) {
        var found: [(block: BlockFile, bytes: Int, made: Int)] = []
        forEachBlock { key, number, size, made in
            found.append((BlockFile(key: key, number: number, length: 0), size, made))
        }
        found.sort { $0.made < $1.made }
        var removed = (blocks: 0, bytes: 0)
        for entry in found {
            let outcome = withLedger { book in
                book.used > limit ? remove(entry.block, &book) : nil
            }
            guard case .success(let isRemoved?) = outcome else { break }
            guard isRemoved else { continue }
            removed.blocks += 1
            removed.bytes += entry.bytes
        }
        return removed
    }

    /// Removes all blocks, those put away as well; what others have put into the directory stays. The cache itself is
    /// left, empty.
    package func clear() -> (blocks: Int, bytes: Int) {
        var removed = (blocks: 0, bytes: 0)
        for object in listing() {
            let part = remove(object)
            removed.blocks += part.blocks
            removed.bytes += part.bytes
        }
        for group in directoryNames("\(path)/objects") ?? [] where group.utf8.count == 2 {
            unsafe rmdir("\(path)/objects/\(group)")
        }
        for name in quarantined() { unsafe unlink("\(quarantinePath)/\(name)") }
        removeAbandoned()
        return removed
    }
}
