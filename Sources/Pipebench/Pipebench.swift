internal import ArgumentParser
internal import HeadraceCommandLine

/// `pipebench`: measures how fast training data comes from storage to compute, and says what limits it.
@main
struct Pipebench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pipebench",
        abstract: "Measure how fast training data comes from storage to compute, and what limits it.",
        discussion: """
            Exit status: 0 done, 1 bad data, 2 storage or environment, 64 wrong usage, 130 interrupted (what was \
            measured is still reported).
            """,
        version: toolVersion,
        subcommands: [ReadCommand.self, TiersCommand.self])

    static func main() { runTool(Pipebench.self, named: "pipebench") }
}
