import Foundation

/// A CUDA driver without a device (`fake_cuda.c`), with a state of its own for each test.
public final class FakeDriver: @unchecked Sendable {
    // Sendable: nothing in it changes; the library has a lock.
    /// The library, for whoever takes a driver's path.
    public let path: String
    private let handle: UnsafeMutableRawPointer

    /// What ``count(_:)`` counts.
    public enum Counted: Int32 {
        case hostPieces, devicePieces, events, streams, contexts, modules, copiesQueued, copiesDone, hostBytes
        case deviceBytes
    }

    /// The driver could not be built or loaded.
    public struct Failure: Error, CustomStringConvertible {
        /// What the compiler or loader said.
        public let description: String
    }

    /// A fresh driver. The library is built once a process, and loaded anew for each.
    public init() throws {
        let built = try Self.built.get()
        path = built + ".\(UUID().uuidString).so"
        try FileManager.default.copyItem(atPath: built, toPath: path)
        guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            throw Failure(description: String(cString: dlerror()))
        }
        self.handle = handle
    }

    deinit { unlink(path) }

    private static let built = Result { try build() }

    private static func build() throws -> String {
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("fake_cuda.c").path
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("headrace-fake-cuda-\(getpid())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let library = folder + "/libcuda"
        let compiler = Process()
        compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        compiler.arguments = ["cc", "-O1", "-shared", "-fPIC", "-pthread", "-o", library, source]
        try compiler.run()
        compiler.waitUntilExit()
        guard compiler.terminationStatus == 0 else {
            throw Failure(description: "cc could not build \(source)")
        }
        return library
    }

    private func symbol<Function>(_ name: String, as type: Function.Type) -> Function {
        guard let address = dlsym(handle, name) else { fatalError("the fake driver has no \(name)") }
        return unsafeBitCast(address, to: type)
    }

    /// From now on no copy runs.
    public func holdCopies() { symbol("fake_hold_copies", as: (@convention(c) () -> Void).self)() }

    /// So many copies may run; nil: all.
    public func letCopiesGo(_ count: Int? = nil) {
        symbol("fake_let_copies_go", as: (@convention(c) (Int) -> Void).self)(count ?? -1)
    }

    /// Returns when so many copies were queued, run or not.
    public func awaitCopies(_ count: Int) {
        symbol("fake_await_copies", as: (@convention(c) (Int) -> Void).self)(count)
    }

    /// Makes a call answer `code` after `successes` times; `isSticky`: and every call after it.
    public func fail(_ call: String, after successes: Int = 0, code: Int32, isSticky: Bool = false) {
        let fail = symbol(
            "fake_fail", as: (@convention(c) (UnsafePointer<CChar>, Int, Int32, Int32) -> Void).self)
        fail(call, successes, code, isSticky ? 1 : 0)
    }

    /// So many devices are there.
    public func setDevices(_ count: Int32) {
        symbol("fake_set_devices", as: (@convention(c) (Int32) -> Void).self)(count)
    }

    /// What there is of something now.
    public func count(_ what: Counted) -> Int {
        symbol("fake_count", as: (@convention(c) (Int32) -> Int).self)(what.rawValue)
    }

    /// Contexts that the calling thread has not given back.
    public var currentContexts: Int {
        Int(symbol("fake_current", as: (@convention(c) () -> Int32).self)())
    }

    /// What happened, in order.
    public var log: [String] {
        guard let text = symbol("fake_log", as: (@convention(c) () -> UnsafeMutablePointer<CChar>?).self)()
        else { return [] }
        defer { free(text) }
        return String(cString: text).split(separator: "\n").map(String.init)
    }

    /// A stream such as a consumer makes; its handle.
    public func makeStream() -> UInt {
        symbol("fake_make_stream", as: (@convention(c) () -> UInt).self)()
    }

    /// Waits until a stream has done all that it was given.
    public func synchronize(_ stream: UInt) {
        symbol("fake_synchronize", as: (@convention(c) (UInt) -> Void).self)(stream)
    }

    /// Gives a consumer's stream work that lasts until ``finish(_:)``; what stands for it.
    public func startWork(on stream: UInt) -> UInt {
        let start = symbol("fake_start_work", as: (@convention(c) (UInt) -> UInt).self)
        return start(stream)
    }

    /// Ends work that was started.
    public func finish(_ work: UInt) {
        symbol("fake_finish_work", as: (@convention(c) (UInt) -> Void).self)(work)
    }
}
