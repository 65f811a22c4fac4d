import FakeCUDA
import Foundation
import HeadraceCompute
import HeadraceCore
import HeadraceDecode
import Testing

@testable import Headrace

/// Images of 4 x 4 pixels and 3 channels, as they are: 48 bytes.
private struct PixelDecoder: Decoder {
    var shape = [4, 4, 3]

    func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        .fixed(.uint8, shape: shape)
    }

    func decode(_ run: inout DecodeRun) {
        for row in run.payloads.indices where !run.isAbsent(row) {
            run.rows!.advanced(by: row * 48).copyMemory(from: run.payloads[row].baseAddress!, byteCount: 48)
        }
    }
}

/// The loader with a device, over the fake driver.
@Suite struct DeviceLoaderTests {
    let fake: FakeDriver
    let fixture: LoaderFixture

    init() throws {
        fake = try FakeDriver()
        fixture = try LoaderFixture("s-%03d.tar", counts: [40, 7, 23]) { _ in 48 }
    }

    private var dataset: Dataset {
        Dataset(fixture.pattern).shuffled(seed: 3, buffer: 16).decoding("cls", with: .integer)
            .decoding("bin", with: PixelDecoder()).decoding("bin", with: .raw, as: "bytes").batched(8)
            .workers(2)
    }

    private func loader(_ dataset: Dataset) throws -> Loader {
        try LoaderBuilder(dataset, .cuda(0), driver: fake.path).open()
    }

    private struct Contents: Equatable {
        var keys: [String] = []
        var classes: [Int64] = []
        var pixels: [UInt8] = []
        var bytes: [UInt8] = []

        mutating func add(_ batch: Batch) throws {
            keys += batch.keys
            classes += try batch["cls"].elements(as: Int64.self)
            pixels += try batch["bin"].elements(as: UInt8.self)
            bytes += try batch["bytes"].withUnsafeBytes { Array($0) }
        }
    }

    private func contents(_ loader: Loader) throws -> Contents {
        var contents = Contents()
        while let batch = try loader.next() { try contents.add(batch) }
        return contents
    }

    private func nothingIsLeft() {
        for what: FakeDriver.Counted in [.hostPieces, .devicePieces, .events, .streams, .contexts, .modules] {
            #expect(fake.count(what) == 0, "\(what)")
        }
        #expect(!fake.log.contains { $0.hasPrefix("BAD") })
    }

    // MARK: What arrives

