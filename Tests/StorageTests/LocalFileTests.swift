import Foundation
import HeadraceCore
import HeadraceStorage
import Testing

@Suite struct LocalFileTests {
    private func refusal(_ path: String, _ direct: DirectMode = .off) -> HeadraceError? {
        do {
            _ = try LocalFile(path, direct: direct)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [DirectMode.off, .required]) func whatIsNoFileIsRefusedByName(_ direct: DirectMode) {
        let scratch = Scratch()
        #expect(mkfifo("\(scratch.path)/fifo", 0o600) == 0)
        #expect(refusal(scratch.path, direct)?.message.contains("a directory") == true)
        #expect(refusal("\(scratch.path)/fifo", direct)?.message.contains("a FIFO") == true)
        #expect(refusal("/dev/null", direct)?.message.contains("a character device") == true)
        #expect(refusal("\(scratch.path)/none", direct)?.code == .notFound)
        #expect(refusal("\(scratch.path)/none", direct)?.cause?.contains("ENOENT") == true)
        #expect(refusal("", direct)?.code == .usage)
        #expect(refusal("\(scratch.path)/a\u{0}b", direct)?.code == .usage)
    }

    @Test func identityIsWhatTheSystemSays() throws {
        let scratch = Scratch()
        let path = scratch.file("a", randomBytes(12345))
        let file = try LocalFile(path, direct: .off)
        let facts = try FileManager.default.attributesOfItem(atPath: path)
        #expect(file.size == 12345)
        #expect(file.alignment == 1)
        #expect(file.identity.inode == (facts[.systemFileNumber] as? UInt64))
        let seconds = (facts[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
        #expect(abs(Double(file.identity.modificationNanoseconds) / 1e9 - seconds) < 0.001)
    }

    @Test func memoryFileSystemsAreNotPassedOffAsDirect() throws {
        let path = "/dev/shm/headrace-test-\(UUID().uuidString)"
        guard FileManager.default.createFile(atPath: path, contents: Data(randomBytes(4096))) else {
            print("SKIPPED: no /dev/shm to write to")
            return
        }
        defer { unlink(path) }
        #expect(refusal(path)?.code == nil)
        #expect(refusal(path, .required)?.code == .directRefused)
        #expect(refusal(path, .required)?.code.category.exitStatus == 2)
    }

    @Test func directReadsPassByThePageCache() throws {
        let scratch = Scratch()
        let path = scratch.file("a", randomBytes(1 << 20))
        guard let file = try Setup(way: .blocking, direct: .required).openLocal(path) else { return }
        #expect(try PageCache.evict(path).cachedBytes == 0)
        let memory = Memory(1 << 20)
        let reader = BlockingReader()
        let request = ReadRequest(ticket: 1, file: file, offset: 0, length: 1 << 20, destination: memory.base)
        #expect(reader.read(request)?.count == 1 << 20)
        #expect(try PageCache.residency(path).cachedBytes == 0)
    }

    @Test func aRewriteOfTheSameSizeIsNoticed() throws {
        let scratch = Scratch()
        let path = scratch.file("a", randomBytes(100))
        let file = try LocalFile(path, direct: .off)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.write(contentsOf: Data([1]))
        // Written within one tick of the file system's clock it would have the time that it had.
        let second = file.identity.modificationNanoseconds / 1_000_000_000
        let later = timespec(tv_sec: second + 1, tv_nsec: 0)
        #expect(futimens(handle.fileDescriptor, [later, later]) == 0)
        try handle.close()
        let error = #expect(throws: HeadraceError.self) { try file.checkUnchanged() }
        #expect(error?.code == .fileChanged)
    }

    @Test func descriptorsAreClosed() throws {
        let scratch = Scratch()
        let path = scratch.file("a", randomBytes(100))
        // Would run out of descriptors if they leaked, also those of refused files.
        for _ in 0..<3000 {
            _ = try LocalFile(path, direct: .off)
            #expect(refusal(scratch.path) != nil)
        }
        let reader = try PooledReader(queueDepth: 2)
        reader.close()
    }

    @Test func tooManyOpenFilesSaysWhatToDo() async {
        await #expect(processExitsWith: .success) {
            var limit = rlimit(rlim_cur: 8, rlim_max: 8)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            var files: [LocalFile] = []
            do throws(HeadraceError) {
                for _ in 0..<20 { files.append(try LocalFile("/proc/self/status", direct: .off)) }
            } catch {
                exit(error.message.contains("ulimit -n") && error.code == .io ? 0 : 1)
            }
            exit(2)
        }
    }

    @Test func smallFilesAreReadWholeAndNoLargerOnes() throws {
        let scratch = Scratch()
        let content = randomBytes(3_000_000)
        let path = scratch.file("a", content)
        let isEqual = try SmallFile.readBytes(path) == content
        #expect(isEqual)
        #expect(try SmallFile.read(scratch.file("b", Array("héllo".utf8))) == "héllo")
        #expect(try SmallFile.readBytes(scratch.file("c", [])).isEmpty)
        #expect(try !SmallFile.read("/proc/self/status").isEmpty)
        let error = #expect(throws: HeadraceError.self) { try SmallFile.readBytes(path, limit: 2_999_999) }
        #expect(error?.code == .limitExceeded)
    }
}
