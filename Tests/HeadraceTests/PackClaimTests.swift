import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Sources that claim more samples than anybody can list, and names that mean two things.
@Suite struct PackClaimTests {
    /// A file of `head` and as many zeros as make `byteCount` bytes, which take no room on the disk.
    private func sparse(_ tree: PackTree, _ name: String, _ head: [UInt8], byteCount: Int) throws {
        try tree.put(name, head, isSample: false)
        #expect(truncate("\(tree.source)/\(name)", off_t(byteCount)) == 0)
    }

    private func npyHead(_ shape: String) -> [UInt8] {
        var header = Array("{'descr': '|u1', 'fortran_order': False, 'shape': \(shape), }".utf8)
        while (10 + header.count + 1) % 64 != 0 { header.append(0x20) }
        header.append(0x0A)
        return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.count), 0] + header
    }

    /// A limit on memory makes the test fail, rather than the machine, where the claim is believed.
    @Test func rowsOfOneByteAreRefusedByTheHeader() async throws {
        let tree = try PackTree()
        let rows = 60 << 30
        let head = npyHead("(\(rows), 1)")
        try sparse(tree, "big.npy", head, byteCount: head.count + rows)
        try sparse(tree, "cls.npy", npyHead("(\(rows),)"), byteCount: npyHead("(\(rows),)").count + rows)
        let count = UInt32(4_000_000_000)
        let big = withUnsafeBytes(of: count.bigEndian) { Array($0) }
        try sparse(tree, "t-images", [0, 0, 8, 2] + big + [0, 0, 0, 1], byteCount: 12 + Int(count))
        try sparse(tree, "t-labels", [0, 0, 8, 1] + big, byteCount: 8 + Int(count))
        let outcome = await #expect(processExitsWith: .success) {
            [source = tree.source as String, output = tree.output as String] in
            var limit = rlimit(rlim_cur: 8 << 30, rlim_max: 8 << 30)
            getrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
            limit.rlim_cur = 1 << 30
            setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
            for names in [["big.npy"], ["cls.npy"], ["t-images", "t-labels"]] {
                do {
                    _ = try Packer(
                        try packSources(at: names.map { "\(source)/\($0)" }),
                        options: PackOptions(output: "\(output)/x.tar")
                    ).plan()
                    exit(3)
                } catch let error as HeadraceError {
                    let message = error.message
                    guard error.code == .limitExceeded, error.place.shard == "\(source)/\(names[0])",
                        message.contains(names.count == 1 ? "64424509440" : "4000000000"),
                        message.contains("inventoryByteCount"), message.contains("--inventory-limit")
                    else { exit(4) }
                }
            }
            exit(0)
        }
        #expect(outcome != nil)
    }

    @Test(arguments: ["t.txt", "t.jsonl", "t.csv", "t.npy", "d", "t.tfrecord"], [false, true])
    func aListIsRefusedWhereItGetsTooLong(name: String, sorts: Bool) throws {
        let tree = try PackTree()
        let count = 5000
        switch name {
        case "t.txt": try tree.put(name, [UInt8](repeating: 0x0A, count: count))
        case "t.jsonl": try tree.put(name, String(repeating: "{}\n", count: count))
        case "t.csv": try tree.put(name, "a\n" + String(repeating: "1\n", count: count))
        case "t.npy": try tree.put(name, npyHead("(\(count),)") + [UInt8](repeating: 1, count: count))
        case "t.tfrecord":
            let record = OutputBuffer()
            TFRecordWriter.appendHead(dataByteCount: 0, to: record)
            TFRecordWriter.appendFoot(
                dataCRC32C: crc32c(UnsafeRawBufferPointer(start: nil, count: 0)), to: record)
            let bytes = Array(record.bytes)
            try tree.put(name, (0..<count).flatMap { _ in bytes })
        default: for number in 0..<1500 { try tree.put("d/s\(number)-with-a-long-name.bin", [1]) }
        }
        func plan(_ byteCount: Int?) throws -> PackSummary {
            var options = tree.options(name == "t.tfrecord" ? "x.tfrecord" : "x.tar")
            options.inventoryByteCount = byteCount
            options.order = sorts ? .sorted : .asFound
            options.onDefect = .skip(limit: .max)
            return try Packer(try packSources(at: ["\(tree.source)/\(name)"]), options: options).plan()
        }
        let limit = 200_000
        let error = #expect(throws: HeadraceError.self) { try plan(limit) }
        #expect(error?.code == .limitExceeded && error?.message.contains("inventoryByteCount") == true)
        #expect(error?.place.shard?.hasPrefix("\(tree.source)/\(name)") == true)
        #expect(try plan(nil).sampleCount == (name == "d" ? 1500 : count))
        #expect(try plan(100 * limit).sampleCount == (name == "d" ? 1500 : count))
    }

    /// A source of somebody else that asks nothing on the way does not fill the memory either.
    @Test func aSourceThatNeverAsksIsRefusedAtItsEnd() throws {
        struct Endless: PackSource {
            func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
                for number in 0..<50_000 {
                    inventory.add(key: "k\(number)", fields: [(name: "a", payload: .bytes([1]))])
                }
                #expect(inventory.samples.count < 2000 && inventory.fields.count < 2000)
            }
        }
        let tree = try PackTree()
        var options = tree.options("x.tar")
        options.inventoryByteCount = 100_000
        let error = #expect(throws: HeadraceError.self) { try Packer([Endless()], options: options).run() }
        #expect(error?.code == .limitExceeded)
        options.inventoryByteCount = 0
        #expect(throws: HeadraceError.self) { try Packer([Endless()], options: options) }
    }

    @Test func arraysWhoseNamesFoldToOneAreNamedBoth() throws {
        let tree = try PackTree()
        let script = """
            import os, sys, numpy as np
            os.chdir(sys.argv[1]); a = np.zeros((3, 2)); os.mkdir("d")
            np.savez("case.npz", a=a, A=a); np.savez("path.npz", **{"x/y": a, "x.y": a})
            np.save("b.npy", a); np.save("d/B.npy", a)
            np.savez("fine.npz", a=a, A=np.arange(3))
            """
        guard try PackOracle.python(script, [tree.source], needing: ["numpy"]) != nil else { return }
        for (names, words) in [
            ["case.npz"]: ["'a'", "'A'", "'a.npy'"], ["path.npz"]: ["'x/y'", "'x.y'", "'x.y.npy'"],
            ["b.npy", "d/B.npy"]: ["'b' of \(tree.source)/b.npy", "'B'", "'b.npy'"],
        ] {
            let sources = try packSources(at: names.map { "\(tree.source)/\($0)" })
            let packer = try Packer(sources, options: tree.options("x.tar"))
            let error = #expect(throws: HeadraceError.self) { try packer.plan() }
            #expect(error?.code == .duplicateField && error?.place.shard == "\(tree.source)/\(names.last!)")
            for word in words { #expect(error?.message.contains(word) == true, "\(error!)") }
            #expect(error?.message.contains("more") == false)
        }
        let fine = try packSources(at: ["\(tree.source)/fine.npz"])
        #expect(try Packer(fine, options: tree.options("x.tar")).plan().fields == ["cls", "npy"])
    }
}
