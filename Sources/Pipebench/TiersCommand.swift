internal import ArgumentParser
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceTiers

/// `pipebench tiers`: the storage models that are built in.
struct TiersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tiers",
        abstract: "List the storage tiers that are built in, with what limits them.",
        discussion: """
            Example: pipebench tiers --json
            A tier is a model of a class of storage, from public specifications: no measurement of this machine. The \
            last two columns are what the model gives for 4 KiB reads one at a time, and for 1 MiB reads 32 at a time.
            """)

    @OptionGroup var flags: OutputFlags

    func run() throws {
        guard flags.json else { return try writeTable() }
        let lines = JSONLines(schema: "pipebench.tiers/1")
        for tier in Tier.presets { try lines.write(tier.members) }
    }

    private func writeTable() throws {
        let heads = ["servers", "p50", "p99", "stream", "all", "link", "requests/s", "4 KiB x1", "1 MiB x32"]
        let widths = [9, 11, 11, 12, 12, 12, 12, 13, 12]
        func row(_ name: String, _ cells: [String]) throws {
            try StandardOutput.writeLine(left(name, 21) + zip(cells, widths).map { right($0, $1) }.joined())
        }
        try row("tier", heads)
        for tier in Tier.presets {
            try row(
                tier.name,
                [
                    grouped(tier.servers), "\(tier.latency.median)", "\(tier.latency.p99)",
                    rate(tier.streamBandwidth), rate(tier.aggregateBandwidth), rate(tier.linkBandwidth),
                    tier.operationsPerSecond.map { decimal($0, 0) } ?? "-",
                    rate(tier.smallReads), rate(tier.largeReads),
                ])
        }
    }

    private func rate(_ bytesPerSecond: Double?) -> String {
        guard let bytesPerSecond else { return "-" }
        return bytesPerSecond < 1e9
            ? figure(bytesPerSecond / 1e6) + " MB/s" : figure(bytesPerSecond / 1e9) + " GB/s"
    }
}

extension Tier {
    /// Bytes a second of 4 KiB reads, one at a time: what latency alone leaves.
    fileprivate var smallReads: Double { throughput(queueDepth: 1, byteCount: 4096) * 4096 }

    /// Bytes a second of 1 MiB reads at a depth of 32: what a loader that reads well gets.
    fileprivate var largeReads: Double { throughput(queueDepth: 32, byteCount: 1 << 20) * 0x1p20 }

    fileprivate var members: [JSONMember] {
        [
            .init("name", .string(name)),
            .init("servers", .int(servers)),
            .init("latency_p50_s", .double(latency.median.seconds)),
            .init("latency_p99_s", .double(latency.p99.seconds)),
            .init("slow_share", .double(latency.slow?.share ?? 0)),
            .init("slow_p50_s", optional(latency.slow?.median.seconds)),
            .init("stream_bytes_per_s", optional(streamBandwidth)),
            .init("aggregate_bytes_per_s", optional(aggregateBandwidth)),
            .init("link_bytes_per_s", optional(linkBandwidth)),
            .init("operations_per_s", optional(operationsPerSecond)),
            .init("mean_seek_s", optional(seek.map { $0.meanNanoseconds / 1e9 })),
            .init("request_split_bytes", requestSplit.map { .int($0) } ?? .null),
            .init("dollars_per_tb", optional(cost?.dollarsPerTerabyte)),
            .init("dollars_are_monthly", cost.map { .bool($0.isMonthly) } ?? .null),
            .init("read_4k_depth_1_bytes_per_s", .double(smallReads)),
            .init("read_1m_depth_32_bytes_per_s", .double(largeReads)),
        ]
    }

    private func optional(_ value: Double?) -> JSONValue { value.map { .double($0) } ?? .null }
}
