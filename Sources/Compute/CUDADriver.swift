internal import CHeadraceDevice
internal import Glibc
package import HeadraceCore

/// NVIDIA's driver library, opened at run time.
///
/// Sendable: the table is written before anyone sees it; the driver's calls may come from any thread.
@safe package final class CUDADriver: @unchecked Sendable {
    /// What the loader of libraries looks for.
    package static let libraryName = "libcuda.so.1"
    /// A variable with the path of the library to open in its place.
    package static let pathVariable = "HEADRACE_CUDA_DRIVER"

    let calls: UnsafeMutablePointer<headrace_cu_driver>

    /// Opens and initialises the driver; `path` nil: what the environment says, else the system's library.
    package init(path: String? = nil) throws(HeadraceError) {
        let path = path ?? Self.pathInEnvironment ?? Self.libraryName
        unsafe calls = .allocate(capacity: 1)
        var text = [CChar](repeating: 0, count: 512)
        let status = unsafe headrace_cu_open(path, calls, &text, text.count)
        let words = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard status >= 0 else {
            throw HeadraceError(
                .device,
                "CUDA devices need NVIDIA's driver, but its library \(path) cannot be opened; install the driver (a "
                    + "container must be started with NVIDIA's runtime), or place batches on the host",
                cause: words)
        }
        guard status == 0 else {
            throw HeadraceError(
                .device, "the CUDA driver \(path) is too old: it has no \(words); install a newer driver")
        }
        try check(unsafe calls.pointee.`init`(0), "cuInit", "initialising the CUDA driver \(path)")
    }

    deinit { unsafe calls.deallocate() }

    private static var pathInEnvironment: String? {
        guard let value = unsafe getenv(pathVariable) else { return nil }
        let path = unsafe String(cString: value)
        return path.isEmpty ? nil : path
    }

    /// Whether the system has the driver's library, for tests that need it.
    package static var isInstalled: Bool { (try? CUDADriver(path: libraryName)) != nil }

    /// Throws what a call refused, while doing `what`.
    func check(_ status: headrace_cu_result, _ call: String, _ what: String) throws(HeadraceError) {
        guard status != HEADRACE_CU_SUCCESS else { return }
        throw failure(status, call, what)
    }

    func failure(_ status: headrace_cu_result, _ call: String, _ what: String) -> HeadraceError {
        var name: UnsafePointer<CChar>?
        var words: UnsafePointer<CChar>?
        _ = unsafe calls.pointee.error_name(status, &name)
        _ = unsafe calls.pointee.error_string(status, &words)
        let symbol = unsafe name.map { unsafe String(cString: $0) } ?? "CUresult \(status)"
        let sentence = unsafe words.map { unsafe ": " + String(cString: $0) } ?? ""
        let advice =
            status == HEADRACE_CU_OUT_OF_MEMORY
            ? "; make batches smaller, or lower prefetch or heldBatches" : ""
        return HeadraceError(
            .device, "\(what) failed: \(call) says \(symbol)\(advice)", cause: "\(symbol)\(sentence)")
    }
}

/// One CUDA device with its primary context, which it shares with everything else in the process that uses the device.
///
/// Sendable: handles do not change; the driver guards what is behind them.
@safe package final class CUDADevice: @unchecked Sendable {
    let driver: CUDADriver
    let ordinal: Int
    private let device: headrace_cu_device
    private let context: headrace_cu_context?

    package init(_ ordinal: Int, driver: CUDADriver) throws(HeadraceError) {
        self.driver = driver
        self.ordinal = ordinal
        let calls = unsafe driver.calls
        var count: Int32 = 0
        let what = "opening cuda:\(ordinal)"
        try driver.check(unsafe calls.pointee.device_count(&count), "cuDeviceGetCount", what)
        guard ordinal >= 0, ordinal < count else {
            throw HeadraceError(
                .device,
                "there is no device cuda:\(ordinal): the CUDA driver knows \(count), counted from 0 "
                    + "(CUDA_VISIBLE_DEVICES hides others)")
        }
        var device: headrace_cu_device = 0
        try driver.check(unsafe calls.pointee.device(&device, Int32(ordinal)), "cuDeviceGet", what)
        self.device = device
        var context: headrace_cu_context?
        try driver.check(
            unsafe calls.pointee.retain_context(&context, device), "cuDevicePrimaryCtxRetain", what)
        unsafe self.context = context
    }

    deinit { _ = unsafe driver.calls.pointee.release_context(device) }

    /// Runs `body` with the device's context current on this thread, and leaves the thread as it was.
    func current<Result>(_ body: () throws(HeadraceError) -> Result) throws(HeadraceError) -> Result {
        try driver.check(
            unsafe driver.calls.pointee.push_context(context), "cuCtxPushCurrent", "using cuda:\(ordinal)")
        defer {
            var popped: headrace_cu_context?
            _ = unsafe driver.calls.pointee.pop_context(&popped)
        }
        return try body()
    }

    /// A call that must succeed.
    func call(_ name: String, _ what: String, _ status: headrace_cu_result) throws(HeadraceError) {
        try driver.check(status, name, "\(what) on cuda:\(ordinal)")
    }
}
