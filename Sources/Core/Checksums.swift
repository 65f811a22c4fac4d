internal import CHeadraceCore

/// CRC-32C (Castagnoli) of `bytes`; pass the CRC so far as `continuing` to go on with further bytes.
package func crc32c(_ bytes: UnsafeRawBufferPointer, continuing crc: UInt32 = 0) -> UInt32 {
    unsafe headrace_crc32c(crc, bytes.baseAddress, bytes.count)
}

/// The CRC-32C as TFRecord stores it: rotated and offset, so that a CRC over bytes that hold CRCs stays
/// useful.
package func maskedCRC32C(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    let crc = unsafe headrace_crc32c(0, bytes.baseAddress, bytes.count)
    return (crc >> 15 | crc << 17) &+ 0xa282_ead8
}

/// Where something stands: `offset` and `length` in bytes.
package struct ByteSpan: Sendable {
    package var offset: Int
    package var length: Int

    package init(offset: Int, length: Int) {
        self.offset = offset
        self.length = length
    }
}

/// Finds the payloads of the TFRecords at the front of `bytes` that are whole and whose two CRCs fit, as many as `spans`
/// has room for; returns how many. Ends before the first that is longer than `longest`, damaged or not whole: what
/// it is, the caller judges.
///
/// In C because the loop must be compiled for the CRC instruction: with one call for each checksum, a scan of small
/// records takes twice as long.
package func intactRecords(
    in bytes: UnsafeRawBufferPointer, longest: Int, into spans: UnsafeMutableBufferPointer<ByteSpan>
) -> Int {
    unsafe spans.withMemoryRebound(to: headrace_span.self) { spans in
        unsafe headrace_intact_records(
            bytes.baseAddress, bytes.count, UInt64(longest), spans.baseAddress, spans.count)
    }
}

/// XXH64 of `bytes`.
package func xxh64(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
    unsafe headrace_xxh64(bytes.baseAddress, bytes.count, seed)
}

/// XXH32, fed piece by piece.
package struct XXH32: Sendable {
    private var context = headrace_xxh32()

    /// A hash of nothing yet.
    package init(seed: UInt32 = 0) { unsafe headrace_xxh32_init(&context, seed) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        unsafe headrace_xxh32_update(&context, bytes.baseAddress, bytes.count)
    }

    /// The hash of what was fed so far; more may follow.
    package var value: UInt32 {
        var copy = context
        return unsafe headrace_xxh32_final(&copy)
    }
}

/// XXH32 of `bytes`.
package func xxh32(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
    var hash = XXH32(seed: seed)
    unsafe hash.update(bytes)
    return hash.value
}

/// Which instructions the checksums use on this CPU, and the plain path that any CPU can take.
package enum ChecksumPath {
    /// "sse4.2+pclmul", "sse4.2", "armv8-crc" or "table".
    package static var crc32c: String { unsafe String(cString: headrace_crc32c_path()) }

    /// "sha-ni" or "portable".
    package static var sha256: String { unsafe String(cString: headrace_sha256_path()) }

    /// CRC-32C by table, whatever the CPU offers: what the fast paths are held against.
    package static func tableCRC32C(_ bytes: UnsafeRawBufferPointer, continuing crc: UInt32 = 0) -> UInt32 {
        unsafe headrace_crc32c_portable(crc, bytes.baseAddress, bytes.count)
    }
}

/// SHA-256, fed piece by piece.
package struct SHA256: Sendable {
    private var context = headrace_sha256()
    private let isPortable: Bool

    /// A hash of nothing yet; `portable` keeps to plain C, for comparison with the CPU's instructions.
    package init(portable: Bool = false) {
        isPortable = portable
        unsafe headrace_sha256_init(&context)
    }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        if isPortable {
            unsafe headrace_sha256_update_portable(&context, bytes.baseAddress, bytes.count)
        } else {
            unsafe headrace_sha256_update(&context, bytes.baseAddress, bytes.count)
        }
    }

    package mutating func update(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    /// The 32 bytes of the digest. The value itself may be fed further: it is a copy that is finished.
    package func finalize() -> [UInt8] {
        var copy = context
        return unsafe [UInt8](unsafeUninitializedCapacity: 32) { digest, count in
            unsafe headrace_sha256_final(&copy, digest.baseAddress!)
            count = 32
        }
    }

    /// The digest in 64 hexadecimal digits.
    package func hexadecimal() -> String { finalize().hexadecimal }

    /// SHA-256 of `bytes` in one call, in hexadecimal.
    package static func hexadecimal(_ bytes: UnsafeRawBufferPointer) -> String {
        var hash = SHA256()
        unsafe hash.update(bytes)
        return hash.hexadecimal()
    }
}

/// MD5, fed piece by piece: proof against accidents alone, for formats that ask for it.
package struct MD5: Sendable {
    private var context = headrace_md5()

    /// A hash of nothing yet.
    package init() { unsafe headrace_md5_init(&context) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        unsafe headrace_md5_update(&context, bytes.baseAddress, bytes.count)
    }

    /// The digest so far in 32 hexadecimal digits; more may follow.
    package func hexadecimal() -> String {
        var copy = context
        return unsafe [UInt8](unsafeUninitializedCapacity: 16) { digest, count in
            unsafe headrace_md5_final(&copy, digest.baseAddress!)
            count = 16
        }.hexadecimal
    }
}

extension [UInt8] {
    /// Two lower-case hexadecimal digits a byte.
    package var hexadecimal: String {
        var digits: [UInt8] = []
        digits.reserveCapacity(2 * count)
        for byte in self {
            digits.append(hexadecimalDigit(byte >> 4))
            digits.append(hexadecimalDigit(byte & 15))
        }
        return String(decoding: digits, as: UTF8.self)
    }
}

extension UInt64 {
    /// Sixteen lower-case hexadecimal digits, as digests and seeds are printed.
    package var hexadecimal: String {
        let digits = stride(from: 60, through: 0, by: -4).map {
            hexadecimalDigit(UInt8(self >> UInt64($0) & 15))
        }
        return String(decoding: digits, as: UTF8.self)
    }

    /// Reads back exactly sixteen hexadecimal digits; nil for anything else.
    package init?(hexadecimal text: String) {
        guard text.utf8.count == 16,
            text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") })
        else { return nil }
        self.init(text, radix: 16)
    }
}

private func hexadecimalDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
}
