import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

@testable import Headrace

/// Arrays of NumPy as sources of `pack`, with NumPy as the judge.
@Suite struct ArraySourceTests {
    private func pack(
        _ tree: PackTree, _ names: [String], _ change: (inout PackOptions) -> Void = { _ in }
    ) throws -> PackResult {
        var options = tree.options("x.tar")
        options.overwrite = true
        options.workers = 3
        change(&options)
        return try Packer(try packSources(at: names.map { "\(tree.source)/\($0)" }), options: options).run()
    }

    /// Runs a script in the source folder that makes files there; false without NumPy.
    private func make(_ tree: PackTree, _ script: String) throws -> Bool {
        let head = "import os, sys, numpy as np\nos.chdir(sys.argv[1])\nnp.random.seed(1)\n"
        return try PackOracle.python(head + script, [tree.source], needing: ["numpy"]) != nil
    }

    /// Holds each sample against row `order[i]` of the arrays that the script in `expected` names.
    private func check(_ tree: PackTree, _ expected: String, count: Int) throws {
        let script = """
            import io, os, sys, numpy as np, webdataset as wds
            os.chdir(sys.argv[1])
            \(expected)
            count = 0
            for s in wds.WebDataset(["file:" + sys.argv[2]], shardshuffle=False):
                i = int(s["__key__"].rsplit("-", 1)[1])
                got = {k: v for k, v in s.items() if not k.startswith("__")}
                assert sorted(got) == sorted(arrays), (sorted(got), sorted(arrays))
                for name, data in got.items():
                    row = arrays[name][i]
                    if name.split(".")[-1] == "cls": assert data == str(int(row)).encode(), (name, data, row)
                    else:
                        a = np.load(io.BytesIO(data))
                        assert a.dtype.isnative and a.flags.c_contiguous and a.dtype == row.dtype.newbyteorder("=")
                        assert a.shape == row.shape and a.tobytes() == row.astype(a.dtype).tobytes(), (name, i)
                count += 1
            print(count)
            """
        let found = try PackOracle.python(
            script, [tree.source, "\(tree.output)/x.tar"], needing: ["numpy", "webdataset"])
        if let found { #expect(found == ["\(count)"]) }
    }

    @Test(arguments: ["C", "F"])
    func everyElementTypeAndOrder(order: String) throws {
        let tree = try PackTree()
        let types = "? b B h H i I q Q e f d F D >i2 >u4 >i8 >f2 >f4 >f8 >c8 >c16"
        let script = """
            for i, t in enumerate("\(types)".split()):
                a = np.random.randint(0, 120, (57, 3, 4, 5)).astype(t)
                np.save("a%d.npy" % i, np.asarray(a, order="\(order)"))
            """
        guard try make(tree, script) else { return }
        let names = (0..<types.split(separator: " ").count).map { "a\($0).npy" }
        let result = try pack(tree, names)
        #expect(result.summary.sampleCount == 57 && result.summary.fields == names.sorted())
        try check(tree, "arrays = {n: np.load(n) for n in os.listdir('.')}", count: 57)
    }

    /// Reading them one by one would read all over the file for each: they are gathered once.
    @Test func shuffledRowsInFortranOrderComeFromATemporaryFile() throws {
        let tree = try PackTree()
        let script = """
            a = np.random.randint(0, 1 << 30, (300, 50, 7)).astype(">i4")
            np.save("f.npy", np.asfortranarray(a)); np.save("c.npy", a)
            np.savez("f.npz", x=np.asfortranarray(a))
            """
        guard try make(tree, script) else { return }
        for (name, order, isSpooled) in [
            ("f.npy", PackOrder.shuffled(seed: 2), true), ("f.npz", .sorted, true),
            ("f.npy", .asFound, false),
            ("c.npy", .shuffled(seed: 2), false),
        ] {
            let summary = try pack(tree, [name]) { $0.order = order }.summary
            #expect(summary.spoolsSources == isSpooled, "\(name) \(order)")
            try check(tree, "arrays = {'npy': np.load('c.npy')}", count: 300)
        }
        func rows(_ inventory: PackInventory, _ order: [Int]) throws -> [[UInt8]] {
            let rows = try #require(inventory.columnArrays.first)
            return try order.map { row in
                var bytes = [UInt8](repeating: 0, count: rows.byteCount)
                try bytes.withUnsafeMutableBytes { try rows.read(item: row, offset: 0, into: $0) }
                return bytes
            }
        }
        let path = "\(tree.source)/f.npy"
        let order = (0..<300).map { $0 * 77 % 300 }
        var listed = PackInventory()
        try ArraySource([path]).addSamples(to: &listed)
        let expected = try rows(listed, order)
        var spooled = PackInventory()
        try ArraySource([path]).addSamples(to: &spooled)
        try spooled.columnArrays[0].spool(to: Spool(in: tree.root)) { false }
        // Whoever looks at the file once more finds it changed.
        truncate(path, 100)
        #expect(try rows(spooled, order) == expected)
        #expect(throws: HeadraceError.self) {
            var late = PackInventory()
            try ArraySource([path]).addSamples(to: &late)
        }
    }

