package import ArgumentParser
package import HeadraceCore

/// Where blocks of the shards are kept, and how much of them.
package struct CacheFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Keep blocks of the shards in this directory of a local disk, and read them from there; needs --cache-limit.",
            valueName: "DIR"))
    package var cache: String?

    @Option(
        help: ArgumentHelp("Bytes that the cache may take, all jobs together.", valueName: "SIZE"),
        transform: ByteCount.argument)
    package var cacheLimit: ByteCount?

    @Option(
        help: ArgumentHelp(
            """
            What a full cache does: keep what it has (best for shuffled epochs), give up what was used longest ago, or \
            what the plan needs last.
            """, valueName: "no-evict|lru|clairvoyant"))
    package var cachePolicy = "no-evict"

    package init() {}

    /// Throws where one option lacks another; whether the policy is one is judged by ``policy(among:)``.
    package func check(needsDirectory: Bool) throws {
        if cache != nil && cacheLimit == nil {
            throw ValidationError("--cache needs --cache-limit SIZE: the bytes that it may take")
        }
        if needsDirectory && cache == nil && cacheLimit != nil {
            throw ValidationError("--cache-limit is for a cache; --cache DIR says where it is")
        }
    }

    /// The policy's own value.
    package func policy<Value: RawRepresentable & CaseIterable>(_ type: Value.Type) throws -> Value
    where Value.RawValue == String {
        if let value = Value(rawValue: cachePolicy) { return value }
        throw ValidationError(
            "'\(cachePolicy)' is none of \(Value.allCases.map(\.rawValue).joined(separator: ", "))")
    }
}
