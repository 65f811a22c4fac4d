import Testing

/// Each rule on sources that break it, and on ones that only look as if they did.
@Suite struct RuleTests {
    private func source(_ path: String, _ text: String) -> Source { Source(path, text) }

    @Test func siblingImports() {
        let bad = [
            source("Sources/Storage/A.swift", "package import HeadraceFormats"),
            source("Sources/Formats/A.swift", "import Headrace"),
            source("Sources/Tiers/A.swift", "@testable import struct HeadraceDecode.X"),
            source("Sources/Core/A.swift", "internal import HeadraceStorage"),
        ]
        #expect(Rules.siblingImports(bad).count == 4)
        let good = [
            source("Sources/Storage/A.swift", "package import HeadraceCore\ninternal import Glibc"),
            source(
                "Sources/Storage/B.swift", "// import HeadraceFormats\nlet s = \"import HeadraceFormats\""),
            source("Sources/Headrace/A.swift", "import HeadraceFormats\nimport HeadraceStorage"),
        ]
        #expect(Rules.siblingImports(good) == [])
    }

    @Test func cImports() {
        let one = source("Sources/Formats/A.swift", "internal import CHeadraceZstd")
        let same = source("Sources/Formats/B.swift", "internal import CHeadraceZstd")
        let other = source("Sources/Storage/A.swift", "internal import CHeadraceZstd")
        #expect(Rules.cImports([one, same], modules: ["CHeadraceZstd"]) == [])
        #expect(Rules.cImports([one, other], modules: ["CHeadraceZstd"]).count == 1)
        #expect(Rules.cImports([one], modules: ["CHeadraceZlib"]).count == 1)
        let manifest = source(
            "Package.swift", ".target(name: \"CHeadraceRing\", path: \"Sources/CURing\", cSettings: c)")
        #expect(Rules.cModules(manifest) == ["CHeadraceRing"])
    }

