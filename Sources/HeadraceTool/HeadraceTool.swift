internal import ArgumentParser
internal import HeadraceCommandLine

/// Makes and examines shards of training data.
@main
struct HeadraceTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "headrace",
        abstract:
            "Makes and examines shards of training data: tar (WebDataset) and TFRecord, plain or compressed.",
        discussion: """
            SHARDS are paths, globs ('data/*.tar.zst'), brace patterns ('train-{000000..000146}.tar') or \
            directories of shards.

            Exit status: 0 done, 1 bad data, 2 storage or machine, 64 usage, 130 interrupted.
            """,
        version: toolVersion,
        subcommands: [
            Pack.self, List.self, Verify.self, Index.self, Info.self, Cat.self, Decode.self, Plan.self,
            Cache.self,
        ])

    static func main() { runTool(Self.self, named: "headrace") }
}
