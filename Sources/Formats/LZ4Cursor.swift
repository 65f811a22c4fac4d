/// How far one call has come in its input and its output.
@safe struct LZ4Cursor {
    let input: UnsafeRawBufferPointer
    let output: UnsafeMutableRawBufferPointer
    var consumed = 0
    var produced = 0

    init(input: UnsafeRawBufferPointer, output: UnsafeMutableRawBufferPointer) {
        unsafe self.input = input
        unsafe self.output = output
    }

    var rest: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(rebasing: input[consumed...]) }
    var room: UnsafeMutableRawBufferPointer {
        unsafe UnsafeMutableRawBufferPointer(rebasing: output[produced...])
    }
    /// What this call has put out so far.
    var written: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(rebasing: output[..<produced]) }
}

/// The last 64 KiB of a frame with linked blocks. They are looked for in the output of the current call first, and
/// copied only where a call ends, because its output may not be there any more when the next one comes.
struct LZ4History {
    private let kept = OutputBuffer()
    /// Bytes of the current call's output that are in `kept` already.
    private var absorbed = 0

    mutating func beginCall() { absorbed = 0 }

    /// Forgets the past: a new frame begins.
    func removeAll() { kept.removeAll() }

    /// The `count` bytes before the next block; `written` is the output of the current call up to there.
    mutating func last(_ count: Int, behind written: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        if count <= written.count - absorbed {
            return unsafe UnsafeRawBufferPointer(rebasing: written[(written.count - count)...])
        }
        unsafe absorb(written)
        return unsafe UnsafeRawBufferPointer(rebasing: kept.bytes.suffix(count))
    }

    mutating func endCall(_ written: UnsafeRawBufferPointer) {
        unsafe absorb(written)
    }

    private mutating func absorb(_ written: UnsafeRawBufferPointer) {
        let most = LZ4FrameHeader.historyByteCount
        let fresh = unsafe written[min(absorbed, written.count)...].suffix(most)
        absorbed = written.count
        if unsafe fresh.count + kept.count > 2 * most {
            // Keeps the part that is still near enough.
            let tail = unsafe Array(kept.bytes.suffix(most - min(most, fresh.count)))
            kept.removeAll()
            unsafe tail.withUnsafeBytes { unsafe kept.append($0) }
        }
        unsafe kept.append(UnsafeRawBufferPointer(rebasing: fresh))
    }
}
