import Testing

/// The house rules, held against this repository.
@Suite struct TidyTests {
    private let sources = SourceTree.sources

    @Test func theSourcesAreFound() {
        #expect(sources.count > 20)
        #expect(Set(sources.compactMap(\.target)).isSuperset(of: Rules.libraries))
        #expect(sources.contains { $0.path.hasSuffix(".c") })
        #expect(!Rules.cModules(SourceTree.manifest).isEmpty)
        #expect(sources.map { functionSpans(in: $0).count }.reduce(0, +) > 500)
    }

    @Test func siblingsDoNotImportEachOther() {
        #expect(Rules.siblingImports(sources) == [])
    }

    @Test func eachCModuleHasOneImporter() {
        #expect(Rules.cImports(sources, modules: Rules.cModules(SourceTree.manifest)) == [])
    }

    @Test func filesAreShort() {
        #expect(Rules.longFiles(sources) == [])
    }

    @Test func functionsFitOnAScreen() {
        #expect(Rules.longFunctions(sources) == [])
    }

    @Test func publicSymbolsAreDocumented() {
        #expect(Rules.undocumentedPublicSymbols(sources) == [])
    }

    @Test func thePackageWorksAsADependency() {
        #expect(Rules.unsafeFlags(SourceTree.manifest) == [])
    }

    @Test func foundationIsForTheToolsAlone() {
        #expect(Rules.foundation(sources) == [])
    }

    @Test func namesSaySomething() {
        #expect(Rules.drawers(sources) == [])
    }

    @Test func uncheckedSendableNamesItsLockOrOwner() {
        #expect(Rules.unexplainedSendable(sources) == [])
    }

    @Test func nothingIsLeftUndone() {
        #expect(Rules.forbiddenWords(sources) == [])
    }

    @Test func noLargeFileIsTracked() throws {
        let files = try SourceTree.trackedFiles()
        #expect(files.count > 20)
        #expect(Rules.largeFiles(files) == [])
    }
}
