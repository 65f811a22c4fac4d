import ArgumentParser

@main
struct Pipebench: ParsableCommand {}
