import Glibc

/// Every target by its name.
nonisolated(unsafe) let fuzzTargets: [String: (UnsafeRawBufferPointer) -> Void] = [
    "tar": fuzzTar,
    "tfrecord": fuzzTFRecord,
    "sniffer": fuzzSniffer,
    "example": fuzzExample,
    "npy": fuzzNpy,
    "jpeg": fuzzImage,
    "png": fuzzImage,
    "croppable": fuzzCroppable,
    "intervals": fuzzIntervals,
    "json": fuzzJSON,
    "jsontext": fuzzJSONText,
    "zip": fuzzZip,
    "manifest": fuzzManifest,
    "index": fuzzIndex,
    "state": fuzzState,
    "dali": fuzzDALI,
    "zstd": fuzzZstd,
    "gzip": fuzzGzip,
    "zlib": fuzzZlib,
    "lz4": fuzzLZ4,
]

/// The target named by the environment.
nonisolated(unsafe) private let chosen: (UnsafeRawBufferPointer) -> Void = {
    let name = getenv("HEADRACE_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = fuzzTargets[name] else {
        print("HEADRACE_FUZZ_TARGET must be one of \(fuzzTargets.keys.sorted().joined(separator: " "))")
        exit(64)
    }
    return target
}()

/// What libFuzzer calls with each input.
///
/// The first byte of an input says how the rest is used (whether checksums are mended, how the bytes are cut), so
/// that the fuzzer chooses it too. Inputs are checked for more than crashes: every target holds the parser against
/// rules that must hold for any bytes, and traps where one does not.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    guard let data, size > 0 else { return 0 }
    chosen(UnsafeRawBufferPointer(start: data, count: size))
    return 0
}
