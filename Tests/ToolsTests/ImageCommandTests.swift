import Foundation
import Testing

/// `headrace decode`, `headrace info --images` and `pipebench read --image` of the built tools.
struct ImageCommandTests {
    /// A shard of the nine photos that differ in nothing but their EXIF orientation; nil, and said aloud, without them.
    private func photos(_ scratch: Scratch) throws -> String? {
        guard let fixtures = FixtureFileTests.folder else {
            print(
                "SKIPPED: ImageCommandTests: no fixtures; set HEADRACE_FIXTURES to the folder with INDEX.tsv")
            return nil
        }
        let pack = try ToolProcess.headrace(
            "pack", "\(fixtures)/jpeg/exif-orientation-examples", "-o", scratch.path("x-%d.tar"), "-q")
        #expect(pack.status == 0, "\(pack.error)")
        return scratch.path("x-0.tar")
    }

    private func headrace(_ words: [String]) throws -> ToolProcess {
        try ToolProcess.run(ToolProcess.path("headrace"), words)
    }

    /// Header text and elements of an .npy file.
    private func npy(_ path: String) throws -> (header: String, elements: [UInt8]) {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(bytes.prefix(8) == [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0])
        let start = 10 + Int(bytes[8]) + Int(bytes[9]) << 8
        #expect(start % 64 == 0)
        return (String(decoding: bytes[10..<start], as: UTF8.self), Array(bytes[start...]))
    }

