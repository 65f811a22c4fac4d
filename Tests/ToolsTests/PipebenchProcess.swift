import Foundation
import Testing

/// What the tests of `pipebench` share: shards of known content, and runs whose last line is the total.
struct PipebenchData {
    let scratch: Scratch
    let count: Int
    /// The files that were packed.
    let folder: String
    /// Shards of them.
    let shards: String

    /// - Parameter ending: `tar`, `tar.zst`, `tfrecord`; says format and codec.
    init(_ ending: String, samples count: Int = 400, payloadByteCount: Int = 1500) throws {
        scratch = try Scratch()
        self.count = count
        try scratch.makeSamples(count, payloadByteCount: payloadByteCount)
        folder = scratch.path("src")
        let packed = try ToolProcess.run(
            ToolProcess.path("headrace"),
            ["pack", folder, "-o", scratch.path("shards/s-%02d.\(ending)"), "--shard-size", "128KiB"])
        try #require(packed.status == 0, "\(packed.error)")
        shards = scratch.path("shards")
    }

    var shardPaths: [String] {
        get throws { try scratch.names(in: "shards").filter { $0.hasPrefix("s-") }.map { "\(shards)/\($0)" } }
    }

    /// Bytes of all files that were packed: what an epoch delivers.
    func payloadByteCount(_ ending: String = "") throws -> Int {
        let files = try #require(FileManager.default.enumerator(atPath: folder))
        var sum = 0
        for case let name as String in files where name.contains(".") && name.hasSuffix(ending) {
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
            sum += try #require(attributes[.size] as? Int)
        }
        return sum
    }

    /// Adds `difference` to a byte of a shard.
    func damage(_ path: String, at offset: Int, by difference: UInt8 = 1) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[offset] &+= difference
        try bytes.write(to: URL(fileURLWithPath: path))
    }
}

extension ToolProcess {
    static func pipebench(_ arguments: String...) throws -> ToolProcess {
        try run(path("pipebench"), arguments)
    }

    static func pipebench(_ arguments: [String]) throws -> ToolProcess {
        try run(path("pipebench"), arguments)
    }

    /// The total of `pipebench read --json` with these arguments, which must succeed.
    static func total(_ arguments: String...) throws -> [String: Any] {
        let run = try run(path("pipebench"), ["read", "--json"] + arguments)
        try #require(run.status == 0, "\(arguments): \(run.status) \(run.error)")
        return try #require(try run.objects.last)
    }
}