    @Test func theDeviceGetsWhatTheHostGets() throws {
        let expected = try contents(dataset.loader())
        #expect(expected.keys.count == 70)
        do {
            let loader = try loader(dataset)
            let batch = try #require(try loader.next())
            #expect(batch.device == .cuda(0))
            #expect(try batch["cls"].device == .cuda(0))
            #expect(try batch["cls"].deviceAddress != 0)
            #expect(try batch["bytes"].device == .host)
            #expect(try batch["cls"].elements(ofRow: 2, as: Int64.self) == [expected.classes[2]])
            #expect(
                try batch["bin"].elements(ofRow: 7, as: UInt8.self) == Array(expected.pixels[7 * 48..<8 * 48])
            )
            var found = Contents()
            try found.add(batch)
            let rest = try contents(loader)
            found.keys += rest.keys
            found.classes += rest.classes
            found.pixels += rest.pixels
            found.bytes += rest.bytes
            #expect(found == expected)
        }
        nothingIsLeft()
    }

    @Test func tasksGetTheSame() async throws {
        let expected = try contents(dataset.loader())
        var found = Contents()
        for try await batch in try loader(dataset) { try found.add(batch) }
        #expect(found == expected)
    }

    /// Nobody asks for a batch, no copy runs, and yet copies of several batches are under way: what is next is decoded
    /// meanwhile.
    @Test func copiesOverlapDecoding() throws {
        let expected = try contents(dataset.loader())
        fake.holdCopies()
        let loader = try loader(dataset)
        // Two columns a batch: this is the copy of the fourth.
        fake.awaitCopies(8)
        #expect(fake.count(.copiesDone) == 0)
        fake.letCopiesGo()
        #expect(try contents(loader) == expected)
    }

    @Test func aBatchIsHandedOverWhenItHasArrivedAndNotBefore() throws {
        fake.holdCopies()
        let loader = try loader(dataset)
        fake.awaitCopies(4)
        let taken = Lock()
        nonisolated(unsafe) var batch: Batch?
        let taker = try HeadraceCore.Thread(name: "taker") {
            let next = try? loader.next()
            taken.withLock { batch = next }
        }
        // One column of the first batch is not enough.
        fake.letCopiesGo(1)
        while fake.count(.copiesDone) < 1 { usleep(100) }
        #expect(taken.withLock { batch == nil })
        fake.letCopiesGo()
        taker.join()
        #expect(batch?.index == 0)
    }

    // MARK: Release

    @Test func aConsumerThatIsStillAtWorkKeepsItsMemory() throws {
        let one = dataset.with {
            $0.heldBatches = 1
            $0.prefetch = 1
        }
        let expected = try contents(one.loader())
        let loader = try loader(one)
        var batch = try loader.next()
        let first = try #require(batch)["bin"].deviceAddress
        let consumer = DeviceStream(handle: fake.makeStream())
        let work = fake.startWork(on: consumer.handle)
        batch?.noteUse(on: consumer)
        batch = nil
        // Four slots in all: the fifth batch is on its way into the first one's memory.
        fake.awaitCopies(10)
        let address = try #require(UnsafePointer<UInt8>(bitPattern: first))
        #expect(
            Array(UnsafeBufferPointer(start: address, count: 8 * 48)) == Array(expected.pixels[..<(8 * 48)]))
        fake.finish(work)
        var found = Contents()
        while let batch = try loader.next() { try found.add(batch) }
        #expect(found.keys == Array(expected.keys[8...]))
        #expect(found.pixels == Array(expected.pixels[(8 * 48)...]))
    }

    @Test func batchesOutliveTheLoaderAndThenAllIsFreed() throws {
        var held: Batch?
        do {
            let loader = try loader(dataset)
            held = try loader.next()
            loader.close()
        }
        #expect(fake.count(.hostPieces) == 0, "closing frees what no batch holds")
        #expect(fake.count(.devicePieces) > 0)
        #expect(try held?["cls"].elements(as: Int64.self).count == 8)
        held = nil
        nothingIsLeft()
    }

    @Test(arguments: [1, 2, 5]) func closingInTheMiddleOfCopiesFreesEverythingOnce(copies: Int) throws {
        do {
            fake.holdCopies()
            let loader = try loader(dataset.repeated(nil))
            fake.awaitCopies(copies)
            let closer = try HeadraceCore.Thread(name: "closer") { loader.close() }
            fake.letCopiesGo()
            closer.join()
            #expect(fake.count(.copiesDone) == fake.count(.copiesQueued))
            #expect(try loader.next() == nil)
        }
        nothingIsLeft()
    }

    @Test func droppingAtAnyPointFreesEverything() throws {
        for taken in [0, 1, 3, 9] {
            do {
                let loader = try loader(dataset.repeated(nil))
                var held: [Batch?] = []
                for _ in 0..<taken {
                    held.append(try loader.next())
                    if held.count > 2 { held.removeFirst() }
                }
            }
            nothingIsLeft()
        }
    }

    // MARK: Errors

    @Test(arguments: [
        ("cuMemcpyHtoDAsync_v2", 4), ("cuMemAlloc_v2", 4), ("cuEventRecord", 4), ("late", 4),
    ])
    func whatTheDeviceRefusesComesInTheBatchsPlace(call: String, after: Int) throws {
        do {
            fake.fail(call, after: after, code: 700, isSticky: call == "late")
            // So many columns in the consumer's hands that memory is taken for more.
            // One worker closes batches in their order, so that the call that fails is that of the third.
            let loader = try loader(dataset.workers(1).with { $0.heldBatches = 16 })
            var held: [Batch] = []
            var failure: HeadraceError?
            do throws(HeadraceError) {
                while let batch = try loader.next() { held.append(batch) }
            } catch {
                failure = error
            }
            #expect(held.map(\.index) == [0, 1])
            #expect(failure?.code == .device)
            #expect(failure?.message.hasPrefix("batch 2 of epoch 0 could not be brought to cuda:0: ") == true)
            #expect(failure?.message.contains("CUDA_ERROR_ILLEGAL_ADDRESS") == true)
            // For good, and what was delivered is counted.
            let again = #expect(throws: HeadraceError.self) { try loader.next() }
            #expect(again?.message == failure?.message)
            #expect(loader.report().batches == 2)
        }
        if call != "late" { nothingIsLeft() }
    }

    @Test func pageLockedMemoryThatIsRefusedEndsTheLoader() throws {
        fake.fail("cuMemHostAlloc", after: 3, code: 2)
        let loader = try loader(dataset)
        let error = #expect(throws: HeadraceError.self) { while try loader.next() != nil {} }
        #expect(error?.code == .device)
        #expect(error?.message.contains("page-locking") == true)
    }

    @Test func aMachineWithoutADriverIsToldAtOpen() throws {
        let error = #expect(throws: HeadraceError.self) {
            try LoaderBuilder(Dataset("/nowhere/*.tar"), .cuda(0), driver: "/nowhere/libcuda.so.1").open()
        }
        #expect(error?.code == .device)
        #expect(error?.message.contains("/nowhere/libcuda.so.1") == true)
    }

    @Test func elementsOnADeviceHaveNoAddressOnTheHost() async {
        await #expect(processExitsWith: .failure) {
            let tests = try DeviceLoaderTests()
            let batch = try tests.loader(tests.dataset).next()!
            _ = try batch["cls"].withUnsafeBytes { $0.count }
        }
    }

    // MARK: DLPack

    private typealias Deleter = @convention(c) (UnsafeMutableRawPointer) -> Void

    @Test(arguments: [ComputeDevice.host, .cuda(0)]) func dlpackHoldsTheBatchUntilItsDeleter(
        device: ComputeDevice
    ) throws {
        let expected = try contents(dataset.loader())
        let single = dataset.with { $0.heldBatches = 1 }
        var pointer: UnsafeMutableRawPointer?
        do {
            let loader = device == .host ? try single.loader() : try loader(single)
            var unversioned: UnsafeMutableRawPointer?
            unversioned = try loader.next()?["cls"].exportUnversionedDLPack()
            let first = try #require(unversioned)
            // Its batch counts as held, and its memory is nobody else's.
            #expect(throws: HeadraceError.self) { try loader.next() }
            let address = try #require(UnsafePointer<Int64>(bitPattern: first.load(as: UInt.self)))
            #expect(UInt(bitPattern: address) % 256 == 0)
            #expect(Array(UnsafeBufferPointer(start: address, count: 8)) == Array(expected.classes[..<8]))
            #expect(first.load(fromByteOffset: 8, as: Int32.self) == (device == .host ? 1 : 2))
            first.load(fromByteOffset: 56, as: Deleter.self)(first)
            let stream = device == .host ? nil : DeviceStream(handle: fake.makeStream())
            pointer = try loader.next()?["bin"].exportDLPack(readOnly: false, stream: stream)
            #expect(throws: HeadraceError.self) { try loader.next() }
            loader.close()
        }
        let second = try #require(pointer)
        let shape = second.load(fromByteOffset: 32 + 24, as: UnsafePointer<Int64>.self)
        #expect((0..<4).map { shape[$0] } == [8, 4, 4, 3])
        #expect(second.load(fromByteOffset: 24, as: UInt64.self) == 0)
        let address = try #require(
            UnsafePointer<UInt8>(bitPattern: second.load(fromByteOffset: 32, as: UInt.self)))
        #expect(
            Array(UnsafeBufferPointer(start: address, count: 384)) == Array(expected.pixels[384..<768]))
        nonisolated(unsafe) let structure = second
        let other = try HeadraceCore.Thread(name: "other") {
            structure.load(fromByteOffset: 16, as: Deleter.self)(structure)
        }
        other.join()
        if device != .host { nothingIsLeft() }
    }

    @Test func dlpackWantsOneShape() throws {
        let batch = try #require(try dataset.loader().next())
        let error = #expect(throws: HeadraceError.self) { try batch["bytes"].exportDLPack() }
        #expect(error?.code == .shapeMismatch)
    }

    // MARK: Normalising

    private func normalization(_ channels: DeviceNormalization.Channels = .last) throws -> DeviceNormalization
    {
        try DeviceNormalization(
            mean: [0.1, 0.2, 0.3], deviation: [1, 2, 3], as: .float16, channels: channels)
    }

    @Test func imagesAreNormalisedOnTheWay() throws {
        do {
            let loader = try loader(dataset.normalizing("bin", on: try normalization()))
            let batch = try #require(try loader.next())
            let images = try batch["bin"]
            #expect(images.shape == [8, 3, 4, 4])
            #expect(images.elementType == .float16)
            #expect(images.layout.rowBytes == 96)
            let launch = try #require(fake.log.first { $0.hasPrefix("launch ") })
            #expect(launch.contains("headrace_normalize_float16 grid 1 1 1"))
            #expect(launch.contains(" total 128 pixels 16 channels 3 last 1 "))
            #expect(try batch["cls"].elements(as: Int64.self).count == 8)
        }
        nothingIsLeft()
    }

    @Test func whatCannotBeNormalisedIsRefusedAtOpen() throws {
        let onHost = #expect(throws: HeadraceError.self) {
            try dataset.normalizing("bin", on: normalization()).loader()
        }
        #expect(onHost?.code == .usage)
        let otherOrder = #expect(throws: HeadraceError.self) {
            try loader(dataset.normalizing("bin", on: normalization(.first)))
        }
        #expect(otherOrder?.code == .shapeMismatch)
        #expect(otherOrder?.message.contains("[4, 4, 3]") == true)
        let noImages = #expect(throws: HeadraceError.self) {
            try loader(dataset.normalizing("cls", on: normalization()))
        }
        #expect(noImages?.code == .shapeMismatch)
        let noColumn = #expect(throws: HeadraceError.self) {
            _ = try dataset.normalizing("img", on: normalization())
        }
        #expect(noColumn?.code == .usage)
    }

    @Test func aNormalisationIsPartOfTheState() throws {
        let loader = try loader(dataset.normalizing("bin", on: try normalization()))
        _ = try loader.next()
        let state = loader.state
        #expect(throws: HeadraceError.self) { try dataset.loader(resuming: state) }
    }
}
