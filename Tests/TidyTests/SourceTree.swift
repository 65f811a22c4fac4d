import Foundation

/// One file of the repository.
struct Source {
    /// From the root of the package.
    var path: String
    var text: String
    /// The text with comments and the content of strings blanked out, line by line as before.
    var code: String

    init(_ path: String, _ text: String) {
        self.path = path
        self.text = text
        code = blankingCommentsAndStrings(text, isC: !path.hasSuffix(".swift"))
    }

    var name: String { path.split(separator: "/").last.map(String.init) ?? path }
    /// `Storage` for `Sources/Storage/Engine.swift`.
    var target: String? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && parts[0] == "Sources" ? String(parts[1]) : nil
    }
    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
    var codeLines: [Substring] { code.split(separator: "\n", omittingEmptySubsequences: false) }

    /// The modules that the file imports.
    var imports: [String] {
        let pattern =
            /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:\w+\s+)?import\s+(?:(?:struct|class|enum|func|protocol)\s+)?(\w+)/
        return codeLines.filter { has($0, "import ") }.compactMap { $0.firstMatch(of: pattern) }
            .map { String($0.1) }
    }
}

/// The package that these tests belong to.
struct SourceTree {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// Swift and C files below `Sources`, `Tests` and `Examples`.
    static let sources: [Source] = ["Sources", "Tests", "Examples"].flatMap { files(below: $0) }

    static let manifest = Source(
        "Package.swift",
        try! String(contentsOf: root.appendingPathComponent("Package.swift"), encoding: .utf8))

    static func files(below directory: String) -> [Source] {
        let base = root.appendingPathComponent(directory)
        guard let all = FileManager.default.enumerator(atPath: base.path) else { return [] }
        return all.compactMap { $0 as? String }.sorted()
            .filter { $0.hasSuffix(".swift") || $0.hasSuffix(".c") || $0.hasSuffix(".h") }
            .map { path in
                let text = try! String(contentsOf: base.appendingPathComponent(path), encoding: .utf8)
                return Source("\(directory)/\(path)", text)
            }
    }

    /// Files that git tracks, with their sizes; those of the directory where this is no checkout.
    static func trackedFiles() throws -> [(path: String, byteCount: Int)] {
        let git = Process()
        git.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        git.arguments = ["git", "-C", root.path, "ls-files", "-z"]
        let pipe = Pipe()
        git.standardOutput = pipe
        git.standardError = FileHandle.nullDevice
        try git.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        git.waitUntilExit()
        var paths = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        if git.terminationStatus != 0 || paths.isEmpty {
            print("SKIPPED: no git checkout; sizes of all files outside .build are checked instead")
            paths = (FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? [])
                .filter { !$0.hasPrefix(".") }
        }
        return paths.compactMap { path in
            let facts = try? FileManager.default.attributesOfItem(
                atPath: root.appendingPathComponent(path).path)
            guard let size = facts?[.size] as? Int, facts?[.type] as? FileAttributeType == .typeRegular
            else { return nil }
            return (path, size)
        }
    }
}
