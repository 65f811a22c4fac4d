import Foundation
import Testing

/// Memory of a whole run, seen from outside: allocations counted by interposing `malloc`, and the most that was ever
/// resident.
@Suite struct PipebenchMemoryTests {
    /// Counts calls that allocate, and tells the number when the process ends.
    private static let counter = """
        #include <stdatomic.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        extern void *__libc_malloc(size_t);
        extern void *__libc_calloc(size_t, size_t);
        extern void *__libc_realloc(void *, size_t);
        extern void *__libc_memalign(size_t, size_t);
        static atomic_long count;
        void *malloc(size_t size) { atomic_fetch_add(&count, 1); return __libc_malloc(size); }
        void *calloc(size_t n, size_t size) { atomic_fetch_add(&count, 1); return __libc_calloc(n, size); }
        void *realloc(void *old, size_t size) { atomic_fetch_add(&count, 1); return __libc_realloc(old, size); }
        void *aligned_alloc(size_t align, size_t size) { atomic_fetch_add(&count, 1); return __libc_memalign(align, size); }
        int posix_memalign(void **to, size_t align, size_t size) {
            atomic_fetch_add(&count, 1);
            return (*to = __libc_memalign(align, size)) ? 0 : 12;
        }
        __attribute__((destructor)) static void tell(void) {
            char text[64];
            int length = snprintf(text, sizeof text, "\\nALLOCATIONS %ld\\n", (long)count);
            if (write(2, text, (size_t)length) < 0) _exit(1);
        }
        """

    /// Builds the interposer; nil, loudly, where there is no C compiler. One that cannot build it fails the test.
    private static func interposer(in scratch: Scratch) throws -> String? {
        let source = scratch.path("counter.c")
        try counter.write(toFile: source, atomically: true, encoding: .utf8)
        for compiler in ["/usr/bin/cc", "/usr/bin/clang", "/usr/bin/gcc"]
        where FileManager.default.isExecutableFile(atPath: compiler) {
            let library = scratch.path("counter.so")
            let build = try ToolProcess.run(compiler, ["-shared", "-fPIC", "-O1", "-o", library, source])
            try #require(build.status == 0, "\(compiler): \(build.error)")
            return library
        }
        print("SKIPPED: no C compiler for the counter of allocations")
        return nil
    }

    private static func allocations(_ library: String, epochs: Int, _ arguments: [String]) throws -> Int {
        let run = try ToolProcess.run(
            "/usr/bin/env",
            ["LD_PRELOAD=\(library)", ToolProcess.path("pipebench"), "read", "-q", "--epochs", "\(epochs)"]
                + arguments)
        try #require(run.status == 0, "\(run.error)")
        let line = run.error.split(separator: "\n").last { $0.hasPrefix("ALLOCATIONS ") }
        return try #require(line.flatMap { Int($0.dropFirst("ALLOCATIONS ".count)) })
    }

    /// What is read: an ending, the flags, and the allocations that each of these tiny samples may cost, about twice what
    /// it does. Optimized they are those of chunks, batches and epochs. Without optimization the compiler also leaves on
    /// the heap the room for a run of members, and the closures of every batch; and so many closures and generic calls
    /// of the Example parser and the shuffle that these are counted in optimized builds only (`swift test -c release`).
    private static var countedRuns: [(ending: String, flags: [String], bound: Double)] {
        #if DEBUG
            [
                ("tar", [], 0.4), ("tfrecord", [], 0.1),
                ("tar", ["--decode", "cls=int", "--decode", "txt=raw"], 0.6), ("tar.zst", [], 0.4),
            ]
        #else
            [
                ("tar", [], 0.02), ("tfrecord", [], 0.02),
                ("tar", ["--decode", "cls=int", "--decode", "txt=raw"], 0.04), ("tar.zst", [], 0.02),
                ("tfrecord", ["--example", "--decode", "cls=int"], 0.04),
                ("tar.zst", ["--shuffle", "buffer:2000", "--seed", "1"], 0.02),
            ]
        #endif
    }

    /// A warm loader allocates for a chunk or a batch, at most; one allocation a sample would show as 1.0.
    @Test(arguments: countedRuns)
    func aWarmLoaderAllocatesNothingForASample(ending: String, flags: [String], bound: Double) throws {
        let scratch = try Scratch()
        guard let library = try Self.interposer(in: scratch) else { return }
        let shard = try Self.tinyShard(ending, samples: 20_000, in: scratch)
        let options = flags + ["--batch", "512", "--memory", "128MiB", "--workers", "2", shard]
        let few = try Self.allocations(library, epochs: 4, options)
        let many = try Self.allocations(library, epochs: 12, options)
        let perSample = Double(many - few) / (8 * 20_000)
        #expect(perSample < bound, "\(perSample) allocations a sample: \(few) in 4 epochs, \(many) in 12")
    }

