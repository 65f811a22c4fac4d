import Foundation

/// The house rules. Each takes sources and returns a line for every place that breaks it.
enum Rules {
    static let fileLineLimit = 500
    static let functionLineLimit = 70
    static let trackedByteLimit = 1_000_000

    /// Targets that know Core and nothing else of ours.
    static let siblings: Set = ["Storage", "Formats", "Decode", "Compute", "Tiers"]
    static let libraries: Set = siblings.union(["Core", "Headrace"])
    /// The command-line tools, which alone may import Foundation.
    static let tools: Set = ["HeadraceTool", "Pipebench"]

    static func siblingImports(_ sources: [Source]) -> [String] {
        sources.flatMap { source -> [String] in
            guard let target = source.target else { return [] }
            let allowed: Set<String>
            if siblings.contains(target) {
                allowed = ["HeadraceCore"]
            } else if target == "Core" {
                allowed = []
            } else {
                return []
            }
            return source.imports
                .filter { $0.hasPrefix("Headrace") && !allowed.contains($0) }
                .map { "\(source.path): \(target) must not import \($0)" }
        }
    }

    /// - Parameter modules: the C modules of the manifest, each of which must be imported by exactly one target.
    static func cImports(_ sources: [Source], modules: [String]) -> [String] {
        var importers: [String: Set<String>] = [:]
        for source in sources where source.target != nil {
            for module in source.imports { importers[module, default: []].insert(source.target ?? "") }
        }
        return modules.compactMap { module in
            let targets = importers[module, default: []].sorted()
            if targets.count == 1 { return nil }
            return "\(module) is imported by \(targets.isEmpty ? "nobody" : targets.joined(separator: ", "))"
        }
    }

    /// The C modules that the manifest declares: our own start with `C` and a capital letter.
    static func cModules(_ manifest: Source) -> [String] {
        manifest.text.matches(of: /name: "(C[A-Z]\w*)", path:/).map { String($0.1) }
    }

    static func longFiles(_ sources: [Source]) -> [String] {
        sources.compactMap { source in
            let count = source.lines.count - (source.text.hasSuffix("\n") ? 1 : 0)
            return count > fileLineLimit ? "\(source.path): \(count) lines" : nil
        }
    }

    static func longFunctions(_ sources: [Source]) -> [String] {
        sources.flatMap { source in
            functionSpans(in: source).filter { $0.lineCount > functionLineLimit }
                .map { "\(source.path):\($0.firstLine): \($0.name) has \($0.lineCount) lines" }
        }
    }

    static func undocumentedPublicSymbols(_ sources: [Source]) -> [String] {
        sources.filter { $0.target.map(libraries.contains) ?? false }.flatMap(undocumented)
    }

