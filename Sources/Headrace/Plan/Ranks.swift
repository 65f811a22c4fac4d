package import HeadraceCore

/// Which of how many processes of a job this one is.
package struct Ranks: Sendable, Hashable {
    package let rank: Int
    package let worldSize: Int

    /// A process that works alone.
    package static let alone = Ranks(checkedRank: 0, worldSize: 1)

    package init(rank: Int, worldSize: Int) throws(HeadraceError) {
        try PlanLimits.check(worldSize, 1...PlanLimits.worldSize, "the world size")
        guard rank >= 0, rank < worldSize else {
            throw HeadraceError(
                .usage, "rank \(rank) of \(worldSize) cannot be: ranks are 0 to \(worldSize - 1)")
        }
        self.init(checkedRank: rank, worldSize: worldSize)
    }

    private init(checkedRank rank: Int, worldSize: Int) {
        self.rank = rank
        self.worldSize = worldSize
    }

    /// Names of the variables that launchers set, the innermost launcher first: torchrun may run under mpirun or srun,
    /// whose ranks are then those of the nodes. So launchers that disagree are no contradiction; a pair that is
    /// half set or impossible is one.
    private static let launchers = [
        ("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("SLURM_PROCID", "SLURM_NTASKS"),
    ]

    /// The variables that are looked at.
    static let variableNames = launchers.flatMap { [$0.0, $0.1] }

    /// What the options say, else the launcher's environment, else a process alone.
    package static func resolve(
        rank: Int?, worldSize: Int?, environment: [String: String]
    ) throws(HeadraceError) -> Ranks {
        switch (rank, worldSize) {
        case (let rank?, let worldSize?): return try Ranks(rank: rank, worldSize: worldSize)
        case (nil, nil): return try fromEnvironment(environment) ?? .alone
        default:
            throw HeadraceError(
                .usage, "the rank and the world size go together: both must be given, or neither")
        }
    }

    /// What the launcher of the job set; nil without one.
    package static func fromEnvironment(_ environment: [String: String]) throws(HeadraceError) -> Ranks? {
        for (rankName, sizeName) in launchers {
            let rankText = environment[rankName]
            let sizeText = environment[sizeName]
            guard rankText != nil || sizeText != nil else { continue }
            guard let rankText, let sizeText else {
                let (given, missing) = rankText == nil ? (sizeName, rankName) : (rankName, sizeName)
                throw HeadraceError(
                    .usage,
                    "the environment has \(given) but not \(missing), so which share of the data to read is "
                        + "not known: set both or neither, or give --rank and --world-size "
                        + "(a process alone is rank 0 of 1)")
            }
            guard let rank = Int(rankText), let size = Int(sizeText), size >= 1, size <= PlanLimits.worldSize,
                rank >= 0, rank < size
            else {
                throw HeadraceError(
                    .usage,
                    "the environment says \(rankName)=\(rankText) and \(sizeName)=\(sizeText), which "
                        + "contradict each other: a rank is from 0 to the world size less 1, and that is at most "
                        + "\(PlanLimits.worldSize); --rank and --world-size go before them")
            }
            return Ranks(checkedRank: rank, worldSize: size)
        }
        return nil
    }
}