    /// Allocations that a MiB of samples of 100 KB may cost: a chunk, its ten samples and half a batch; about twice what
    /// they do.
    #if DEBUG
        private static let allocationsPerMebibyte = 64.0
    #else
        private static let allocationsPerMebibyte = 6.0
    #endif

    /// Of samples of 100 KB few fit a chunk (1 or 2 MiB here), so the bound is by size.
    @Test(arguments: ["tar", "tfrecord"])
    func largeSamplesAllocateForTheirChunks(ending: String) throws {
        let scratch = try Scratch()
        guard let library = try Self.interposer(in: scratch) else { return }
        let payload = Data((0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 31 >> 7) })
        for sample in 0..<200 { try scratch.write(payload, to: "src/\(sample).bin") }
        let shard = scratch.path("shards/s-00.\(ending)")
        let packed = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("shards/s-%02d.\(ending)"), "--shard-size", "1GiB"
        )
        try #require(packed.status == 0, "\(packed.error)")
        let options = ["--batch", "20", "--memory", "128MiB", "--workers", "2", shard]
        let few = try Self.allocations(library, epochs: 4, options)
        let many = try Self.allocations(library, epochs: 12, options)
        let perMebibyte = Double(many - few) / (8 * 200 * 100_000 / 1_048_576.0)
        #expect(
            perMebibyte < Self.allocationsPerMebibyte,
            "\(perMebibyte) allocations a MiB: \(few) in 4 epochs, \(many) in 12")
    }

    /// A text and a number a sample.
    private static func tinyShard(_ ending: String, samples: Int, in scratch: Scratch) throws -> String {
        var lines = "txt,cls\n"
        for number in 0..<samples { lines += "text of sample \(number),\(number % 10)\n" }
        let table = scratch.path("table.csv")
        try lines.write(toFile: table, atomically: true, encoding: .utf8)
        let packed = try ToolProcess.headrace(
            "pack", table, "-o", scratch.path("shards/s-%02d.\(ending)"), "--shard-size", "1GiB")
        try #require(packed.status == 0, "\(packed.error)")
        return scratch.path("shards/s-00.\(ending)")
    }

    /// What a process may need beside its budget: code, stacks, indexes, decompressors.
    private static let allowance = 64_000_000

    /// Whatever the size of samples and shards, however slow the consumer: what the pool holds, which is never more than
    /// the budget, and 64 MB.
    @Test(arguments: [
        ("tar", 3000, 1_000, "0ms"), ("tar", 200, 100_000, "2ms"), ("tar", 60, 1_000_000, "10ms"),
        ("tar", 12, 12_000_000, "0ms"), ("tar.zst", 12, 12_000_000, "20ms"),
        ("tfrecord", 60, 1_000_000, "10ms"),
        ("tar.lz4", 60, 1_000_000, "0ms"),
    ])
    func residentMemoryStaysWithinTheBudget(
        ending: String, samples: Int, byteCount: Int, step: String
    ) throws {
        let budget = 96
        let scratch = try Scratch()
        let block = Data((0..<65_521).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 31 >> 7) })
        for sample in 0..<samples {
            var payload = Data()
            while payload.count < byteCount { payload += block.dropFirst(sample) }
            try scratch.write(payload.prefix(byteCount), to: "src/\(sample).bin")
        }
        let packed = try ToolProcess.headrace(
            "pack", scratch.path("src"), "-o", scratch.path("shards/s-%02d.\(ending)"), "--shard-size",
            "\(samples * byteCount / 3 + 4096)")
        try #require(packed.status == 0, "\(packed.error)")
        var outsideThePool: [Int] = []
        for epochs in [2, 20] {
            var arguments = [
                "read", "--json", "--memory", "\(budget)MiB", "--batch", byteCount > 2_000_000 ? "1" : "4",
                "--lanes", "2", "--workers", "2", "--prefetch", "2", "--epochs", "\(epochs)",
            ]
            if step != "0ms" { arguments += ["--step-time", step] }
            let run = try ToolProcess.pipebench(arguments + [scratch.path("shards")])
            try #require(run.status == 0, "\(run.error)")
            let total = try #require(try run.objects.last)
            #expect(total["samples"] as? Int == epochs * samples)
            #expect(run.peakByteCount > 0)
            let pool = try #require(total["peak_bytes"] as? Int)
            #expect(pool > 0 && pool <= budget << 20)
            #expect(
                run.peakByteCount <= pool + Self.allowance,
                "\(run.peakByteCount >> 20) MiB resident in \(epochs) epochs, \(pool >> 20) of them by the pool"
            )
            outsideThePool.append(run.peakByteCount - pool)
        }
        // The pool fills as the threads happen to run; what is outside it must not grow with the epochs.
        #expect(outsideThePool[1] < outsideThePool[0] + 16_000_000, "\(outsideThePool)")
    }
}
