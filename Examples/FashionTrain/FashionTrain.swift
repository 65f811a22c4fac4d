import ArgumentParser
import Glibc
import Headrace
import HeadraceCore

/// Trains a small network on Fashion-MNIST, batches straight from the loader. An example: the loop in `train` is what a
/// training program with Headrace looks like.
@main
struct FashionTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fashion-train",
        abstract: "Train a small network on Fashion-MNIST shards and say how often it waited for data.",
        discussion: """
            Example: fashion-train 'data/train/*.tar.zst' 'data/test/*.tar.zst' --checkpoint data/fashion.checkpoint
            Killed and started again with the same arguments, it goes on from its checkpoint and prints what it would \\
            have printed.
            """)

    @Argument(help: "Shards to train with: samples with the fields npy (28 x 28 bytes) and cls.")
    var training: String

    @Argument(help: "Shards to test with.")
    var test: String

    @Option(help: "Passes over the data.") var epochs = 7
    @Option(help: "Samples of a step.") var batch = 64
    @Option(help: "Hidden units, a multiple of 32.") var hidden = 96
    @Option(help: "Learning rate of the first step; it falls to nothing over the run.") var rate: Float = 0.06
    @Option(help: "Seed of the first weights and of the order.") var seed: UInt64 = 1
    @Option(help: "Steps of each line about the loss.") var logEvery = 200
    @Option(help: "File to go on from and to save to.") var checkpoint: String?
    @Option(help: "Steps between checkpoints.") var checkpointEvery = 400
    @Option(help: "Die (SIGKILL) after this step, to try how it goes on.") var dieAfter: Int?

    mutating func validate() throws {
        guard epochs >= 1, batch >= 1, logEvery >= 1, checkpointEvery >= 1, rate > 0, rate.isFinite else {
            throw ValidationError("epochs, batch, steps and rate must be greater than 0")
        }
        guard hidden >= 32, hidden <= 4096, hidden % 32 == 0 else {
            throw ValidationError("hidden units come in 32s, at most 4096 of them")
        }
    }

    /// What the numbers depend on.
    private var options: String {
        "epochs \(epochs) batch \(batch) hidden \(hidden) rate \(rate) seed \(seed) log \(logEvery)"
    }

    private static let momentum: Float = 0.9

    func run() throws {
        do throws(HeadraceError) {
            try train()
        } catch {
            Self.say("fashion-train: \(error)", to: STDERR_FILENO)
            throw ExitCode(error.code.category.exitStatus)
        }
    }

    private func train() throws(HeadraceError) {
        let saved = try checkpoint.flatMap { (path) throws(HeadraceError) in try Checkpoint(path: path) }
        if let saved, saved.options != options {
            throw HeadraceError(
                .usage,
                "the checkpoint is of a run with other options (\(saved.options)); remove it, or use those")
        }
        var network = Network(hidden: hidden, seed: seed)
        if let saved {
            guard let trained = Network(hidden: hidden, weights: saved.weights, velocities: saved.velocities)
            else {
                throw HeadraceError(.badValue, "the checkpoint has a network of another size; remove it")
            }
            network = trained
            Self.say("going on from step \(saved.step)", to: STDERR_FILENO)
        }
        var step = saved?.step ?? 0
        var epoch = saved?.epoch ?? 0
        var loss = (sum: saved?.lossSum ?? 0, count: saved?.lossCount ?? 0)

        let loader = try Dataset(training)
            .shuffledGlobally(seed: seed)
            .decoding("npy", with: .npy)
            .decoding("cls", with: .integer)
            .batched(batch, last: .drop)
            .repeated(epochs)
            .loader(on: .host, resuming: saved?.state)
        // By the index every epoch has as many.
        let steps = max(1, epochs * (loader.batchesPerEpoch ?? 0))
        while let samples = try loader.next() {
            if samples.epoch > epoch {
                try judge(network, after: epoch)
                epoch = samples.epoch
            }
            let (images, labels) = try Self.numbers(samples)
            let rate = rate * max(0, 1 - Float(step) / Float(steps))
            loss.sum += network.train(images, labels, rate: rate, momentum: Self.momentum)
            loss.count += 1
            step += 1
            if step % logEvery == 0 {
                let mean = Self.fixed(loss.sum / Double(loss.count), 6)
                Self.say("epoch \(epoch + 1) step \(step) loss \(mean)")
                loss = (0, 0)
            }
            if let checkpoint, step % checkpointEvery == 0, let state = samples.state {
                try Checkpoint(
                    options: options, step: step, epoch: epoch, lossSum: loss.sum, lossCount: loss.count,
                    state: state, network: network
                ).write(to: checkpoint)
            }
            if step == dieAfter { kill(getpid(), SIGKILL) }
        }
        let report = loader.report()
        let share = try judge(network, after: epoch)
        Self.say("test accuracy \(Self.fixed(100 * share, 2)) % after \(step) steps")
        let speed = report.wallSeconds > 0 ? Double(report.samples) / report.wallSeconds : 0
        Self.say(
            "\(report.samples) samples in \(Self.fixed(report.wallSeconds, 1)) s (\(Int(speed)) a second); the training "
                + "waited for data \(Self.fixed(100 * report.waitShare, 2)) % of the time", to: STDERR_FILENO)
    }

    /// Prints and returns the share of the test samples that the network gets right.
    @discardableResult private func judge(
        _ network: Network, after epoch: Int
    ) throws(HeadraceError) -> Double {
        let loader = try Dataset(test).decoding("npy", with: .npy).decoding("cls", with: .integer).batched(
            500
        )
        .loader()
        var right = 0
        var count = 0
        while let samples = try loader.next() {
            let (images, labels) = try Self.numbers(samples)
            right += network.rightCount(images, labels)
            count += labels.count
        }
        let share = count == 0 ? 0 : Double(right) / Double(count)
        Self.say(
            "epoch \(epoch + 1) done: \(right) of \(count) test samples right, \(Self.fixed(100 * share, 2)) %"
        )
        return share
    }

    /// Pixels from 0 to 1, and labels, as the network takes them.
    private static func numbers(_ samples: Batch) throws(HeadraceError) -> ([Float], [Int64]) {
        let pixels = try samples["npy"]
        let labels = try samples["cls"].elements(as: Int64.self)
        guard pixels.elementType == .uint8,
            pixels.shape.compactMap(\.self).reduce(1, *) == labels.count * Network.pixels,
            labels.allSatisfy({ (0..<Int64(Network.classes)).contains($0) })
        else {
            throw HeadraceError(
                .shapeMismatch, "the shards are not Fashion-MNIST: 28 x 28 bytes and a class from 0 to 9")
        }
        var images = [Float](repeating: 0, count: labels.count * Network.pixels)
        pixels.withUnsafeBytes { bytes in
            for place in images.indices { images[place] = Float(bytes[place]) * (1 / 255) }
        }
        return (images, labels)
    }

    /// A line at once, whoever reads: what was printed is there when the process is killed.
    private static func say(_ line: String, to descriptor: Int32 = STDOUT_FILENO) {
        var rest = Array((line + "\n").utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    private static func fixed(_ number: Double, _ digits: Int) -> String {
        var text = [CChar](repeating: 0, count: 64)
        withVaList([CInt(digits), number]) { _ = vsnprintf(&text, text.count, "%.*f", $0) }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
