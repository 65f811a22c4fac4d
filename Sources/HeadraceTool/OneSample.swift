internal import ArgumentParser
internal import Headrace
internal import HeadraceCommandLine
internal import HeadraceCore

/// One sample of one shard, as the commands that look at one are told which.
struct OneSample: ParsableArguments {
    @Argument(help: "One shard.") var shard: String
    @Option(help: "Key of the sample.") var key: String?
    @Option(help: "Number of the sample in the shard, from 0.") var at: Int?

    func validate() throws {
        guard (key == nil) != (at == nil) else {
            throw ValidationError("Say which sample: either --key KEY or --at N.")
        }
        if let at, at < 0 { throw ValidationError("--at counts from 0.") }
    }

    /// Calls `deliver` with the sample and the shard's path. Throws what damaged it, or that it is not there.
    func find(
        parsesExamples: Bool, _ deliver: (ShardSample, String) throws(HeadraceError) -> Void
    ) throws {
        let paths = try ShardFiles.list([shard])
        guard paths.count == 1 else {
            throw HeadraceError(
                .usage, "'\(shard)' stands for \(paths.count) shards; one sample of one shard is read")
        }
        let reader = try ShardReader(paths[0], parsesExamples: parsesExamples)
        var wasFound = false
        var damage: HeadraceError?
        try reader.read { (sample) throws(HeadraceError) in
            guard isWanted(sample) else {
                if let defect = sample.defect, damage == nil { damage = defect }
                return !Interrupt.isRequested
            }
            if let defect = sample.defect { throw defect }
            wasFound = true
            try deliver(sample, paths[0])
            return false
        }
        try Interrupt.check()
        guard !wasFound else { return }
        // The sample may have been in what is damaged: then that is what is wrong.
        if let damage { throw damage }
        let which = key.map { "no sample with the key '\($0)'" } ?? "no sample \(at ?? 0)"
        throw HeadraceError(
            .usage, "there is \(which): the shard has \(counted(reader.account.samples, "sample"))",
            at: .init(shard: paths[0]))
    }

    private func isWanted(_ sample: ShardSample) -> Bool {
        if let at { return sample.index == at }
        guard let key, let found = sample.key ?? sample.defect?.place.key else { return false }
        return found.utf8.elementsEqual(key.utf8)
    }
}