    /// Rows of several blocks, cut by frames, in another order.
    @Test(arguments: ["C", "F"])
    func largeRowsInPieces(order: String) throws {
        let tree = try PackTree()
        let script = """
            a = np.random.randint(0, 1 << 30, (40, 100, 90)).astype(">i4")
            np.save("a.npy", np.asarray(a, order="\(order)"))
            """
        guard try make(tree, script) else { return }
        _ = try pack(tree, ["a.npy"]) { $0.order = .shuffled(seed: 1) }
        try check(tree, "arrays = {'npy': np.load('a.npy', mmap_mode='r')}", count: 40)
        let plain = try pack(tree, ["a.npy"])
        let cut = try pack(tree, ["a.npy"]) {
            $0.output = "\(tree.output)/x.tar.zst"
            $0.frameByteCount = 16_411
        }
        let unpacked = try PackOracle.run(
            ["sh", "-c", "zstd -dcq '\(tree.output)/x.tar.zst' | sha256sum"])
        if let unpacked { #expect(unpacked.output.hasPrefix(plain.shards[0].sha256)) }
        #expect(cut.summary.sampleCount == 40)
    }

    @Test(arguments: ["", ".gz", ".zst"])
    func arraysAreZipped(ending: String) throws {
        let tree = try PackTree()
        let script = """
            np.save("Left.npy", np.random.rand(3000, 7).astype("f4"))
            np.save("right.v1.npy", np.random.rand(3000).astype(">f8"))
            np.save("labels.npy", np.random.randint(-9, 9, 3000).astype(">i8"))
            np.save("big.npy", (np.random.rand(3000) * 1e19).astype("u8"))
            """
        guard try make(tree, script) else { return }
        let all = ["Left.npy", "right.v1.npy", "labels.npy", "big.npy"]
        for name in all { guard try TextSourceTests.compress(tree, name, ending) else { return } }
        _ = try pack(tree, ["Left.npy\(ending)", "labels.npy\(ending)"])
        try check(tree, "arrays = {'npy': np.load('Left.npy'), 'cls': np.load('labels.npy')}", count: 3000)
        let result = try pack(tree, all.map { $0 + ending })
        #expect(result.summary.fields == ["big.cls", "labels.cls", "left.npy", "right.v1.npy"])
        try check(
            tree,
            "arrays = {'left.npy': np.load('Left.npy'), 'right.v1.npy': np.load('right.v1.npy'), "
                + "'labels.cls': np.load('labels.npy'), 'big.cls': np.load('big.npy')}", count: 3000)
    }

    @Test(arguments: ["savez", "savez_compressed"], [PackOrder.asFound, .shuffled(seed: 2)])
    func arraysOfArchives(how: String, order: PackOrder) throws {
        let tree = try PackTree()
        let script = """
            np.\(how)("set.npz", image=np.random.randint(0, 9, (2000, 9, 9)).astype("u1"),
                mask=np.random.rand(2000, 4) > .5, y=np.random.randint(0, 9, 2000))
            """
        guard try make(tree, script) else { return }
        let result = try pack(tree, ["set.npz"]) { $0.order = order }
        #expect(result.summary.fields == ["cls", "image.npy", "mask.npy"])
        #expect(result.summary.spoolsSources == (how == "savez_compressed" && order != .asFound))
        try check(
            tree,
            "z = np.load('set.npz'); arrays = {'image.npy': z['image'], 'mask.npy': z['mask'], 'cls': z['y']}",
            count: 2000)
    }

    @Test func archivesOfFortranOrderNeedBeStored() throws {
        let tree = try PackTree()
        let script = """
            a = np.asfortranarray(np.random.rand(50, 3, 2))
            np.savez("s.npz", a=a); np.savez_compressed("c.npz", a=a)
            """
        guard try make(tree, script) else { return }
        _ = try pack(tree, ["s.npz"])
        try check(tree, "arrays = {'npy': np.load('s.npz')['a']}", count: 50)
        let error = #expect(throws: HeadraceError.self) { try pack(tree, ["c.npz"]) }
        #expect(error?.code == .unsupported && error?.message.contains("ascontiguousarray") == true)
    }

    @Test func damageAndDisagreementAreNamed() throws {
        let tree = try PackTree()
        let script = """
            np.save("a.npy", np.arange(600).reshape(100, 6)); np.save("b.npy", np.arange(99))
            np.save("scalar.npy", np.array(3)); np.save("nothing.npy", np.zeros((5, 0)))
            np.save("none.npy", np.zeros((0, 4))); np.save("text.npy", np.array(["a", "b"]))
            np.savez("s.npz", a=np.arange(600)); np.savez_compressed("c.npz", a=np.arange(600).reshape(100, 6))
            import zipfile; zipfile.ZipFile("odd.npz", "w").writestr("readme.txt", "x")
            zipfile.ZipFile("empty.npz", "w").close()
            """
        guard try make(tree, script) else { return }
        func refusal(_ names: [String]) throws -> HeadraceError? {
            try? FileManager.default.removeItem(atPath: tree.output)
            let error = #expect(throws: HeadraceError.self, "\(names)") { try pack(tree, names) }
            #expect(tree.outputNames() == [], "\(names)")
            return error
        }
        var error = try refusal(["a.npy", "b.npy"])
        #expect(error?.code == .shapeMismatch && error?.message.contains("99 rows, 'a' has 100") == true)
        for (name, code) in [
            ("scalar.npy", HeadraceError.Code.shapeMismatch), ("nothing.npy", .shapeMismatch),
            ("none.npy", .notFound), ("text.npy", .unsupported), ("odd.npz", .badValue),
            ("empty.npz", .notFound),
        ] {
            error = try refusal([name])
            #expect(error?.code == code, "\(name): \(error.map(\.description) ?? "")")
        }
        for (name, code) in [
            ("a.npy", HeadraceError.Code.truncated), ("s.npz", .truncated), ("c.npz", .truncated),
        ] {
            let whole = try tree.content("\(tree.source)/\(name)")
            for cut in [7, 40, whole.count / 2, whole.count - 1] {
                try Data(whole.prefix(cut)).write(to: URL(fileURLWithPath: "\(tree.source)/\(name)"))
                error = try refusal([name])
                #expect(error?.code == code, "\(name) cut at \(cut): \(error.map(\.description) ?? "")")
            }
            try Data(whole).write(to: URL(fileURLWithPath: "\(tree.source)/\(name)"))
        }
        try Data(tree.content("\(tree.source)/a.npy") + [0]).write(
            to: URL(fileURLWithPath: "\(tree.source)/long.npy"))
        #expect(try refusal(["long.npy"])?.code == .badValue)
        // Flipped bytes of payload: zip has checksums.
        for name in ["s.npz", "c.npz"] {
            var bytes = try tree.content("\(tree.source)/\(name)")
            bytes[bytes.count / 2] ^= 0x10
            try Data(bytes).write(to: URL(fileURLWithPath: "\(tree.source)/\(name)"))
            error = try refusal([name])
            #expect(error?.code.category == .data && error?.place.shard == "\(tree.source)/\(name)")
        }
    }
}
