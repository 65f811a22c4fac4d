package import HeadraceCore

/// Decompresses an LZ4 file front to back: all its frames, linked or independent blocks, legacy frames too; skippable
/// ones are passed over wherever they stand.
///
/// A block that is here whole is decompressed straight to the output where that has room for any block of its frame;
/// else through a buffer. What comes out, and where an error strikes, does not depend on that.
@safe package final class LZ4StreamDecompressor: StreamDecompressor {
    private enum State {
        /// Before a magic number, or at the end.
        case boundary
        /// Behind magic, FLG and BD, which are in `opening`.
        case header(byteCount: Int)
        /// Behind the magic number of a frame to be skipped.
        case skippableSize
        case skipping(Int)
        case blockSize
        case block(LZ4Block.Size)
        case contentChecksum
    }

    private var state = State.boundary
    /// For places in errors: what was taken, and what was handed out.
    private var account: DecompressionGuard
    /// For the limit on the ratio: what was decoded, whether or not it has been handed out.
    private var volume: DecompressionGuard
    private var failure: HeadraceError?
    package private(set) var producedBeforeError = 0
    /// Where the header, block or checksum that comes next starts in the compressed file.
    private var unitStart = 0
    /// The part of it that has come so far, where it did not come at once.
    private let staged = OutputBuffer()
    /// The first bytes of a frame header, which its checksum covers.
    private var opening: [UInt8] = []
    private var hasFrame = false

    // The current frame.
    private var header = LZ4FrameHeader.legacy
    private var frameStart = 0
    private var decoded: UInt64 = 0
    private var checksum = XXH32()
    private var isLegacyOver = false

    /// A block that did not fit into the output, and how much of it was handed out.
    private let pending = OutputBuffer()
    private var handedOut = 0
    /// The last bytes of the frame before the current call's output.
    private var history = LZ4History()

    package init(limits: FormatLimits = FormatLimits()) {
        account = DecompressionGuard(limits)
        volume = DecompressionGuard(limits)
    }

    package var preferredRoom: Int {
        switch state {
        case .blockSize, .block: handedOut < pending.count ? 0 : min(header.blockByteCount, leftOver)
        default: 0
        }
    }

    /// What the frame's header leaves for its next blocks.
    private var leftOver: Int { header.contentByteCount.map { Int(clamping: $0 - min($0, decoded)) } ?? .max }

    package func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) -> (consumed: Int, produced: Int) {
        producedBeforeError = 0
        if let failure { throw failure }
        var cursor = unsafe LZ4Cursor(input: input, output: output)
        history.beginCall()
        do throws(HeadraceError) {
            while try step(&cursor) {}
        } catch {
            failure = error
            producedBeforeError = cursor.produced
            throw error
        }
        if header.areBlocksLinked { unsafe history.endCall(cursor.written) }
        return (cursor.consumed, cursor.produced)
    }

    package func preview(into output: UnsafeMutableRawBufferPointer) -> Int {
        guard case .block(let size) = state, handedOut == pending.count else { return 0 }
        guard !size.isStored else {
            let count = min(staged.count, size.byteCount, output.count)
            unsafe output.copyMemory(from: UnsafeRawBufferPointer(rebasing: staged.bytes[..<count]))
            return count
        }
        guard decoded == 0 || !header.areBlocksLinked else { return 0 }
        return unsafe LZ4Block.preview(staged.bytes, into: output)
    }

    package func finish() throws(HeadraceError) {
        if let failure { throw failure }
        guard hasFrame || unitStart > 0 || staged.count > 0 else {
            throw account.error(.truncated, "the file has no LZ4 frame")
        }
        switch state {
        case .boundary where staged.count == 0: return
        // A legacy frame has no end of its own.
        case .blockSize where header.isLegacy && staged.count == 0: return
        default:
            throw account.error(
                .truncated, "the file ends inside an LZ4 frame", at: unitStart + staged.count)
        }
    }

    // MARK: Steps

    /// Takes one step; false when input or output is used up.
    private func step(_ cursor: inout LZ4Cursor) throws(HeadraceError) -> Bool {
        if handedOut < pending.count { return handOut(&cursor) }
        switch state {
        case .boundary:
            return unsafe try take(4, &cursor) { (bytes) throws(HeadraceError) in
                unsafe try begin(bytes.bytes.littleEndian32(0))
            }
        case .skippableSize:
            return unsafe try take(4, &cursor) { (bytes) throws(HeadraceError) in
                unsafe state = .skipping(Int(bytes.bytes.littleEndian32(0)))
            }
        case .skipping(let left):
            return skip(left, &cursor)
        case .header(let byteCount):
            return unsafe try take(byteCount - opening.count, &cursor) { (bytes) throws(HeadraceError) in
                unsafe try readHeader(bytes, byteCount)
            }
        case .blockSize:
            return unsafe try take(4, &cursor) { (bytes) throws(HeadraceError) in
                unsafe try readBlockSize(bytes.bytes.littleEndian32(0))
            }
        case .block(let size):
            return try stepBlock(size, &cursor)
        case .contentChecksum:
            return unsafe try take(4, &cursor) { (bytes) throws(HeadraceError) in
                guard unsafe checksum.value == bytes.bytes.littleEndian32(0) else {
                    throw account.error(
                        .checksumMismatch, "the frame's content does not match its checksum", at: frameStart)
                }
                endFrame()
            }
        }
    }

    /// Gives `body` the next `count` bytes of the file once they are all there; false while they are not.
    private func take(
        _ count: Int, _ cursor: inout LZ4Cursor,
        _ body: (UnsafeRawBufferPointer) throws(HeadraceError) -> Void
    ) throws(HeadraceError) -> Bool {
        let rest = unsafe cursor.rest
        if staged.count + rest.count >= count { volume.add(consumed: count, produced: 0) }
        if staged.count == 0, rest.count >= count {
            cursor.consumed += count
            unsafe try body(UnsafeRawBufferPointer(rebasing: rest[..<count]))
        } else {
            let taken = min(count - staged.count, rest.count)
            unsafe staged.append(UnsafeRawBufferPointer(rebasing: rest[..<taken]))
            cursor.consumed += taken
            guard staged.count == count else { return false }
            unsafe try body(staged.bytes)
            staged.removeAll()
        }
        unitStart += count
        account.add(consumed: count, produced: 0)
        return true
    }

    private func skip(_ left: Int, _ cursor: inout LZ4Cursor) -> Bool {
        let taken = unsafe min(left, cursor.rest.count)
        cursor.consumed += taken
        unitStart += taken
        account.add(consumed: taken, produced: 0)
        guard taken == left else {
            state = .skipping(left - taken)
            return false
        }
        endFrame()
        return true
    }

    private func handOut(_ cursor: inout LZ4Cursor) -> Bool {
        let room = unsafe cursor.room
        let count = min(pending.count - handedOut, room.count)
        guard count > 0 else { return false }
        unsafe room.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: pending.bytes[handedOut..<handedOut + count]))
        handedOut += count
        cursor.produced += count
        account.add(consumed: 0, produced: count)
        return true
    }

    // MARK: Frames

    private func begin(_ magic: UInt32) throws(HeadraceError) {
        frameStart = unitStart
        if LZ4FrameHeader.isSkippable(magic) {
            state = .skippableSize
        } else if magic == LZ4FrameHeader.legacyMagic {
            beginFrame(.legacy)
        } else if magic == LZ4FrameHeader.magic {
            opening.removeAll(keepingCapacity: true)
            opening += unsafe withUnsafeBytes(of: magic.littleEndian) { unsafe Array($0) }
            state = .header(byteCount: LZ4FrameHeader.fixedByteCount)
        } else {
            throw account.error(
                .corruptStream,
                hasFrame ? "what follows the last frame is no LZ4 frame" : "this is no LZ4 frame",
                at: unitStart)
        }
    }

    private func readHeader(_ bytes: UnsafeRawBufferPointer, _ byteCount: Int) throws(HeadraceError) {
        unsafe opening.append(contentsOf: bytes)
        guard byteCount > LZ4FrameHeader.fixedByteCount else {
            state = .header(byteCount: LZ4FrameHeader.byteCount(opening[4]))
            return
        }
        do throws(LZ4FrameHeader.Refusal) {
            beginFrame(try unsafe LZ4FrameHeader(opening.span.bytes))
        } catch {
            throw account.error(error.code, error.message, at: frameStart)
        }
    }

    private func beginFrame(_ header: LZ4FrameHeader) {
        self.header = header
        decoded = 0
        checksum = XXH32()
        isLegacyOver = false
        history.removeAll()
        state = .blockSize
    }

    private func endFrame() {
        hasFrame = true
        state = .boundary
    }

    private func readBlockSize(_ word: UInt32) throws(HeadraceError) {
        if header.isLegacy { return try readLegacyBlockSize(word) }
        guard word != 0 else {
            if let stated = header.contentByteCount, stated != decoded {
                throw account.error(
                    .corruptStream, "the frame holds \(decoded) bytes, its header says \(stated)",
                    at: frameStart)
            }
            if header.hasContentChecksum { state = .contentChecksum } else { endFrame() }
            return
        }
        let size = LZ4Block.Size(word)
        do throws(LZ4FrameHeader.Refusal) { try LZ4Block.check(size, header) } catch {
            throw account.error(error.code, error.message, at: unitStart)
        }
        state = .block(size)
    }

    /// A legacy frame ends where the next one begins: no block of it can be as large as a magic number is.
    private func readLegacyBlockSize(_ word: UInt32) throws(HeadraceError) {
        let largest = LZ4FrameHeader.legacyBlockByteCount + LZ4FrameHeader.legacyBlockByteCount / 255 + 16
        if Int(word) > largest {
            hasFrame = true
            return try begin(word)
        }
        guard word > 0, !isLegacyOver else {
            throw account.error(
                .corruptStream,
                word == 0
                    ? "a block of the legacy frame is empty"
                    : "a block of the legacy frame that is not its last is short", at: unitStart)
        }
        var size = LZ4Block.Size(0)
        size.byteCount = Int(word)
        state = .block(size)
    }

    // MARK: Blocks

    private func stepBlock(_ size: LZ4Block.Size, _ cursor: inout LZ4Cursor) throws(HeadraceError) -> Bool {
        var output = cursor
        let stored = size.byteCount + (header.hasBlockChecksums ? 4 : 0)
        let isTaken = unsafe try take(stored, &cursor) { (bytes) throws(HeadraceError) in
            let block = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<size.byteCount])
            do throws(LZ4FrameHeader.Refusal) {
                try unsafe LZ4Block.check(
                    block, header.hasBlockChecksums ? bytes.bytes.littleEndian32(size.byteCount) : nil)
                unsafe try decode(block, isStored: size.isStored, &output)
            } catch {
                throw account.error(error.code, error.message, at: unitStart)
            }
            if let excess = volume.excess { throw excess }
            state = .blockSize
        }
        cursor.produced = output.produced
        return isTaken
    }

    /// Decompresses a block to the output, or where that may be too small, to `pending`.
    private func decode(
        _ block: UnsafeRawBufferPointer, isStored: Bool, _ cursor: inout LZ4Cursor
    ) throws(LZ4FrameHeader.Refusal) {
        pending.removeAll()
        handedOut = 0
        let room = unsafe cursor.room
        let most = isStored ? block.count : header.blockByteCount
        if room.count >= min(most, leftOver) {
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: room[..<min(room.count, most)])
            if let count = unsafe decode(block, isStored, into: target, cursor) {
                try unsafe accept(UnsafeRawBufferPointer(rebasing: target[..<count]))
                cursor.produced += count
                account.add(consumed: 0, produced: count)
                return
            }
            guard target.count < most else { throw Self.corrupt }
        }
        var isGood = false
        unsafe pending.appendInPlace(room: max(1, most)) { target in
            let count = unsafe decode(block, isStored, into: target, cursor)
            isGood = count != nil
            return count ?? 0
        }
        guard isGood else { throw Self.corrupt }
        do throws(LZ4FrameHeader.Refusal) { try unsafe accept(pending.bytes) } catch {
            pending.removeAll()
            throw error
        }
    }

    private static let corrupt = LZ4FrameHeader.Refusal(.corruptStream, "the LZ4 block is corrupt")

    private func decode(
        _ block: UnsafeRawBufferPointer, _ isStored: Bool, into target: UnsafeMutableRawBufferPointer,
        _ cursor: LZ4Cursor
    ) -> Int? {
        if isStored {
            guard block.count <= target.count else { return nil }
            unsafe target.copyMemory(from: block)
            return block.count
        }
        let available = Int(clamping: min(decoded, UInt64(LZ4FrameHeader.historyByteCount)))
        let past =
            header.areBlocksLinked
            ? unsafe history.last(available, behind: cursor.written)
            : unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        return unsafe LZ4Block.decompress(block, history: past, into: target)
    }

    /// Counts a block's content in, before any of it is handed out.
    private func accept(_ content: UnsafeRawBufferPointer) throws(LZ4FrameHeader.Refusal) {
        decoded += UInt64(content.count)
        volume.add(consumed: 0, produced: content.count)
        if let stated = header.contentByteCount, decoded > stated {
            throw .init(.corruptStream, "the frame holds more than the \(stated) bytes that its header says")
        }
        if header.isLegacy { isLegacyOver = content.count < header.blockByteCount }
        if header.hasContentChecksum { unsafe checksum.update(content) }
    }
}
