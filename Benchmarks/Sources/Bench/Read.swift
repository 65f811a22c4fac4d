import ArgumentParser
import Glibc
import Headrace
import HeadraceCore

/// The whole loader, as a user would write it, with a consumer that takes every batch and does nothing with it, or keeps
/// it for a while.
struct Read: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Reads shards with the loader.")

    @Argument(help: "Paths, globs and brace patterns of shards.") var shards: [String]
    @Flag(help: "Parse TFRecord records as tf.Example.") var examples = false
    @Option(help: "Field to take out, NAME=KIND as in pipebench; none: whole samples.")
    var field: [String] = []
    @Option(help: "Field that holds images, and how they are read, as in pipebench.") var image: [String] = []
    @Option var transform = ""
    @Option var dtype: String?
    @Option var layout: String?
    @Option var workers = 2
    @Option var batch = 64
    @Option(help: "Memory budget, like 512MiB; the loader's own choice if not given.") var memory: String?
    @Option var epochs = 1
    @Option(help: "N (streamed, blocks of N samples), block:N or global (by the index).") var shuffle: String?
    @Flag(help: "Bypass the page cache (O_DIRECT).") var direct = false
    @Option(help: "auto, uring or pread.") var engine = "auto"
    @Option var queueDepth: Int?
    @Option(help: "Directory of a cache, filled before.") var cache: String?
    @Option(help: "Milliseconds that the consumer keeps each batch.") var stepMs: UInt32 = 0

    func dataset() throws -> Dataset {
        var dataset = Dataset(shards: shards).batched(batch).workers(workers).repeated(epochs)
        if examples { dataset = dataset.parsingExamples() }
        if let shuffle { dataset = try shuffled(dataset, shuffle) }
        if let memory { dataset = dataset.memory(try ByteCount(parsing: memory)) }
        guard let engine = EngineRequest(rawValue: engine) else {
            throw ValidationError("--engine \(engine)")
        }
        for text in field {
            let requests = try FieldRequest.requests(text)
            dataset = dataset.with { $0.fields += requests }
        }
        let images = try FieldRequest.images(image, transform: transform, dtype: dtype, layout: layout)
        return dataset.with {
            $0.fields += images
            if let cache { $0.cache = CacheOptions(at: cache, limit: .gigabytes(100)) }
            $0.direct = direct
            $0.engine = engine
            if let queueDepth { $0.queueDepth = queueDepth }
        }
    }

    private func shuffled(_ dataset: Dataset, _ words: String) throws -> Dataset {
        if words == "global" { return dataset.shuffledGlobally(seed: 1) }
        if words.hasPrefix("block:"), let block = Int(words.dropFirst(6)) {
            return dataset.shuffled(seed: 1, block: block)
        }
        guard let buffer = Int(words) else { throw ValidationError("--shuffle \(words)") }
        return dataset.shuffled(seed: 1, buffer: buffer)
    }

    func run() throws {
        let dataset = try dataset()
        var result = Measurement(workload: "headrace", rss_mb_by_epoch: [])
        let watch = Stopwatch()
        let loader = try dataset.loader(on: .host)
        var epoch = 0
        while let batch = try loader.next() {
            if batch.epoch != epoch {
                result.rss_mb_by_epoch?.append(Stopwatch.peakMegabytes())
                epoch = batch.epoch
            }
            result.samples += batch.count
            if stepMs > 0 { withExtendedLifetime(batch) { _ = usleep(stepMs * 1000) } }
        }
        loader.close()
        watch.stop(&result)
        result.rss_mb_by_epoch?.append(result.peak_rss_mb)
        let report = loader.report()
        // Every byte of every shard, once it is uncompressed.
        result.bytes = report.bytesParsed + report.bytesIgnored + report.bytesLost
        result.budget_mb = Double(report.budgetBytes) / 1e6
        result.pool_mb = Double(report.peakBytes) / 1e6
        try result.printLine()
    }
}
