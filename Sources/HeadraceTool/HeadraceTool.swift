internal import ArgumentParser
internal import HeadraceCommandLine

@main
struct HeadraceTool: ParsableCommand {
    @OptionGroup var output: OutputFlags
    static func main() { runTool(Self.self, named: "headrace") }
}
