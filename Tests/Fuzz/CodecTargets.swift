import HeadraceCore
import HeadraceFormats

/// What came out of a decompressor.
private struct Output: Equatable {
    var bytes: [UInt8] = []
    var code: HeadraceError.Code?
}

/// Bytes of output at which a run is cut, so that a bomb costs the fuzzer no time.
private let outputLimit = 1 << 20

/// Decompresses with pieces of input and output of the given sizes.
private func decompress(_ input: [UInt8], _ codec: CodecKind, piece: Int, room: Int) -> Output {
    var limits = FormatLimits()
    limits.decompressionFloor = 1 << 16
    var output = Output()
    do throws(HeadraceError) {
        let decompressor = try codec.makeStreamDecompressor(limits: limits)
        var offset = 0
        var end = 0
        var buffer = [UInt8](repeating: 0, count: room)
        while output.bytes.count < outputLimit {
            end = min(input.count, max(end, offset + piece))
            // A copy of its own, exactly as large, for the address sanitizer.
            let given = Array(input[offset..<end])
            let step: (consumed: Int, produced: Int)
            do throws(HeadraceError) {
                let result = given.withUnsafeBytes { from in
                    buffer.withUnsafeMutableBytes { to -> Result<(Int, Int), HeadraceError> in
                        do throws(HeadraceError) {
                            let step = try decompressor.decompress(from, into: to)
                            return .success((step.consumed, step.produced))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                step = try result.get()
            } catch {
                require(decompressor.producedBeforeError <= room, "no more than there was room for")
                output.bytes += buffer[..<decompressor.producedBeforeError]
                throw error
            }
            require(step.consumed <= given.count && step.produced <= room, "no more than was given")
            output.bytes += buffer[..<step.produced]
            offset += step.consumed
            if step.consumed == 0, step.produced == 0 {
                if end == input.count { break }
                end = min(input.count, end + piece)
            }
        }
        if output.bytes.count < outputLimit { try decompressor.finish() }
    } catch {
        output.code = error.code
    }
    if output.bytes.count > outputLimit { output.bytes.removeSubrange(outputLimit...) }
    return output
}

/// What comes out must not depend on how the input arrives or how much room there is.
private func checkCodec(_ input: UnsafeRawBufferPointer, _ codec: CodecKind) {
    let bytes = Array(input.dropFirst())
    let whole = decompress(bytes, codec, piece: max(1, bytes.count), room: 1 << 16)
    let pieces = decompress(
        bytes, codec, piece: 1 + Int(input[0] & 15) * 5, room: 97 + Int(input[0] >> 4) * 331)
    if whole.bytes.count >= outputLimit || pieces.bytes.count >= outputLimit { return }
    // libzstd 1.5.4 takes a frame at once where it can, and is then more lenient about a block that decodes to nothing
    // (28 b5 2f fd 30 00 15 00 00 00 00); the bytes that come out are the same.
    let mayDiffer = codec == .zstd
    require(
        (whole.code == nil) == (pieces.code == nil) || mayDiffer,
        "\(codec): \(whole.code as Any) \(pieces.code as Any)")
    if whole.code == nil, pieces.code == nil {
        require(whole.bytes == pieces.bytes, "\(codec): the pieces must not matter")
    } else {
        // How much is out before the damage is seen may differ; what is out may not.
        let common = min(whole.bytes.count, pieces.bytes.count)
        require(whole.bytes[..<common] == pieces.bytes[..<common], "\(codec): what came before the damage")
    }
}

func fuzzLZ4(_ input: UnsafeRawBufferPointer) { checkCodec(input, .lz4) }
func fuzzZstd(_ input: UnsafeRawBufferPointer) { checkCodec(input, .zstd) }
func fuzzGzip(_ input: UnsafeRawBufferPointer) { checkCodec(input, .gzip) }
func fuzzZlib(_ input: UnsafeRawBufferPointer) { checkCodec(input, .zlib) }