    private static func undocumented(_ source: Source) -> [String] {
        // `open` is a favourite name of functions, too.
        let declaration =
            /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:[a-z]+\s+)*?(?:public\b(?!\s*(?:import|extension)\b)|open\s+(?:[a-z]+\s+)*(?:class|func|var)\b)/
        let requirement = /^\s*(?:[a-z]+\s+)*?(?:func|var|init|subscript|associatedtype)\b/
        let texts = source.lines
        var found: [String] = []
        var protocolDepth: Int?
        var depth = 0
        for (index, line) in source.codeLines.enumerated() {
            let isRequirement = protocolDepth == depth - 1 && line.firstMatch(of: requirement) != nil
            let mayDeclare = has(line, "public") || has(line, "open ")
            if isRequirement || mayDeclare && line.firstMatch(of: declaration) != nil {
                if !isDocumented(texts, index) {
                    found.append("\(source.path):\(index + 1): \(texts[index].trimmingSpaces)")
                }
            }
            if has(line, "public protocol ") { protocolDepth = depth }
            for byte in line.utf8 where byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}") {
                depth += byte == UInt8(ascii: "{") ? 1 : -1
            }
            if let start = protocolDepth, depth <= start, has(line, "}") { protocolDepth = nil }
        }
        return found
    }

    private static func isDocumented(_ lines: [Substring], _ index: Int) -> Bool {
        var above = index - 1
        while above >= 0, lines[above].trimmingSpaces.hasPrefix("@") { above -= 1 }
        // Between the comment and the declaration there may be a plain comment that says why.
        while above >= 0, lines[above].trimmingSpaces.hasPrefix("//"),
            !lines[above].trimmingSpaces.hasPrefix("///")
        {
            above -= 1
        }
        return above >= 0 && lines[above].trimmingSpaces.hasPrefix("///")
    }

    static func unsafeFlags(_ manifest: Source) -> [String] {
        matches(of: "unsafeFlags", in: manifest)
    }

    static func foundation(_ sources: [Source]) -> [String] {
        sources.flatMap { source -> [String] in
            guard let target = source.target, !tools.contains(target) else { return [] }
            return source.imports.filter { $0.hasPrefix("Foundation") || $0 == "Dispatch" }
                .map { "\(source.path): imports \($0)" }
        }
    }

    /// Names that say nothing: whatever is put under them could be put anywhere.
    static func drawers(_ sources: [Source]) -> [String] {
        let empty: Set = [
            "Util", "Utils", "Utility", "Utilities", "Helper", "Helpers", "Manager", "Common", "Misc",
        ]
        func isDrawer(_ name: Substring) -> Bool {
            name.matches(of: /[A-Z]?[a-z]+/).contains { word in
                empty.contains(word.0.prefix(1).uppercased() + word.0.dropFirst())
            }
        }
        let kinds = ["class ", "struct ", "enum ", "protocol ", "actor ", "typealias ", "extension "]
        return sources.flatMap { source -> [String] in
            var found: [String] = []
            for part in source.path.split(separator: "/") where isDrawer(part) {
                found.append("\(source.path): the name \(part)")
            }
            let types = /\b(?:class|struct|enum|protocol|actor|typealias|extension)\s+([A-Z]\w*)/
            for line in source.codeLines where kinds.contains(where: { has(line, $0) }) {
                guard let match = line.firstMatch(of: types), isDrawer(match.1) else { continue }
                found.append("\(source.path): the type \(match.1)")
            }
            return found
        }
    }

    /// The comment may stand before, behind or below the declaration.
    static func unexplainedSendable(_ sources: [Source]) -> [String] {
        let reasons = /Sendable: \w|(?i:\block|\bown(s|ed|er)|thread|mutex|immutable|written once)/
        return sources.filter { has($0.code, "@unchecked") }.flatMap { source -> [String] in
            let lines = source.lines.map(\.trimmingSpaces)
            return source.codeLines.enumerated().compactMap { index, line in
                guard has(line, "@unchecked Sendable") else { return nil }
                var words = source.lines[index].drop { $0 != "/" }
                var above = index - 1
                while above >= 0, lines[above].hasPrefix("//") || lines[above].hasPrefix("@") {
                    words += lines[above]
                    above -= 1
                }
                var below = index + 1
                while below < lines.count, lines[below].hasPrefix("//") {
                    words += lines[below]
                    below += 1
                }
                return words.contains(reasons) ? nil : "\(source.path):\(index + 1): names no lock or owner"
            }
        }
    }

    static func forbiddenWords(_ sources: [Source]) -> [String] {
        let marks = ["TODO", "FIXME", "XXX"]
        return sources.filter { $0.target != nil }.flatMap { source -> [String] in
            var found = matches(of: "fatalError", in: source) + matches(of: "try!", in: source)
            for (index, line) in source.lines.enumerated()
            where marks.contains(where: { has(line, $0) }) && line.contains(/\b(TODO|FIXME|XXX)\b/) {
                found.append("\(source.path):\(index + 1): \(line.trimmingSpaces)")
            }
            return found
        }
    }

    static func largeFiles(_ files: [(path: String, byteCount: Int)]) -> [String] {
        files.filter { $0.byteCount > trackedByteLimit }.map { "\($0.path): \($0.byteCount) bytes" }
    }

    private static func matches(of word: String, in source: Source) -> [String] {
        source.codeLines.enumerated().filter { has($0.element, word) }
            .map { "\(source.path):\($0.offset + 1): \(word)" }
    }
}

extension Substring {
    var trimmingSpaces: Substring {
        var part = drop { $0 == " " }
        while part.last == " " { part.removeLast() }
        return part
    }
}

/// Whether `text` contains `word`: in debug builds many times faster than a regular expression, so it asks first.
func has(_ text: some StringProtocol, _ word: String) -> Bool {
    text.range(of: word, options: .literal) != nil
}
