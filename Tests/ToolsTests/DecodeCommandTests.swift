import Foundation
import Testing

/// `--decode` and `--example` of the built tools.
struct DecodeCommandTests {
    private static let script = """
        import io, json, sys, tarfile, numpy as np
        t = tarfile.open(sys.argv[1], 'w', format=tarfile.USTAR_FORMAT)
        for n in range(50):
            z, a = io.BytesIO(), io.BytesIO()
            np.savez_compressed(z, image=np.full((4, 4), n, 'u1'), label=np.int64(n))
            np.save(a, np.arange(n, n + 6.0).reshape(2, 3))
            text = json.dumps({'meta': {'w': n, 'ok': n % 2 == 0}, 'score': n / 7}).encode()
            for field, data in [('cls', b'%d' % n), ('json', text), ('npy', a.getvalue()), ('npz', z.getvalue())]:
                i = tarfile.TarInfo('%03d.%s' % (n, field)); i.size = len(data)
                t.addfile(i, io.BytesIO(data))
        t.close()
        """

    @Test func everyKindOfField() throws {
        guard let python = findProgram("python3") else { return }
        let scratch = try Scratch()
        let path = scratch.path("x.tar")
        guard try ToolProcess.run(python, ["-c", Self.script, path]).status == 0 else {
            print("SKIPPED: everyKindOfField: Python lacks numpy")
            return
        }
        let all = [
            "cls=int", "json=json", "json=json:meta/w", "json=json:meta/ok:bool", "json=json:score:float64",
            "npy=npy",
            "npz=npz:image,label", "cls=text",
        ]
        // `cls` twice makes two columns of one name.
        let twice = try ToolProcess.pipebench(
            ["read", path] + all.flatMap { ["--decode", $0] })
        #expect(twice.status == 64 && twice.error.contains("two columns are called 'cls'"), "\(twice.error)")
        let run = try ToolProcess.pipebench(
            ["read", "-j", "--digest", path] + all.dropLast().flatMap { ["--decode", $0] })
        #expect(run.status == 0, "\(run.error)")
        let total = try #require(try run.objects.last)
        #expect(total["samples"] as? Int == 50)
        // Each field counts once, however many columns are made of it: as much as all fields together.
        let whole = try ToolProcess.total("--digest", path)
        #expect(total["bytes"] as? Int == whole["bytes"] as? Int)
        #expect(total["set_digest"] as? String == whole["set_digest"] as? String)
        for (decode, status, words) in [
            ("npz=npz", 1, "2 arrays, say which: image.npy, label.npy"), ("npz=npz:x", 1, "no array 'x'"),
            ("json=json:meta", 1, "is no integer"), ("json=json:meta/x", 1, "nothing at 'meta/x'"),
            ("json=json:score", 1, "is no integer"), ("npy=json", 1, "not valid JSON"),
            ("json=npy", 1, "no .npy array"),
            ("json=npz", 1, "no zip archive"),
            ("cls=int64", 1, "bytes values, and is to be decoded as int64"),
            ("cls=pickle", 64, "is no kind of field"), ("cls", 64, "names no field and kind"),
        ] {
            let run = try ToolProcess.pipebench(["read", path, "--decode", decode])
            #expect(
                run.status == Int32(status) && run.error.contains(words),
                "\(decode): \(run.status) \(run.error)")
        }
    }

    /// A file of another project: its context and its feature lists, of which some have one name.
    @Test func sequenceExamples() throws {
        guard let folder = FixtureFileTests.folder else {
            print(
                "SKIPPED: sequenceExamples: no fixtures; set HEADRACE_FIXTURES to the folder with INDEX.tsv")
            return
        }
        let path = "\(folder)/tfrecord/torchdata/sequence_example.tfrecord"
        let samples = try ToolProcess.headrace("ls", "-j", "--example", path).objects
        #expect(samples.count == 4)
        for sample in samples {
            let example = try #require(sample["example"] as? [String: [String: [String: Any]]])
            #expect(example["features"]?["x_int"]?["kind"] as? String == "int64_list")
            #expect(example["features"]?["x_int"]?["count"] as? Int == 10)
            let lists = try #require(example["feature_lists"])
            #expect(Set(lists.keys) == ["x_int_seq", "x_float_seq", "x_byte_seq"])
            #expect(lists["x_float_seq"]?["kind"] as? String == "float_list")
            let steps = try #require(lists["x_float_seq"]?["steps"] as? Int)
            #expect(steps >= 3 && lists["x_float_seq"]?["count"] as? Int == 10 * steps)
        }
        #expect(
            try ToolProcess.headrace("ls", "--example", path).lines[0].contains(
                "feature_lists/x_int_seq:int64_list[3 steps, 30]"))
        #expect(try ToolProcess.headrace("cat", path, "--at", "0", "--field", "x_byte").text == "test str")
        let run = try ToolProcess.pipebench(
            [
                "read", "-j", "--example", path, "--decode", "x_int=int64[10]", "--decode", "x_float=float[]",
                "--decode", "feature_lists/x_float_seq=float[,10]", "--decode",
                "feature_lists/x_int_seq=int64[,10]",
                "--decode", "feature_lists/x_byte_seq=bytes[]", "--decode", "x_byte=text", "--decode",
                "none=int64:7",
            ])
        #expect(run.status == 0, "\(run.error)")
        #expect(try run.objects.last?["samples"] as? Int == 4)
        let wrong = try ToolProcess.pipebench(["read", "--example", path, "--decode", "x_int=float[10]"])
        let steps = try ToolProcess.pipebench([
            "read", "--example", path, "--decode", "feature_lists/x_float_seq=float[3,10]",
        ])
        #expect(steps.error.contains("5 steps of 10 values each; shape (3, 10) is wanted"), "\(steps.error)")
        #expect(wrong.status == 1)
        #expect(wrong.error.contains("int64 values, and is to be decoded as float"), "\(wrong.error)")
        #expect(wrong.error.contains("field 'x_int'"))
    }
}
