internal import HeadraceCore
internal import HeadraceFormats

extension LoaderBuilder {
    /// The settings that the loader walks with where no field is decoded; columns take of the memory for windows.
    func planSettings(
        _ choice: WalkChoice, _ rows: [ShardRows], budget: Int
    ) throws(HeadraceError) -> IndexedOrder.Settings {
        var settings = indexedSettings(choice, try Ranks(rank: 0, worldSize: choice.ranks.worldSize))
        let count = rows.reduce(0) { $0 + $1.sampleCount }
        let bytes = rows.reduce(0.0) { $0 + Double($1.uncompressedByteCount) }
        let sampleBytes = count == 0 ? 0 : Int((bytes / Double(count)).rounded(.up))
        let slots = options.prefetch + options.heldBatches + 2
        let window = try windowSize(
            budget: budget, slabBytes: ChunkGeometry(budget: budget, lanes: 1).halved().slabBytes,
            fixedBytes: product(slots * options.batchSize, MemoryLayout<RowReference>.stride)
                + options.cacheStagingBytes(budget: budget),
            sampleBytes: sampleBytes,
            overheadBytes: overheadBytes(sampleBytes, rows, alignment: settings.alignment),
            heldBatches: options.heldBatches, blockSize: settings.blockSize)
        settings.windowSteps = window.steps
        settings.windowBytes = window.bytes
        return settings
    }
}