    @Test func longFiles() {
        let line = "let a = 1\n"
        #expect(Rules.longFiles([source("Sources/A/A.swift", String(repeating: line, count: 500))]) == [])
        #expect(
            Rules.longFiles([source("Sources/A/A.swift", String(repeating: line, count: 501))]).count == 1)
    }

    @Test func longFunctions() {
        func body(_ count: Int) -> String { String(repeating: "    work()\n", count: count) }
        let heads = [
            "func a() {\n",
            "package func a<T>(\n    _ b: [Int] = { [1] }()\n) throws(E) -> T\nwhere T: P {\n",
            "init?(a: Int) {\n", "deinit {\n", "var a: Int {\n", "static func == (a: A, b: A) -> Bool {\n",
            "subscript(a: Int) -> Int {\n",
        ]
        for head in heads {
            let lines = head.split(separator: "\n").count + 1
            let fits = source("Sources/A/A.swift", head + body(70 - lines) + "}\n")
            #expect(functionSpans(in: fits).map(\.lineCount).max() == 70, "\(head)")
            #expect(Rules.longFunctions([fits]) == [])
            let long = source("Sources/A/A.swift", head + body(71 - lines) + "}\n")
            #expect(Rules.longFunctions([long]).count == 1, "\(head)")
        }
        let c = "static int a(int b,\n    int c) {\n" + body(68) + "}\nint b(void) {\n    return '}';\n}\n"
        let spans = functionSpans(in: source("Sources/A/a.c", c))
        #expect(spans.map(\.name) == ["a", "b"])
        #expect(spans.map(\.lineCount) == [71, 3])
        #expect(spans.map(\.firstLine) == [1, 72])
        // Requirements have no body, and the class after them is no function.
        let requirement =
            "protocol P {\n    func a()\n    var b: Int { get }\n    init(c: Int)\n}\nclass C {\n" + body(80)
            + "}\n"
        #expect(Rules.longFunctions([source("Sources/A/A.swift", requirement)]) == [])
        // Braces in strings and comments do not count, code in interpolations does.
        let text =
            "func a() {\n    b(\"{ \\(c.map { \"}\" }) {\") // {\n    /* { /* { */ */\n    d(#\"\"{\"#)\n}\n"
        #expect(functionSpans(in: source("Sources/A/A.swift", text)).map(\.lineCount) == [5])
    }

    @Test func undocumentedPublicSymbols() {
        let bad = """
            public struct A {
                // Plain.
                public var b = 1
                public private(set) var c = 1
                /// Documented.

                public static func d() {}
                @inlinable public func e() {}
                nonisolated public func f() {}
                open class func o() {}
            }
            /// A protocol.
            public protocol P {
                func g()
                var h: Int { get }
            }
            """
        #expect(Rules.undocumentedPublicSymbols([source("Sources/Core/A.swift", bad)]).count == 9)
        let good = """
            public import HeadraceCore
            /// Documented.
            @frozen
            @available(*, deprecated)
            public struct A {
                /// Documented, with more to say.
                // Why.
                @inlinable public func e() { let public = 1 }
                let text = "public func f()"
                // public func g()
            }
            /// A protocol.
            public protocol P {
                /// Documented.
                func g()
            }
            struct Q { var h = 1 }
            package func i() {}
            private func open(j: Int) { open(1) }
            """
        #expect(Rules.undocumentedPublicSymbols([source("Sources/Core/A.swift", good)]) == [])
        #expect(Rules.undocumentedPublicSymbols([source("Tests/CoreTests/A.swift", bad)]) == [])
    }

    @Test func unsafeFlags() {
        #expect(Rules.unsafeFlags(source("Package.swift", "s: [.unsafeFlags([\"-x\"])]")).count == 1)
        #expect(Rules.unsafeFlags(source("Package.swift", "// no unsafeFlags here")) == [])
    }

    @Test func foundation() {
        for module in ["Foundation", "FoundationEssentials", "struct Foundation.Date"] {
            let text = "internal import \(module)"
            #expect(Rules.foundation([source("Sources/Headrace/A.swift", text)]).count == 1)
            #expect(Rules.foundation([source("Sources/Pipebench/A.swift", text)]) == [])
            #expect(Rules.foundation([source("Tests/CoreTests/A.swift", text)]) == [])
        }
    }

    @Test func drawers() {
        #expect(Rules.drawers([source("Sources/Core/Utils.swift", "")]).count == 1)
        #expect(Rules.drawers([source("Sources/Core/StringHelpers.swift", "")]).count == 1)
        #expect(Rules.drawers([source("Sources/Common/A.swift", "")]).count == 1)
        #expect(Rules.drawers([source("Sources/Core/A.swift", "final class CacheManager {}")]).count == 1)
        #expect(Rules.drawers([source("Sources/Core/A.swift", "enum Util {}")]).count == 1)
        let good = source("Sources/Core/A.swift", "struct Commonality {}\n// class FileManager")
        #expect(Rules.drawers([good]) == [])
    }

    @Test func unexplainedSendable() {
        let declaration = "final class A: @unchecked Sendable {\n"
        let bad = ["", "/// An A.\n", "// `lock` guards it.\n\n"].map {
            source("Sources/Core/A.swift", $0 + declaration + "}\n")
        }
        #expect(Rules.unexplainedSendable(bad).count == 3)
        let good = [
            "// Sendable: `lock` guards all state.\n" + declaration,
            "/// An A.\n// Owned by one room.\n@safe\n" + declaration,
            declaration + "    // Immutable after init.\n",
            "final class A: @unchecked Sendable {  // Sendable: `lock` guards it.\n",
            "/// An A.\n///\n/// Sendable: nobody writes to it.\n" + declaration,
        ]
        #expect(Rules.unexplainedSendable(good.map { source("Sources/Core/A.swift", $0) }) == [])
    }

    @Test func forbiddenWords() {
        let bad = ["fatalError()", "let a = try! b()", "// TODO: later", "/* FIXME */"]
        #expect(Rules.forbiddenWords(bad.map { source("Sources/Core/A.swift", $0) }).count == 4)
        #expect(Rules.forbiddenWords([source("Sources/CCore/a.c", "/* TODO */")]).count == 1)
        let good = ["// never try! this", "let a = \"fatalError\"", "let a = try? b()", "let TODOS = 1"]
        #expect(Rules.forbiddenWords(good.map { source("Sources/Core/A.swift", $0) }) == [])
        #expect(Rules.forbiddenWords([source("Tests/CoreTests/A.swift", "try! a()")]) == [])
    }

    @Test func largeFiles() {
        #expect(Rules.largeFiles([("a", 1_000_000), ("b", 1_000_001)]) == ["b: 1000001 bytes"])
    }
}
