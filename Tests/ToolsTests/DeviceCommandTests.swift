import FakeCUDA
import Foundation
import Testing

/// `pipebench read --device`, over a driver without a device.
struct DeviceCommandTests {
    private func read(_ arguments: [String], driver: String) throws -> ToolProcess {
        try ToolProcess.run(
            "/usr/bin/env",
            ["HEADRACE_CUDA_DRIVER=\(driver)", ToolProcess.path("pipebench"), "read", "--json"] + arguments)
    }

    @Test func theDeviceIsGivenWhatTheHostIs() throws {
        let data = try PipebenchData("tar.zst", samples: 300)
        let fake = try FakeDriver()
        let fixed = [
            data.shards, "--digest", "--shuffle", "buffer:100", "--epochs", "2", "--batch", "32", "--decode",
            "bin=raw", "--decode", "txt=text",
        ]
        let host = try read(fixed + ["--device", "host"], driver: "/nowhere")
        try #require(host.status == 0, "\(host.error)")
        let device = try read(fixed + ["--device", "cuda:0"], driver: fake.path)
        try #require(device.status == 0, "\(device.error)")
        for name in ["digest", "set_digest", "samples", "bytes"] {
            let expected = try #require(try host.objects.last?[name])
            #expect("\(expected)" == "\(try #require(try device.objects.last?[name]))", "\(name)")
        }
    }

    @Test func columnsOfOneShapeGoThroughThePlacingThread() throws {
        let scratch = try Scratch()
        for index in 0..<200 { try scratch.write("\(index)".utf8, to: "src/\(index).cls") }
        let packed = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("s-%02d.tar"), "--shard-count", "70")
        try #require(packed.status == 0, "\(packed.error)")
        let fake = try FakeDriver()
        let arguments = [
            scratch.path("s-*.tar"), "--digest", "--integer", "cls", "--batch", "16", "--epochs", "3",
        ]
        let host = try read(arguments, driver: "/nowhere")
        let device = try read(arguments + ["--device", "cuda:0", "--workers", "2"], driver: fake.path)
        try #require(device.status == 0, "\(device.error)")
        #expect(
            "\(try #require(try host.objects.last?["digest"]))"
                == "\(try #require(try device.objects.last?["digest"]))")
    }

    @Test func aMachineWithoutADriverIsToldWhatIsMissing() throws {
        let data = try PipebenchData("tar", samples: 5)
        let run = try read([data.shards, "--device", "cuda:0"], driver: "/nowhere/libcuda.so.1")
        #expect(run.status == 2)
        #expect(run.error.contains("/nowhere/libcuda.so.1"))
        #expect(run.error.contains("NVIDIA's driver"))
    }

    @Test(arguments: ["gpu", "cuda", "cuda:x", "cuda:-1"]) func whatIsNoDeviceIsRefused(device: String) throws
    {
        let run = try ToolProcess.pipebench("read", "/nowhere", "--device", device)
        #expect(run.status == 64)
        #expect(run.error.contains("is no device; write host, or cuda:0"))
    }
}
