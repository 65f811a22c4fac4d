import Glibc
import HeadraceCore
import Testing

@testable import HeadraceStorage

@Suite struct CacheKeyTests {
    @Test func signaturesAndCredentialsAreNoPartOfAURL() {
        let plain = "https://host.example/bucket/train-000.tar"
        for url in [
            plain, "HTTPS://host.example/bucket/train-000.tar",
            "https://user:secret@host.example/bucket/train-000.tar",
            plain + "?X-Amz-Signature=abc&X-Amz-Date=20260101T000000Z&x-amz-security-token=t",
            plain + "?Signature=abc&Expires=17&AWSAccessKeyId=k", plain + "?sig=a&se=b&sp=r&sv=1#part",
            plain + "?X-Goog-Signature=abc",
        ] {
            #expect(CacheURL.canonical(url) == plain)
        }
    }

    @Test func whatSaysWhatIsReadStays() {
        #expect(CacheURL.canonical("https://h/a?versionId=3&Signature=x") == "https://h/a?versionId=3")
        #expect(CacheURL.canonical("https://h/a?versionId=3") != CacheURL.canonical("https://h/a"))
        #expect(CacheURL.canonical("https://h/a@b/c") == "https://h/a@b/c")
        #expect(CacheURL.canonical("s3://b/k") != CacheURL.canonical("https://b/k"))
    }

    @Test func aLocalPathIsWhereItLies() throws {
        let scratch = Scratch()
        let path = scratch.file("a", [1])
        #expect(symlink(path, "\(scratch.path)/link") == 0)
        let real = try #require(LocalFiles.resolved(path))
        #expect(CacheURL.canonical("\(scratch.path)/link") == "file://\(real)")
        #expect(
            CacheURL.canonical("\(scratch.path)/../\(scratch.path.split(separator: "/").last!)/a")
                == "file://\(real)")
        #expect(CacheURL.localPath(CacheURL.canonical(path)) == real)
        #expect(CacheURL.localPath("https://h/a") == nil)
    }

    @Test func aKeyIsOfURLSizeAndVersion() {
        let keys = [
            ("https://h/a/x.tar", 10, "1"), ("https://h/b/x.tar", 10, "1"), ("https://h/a/x.tar", 11, "1"),
            ("https://h/a/x.tar", 10, "2"), ("https://h/a/x.tar\n10", 1, "1"),
        ].map { CacheKey(url: $0.0, size: $0.1, version: $0.2) }
        #expect(Set(keys).count == keys.count)
        #expect(Set(keys.map(\.name)).count == keys.count)
        for key in keys { #expect(CacheKey(name: key.name) == key) }
        #expect(CacheKey(name: "0123") == nil)
        #expect(CacheKey(name: String(repeating: "g", count: 32)) == nil)
    }

    @Test func blocksHaveNamesThatReadBack() {
        for number in [0, 1, 99_999_999, 100_000_000] {
            #expect(BlockFile.number(ofName: BlockFile.name(number)) == number)
        }
        for name in ["1.block", "0000000a.block", "00000001", "+0000001.block", ".block"] {
            #expect(BlockFile.number(ofName: name) == nil)
        }
    }
}
