internal import HeadraceCore

// Bandwidths, capacities and rates are from the sources named at each preset. Where a source gives no p99, it
// is an assumption and says so: calibrate before trusting a tail.
extension Tier {
    /// All presets, slowest first.
    public static let presets: [Tier] = [
        .hardDisk, .objectStore, .objectStoreExpress, .parallelFileSystem, .sataSSD, .nvmeGen3, .nvmeGen4,
        .nvmeGen5, .nvmeOverTCP, .nvmeOverRDMA, .memory,
    ]

    /// The preset of that name; nil when there is none.
    public static func preset(_ name: String) -> Tier? { presets.first { $0.name == name } }

    /// A hard disk at 7,200 turns a minute.
    ///
    /// HGST 7K4000 specification: 8.2 ms typical seek, 4.16 ms half turn, together 12.4 ms, 80 requests a
    /// second. Seagate ES.3: 83 to 175 MB/s from the inner to the outer track; newer drives reach 220, so 170
    /// is a mean. The full stroke of 15 ms is derived, from the typical seek and a p99 near 25 ms. Reordering
    /// of a deep queue (up to twice the rate) is not modelled.
    public static let hardDisk = Tier(
        name: "hdd", servers: 1, latency: .constant(.microseconds(50)), streamBandwidth: 170e6,
        seek: SeekModel(
            trackToTrack: .microseconds(450), fullStroke: .milliseconds(15), revolution: .microseconds(8333),
            capacity: .gigabytes(4000)),
        cost: TierCost(dollarsPerTerabyte: 18))

    /// A SATA SSD.
    ///
    /// Reviews of the Samsung 870 EVO: 13 K requests a second at depth 1, so 77 us, and 98 K at depth 32; 560
    /// MB/s is the link's. Without the cap on requests, 32 slots of 77 us would give 415 K. The p99 is an
    /// assumption.
    public static let sataSSD = Tier(
        name: "sata-ssd", servers: 32, latency: .init(median: .nanoseconds(76_400), p99: .microseconds(102)),
        linkBandwidth: 560e6, operationsPerSecond: 98_000, cost: TierCost(dollarsPerTerabyte: 75))

    /// An NVMe drive on PCIe 3.
    ///
    /// Micron 9200 data sheet: 3.5 GB/s, 92 us typical read, 840 K requests a second. The p99 is an
    /// assumption.
    public static let nvmeGen3 = Tier(
        name: "nvme-gen3", servers: 128, latency: .init(median: .microseconds(90), p99: .microseconds(150)),
        aggregateBandwidth: 3.5e9, operationsPerSecond: 840_000, cost: TierCost(dollarsPerTerabyte: 85))

    /// An NVMe drive on PCIe 4.
    ///
    /// MLPerf Storage 1.0 results, Micron 9400: 5.97 GB/s delivered (7 in its specification), about a million
    /// requests a second. Latency of tens of microseconds; median and p99 are assumptions.
    public static let nvmeGen4 = Tier(
        name: "nvme-gen4", servers: 128, latency: .init(median: .microseconds(75), p99: .microseconds(130)),
        aggregateBandwidth: 5.97e9, operationsPerSecond: 1_000_000, cost: TierCost(dollarsPerTerabyte: 85))

    /// An NVMe drive on PCIe 5.
    ///
    /// Micron 9550: 60 us typical read and 3.3 M requests a second in its specification; MLPerf Storage 1.0
    /// results deliver 9.7 to 10.4 GB/s of its 14. The p99 is an assumption.
    public static let nvmeGen5 = Tier(
        name: "nvme-gen5", servers: 256, latency: .init(median: .microseconds(60), p99: .microseconds(110)),
        aggregateBandwidth: 10e9, operationsPerSecond: 3_300_000)

    /// ``nvmeGen5`` behind NVMe over TCP on 200 Gbit/s Ethernet.
    ///
    /// Vendor texts: 25 to 40 us more than the drive, 95 % of the wire, 1.8 M requests a second, p99 below
    /// 200 us. The drive's bandwidth stays a limit of its own.
    public static let nvmeOverTCP = Tier(
        name: "nvme-tcp", servers: 256, latency: .init(median: .microseconds(92), p99: .microseconds(200)),
        aggregateBandwidth: 10e9, linkBandwidth: 0.95 * 25e9, operationsPerSecond: 1_800_000)

    /// ``nvmeGen5`` behind NVMe over RDMA on 200 Gbit/s Ethernet.
    ///
    /// Vendor texts: 10 to 20 us more than the drive, up to 98 % of the wire, 2.1 M requests a second.
    public static let nvmeOverRDMA = Tier(
        name: "nvme-rdma", servers: 256, latency: .init(median: .microseconds(75), p99: .microseconds(130)),
        aggregateBandwidth: 10e9, linkBandwidth: 0.98 * 25e9, operationsPerSecond: 2_100_000)

    /// A parallel file system as one client sees it.
    ///
    /// MLPerf Storage 1.0 results, HPE E1000: 14.7 GB/s a client. Dell white paper on Lustre: 65 K random
    /// reads a second at 192 threads, for the whole system. Latency from below a millisecond to some; median,
    /// p99 and the bandwidth of one stream (that of an old client) are assumptions.
    public static let parallelFileSystem = Tier(
        name: "parallel-fs", servers: 192, latency: .init(median: .microseconds(700), p99: .milliseconds(5)),
        streamBandwidth: 1.2e9, linkBandwidth: 14.7e9, operationsPerSecond: 65_000, requestSplit: 4 << 20)

    /// An object store of the S3 Standard kind as one large client sees it.
    ///
    /// s3-benchmark (2019, 155 machine types): 93 MB/s a connection, 8.0 GB/s for the largest machine.
    /// AnyBlob: base of 30 ms, 200 to 250 requests in flight. AWS: 5,500 GET a second and prefix. Times to
    /// first byte of 100 to 200 ms are quoted too; p99 and the slow mode (old measurements saw seconds) are
    /// assumptions.
    public static let objectStore = Tier(
        name: "object-store", servers: 256,
        latency: .init(
            median: .milliseconds(30), p99: .milliseconds(150),
            slow: SlowMode(share: 0.002, median: .milliseconds(800))),
        streamBandwidth: 93e6, linkBandwidth: 8e9, operationsPerSecond: 5_500,
        cost: TierCost(dollarsPerTerabyte: 23, isMonthly: true))

    /// An object store of the S3 Express kind.
    ///
    /// TechTarget (2023): first byte after 3 to 10 ms. The rate cap is far above what a client can ask.
    public static let objectStoreExpress = Tier(
        name: "object-store-express", servers: 256,
        latency: .init(median: .milliseconds(5), p99: .milliseconds(12)), streamBandwidth: 93e6,
        linkBandwidth: 8e9)

    /// A host's memory.
    ///
    /// Configuration of a Lassen node in the sources of NoPFS: 28 GB/s for one thread, 85.8 for four. About
    /// 0.1 us.
    public static let memory = Tier(
        name: "dram", servers: 64, latency: .constant(.nanoseconds(100)), streamBandwidth: 28e9,
        aggregateBandwidth: 85.8e9)
}
