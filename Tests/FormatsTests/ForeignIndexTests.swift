import Foundation
import HeadraceCore
import Testing

@testable import HeadraceFormats

/// Indexes of DALI and wids.
struct ForeignIndexTests {
    private static func tarRows(_ text: String, size: Int = 10240) -> Result<[[Int]], HeadraceError> {
        Result { () throws(HeadraceError) in
            try DALIIndex.tarRows(Array(text.utf8), shardByteCount: size, path: "x.idx").map {
                [$0.offset, $0.length]
            }
        }
    }

    private static func recordRows(_ text: String, size: Int) -> Result<[[Int]], HeadraceError> {
        Result { () throws(HeadraceError) in
            try DALIIndex.recordRows(Array(text.utf8), shardByteCount: size, path: "x.idx").map {
                [$0.offset, $0.length]
            }
        }
    }

    @Test func rowsReachFromEndToEnd() throws {
        let expected = [[0, 2048], [2048, 1536 + 512]]
        #expect(
            try Self.tarRows("v1.2 2\njpg 512 600 a.jpg cls 2048 0 a.cls\njpg 3584 512 b.jpg\n").get()
                == expected)
        #expect(try Self.tarRows("v1.1 2\njpg 512 600 cls 2048 0\njpg 3584 512").get() == expected)
        #expect(try Self.recordRows("0 100\n100 16\n", size: 116).get() == [[0, 100], [100, 16]])
        #expect(try Self.recordRows("", size: 0).get() == [])
    }

    @Test(arguments: [
        "", "v1.2", "v1.3 1\njpg 512 1 a.jpg\n", "v1.2 2\njpg 512 1 a.jpg\n", "v1.2 x\njpg 512 1 a.jpg\n",
        "v1.2 1\njpg 512 1 a b.jpg\n", "v1.2 1\njpg 513 1 a.jpg\n", "v1.2 1\njpg 0 1 a.jpg\n",
        "v1.2 1\njpg 512 9729 a.jpg\n", "v1.2 1\njpg -512 1 a.jpg\n",
        "v1.2 1\njpg 99999999999999999999 1 a.jpg\n",
        "v1.2 2\njpg 512 600 a.jpg\njpg 1024 1 b.jpg\n", "v1.2 2\njpg 512 600 a.jpg\njpg 1536 1 b.jpg\n",
        "v1.2 1\njpg 512 1 a.jpg cls 512 1 a.cls\n", "v1.2 1000000000\njpg 512 1 a.jpg\n", "\u{0}\u{1}",
    ])
    func tarIndexesThatCannotBeAreRefused(text: String) {
        #expect(throws: HeadraceError.self) { try Self.tarRows(text).get() }
    }

    @Test(arguments: [
        "0 100\n", "0 116 1\n", "1 115\n", "0 100\n99 17\n", "0 100\n100 15\n101 15\n", "0 -1\n", "v1.2 1",
    ])
    func recordIndexesThatCannotBeAreRefused(text: String) {
        #expect(throws: HeadraceError.self) { try Self.recordRows(text, size: 116).get() }
    }

    @Test func picklesAreNamed() {
        let pickle: [UInt8] = [0x80, 4, 0x95]
        let error = #expect(throws: HeadraceError.self) {
            try DALIIndex.tarRows(pickle, shardByteCount: 512, path: "x.idx")
        }
        #expect(error?.message.contains("pickle") == true && error?.code == .indexMismatch)
    }

    @Test func whatIsWrittenIsRead() throws {
        let samples: [[DALIIndex.Member]] = [
            [
                .init(name: Array("d.x/a.seg.PNG".utf8), payloadOffset: 512, size: 600),
                .init(name: Array("d.x/a.cls".utf8), payloadOffset: 2048, size: 0),
            ], [.init(name: Array("b.jpg".utf8), payloadOffset: 2560, size: 1)],
        ]
        let bytes = try DALIIndex.encodeTar(samples).copy()
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == "v1.2 2\nseg.PNG 512 600 d.x/a.seg.PNG cls 2048 0 d.x/a.cls\njpg 2560 1 b.jpg\n")
        #expect(
            try DALIIndex.tarRows(bytes, shardByteCount: 3072, path: "x").map(\.offset) == [0, 2048])
        for name in ["a b.jpg", "a.", "a\n.jpg", "a.j\tpg"] {
            let error = #expect(throws: HeadraceError.self) {
                try DALIIndex.encodeTar([[.init(name: Array(name.utf8), payloadOffset: 512, size: 1)]])
            }
            #expect(error?.code == .unsupported)
        }
    }

    @Test func widsIndexesComeBackSorted() throws {
        let index = WidsIndex(
            name: "x",
            shards: [
                .init(url: "b.tar", sampleCount: 2, byteCount: 5, md5: String(repeating: "0", count: 32)),
                .init(url: "a.tar", sampleCount: 1, byteCount: nil, md5: nil),
            ])
        #expect(index.shards.map(\.url) == ["a.tar", "b.tar"])
        #expect(try WidsIndex(parsing: index.encoded(), path: "x") == index)
        for text in [
            "", "{}", "[]", #"{"__kind__":"wids-shard-index-v1"}"#,
            #"{"__kind__":"wids-shard-index-v1","shardlist":[{"url":"a"}]}"#,
            #"{"__kind__":"wids-shard-index-v1","shardlist":[{"url":"a","nsamples":-1}]}"#,
            #"{"__kind__":"wids-shard-index-v1","shardlist":[{"url":"a","nsamples":1,"filesize":-1}]}"#,
        ] {
            #expect(throws: HeadraceError.self) { try WidsIndex(parsing: Array(text.utf8), path: "x") }
        }
    }
}
