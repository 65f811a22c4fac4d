internal import HeadraceCore

/// What a cached object is called: by its whole URL, length and version, so that neither two objects of one name nor two
/// versions of one object are ever taken for each other.
package struct CacheKey: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    init(url: String, size: Int, version: String) {
        var hash = SHA256()
        hash.update(Array("headrace-cache/1\n\(url)\n\(size)\n\(version)".utf8))
        let digest = hash.finalize()
        high = digest[0..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = digest[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads back ``name``; nil for anything else.
    init?(name: some StringProtocol) {
        guard name.utf8.count == 32, name.utf8.allSatisfy({ $0 != UInt8(ascii: "+") }),
            let high = UInt64(name.prefix(16), radix: 16), let low = UInt64(name.suffix(16), radix: 16)
        else { return nil }
        self.high = high
        self.low = low
    }

    /// 32 hexadecimal digits.
    package var name: String { high.hexadecimal + low.hexadecimal }
}

/// URLs as the cache knows objects by them.
package enum CacheURL {
    /// Parts of a query that say who may read and until when, not what is read; in lower case.
    private static let signatureParameters: Set<String> = [
        "signature", "expires", "awsaccesskeyid", "googleaccessid", "policy", "key-pair-id", "token", "sig",
        "se", "st", "sp", "sv", "sr", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv", "access_token",
    ]
    private static let signaturePrefixes = ["x-amz-", "x-goog-"]

    /// The URL of what is opened as `path`: without credentials and signatures; of a local path, where it really lies.
    package static func canonical(_ path: String) -> String {
        guard let scheme = path.firstRange(of: "://") else {
            return "file://" + (LocalFiles.resolved(path) ?? path)
        }
        var rest = path[scheme.upperBound...]
        var fragmentless = rest.prefix { $0 != "#" }
        let query = fragmentless.firstIndex(of: "?").map { fragmentless[fragmentless.index(after: $0)...] }
        fragmentless = fragmentless.prefix { $0 != "?" }
        rest = fragmentless
        let host = rest.prefix { $0 != "/" }
        if let at = host.lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
        let kept = (query ?? "").split(separator: "&").filter { !isSignature($0) }
        return path[..<scheme.lowerBound].lowercased() + "://" + rest
            + (kept.isEmpty ? "" : "?" + kept.joined(separator: "&"))
    }

    /// The path that a local object's URL stands for; nil for others.
    package static func localPath(_ url: String) -> String? {
        url.hasPrefix("file://") ? String(url.dropFirst("file://".count)) : nil
    }

    private static func isSignature(_ parameter: Substring) -> Bool {
        let name = parameter.prefix { $0 != "=" }.lowercased()
        return signatureParameters.contains(name) || signaturePrefixes.contains { name.hasPrefix($0) }
    }
}

extension String {
    fileprivate func firstRange(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
