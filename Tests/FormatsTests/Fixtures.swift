import Foundation
import HeadraceCore

/// The folder of real files with what trusted readers said of them. Not part of the repository: elsewhere the
/// tests that need it say loudly that they were skipped.
enum Fixtures {
    static let directory: URL? = {
        var candidates: [URL] = []
        if let path = ProcessInfo.processInfo.environment["HEADRACE_FIXTURES"] {
            candidates.append(URL(fileURLWithPath: path))
        }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        candidates.append(root.deletingLastPathComponent().appendingPathComponent("shared/fixtures"))
        return candidates.first {
            FileManager.default.fileExists(atPath: $0.appendingPathComponent("INDEX.tsv").path)
        }
    }()

    /// One file with its verdict and the readers' full answer.
    struct Entry {
        var path: String
        var verdict: String
        var view: [String: Any]
        var bytes: [UInt8]

        var inner: [String: Any] { view["inner"] as? [String: Any] ?? [:] }
        var tar: [String: Any]? { (view["tar"] ?? inner["tar"]) as? [String: Any] }
        var tfrecord: [String: Any]? { (view["tfrecord"] ?? inner["tfrecord"]) as? [String: Any] }
        var kind: String { view["kind"] as? String ?? "" }
    }

    /// The entries of a kind; nil, after saying so, where there are no fixtures.
    static func entries(_ kind: String) throws -> [Entry]? {
        guard let directory else {
            print(
                "SKIPPED: no fixtures for \(kind): set HEADRACE_FIXTURES to the folder that holds INDEX.tsv")
            return nil
        }
        let lines = try String(
            contentsOf: directory.appendingPathComponent("EXPECTED/\(kind).jsonl"), encoding: .utf8)
        return try lines.split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any]
            let path = object["path"] as! String
            return Entry(
                path: path, verdict: object["verdict"] as! String, view: object["view"] as! [String: Any],
                bytes: [UInt8](try Data(contentsOf: directory.appendingPathComponent(path))))
        }
    }
}

func sha256(_ bytes: ArraySlice<UInt8>) -> String {
    var hash = SHA256()
    bytes.withUnsafeBytes { hash.update($0) }
    return hash.finalize().map { String(format: "%02x", $0) }.joined()
}
