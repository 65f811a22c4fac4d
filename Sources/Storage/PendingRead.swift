internal import Glibc
internal import HeadraceCore

/// One read on its way: what is still to come, and what each answer of the system means.
///
/// All readers share these rules, so that a short read, a truncated file or a refused direct read ends the same
/// way whichever engine did it.
@safe struct PendingRead {
    let request: ReadRequest
    let file: LocalFile
    /// Bytes of the range that the file, as it was at open, holds.
    let expected: Int
    private var done = 0
    private var fruitlessAttempts = 0

    /// Attempts in a row without a byte of progress before the read is given up.
    static let attemptLimit = 1000
    /// Bytes asked of the system at once: Linux reads no more than 2 GiB less a page in one call.
    static let callLimit = 1 << 30

    /// What became of a request before any system call.
    enum Start {
        case pending(PendingRead)
        case complete(Result<Int, HeadraceError>)
    }

    private init(_ request: ReadRequest, _ file: LocalFile, expected: Int) {
        self.request = request
        self.file = file
        self.expected = expected
    }

    static func start(_ request: ReadRequest) -> Start {
        guard let file = request.file as? LocalFile else {
            return .complete(
                .failure(
                    HeadraceError(
                        .usage, "this reader reads local files only", at: .init(shard: request.file.path))))
        }
        guard request.offset >= 0, request.length >= 0 else {
            return .complete(.failure(refusal(request, "offset and length must not be negative")))
        }
        let expected = max(0, min(request.length, file.size - min(request.offset, file.size)))
        if expected == 0 { return .complete(.success(0)) }
        let mask = file.alignment - 1
        let address = unsafe Int(bitPattern: request.destination)
        guard (request.offset | request.length | address) & mask == 0 else {
            return .complete(
                .failure(
                    refusal(
                        request, "direct reads need offset, length and address in multiples of \(mask + 1)")))
        }
        return .pending(PendingRead(request, file, expected: expected))
    }

    var offset: Int { request.offset + done }
    /// What to ask for next: for direct reads up to the aligned end, which lies behind the file's.
    var length: Int { min(request.length - done, Self.callLimit) }
    var destination: UnsafeMutableRawPointer { unsafe request.destination + done }

    /// Takes in one answer: bytes read, or a negative errno. Nil: ask again for the rest.
    mutating func advance(_ answer: Int) -> Result<Int, HeadraceError>? {
        if answer < 0 { return refused(Int32(clamping: -answer)) }
        if answer == 0 { return .failure(endedEarly()) }
        if done + answer >= expected { return .success(expected) }
        // The rest of a direct read must start at a boundary again.
        let boundary = (done + answer) & ~(file.alignment - 1)
        if boundary > done {
            done = boundary
            fruitlessAttempts = 0
            return nil
        }
        if let size = file.currentSize, size < request.offset + expected { return .failure(endedEarly()) }
        return again(or: EIO)
    }

    private mutating func refused(_ number: Int32) -> Result<Int, HeadraceError>? {
        if number == EINTR || number == EAGAIN { return again(or: number) }
        if number == EINVAL && file.isDirect {
            return .failure(LocalFile.directRefused(file.path, "the file system refused a direct read"))
        }
        return .failure(failure(number))
    }

    private mutating func again(or number: Int32) -> Result<Int, HeadraceError>? {
        fruitlessAttempts += 1
        return fruitlessAttempts < Self.attemptLimit ? nil : .failure(failure(number))
    }

    private func failure(_ number: Int32) -> HeadraceError {
        systemError(number, "reading \(request.length) bytes at offset \(request.offset) failed", file.path)
    }

    private func endedEarly() -> HeadraceError {
        let now = file.currentSize.map { "has \($0) now" } ?? "ends earlier now"
        return file.changed("it had \(file.size) bytes when it was opened and \(now)")
    }

    static func refusal(_ request: ReadRequest, _ why: String) -> HeadraceError {
        HeadraceError(
            .usage, "cannot read \(request.length) bytes at offset \(request.offset): \(why)",
            at: .init(shard: request.file.path))
    }
}

extension PendingRead {
    /// Reads to the end by the calling thread.
    mutating func runBlocking() -> Result<Int, HeadraceError> {
        while true {
            let count = unsafe pread(file.descriptor, destination, length, offset)
            if let result = advance(count >= 0 ? count : -Int(errno)) { return result }
        }
    }
}
