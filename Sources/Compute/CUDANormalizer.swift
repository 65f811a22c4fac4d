internal import CHeadraceDevice
internal import HeadraceCore

/// The device's side of a normalisation: the program, its coefficients, and memory for bytes that just arrived.
@safe final class CUDANormalizer {
    private let module: headrace_cu_module?
    private var functions: [ElementType: headrace_cu_function] = unsafe [:]
    /// Coefficients of each normalisation that was asked for: few, as columns are.
    private var coefficients: [DeviceNormalization: headrace_cu_address] = [:]
    private var scratch: headrace_cu_address = 0
    private var scratchBytes = 0

    /// With the device's context current, as for all that follows.
    init(_ device: CUDADevice) throws(HeadraceError) {
        var module: headrace_cu_module?
        let status = unsafe NormalizationKernel.text.withCString {
            unsafe device.driver.calls.pointee.module_load(&module, $0)
        }
        try device.call("cuModuleLoadData", "loading the program that normalises images", status)
        unsafe self.module = module
    }

    /// Memory for `byteCount` bytes of a batch; what was there before is lost.
    func bytes(
        _ byteCount: Int, _ device: CUDADevice, _ stream: headrace_cu_stream?
    ) throws(HeadraceError) -> headrace_cu_address {
        if byteCount <= scratchBytes { return scratch }
        if scratch != 0 {
            // What is queued still reads it.
            try device.call(
                "cuStreamSynchronize", "making room for larger batches",
                unsafe device.driver.calls.pointee.stream_synchronize(stream))
            _ = unsafe device.driver.calls.pointee.device_free(scratch)
            scratch = 0
            scratchBytes = 0
        }
        try device.call(
            "cuMemAlloc", "taking \(byteCount) bytes for images that are to be normalised",
            unsafe device.driver.calls.pointee.device_alloc(&scratch, byteCount))
        scratchBytes = byteCount
        return scratch
    }

    /// Queues the work behind what `stream` has.
    func launch(
        _ rows: NormalizedRows, from source: headrace_cu_address, to target: headrace_cu_address,
        _ stream: headrace_cu_stream?, _ device: CUDADevice
    ) throws(HeadraceError) {
        let normalization = rows.normalization
        var parameters = NormalizationKernel.Parameters(
            source: source, target: target,
            coefficients: try unsafe address(of: normalization, device, stream),
            total: UInt64(rows.count * rows.pixels), pixels: UInt64(rows.pixels),
            channels: UInt64(normalization.mean.count),
            channelsLast: normalization.channels == .last ? 1 : 0)
        let threads = NormalizationKernel.threadsPerBlock
        let blocks = (rows.count * rows.pixels + threads - 1) / threads
        guard blocks <= Int(Int32.max) else {
            throw HeadraceError(
                .unsupported,
                "a batch of \(rows.count) images of \(rows.pixels) pixels is too large to be normalised at once; make "
                    + "batches smaller")
        }
        let function = try unsafe function(normalization.elementType, device)
        let status = unsafe headrace_cu_launch(
            device.driver.calls, function, UInt32(blocks), UInt32(threads), stream, &parameters,
            NormalizationKernel.Parameters.offsets, NormalizationKernel.Parameters.offsets.count)
        try device.call("cuLaunchKernel", "normalising a batch", status)
    }

    private func function(
        _ type: ElementType, _ device: CUDADevice
    ) throws(HeadraceError) -> headrace_cu_function? {
        if let known = unsafe functions[type] { return unsafe known }
        var function: headrace_cu_function?
        let status = unsafe NormalizationKernel.name(type).withCString {
            unsafe device.driver.calls.pointee.module_function(&function, module, $0)
        }
        try device.call("cuModuleGetFunction", "finding the program for \(type.rawValue)", status)
        unsafe functions[type] = function
        return unsafe function
    }

    private func address(
        of normalization: DeviceNormalization, _ device: CUDADevice, _ stream: headrace_cu_stream?
    ) throws(HeadraceError) -> headrace_cu_address {
        if let known = coefficients[normalization] { return known }
        let numbers = normalization.coefficients
        let byteCount = numbers.count * MemoryLayout<Float>.stride
        var address: headrace_cu_address = 0
        try device.call(
            "cuMemAlloc", "taking memory for a normalisation",
            unsafe device.driver.calls.pointee.device_alloc(&address, byteCount))
        coefficients[normalization] = address
        let status = unsafe numbers.withUnsafeBytes {
            unsafe device.driver.calls.pointee.copy_to_device(address, $0.baseAddress, byteCount, stream)
        }
        try device.call("cuMemcpyHtoDAsync", "copying a normalisation", status)
        // The numbers are pageable and gone in a moment.
        try device.call(
            "cuStreamSynchronize", "copying a normalisation",
            unsafe device.driver.calls.pointee.stream_synchronize(stream))
        return address
    }

    func free(_ device: CUDADevice) {
        if scratch != 0 { _ = unsafe device.driver.calls.pointee.device_free(scratch) }
        for address in coefficients.values { _ = unsafe device.driver.calls.pointee.device_free(address) }
        _ = unsafe device.driver.calls.pointee.module_unload(module)
    }
}
