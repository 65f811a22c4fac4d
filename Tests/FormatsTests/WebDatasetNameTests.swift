import Foundation
import HeadraceCore
import HeadraceFormats
import Testing

/// Member names against the reference's own regular expressions, run by Python.
struct WebDatasetNameTests {
    private static let script = """
        import re, json
        names = json.load(open("names.json"))
        key = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
        meta = re.compile(r"__[^/]*__($|/)")
        out = []
        for name in names:
            base = name.rsplit("/", 1)[-1]
            found = key.match(name)
            if meta.match(name): out.append("meta")
            elif base.startswith("."): out.append("hidden")
            elif found: out.append("field " + str(len(found.group(1).encode())))
            else: out.append("unmatched")
        print(json.dumps(out))
        """

    @Test func agreesWithTheReferencesExpressions() throws {
        var generator = SplitMix64(11)
        let alphabet = Array("aB./_-\n ")
        var names = [
            "a\nv1.0/x.jpg", "v1.0/a\nb.jpg", "v1.0/a\nb/c.jpg", "a\nb/c.jpg", "____", "__a__/b.c", "__a__.b",
        ]
        for _ in 0..<4000 {
            let length = 1 + Int(generator.below(12))
            names.append(
                String((0..<length).map { _ in alphabet[Int(generator.below(UInt64(alphabet.count)))] }))
        }
        try Oracle.inTemporaryFolder { folder in
            try JSONEncoder().encode(names).write(to: folder.appendingPathComponent("names.json"))
            guard let output = try Oracle.python(Self.script, in: folder) else { return }
            let expected = try JSONDecoder().decode([String].self, from: Data(output))
            for (name, verdict) in zip(names, expected) {
                #expect(Self.describe(name) == verdict, "\(name.debugDescription)")
            }
        }
    }

    private static func describe(_ name: String) -> String {
        let bytes = Array(name.utf8)
        switch WebDatasetName(bytes.span.bytes) {
        case .field(let keyLength): return "field \(keyLength)"
        case .meta: return "meta"
        case .hidden: return "hidden"
        case .unmatched: return "unmatched"
        }
    }
}
