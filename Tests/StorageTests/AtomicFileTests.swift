import Foundation
import HeadraceCore
import Testing

@testable import HeadraceStorage

@Suite struct AtomicFileTests {
    private func append(_ bytes: [UInt8], to file: AtomicFile) throws {
        try bytes.withUnsafeBytes { try file.append($0) }
    }

    private func names(_ scratch: Scratch) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted()
    }

    private func content(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    @Test func theFileAppearsWholeAtCommit() throws {
        let scratch = Scratch()
        let path = "\(scratch.path)/out.tar"
        let bytes = randomBytes(5_000_000)
        let file = try AtomicFile(path)
        for start in stride(from: 0, to: bytes.count, by: 700_001) {
            try append(Array(bytes[start..<min(start + 700_001, bytes.count)]), to: file)
        }
        #expect(file.byteCount == bytes.count)
        let during = try names(scratch)
        #expect(during.count == 1)
        #expect(AtomicFile.isTemporary(during[0]))
        #expect(!AtomicFile.isTemporary("out.tar"))
        try file.commit()
        #expect(try names(scratch) == ["out.tar"])
        let isEqual = try content(path) == bytes
        #expect(isEqual)
        let mask = umask(0)
        umask(mask)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o666 & ~Int(mask))
    }

    @Test func whatWasWrittenCanBeWrittenOver() throws {
        let scratch = Scratch()
        let path = "\(scratch.path)/a"
        let file = try AtomicFile(path)
        try append([1, 2, 3, 4], to: file)
        try [UInt8(9), 8].withUnsafeBytes { try file.overwrite($0, at: 1) }
        for offset in [3, -1, Int.max] {
            #expect(throws: HeadraceError.self) {
                try [UInt8(9), 8].withUnsafeBytes { try file.overwrite($0, at: offset) }
            }
        }
        try append([5], to: file)
        try file.commit()
        #expect(try content(path) == [1, 9, 8, 4, 5])
    }

    @Test func abortAndDropLeaveNothing() throws {
        let scratch = Scratch()
        let file = try AtomicFile("\(scratch.path)/a")
        try append([1], to: file)
        file.abort()
        #expect(try names(scratch).isEmpty)
        #expect(throws: HeadraceError.self) { try append([2], to: file) }
        #expect(throws: HeadraceError.self) { try file.commit() }
        do {
            let dropped = try AtomicFile("\(scratch.path)/b")
            try append([1], to: dropped)
        }
        #expect(try names(scratch).isEmpty)
    }

    @Test func anExistingFileStaysUnlessItMayBeReplaced() throws {
        let scratch = Scratch()
        let path = scratch.file("a", [7])
        let error = #expect(throws: HeadraceError.self) { try AtomicFile(path) }
        #expect(error?.code == .exists)
        let file = try AtomicFile(path, replacing: true)
        try append([1, 2], to: file)
        #expect(try content(path) == [7])
        try file.commit()
        #expect(try content(path) == [1, 2])
        #expect(try names(scratch) == ["a"])
        for place in [scratch.path, "/dev/null"] {
            let error = #expect(throws: HeadraceError.self) { try AtomicFile(place, replacing: true) }
            #expect(error?.code == .io)
        }
    }

    @Test func aFileThatAppearedMeanwhileIsNotLost() throws {
        let scratch = Scratch()
        let path = "\(scratch.path)/a"
        do {
            let file = try AtomicFile(path)
            try append([1, 2], to: file)
            _ = scratch.file("a", [7])
            let error = #expect(throws: HeadraceError.self) { try file.commit() }
            #expect(error?.code == .exists)
            #expect(try content(path) == [7])
        }
        #expect(try names(scratch) == ["a"])
    }

    @Test func aKilledWriterLeavesOnlyATemporaryFile() async throws {
        let scratch = Scratch()
        let path = "\(scratch.path)/a"
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let file = try AtomicFile(path)
            try randomBytes(100_000).withUnsafeBytes { try file.append($0) }
            kill(getpid(), SIGKILL)
        }
        let left = try names(scratch)
        #expect(left.count == 1)
        #expect(left.allSatisfy(AtomicFile.isTemporary))
    }

    @Test func aFullFileSystemIsSaid() throws {
        let descriptor = open("/dev/full", O_WRONLY)
        guard descriptor >= 0 else {
            print("SKIPPED: there is no /dev/full")
            return
        }
        defer { close(descriptor) }
        let error = #expect(throws: HeadraceError.self) {
            try randomBytes(100).withUnsafeBytes { bytes in
                try writeFully(bytes, to: descriptor, at: 0, "out")
            }
        }
        #expect(error?.code == .io)
        #expect(error?.message.contains("file system is full") == true)
        #expect(error?.cause?.contains("ENOSPC") == true)
    }

    /// The kernel writes up to the limit, a short write, and refuses the rest.
    @Test func aFileSizeLimitIsAnErrorAfterAShortWrite() async throws {
        let scratch = Scratch()
        let path = "\(scratch.path)/a"
        await #expect(processExitsWith: .success) { [path = path as String] in
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 10_000, rlim_max: 10_000)
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            let file = try AtomicFile(path)
            let error = #expect(throws: HeadraceError.self) {
                try randomBytes(100_000).withUnsafeBytes { try file.append($0) }
            }
            #expect(error?.cause?.contains("EFBIG") == true)
            #expect(error?.message.contains("ulimit -f") == true)
            #expect(file.byteCount == 0)
        }
        #expect(try names(scratch).isEmpty)
    }

    @Test func badPlacesAreRefusedAtOnce() throws {
        let scratch = Scratch()
        for place in ["\(scratch.path)/none/a", "", "\(scratch.path)/a\u{0}b"] {
            #expect(throws: HeadraceError.self) { try AtomicFile(place) }
        }
        let long = String(repeating: "n", count: 300)
        let error = #expect(throws: HeadraceError.self) { try AtomicFile("\(scratch.path)/\(long)") }
        #expect(error?.cause?.contains("ENAMETOOLONG") == true)
        // The longest name there is leaves the temporary one no room to be derived from it.
        let longest = String(repeating: "n", count: 255)
        let file = try AtomicFile("\(scratch.path)/\(longest)")
        try file.commit()
        #expect(try names(scratch) == [longest])
    }
}
