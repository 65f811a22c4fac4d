import HeadraceCore
import Testing

@testable import Headrace

@Suite struct RanksTests {
    @Test func launchersAreFound() throws {
        #expect(try Ranks.fromEnvironment([:]) == nil)
        #expect(try Ranks.fromEnvironment(["RANK": "3", "WORLD_SIZE": "8"]) == Ranks(rank: 3, worldSize: 8))
        #expect(
            try Ranks.fromEnvironment(["OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"])
                == Ranks(rank: 0, worldSize: 1))
        #expect(
            try Ranks.fromEnvironment(["SLURM_PROCID": "15", "SLURM_NTASKS": "16", "HOME": "/"])
                == Ranks(rank: 15, worldSize: 16))
    }

    /// torchrun under srun: four ranks on each of two nodes, whose srun tasks are two.
    @Test func theInnermostLauncherWins() throws {
        let environment = ["RANK": "5", "WORLD_SIZE": "8", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"]
        #expect(try Ranks.fromEnvironment(environment) == Ranks(rank: 5, worldSize: 8))
    }

    @Test func optionsWin() throws {
        let environment = ["RANK": "5", "WORLD_SIZE": "nonsense"]
        #expect(
            try Ranks.resolve(rank: 1, worldSize: 2, environment: environment) == Ranks(rank: 1, worldSize: 2)
        )
        #expect(try Ranks.resolve(rank: nil, worldSize: nil, environment: [:]) == .alone)
    }

    @Test(arguments: [
        (["RANK": "0"], ["RANK", "WORLD_SIZE"]), (["WORLD_SIZE": "4"], ["RANK", "WORLD_SIZE"]),
        (["OMPI_COMM_WORLD_SIZE": "4"], ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"]),
        (["SLURM_PROCID": "0"], ["SLURM_PROCID", "SLURM_NTASKS"]),
        (["RANK": "4", "WORLD_SIZE": "4"], ["RANK=4", "WORLD_SIZE=4"]),
        (["RANK": "-1", "WORLD_SIZE": "4"], ["RANK=-1"]), (["RANK": "x", "WORLD_SIZE": "4"], ["RANK=x"]),
        (["RANK": "0", "WORLD_SIZE": "0"], ["WORLD_SIZE=0"]), (["RANK": "", "WORLD_SIZE": ""], ["RANK="]),
        (["SLURM_PROCID": "0", "SLURM_NTASKS": "99999999999999999999"], ["SLURM_NTASKS=9999"]),
    ])
    func contradictionsAreNamed(environment: [String: String], words: [String]) throws {
        let error = #expect(throws: HeadraceError.self) { try Ranks.fromEnvironment(environment) }
        #expect(error?.code == .usage)
        for word in words + ["--rank", "--world-size"] {
            #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
        }
    }

    @Test(arguments: [(0, nil), (nil, 4), (4, 4), (-1, 4), (0, 0), (0, Int.max)] as [(Int?, Int?)])
    func impossibleOptionsAreRefused(rank: Int?, worldSize: Int?) {
        let error = #expect(throws: HeadraceError.self) {
            try Ranks.resolve(rank: rank, worldSize: worldSize, environment: [:])
        }
        #expect(error?.code == .usage)
    }
}
