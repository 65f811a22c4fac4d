extension Ranks {
    /// Nodes of the job, where the launcher says how many of its processes are on each.
    package var nodeCount: Int? {
        guard let each = Machine.current.launchedProcesses, worldSize % each == 0 else { return nil }
        return worldSize / each
    }
}
