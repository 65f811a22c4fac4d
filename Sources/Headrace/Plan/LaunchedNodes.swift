extension Ranks {
    /// Nodes of the job, where the launcher says how many of its processes are on each.
    package var nodeCount: Int? {
        let each = Machine.current.processesOnNode
        return each > 1 && worldSize % each == 0 ? worldSize / each : nil
    }
}