    @Test func decodeWritesWhatALoaderFeeds() throws {
        let scratch = try Scratch()
        guard let shard = try photos(scratch) else { return }
        let target = scratch.path("a.npy")
        func decode(_ at: Int, _ words: String...) throws -> (header: String, elements: [UInt8]) {
            let run = try headrace(
                ["decode", shard, "--at", "\(at)", "--field", "jpg", "--npy", target] + words)
            #expect(run.status == 0, "\(run.error)")
            return try npy(target)
        }
        let plain = try decode(1, "--transform", "resize:30x40", "--layout", "hwc")
        #expect(plain.header.contains("'descr': '|u1'") && plain.header.contains("'shape': (30, 40, 3,)"))
        #expect(plain.elements.count == 30 * 40 * 3)
        let floats = try decode(1, "--transform", "resize:30x40,normalize:0:1", "--dtype", "float32")
        #expect(floats.header.contains("'descr': '<f4'") && floats.header.contains("'shape': (3, 30, 40,)"))
        let red = floats.elements.withUnsafeBytes { $0.load(as: Float.self) }
        #expect(abs(red * 255 - Float(plain.elements[0])) < 0.01)
        // Another seed or epoch, another crop.
        let crops = try [[], ["--seed", "1"], ["--epoch", "1"]].map {
            let words = ["--transform", "random-resized-crop:16"] + $0
            let run = try headrace(
                ["decode", shard, "--at", "2", "--field", "jpg", "--npy", target] + words)
            #expect(run.status == 0, "\(run.error)")
            return try npy(target).elements
        }
        #expect(Set(crops).count == 3)
        for (words, status, said) in [
            (["--at", "0", "--transform", "rotate:3"], 64, "is no transform"),
            (["--at", "99"], 64, "no sample 99"),
            (["--at", "0", "--dtype", "bfloat16"], 64, "no bfloat16"),
            (["--at", "0", "--as", "int"], 1, "no integer"),
            (["--at", "0", "--as", "raw"], 64, "headrace cat"), ([], 64, "Say which sample"),
        ] {
            let run = try headrace(["decode", shard, "--field", "jpg", "--npy", target] + words)
            #expect(
                run.status == Int32(status) && run.error.contains(said),
                "\(words): \(run.status) \(run.error)")
        }
    }

    @Test func infoCountsImages() throws {
        let scratch = try Scratch()
        guard let shard = try photos(scratch) else { return }
        let lines = try ToolProcess.headrace("info", shard, "--images", "-j").objects
        let images = try #require(lines.last?["images"] as? [[String: Any]])
        #expect(images.count == 1 && images[0]["name"] as? String == "jpg")
        for (key, value) in [
            ("count", 9), ("jpeg", 9), ("png", 0), ("turned", 7), ("unreadable", 0), ("min_width", 1200),
            ("max_width", 1800), ("pixels", 9 * 1800 * 1200),
        ] {
            #expect(images[0][key] as? Int == value, "\(key)")
        }
        let text = try ToolProcess.headrace("info", shard, "--images")
        #expect(text.text.contains("9 JPEGs, 0 PNGs, 7 to be turned") && text.text.contains("1024 to 2047"))
        // A cut header is damage, and is told with its place.
        let cut = scratch.path("cut")
        try FileManager.default.createDirectory(atPath: cut, withIntermediateDirectories: true)
        try Data([0xff, 0xd8, 0xff, 0xe0]).write(to: URL(fileURLWithPath: cut + "/a.jpg"))
        #expect(try ToolProcess.headrace("pack", cut, "-o", scratch.path("cut-%d.tar"), "-q").status == 0)
        let damaged = try ToolProcess.headrace("info", scratch.path("cut-0.tar"), "--images")
        #expect(damaged.status == 1 && damaged.error.contains("field 'jpg'"), "\(damaged.error)")
    }

    /// An image that was cut is a good field of a good shard until somebody decodes it.
    @Test func verifyDecodesImages() throws {
        let scratch = try Scratch()
        guard let fixtures = FixtureFileTests.folder else {
            print(
                "SKIPPED: verifyDecodesImages: no fixtures; set HEADRACE_FIXTURES to the folder with INDEX.tsv"
            )
            return
        }
        let folder = scratch.path("in")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let photo = URL(fileURLWithPath: "\(fixtures)/jpeg/exif-orientation-examples/Landscape_1.jpg")
        let bytes = try Data(contentsOf: photo)
        try bytes.write(to: URL(fileURLWithPath: folder + "/good.jpg"))
        try bytes.prefix(bytes.count / 2).write(to: URL(fileURLWithPath: folder + "/half.jpg"))
        for shard in ["x-0.tar", "y-0.tfrecord"] {
            let pattern = scratch.path(shard.replacingOccurrences(of: "0", with: "%d"))
            #expect(try ToolProcess.headrace("pack", folder, "-o", pattern, "-q").status == 0)
            #expect(try ToolProcess.headrace("verify", scratch.path(shard)).status == 0)
            let run = try ToolProcess.headrace("verify", scratch.path(shard), "--images", "-j")
            let defects = try #require(try run.objects.first?["defects"] as? [[String: Any]])
            #expect(run.status == 1 && defects.count == 1, "\(run.text)")
            #expect(defects[0]["code"] as? String == "truncated" && defects[0]["key"] as? String == "half")
        }
    }

    @Test func pipebenchReadsImages() throws {
        let scratch = try Scratch()
        guard let shard = try photos(scratch) else { return }
        let words = [
            "--image", "jpg", "--transform", "random-resized-crop:32,flip,normalize:imagenet", "--batch", "4",
        ]
        let run = try ToolProcess.pipebench(["read", "-j", shard] + words)
        #expect(run.status == 0, "\(run.error)")
        #expect(try run.objects.last?["samples"] as? Int == 9)
        for (words, status, said) in [
            (["--transform", "flip"], 64, "name their field with --image"),
            (["--image", "jpg", "--layout", "nhwc"], 64, "write chw or hwc"),
            (["--image", "jpg", "--dtype", "int64"], 64, "images are read as"),
            (
                ["--image", "jpg", "--dtype", "uint8", "--transform", "resize:4,normalize:imagenet"], 64,
                "uint8 cannot hold"
            ),
            // Stored upright or turned, all nine are 1800 x 1200 when they are seen; two thirds are not as stored.
            (["--image", "jpg", "--batch", "2"], 0, ""),
            (
                ["--image", "jpg", "--batch", "2", "--transform", "as-stored"], 1,
                "images of varying sizes need"
            ),
        ] {
            let run = try ToolProcess.pipebench(["read", shard] + words)
            #expect(
                run.status == Int32(status) && (said.isEmpty || run.error.contains(said)),
                "\(words): \(run.status) \(run.error)")
        }
    }
}
