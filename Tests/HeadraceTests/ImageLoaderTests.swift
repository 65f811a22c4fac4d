import Foundation
import HeadraceCore
import HeadraceDecode
import Testing

@testable import Headrace

/// Images through the loader: what is random is the sample's own.
@Suite struct ImageLoaderTests {
    private let folder = TemporaryFolder()

    /// 30 PNGs in three shards, each a gradient of its own; every seventh is a JPEG that was cut off if asked for.
    private func dataset(damaged: Bool = false) throws -> Dataset {
        for shard in 0..<3 {
            let samples = try (0..<10).map { index -> (String, [(String, [UInt8])]) in
                let number = shard * 10 + index
                let file = damaged && number % 7 == 3 ? [0xff, 0xd8, 0xff, 0xe0] : try Self.png(number)
                return ("k\(number)", [("png", file), ("cls", Array("\(number)".utf8))])
            }
            let options = PackOptions(output: folder("s\(shard)/x-%d.tar"))
            _ = try Packer([ListSource(samples: samples)], options: options).run()
        }
        return Dataset(folder("s{0..2}/x-0.tar")).with {
            $0.batchSize = 4
            $0.seed = 5
            $0.shuffle = .buffer(8)
        }
    }

    /// A PNG without compression, written here: 40 x 30 pixels.
    private static func png(_ number: Int) throws -> [UInt8] {
        func big(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(value >> (24 - 8 * $0) & 255) } }
        func chunk(_ name: String, _ payload: [UInt8]) -> [UInt8] {
            let body = Array(name.utf8) + payload
            var crc: UInt32 = ~0
            for byte in body {
                crc ^= UInt32(byte)
                for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xedb8_8320 : crc >> 1 }
            }
            return big(UInt32(payload.count)) + body + big(~crc)
        }
        var rows: [UInt8] = []
        for y in 0..<30 {
            rows.append(0)
            for x in 0..<40 {
                rows += [UInt8(x * 6), UInt8(y * 8), UInt8(truncatingIfNeeded: number * 8 + x * y / 8)]
            }
        }
        var (low, high): (UInt32, UInt32) = (1, 0)
        for byte in rows {
            low = (low + UInt32(byte)) % 65521
            high = (high + low) % 65521
        }
        let length = UInt16(rows.count)
        let stored: [UInt8] =
            [0x78, 1, 1, UInt8(length & 255), UInt8(length >> 8), UInt8(~length & 255), UInt8(~length >> 8)]
            + rows + big(high << 16 | low)
        let header = big(40) + big(30) + [8, 2, 0, 0, 0]
        return [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10] + chunk("IHDR", header) + chunk("IDAT", stored)
            + chunk("IEND", [])
    }

    private func augmented(_ dataset: Dataset) throws -> Dataset {
        try dataset.decoding(
            "png",
            with: .image(
                .randomResizedCrop(24), .flip, .colorJitter(brightness: 0.3, contrast: 0.3, saturation: 0.3),
                .normalize(.imageNet))
        )
        .decoding("cls", with: .integer)
    }

    private struct Row: Equatable {
        var label: Int64
        var pixels: [Float]
    }

    private func rows(
        _ dataset: Dataset, resuming state: LoaderState? = nil, limit: Int = .max
    ) throws -> (rows: [Row], states: [LoaderState]) {
        let loader = try dataset.loader(resuming: state)
        defer { loader.close() }
        var rows: [Row] = []
        var states: [LoaderState] = []
        while states.count < limit, let batch = try loader.next() {
            let labels = try batch["cls"].elements(as: Int64.self)
            for (row, label) in labels.enumerated() {
                rows.append(Row(label: label, pixels: try batch["png"].elements(ofRow: row)))
            }
            states.append(loader.state)
        }
        return (rows, states)
    }

    @Test func workersChangeNothing() throws {
        let dataset = try augmented(dataset())
        let one = try rows(dataset.workers(1)).rows
        #expect(one.count == 30 && one[0].pixels.count == 3 * 24 * 24)
        for workers in [2, 5] { #expect(try rows(dataset.workers(workers)).rows == one) }
        #expect(
            try rows(
                dataset.with {
                    $0.engine = .pread; $0.prefetch = 1
                }
            ).rows == one)
    }

    /// Another epoch or seed crops otherwise; the same sample of the same epoch does not.
    @Test func everyEpochIsAnother() throws {
        let dataset = try augmented(dataset()).repeated(2)
        let all = try rows(dataset).rows
        let first = Dictionary(uniqueKeysWithValues: all[..<30].map { ($0.label, $0.pixels) })
        let second = Dictionary(uniqueKeysWithValues: all[30...].map { ($0.label, $0.pixels) })
        #expect(first.keys == second.keys)
        #expect(first.allSatisfy { second[$0.key] != $0.value })
        let other = try rows(dataset.with { $0.seed = 6 }).rows[..<30]
        #expect(other.allSatisfy { first[$0.label] != $0.pixels })
    }

    @Test func resumeKeepsTheAugmentations() throws {
        let dataset = try augmented(dataset()).repeated(2)
        let whole = try rows(dataset)
        for batches in [1, 5, 9, 12] {
            let begun = try rows(dataset, limit: batches)
            #expect(begun.rows == Array(whole.rows[..<begun.rows.count]))
            let rest = try rows(dataset.workers(3), resuming: begun.states[batches - 1])
            #expect(rest.rows == Array(whole.rows[begun.rows.count...]))
        }
    }

    /// Two columns of one field, one without jitter: an image and its mask stay aligned.
    @Test func equalGeometryEqualCrop() throws {
        let plain = try dataset().decoding(
            "png", with: .image(.randomResizedCrop(24), .flip, layout: .hwc), as: "mask"
        )
        .decoding("png", with: .image(.randomResizedCrop(24), .flip, .colorJitter(brightness: 0.5)))
        let loader = try plain.loader()
        defer { loader.close() }
        while let batch = try loader.next() {
            let mask = try batch["mask"].elements(as: UInt8.self)
            let image = try batch["png"].elements(as: UInt8.self)
            let pixels = 24 * 24
            for row in 0..<batch.count {
                // A brighter or darker copy: the order of values along red, a gradient from left to right, stays.
                let reds = (0..<pixels).map { (mask[(row * pixels + $0) * 3], image[row * pixels * 3 + $0]) }
                let sorted = reds.sorted { $0.0 < $1.0 }
                #expect(zip(sorted, sorted.dropFirst()).allSatisfy { $0.1 <= $1.1 || $0.0 == $1.0 })
            }
        }
    }

    @Test func damagedImagesAreDefects() throws {
        let dataset = try augmented(dataset(damaged: true)).onDefect(.skip(limit: 10))
        let loader = try dataset.loader()
        var labels: [Int64] = []
        while let batch = try loader.next() { labels += try batch["cls"].elements(as: Int64.self) }
        let report = loader.report()
        loader.close()
        #expect(labels.count == 26 && labels.allSatisfy { $0 % 7 != 3 })
        #expect(report.skipped == 4)
        #expect(throws: HeadraceError.self) { _ = try rows(dataset.onDefect(.fail)) }
    }
}
