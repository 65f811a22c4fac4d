import HeadraceCore
import HeadraceDecode
import Testing

@testable import Headrace

/// A decoder that takes its time over every row.
private struct SlowDecoder: Decoder {
    let delay: TimeSpan

    func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        .fixed(.uint8, shape: [])
    }

    func decode(_ run: inout DecodeRun) {
        for _ in run.payloads { pause(delay) }
    }
}

/// Real runs in which one room is slowed down: the stall table has to name it. The slow room takes many times as long
/// as all others together, so a busy machine changes shares, not the verdict; how long the others take is measured
/// first where it matters.
@Suite(.serialized) struct StallTests {
    private static let samples = 128

    private let fixture: LoaderFixture
    private let dataset: Dataset

    init() throws {
        fixture = try LoaderFixture(counts: [32, 32, 32, 32]) { _ in 70_000 }
        dataset = Dataset(fixture.pattern).batched(8).workers(2).memory(.mebibytes(64))
    }

    private func report(
        _ dataset: Dataset, _ access: StorageAccess? = nil, step: TimeSpan? = nil
    ) throws -> LoaderReport {
        let loader = try LoaderBuilder(dataset, .host, access: access).open()
        var samples = 0
        while let batch = try loader.next() {
            samples += batch.count
            if let step { pause(step) }
        }
        #expect(samples % Self.samples == 0 && samples > 0)
        loader.close()
        return loader.report()
    }

    /// A step many times as long as the loader takes for a batch on this machine as busy as it is, and long enough that
    /// a run of `batches` can be judged.
    private func longStep(_ dataset: Dataset, _ access: StorageAccess? = nil, batches: Int) throws -> TimeSpan
    {
        let alone = try report(dataset, access)
        let seconds = alone.wallSeconds / Double(alone.batches)
        return .nanoseconds(Int(max(25 * seconds, 1.25 * Verdict.shortestSeconds / Double(batches)) * 1e9))
    }

    @Test(arguments: [false, true]) func aSlowDiskIsNamed(hasFetchThread: Bool) throws {
        let storage = try SlowedStorage(delay: .milliseconds(150))
        let report = try report(dataset.repeated(3), storage.access(hasFetchThread: hasFetchThread))
        let verdict = Verdict(report, hasConsumer: false)
        #expect(verdict.limit == .storage, "\(verdict)")
        // Only the slowed reads are waited for, whether the kernel had the bytes or not.
        #expect(
            verdict.description.hasPrefix("bound by reading")
                || verdict.description.hasPrefix("storage-bound"),
            "\(verdict)")
        let served = Verdict(report, hasConsumer: true)
        #expect(served.limit == .storage && served.description.hasPrefix("input-bound"), "\(served)")
    }

    @Test func aSlowDecoderIsNamed() throws {
        let slow = dataset.decoding("bin", with: SlowDecoder(delay: .milliseconds(20))).repeated(2)
        let verdict = Verdict(try report(slow), hasConsumer: false)
        #expect(verdict.limit == .decode, "\(verdict)")
    }

    @Test func aSlowConsumerIsNamed() throws {
        let step = try longStep(dataset, batches: Self.samples / 8)
        let verdict = Verdict(try report(dataset, step: step), hasConsumer: true)
        #expect(verdict.limit == .consumer, "\(verdict), with steps of \(step)")
        #expect(verdict.description.hasPrefix("compute-bound"))
    }

    /// The same slow room under a consumer that is slower still: the consumer is what limits.
    @Test func aSlowDiskBehindASlowerConsumerIsForgiven() throws {
        let storage = try SlowedStorage(delay: .milliseconds(2))
        let access = storage.access(hasFetchThread: false)
        let step = try longStep(dataset, access, batches: Self.samples / 8)
        let verdict = Verdict(try report(dataset, access, step: step), hasConsumer: true)
        #expect(verdict.limit == .consumer, "\(verdict), with steps of \(step)")
    }
}
