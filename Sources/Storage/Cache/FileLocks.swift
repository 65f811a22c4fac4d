internal import Glibc
internal import HeadraceCore

/// Locks that the kernel keeps: they belong to an open file and end with the last process that has it open, however
/// that process ends.
enum FileLocks {
    private static let firstPauseMicroseconds: UInt32 = 50
    private static let longestPauseMicroseconds: UInt32 = 10_000

    /// Takes the lock, waiting at most so long; false when somebody else has it still.
    static func take(_ descriptor: Int32, patienceNanoseconds: Int) -> Bool {
        var pause = firstPauseMicroseconds
        let end = Clock.now() + patienceNanoseconds
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR, Clock.now() < end else { return false }
            usleep(pause)
            pause = min(2 * pause, longestPauseMicroseconds)
        }
        return true
    }

    /// Lets go. Closing would do it too, unless a child process was forked off that has the file open as well.
    static func release(_ descriptor: Int32) { _ = flock(descriptor, LOCK_UN) }
}

/// What tells a file from another that took its path.
struct FileFacts: Equatable {
    var inode: UInt64
    var size: Int
    /// Changes with every write, rename and chmod; no program can set it.
    var changeNanoseconds: Int
    var modificationNanoseconds: Int

    private init(_ facts: stat) {
        inode = UInt64(facts.st_ino)
        size = Int(facts.st_size)
        changeNanoseconds = facts.st_ctim.tv_sec &* 1_000_000_000 &+ facts.st_ctim.tv_nsec
        modificationNanoseconds = facts.st_mtim.tv_sec &* 1_000_000_000 &+ facts.st_mtim.tv_nsec
    }

    init?(_ descriptor: Int32) {
        var facts = stat()
        guard unsafe fstat(descriptor, &facts) == 0 else { return nil }
        self.init(facts)
    }

    /// Of a regular file; links are not followed.
    init?(path: String) {
        var facts = stat()
        guard unsafe lstat(path, &facts) == 0, facts.st_mode & mode_t(S_IFMT) == mode_t(S_IFREG) else {
            return nil
        }
        self.init(facts)
    }
}

/// The names in a directory, in no order; nil where it cannot be listed.
func directoryNames(_ path: String) -> [String]? {
    guard let stream = unsafe opendir(path) else { return nil }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
        let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}
