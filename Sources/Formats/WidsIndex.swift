package import HeadraceCore

/// `shardindex.json` of wids: how many samples each shard has, but not where they are.
package struct WidsIndex: Sendable, Equatable {
    package static let fileName = "shardindex.json"
    package static let kind = "wids-shard-index-v1"

    package struct Shard: Sendable, Equatable {
        /// Relative to the index's folder, or a URL.
        package var url: String
        package var sampleCount: Int
        /// Size of the file; nil where the index does not say.
        package var byteCount: Int?
        /// In 32 lower-case hexadecimal digits.
        package var md5: String?

        package init(url: String, sampleCount: Int, byteCount: Int?, md5: String?) {
            self.url = url
            self.sampleCount = sampleCount
            self.byteCount = byteCount
            self.md5 = md5
        }
    }

    package var name: String
    /// Sorted by their URLs, bytewise.
    package var shards: [Shard]

    package init(name: String, shards: [Shard]) {
        self.name = name
        self.shards = shards.sorted { $0.url.utf8.lexicographicallyPrecedes($1.url.utf8) }
    }

    /// Reads the index at `path`. Throws `notFound`, `io`, or `indexMismatch` where it is none.
    package static func read(_ path: String) throws(HeadraceError) -> WidsIndex {
        let file = try IndexFile(path)
        let limit = JSONLimits().byteCount
        guard file.byteCount <= limit else {
            throw refused(path, "it has \(file.byteCount) bytes, more than the \(limit) that are read")
        }
        return try WidsIndex(parsing: try file.read(0..<file.byteCount), path: path)
    }

    package init(parsing bytes: [UInt8], path: String) throws(HeadraceError) {
        let json: JSONValue
        do throws(HeadraceError) {
            json = try JSONValue(parsing: bytes)
        } catch {
            throw Self.refused(path, "it is no JSON", cause: error.message)
        }
        guard json["__kind__"]?.stringValue == Self.kind, let list = json["shardlist"]?.arrayValue else {
            throw Self.refused(path, "it is no \(Self.kind) with a list of shards")
        }
        var shards: [Shard] = []
        for item in list {
            guard let url = item["url"]?.stringValue, let count = item["nsamples"]?.intValue, count >= 0
            else {
                throw Self.refused(path, "a shard in it lacks its URL or its number of samples")
            }
            let size = item["filesize"]?.intValue
            guard size ?? 0 >= 0 else { throw Self.refused(path, "the shard '\(url)' has a size below 0") }
            shards.append(
                Shard(url: url, sampleCount: count, byteCount: size, md5: item["md5sum"]?.stringValue))
        }
        self.init(name: json["name"]?.stringValue ?? "", shards: shards)
    }

    /// The file's bytes, with sorted keys and a newline at the end.
    package func encoded() -> [UInt8] {
        let list = shards.map { shard -> JSONValue in
            var members = [
                JSONMember("url", .string(shard.url)), JSONMember("nsamples", .int(shard.sampleCount)),
            ]
            if let size = shard.byteCount { members.append(JSONMember("filesize", .int(size))) }
            if let md5 = shard.md5 { members.append(JSONMember("md5sum", .string(md5))) }
            return .object(members)
        }
        let json = JSONValue.object([
            JSONMember("__kind__", .string(Self.kind)), JSONMember("wids_version", .int(1)),
            JSONMember("name", .string(name)), JSONMember("shardlist", .array(list)),
        ])
        return Array((json.pretty(sortedKeys: true) + "\n").utf8)
    }

    private static func refused(_ path: String, _ reason: String, cause: String? = nil) -> HeadraceError {
        HeadraceError(
            .indexMismatch, "this \(fileName) is not used: \(reason); remove it or make it anew",
            at: .init(shard: path), cause: cause)
    }
}
