import HeadraceCore
import HeadraceFormats
import Testing

/// What a decompressor made of a file.
struct Decompressed {
    var bytes: [UInt8] = []
    var error: HeadraceError?
}

/// Decompresses a file, `inputStep` bytes at a time into buffers of `outputStep`.
func decompress(
    _ bytes: [UInt8], _ codec: CodecKind, inputStep: Int, outputStep: Int,
    limits: FormatLimits = FormatLimits()
) -> Decompressed {
    var result = Decompressed()
    var output = [UInt8](repeating: 0xAA, count: outputStep)
    let decompressor: any StreamDecompressor
    do { decompressor = try codec.makeStreamDecompressor(limits: limits) } catch {
        result.error = error
        return result
    }
    var offset = 0
    do throws(HeadraceError) {
        while true {
            let input = Array(bytes[offset..<min(bytes.count, offset + inputStep)])
            var step = (consumed: 0, produced: 0)
            var failure: HeadraceError?
            input.withUnsafeBytes { source in
                output.withUnsafeMutableBytes { target in
                    do throws(HeadraceError) {
                        step = try decompressor.decompress(source, into: target)
                    } catch {
                        failure = error
                    }
                }
            }
            if let failure {
                result.bytes += output[..<decompressor.producedBeforeError]
                throw failure
            }
            result.bytes += output[..<step.produced]
            offset += step.consumed
            if step.consumed == 0, step.produced == 0 { break }
        }
        #expect(offset == bytes.count, "the decompressor stopped before the end of its input")
        try decompressor.finish()
    } catch { result.error = error }
    return result
}

/// Decompresses in several step sizes and demands that bytes and error agree.
func decompressEveryWay(_ bytes: [UInt8], _ codec: CodecKind, name: String = "") -> Decompressed {
    let whole = decompress(bytes, codec, inputStep: 1 << 20, outputStep: 1 << 20)
    for (input, output) in [(1000, 1 << 18), (64, 777), (100_000, 333)] where bytes.count < 1_000_000 {
        let other = decompress(bytes, codec, inputStep: input, outputStep: output)
        // Compared first: a failed expectation would work out the difference of two megabytes.
        let isSame = other.bytes == whole.bytes
        if whole.error == nil { #expect(isSame, "\(name): \(input) in, \(output) out") }
        #expect(other.error?.code == whole.error?.code, "\(name): \(input) in, \(output) out")
        #expect(other.error?.message == whole.error?.message, "\(name): \(input) in, \(output) out")
    }
    return whole
}

/// What the sniffer makes of a file's first bytes.
func sniff(_ bytes: [UInt8], name: String) -> Result<ShardContent, HeadraceError> {
    Array(bytes.prefix(ShardSniffer.headBytes)).withUnsafeBytes { head in
        do throws(HeadraceError) { return .success(try ShardSniffer.sniff(head: head, name: name)) } catch {
            return .failure(error)
        }
    }
}
