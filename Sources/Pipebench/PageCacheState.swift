internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore
internal import HeadraceStorage

/// What the page cache shall hold of the files before a run.
enum PageCacheState: String, CaseIterable {
    /// Whatever it holds.
    case keep
    /// Nothing of these files.
    case cold
    /// All of these files.
    case warm
}

extension PageCacheState {
    /// Brings the page cache into this state for `files`, and returns what has to be said about it: a run that is
    /// called cold must not be believed where the kernel kept pages, or a server has its own.
    func prepare(_ files: [String]) throws(HeadraceError) -> [String] {
        guard self != .keep else { return [] }
        var cached = 0
        var total = 0
        for file in files {
            if Interrupt.isRequested { break }
            let residency = self == .cold ? try PageCache.evict(file) : try PageCache.warm(file)
            cached += residency.cachedBytes
            total += residency.fileBytes
        }
        var notes: [String] = []
        switch self {
        case .keep: break
        case .cold where cached > 0:
            notes.append(
                "page cache: not cold, \(ByteCount(cached)) of \(ByteCount(total)) could not be evicted (in use by "
                    + "other processes, or the file system lives in memory)")
        case .cold:
            notes.append("page cache: cold, none of \(ByteCount(total)) was resident when the run began")
        case .warm where cached < total:
            notes.append(
                "page cache: not warm, it holds \(ByteCount(cached)) of \(ByteCount(total)) after all was read"
            )
        case .warm:
            notes.append("page cache: warm, all of \(ByteCount(total)) was resident when the run began")
        }
        if let remote = files.first(where: { PageCache.isNetworkFileSystem($0) }) {
            notes.append("page cache: server cache unknown, \(remote) is on a network file system")
        }
        return notes
    }
}
