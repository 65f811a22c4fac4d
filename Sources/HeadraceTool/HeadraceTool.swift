import ArgumentParser

@main
struct HeadraceTool: ParsableCommand {}
