import Foundation
import HeadraceCore
import HeadraceStorage
import Testing

@Suite struct LocalFilesTests {
    private func refusal(_ directory: String) -> HeadraceError? {
        do throws(HeadraceError) {
            _ = try LocalFiles.list(directory)
            return nil
        } catch {
            return error
        }
    }

    @Test func theListingIsWhatFindSees() throws {
        let scratch = Scratch()
        let root = "\(scratch.path)/root"
        // Names whose order differs between bytes, locales and Unicode: composed and decomposed, case, punctuation.
        let names = [
            "b/x.jpg", "a.txt", "a/1", "a/10", "a/2", "A/z", "a-b", "é", "e\u{301}", "z/y/x/w", ".hidden/f",
            "ß",
            "\u{FF01}", "\u{1F600}", "b c", "new\tline",
        ]
        for (number, name) in names.enumerated() {
            _ = scratch.file("root/\(name)", randomBytes(number))
        }
        _ = scratch.file("elsewhere/inside", [1, 2, 3])
        symlink("\(scratch.path)/elsewhere", "\(root)/linked")
        symlink("a.txt", "\(root)/link-to-file")
        mkfifo("\(root)/pipe", 0o600)
        mkdir("\(root)/empty", 0o700)
        let listing = try LocalFiles.list(root)
        #expect(listing.others == ["pipe"])
        #expect(listing.files.count == names.count + 2)
        for file in listing.files { #expect(file.path == "\(root)/\(file.relativePath)") }
        let empty = listing.files.first { $0.relativePath == "b/x.jpg" }
        #expect(empty?.size == 0)
        guard let found = try output(of: "find", ["-L", root, "-type", "f", "-printf", "%P\\0%s\\0"])
        else { return }
        let parts = found.split(separator: "\0", omittingEmptySubsequences: false).dropLast().map(String.init)
        var expected: [(name: [UInt8], size: Int)] = []
        for index in stride(from: 0, to: parts.count, by: 2) {
            expected.append((Array(parts[index].utf8), Int(parts[index + 1])!))
        }
        expected.sort { $0.name.lexicographicallyPrecedes($1.name) }
        #expect(listing.files.map { Array($0.relativePath.utf8) } == expected.map(\.name))
        #expect(listing.files.map(\.size) == expected.map(\.size))
    }

    @Test func linksThatLoopOrLeadNowhereAreErrors() throws {
        let scratch = Scratch()
        _ = scratch.file("root/a/f", [1])
        let root = "\(scratch.path)/root"
        symlink("..", "\(root)/a/up")
        #expect(refusal(root)?.message.contains("never end") == true)
        unlink("\(root)/a/up")
        symlink("nothing", "\(root)/a/dangling")
        #expect(refusal(root)?.place.shard == "\(root)/a/dangling")
        #expect(refusal(root)?.message.contains("nowhere") == true)
        unlink("\(root)/a/dangling")
        symlink("self", "\(root)/a/self")
        #expect(refusal(root)?.message.contains("to itself") == true)
        unlink("\(root)/a/self")
        #expect(refusal(root) == nil)
        // Twice the same directory side by side is no loop.
        symlink("a", "\(root)/b")
        #expect(try LocalFiles.list(root).files.map(\.relativePath) == ["a/f", "b/f"])
    }

    @Test func namesThatAreNoTextAreErrors() throws {
        let scratch = Scratch()
        let name: [CChar] = Array("\(scratch.path)/bad".utf8.map { CChar($0) }) + [-1, 0]
        let descriptor = creat(name, 0o600)
        #expect(descriptor >= 0)
        close(descriptor)
        #expect(refusal(scratch.path)?.code == .badName)
        unlink(name)
        #expect(refusal(scratch.path) == nil)
    }

    @Test func whatIsNoDirectoryIsSaid() {
        let scratch = Scratch()
        #expect(refusal(scratch.file("a", [1]))?.message.contains("no directory") == true)
        #expect(refusal("\(scratch.path)/none")?.code == .notFound)
        #expect(refusal("")?.code == .usage)
    }

    @Test func oneFileCanBeLookedAt() throws {
        let scratch = Scratch()
        let path = scratch.file("sub/a.tar", randomBytes(77))
        let entry = try LocalFiles.entry(path)
        #expect(entry.size == 77)
        #expect(entry.relativePath == "a.tar")
        #expect(try LocalFiles.kind(path) == .file)
        #expect(try LocalFiles.kind(scratch.path) == .directory)
        #expect(try LocalFiles.kind("/dev/null") == .other)
        #expect(try LocalFiles.kind(path + "x") == nil)
        #expect(try LocalFiles.kind(path + "/below") == nil)
        #expect(throws: HeadraceError.self) { try LocalFiles.entry(scratch.path) }
        #expect(throws: HeadraceError.self) { try LocalFiles.entry(path + "x") }
    }

    @Test func aDeepTreeNeedsNoDeepStack() throws {
        let scratch = Scratch()
        let deep = (0..<300).map { "d\($0)" }.joined(separator: "/")
        _ = scratch.file("\(deep)/f", [1])
        #expect(try LocalFiles.list(scratch.path).files.map(\.relativePath) == ["\(deep)/f"])
    }
}
