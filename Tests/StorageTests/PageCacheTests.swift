import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

@Suite struct PageCacheTests {
    /// Bytes in the page cache according to util-linux.
    private func fincore(_ path: String) throws -> Int? {
        try output(of: "fincore", ["--bytes", "--noheadings", "--output", "RES", path])
            .flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    @Test func evictedAndWarmedFilesAreWhatTheyAreCalled() throws {
        let scratch = Scratch()
        // Just written, so its pages are dirty and must reach the disk before they can go.
        let path = scratch.file("a", randomBytes((8 << 20) + 5))
        let cold = try PageCache.evict(path)
        #expect(cold == PageCache.Residency(cachedBytes: 0, fileBytes: (8 << 20) + 5))
        #expect(cold.share == 0)
        if let other = try fincore(path) { #expect(other == 0) }
        let warm = try PageCache.warm(path)
        #expect(warm.cachedBytes == (8 << 20) + 5)
        #expect(warm.share == 1)
        if let other = try fincore(path) { #expect(other == (8 << 20) + 4096) }
        #expect(try PageCache.evict(path).cachedBytes == 0)
    }

    @Test func bothWaysOfCountingAgree() throws {
        let scratch = Scratch()
        let path = scratch.file("a", randomBytes((4 << 20) + 100))
        _ = try PageCache.evict(path)
        let file = try LocalFile(path, direct: .off)
        #expect(posix_fadvise(file.descriptor, 0, 0, Int32(POSIX_FADV_RANDOM)) == 0)
        let memory = Memory(1 << 20)
        let reader = BlockingReader()
        let request = ReadRequest(
            ticket: 0, file: file, offset: 1 << 20, length: 1 << 20, destination: memory.base)
        #expect(reader.read(request)?.count == 1 << 20)
        let counted = try PageCache.residency(path)
        #expect(counted.cachedBytes >= 1 << 20)
        #expect(counted.cachedBytes < 4 << 20)
        #expect(try PageCache.mappedResidency(of: file) == counted)
        if let other = try fincore(path) { #expect(other == counted.cachedBytes) }
    }

    @Test func anEmptyFileIsAlwaysThere() throws {
        let scratch = Scratch()
        let path = scratch.file("a", [])
        #expect(try PageCache.evict(path).share == 1)
        #expect(try PageCache.warm(path).fileBytes == 0)
        #expect(try PageCache.mappedResidency(of: LocalFile(path, direct: .off)).cachedBytes == 0)
        #expect(throws: HeadraceError.self) { try PageCache.evict(path + "x") }
        #expect(throws: HeadraceError.self) { try PageCache.warm(scratch.path) }
    }

    @Test func localDisksAreNoNetwork() throws {
        let scratch = Scratch()
        let kind = try output(of: "stat", ["--file-system", "--format=%T", scratch.path])
        guard let kind = kind?.trimmingCharacters(in: .whitespacesAndNewlines) else { return }
        let networks = ["nfs", "smb2", "cifs", "ceph", "lustre", "fuseblk", "v9fs"]
        #expect(PageCache.isNetworkFileSystem(scratch.path) == networks.contains(kind))
        #expect(!PageCache.isNetworkFileSystem("/proc"))
        #expect(!PageCache.isNetworkFileSystem("/nowhere/at/all"))
        #expect(FileSystemKind(ofPath: "/proc")?.isInMemory == false)
    }
}
