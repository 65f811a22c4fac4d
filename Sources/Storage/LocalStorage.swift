package import HeadraceCore

/// The files of this machine.
package struct LocalStorage: Storage {
    package let direct: DirectMode
    /// How files are read, and why; fixed here so that a run does not change engines half-way.
    package let choice: EngineChoice
    private let canFallBack: Bool

    /// Throws `ringRefused` when `engine` is io_uring and the machine has none.
    package init(direct: DirectMode = .off, engine: Engine = .auto) throws(HeadraceError) {
        self.direct = direct
        choice = try EngineChoice.choose(engine, direct: direct)
        canFallBack = engine == .auto
    }

    package func open(_ path: String) throws(HeadraceError) -> any StorageFile {
        try LocalFile(path, direct: direct)
    }

    package func makeReader(queueDepth: Int) throws(HeadraceError) -> any Reader {
        switch choice.way {
        case .blocking: return BlockingReader(queueDepth: queueDepth)
        case .pooled: return try PooledReader(queueDepth: queueDepth)
        case .ring:
            do {
                return try RingReader(queueDepth: queueDepth)
            } catch  where canFallBack {
                // The probe's small ring was granted and this one was not: a limit on locked memory or files.
                return try PooledReader(queueDepth: queueDepth)
            }
        }
    }
}
