package import HeadraceCore

extension CodecKind {
    /// A decompressor for a whole shard; throws `unsupported` for none.
    package func makeStreamDecompressor(
        limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) -> any StreamDecompressor {
        switch self {
        case .zstd: return try ZstdStreamDecompressor(limits: limits)
        case .gzip: return try DeflateStreamDecompressor(.gzip, limits: limits)
        case .zlib: return try DeflateStreamDecompressor(.zlib, limits: limits)
        case .lz4: return LZ4StreamDecompressor(limits: limits)
        case .none: throw HeadraceError(.unsupported, "a shard without a codec has nothing to decompress")
        }
    }

    /// A decompressor for the frames of seekable shards; throws `unsupported` for a codec without a seek table.
    package func makeFrameDecompressor() throws(HeadraceError) -> any FrameDecompressor {
        switch self {
        case .zstd: return try ZstdFrameDecompressor()
        case .lz4: return LZ4FrameDecompressor()
        case .none, .gzip, .zlib: throw withoutFrames
        }
    }

    /// A writer of frames; throws `unsupported` for a codec that shards are not written with.
    package func makeFrameWriter(level: Int) throws(HeadraceError) -> any FrameWriter {
        switch self {
        case .zstd: return try ZstdFrameWriter(level: level)
        case .lz4: return LZ4FrameWriter(level: level)
        case .none, .gzip, .zlib: throw withoutFrames
        }
    }

    private var withoutFrames: HeadraceError {
        HeadraceError(.unsupported, "codec \(rawValue) has no independent frames")
    }

    /// Levels that frames are written with and the one to take where none is asked for; nil for a codec that shards are
    /// not written with.
    package var levels: (range: ClosedRange<Int>, standard: Int)? {
        switch self {
        case .zstd: (ZstdFrameWriter.levels, ZstdFrameWriter.defaultLevel)
        case .lz4: (LZ4FrameWriter.levels, LZ4FrameWriter.defaultLevel)
        case .none, .gzip, .zlib: nil
        }
    }

    /// Version of the library that frames are written with, which reproducible bytes depend on.
    package var libraryVersion: String? {
        switch self {
        case .zstd: ZstdFrameWriter.libraryVersion
        case .lz4: LZ4FrameWriter.libraryVersion
        case .none, .gzip, .zlib: nil
        }
    }
}

extension ShardFormatKind {
    /// A scanner for one pass over one shard.
    ///
    /// - Parameter examples: split TFRecord records into the features of the tf.Example in them; no meaning for tar.
    package func makeScanner(
        names: FieldNames, limits: FormatLimits = FormatLimits(), examples: Bool = false
    ) -> any ShardScanner {
        switch self {
        case .tar: TarScanner(names: names, limits: limits)
        case .tfrecord: TFRecordScanner(names: names, limits: limits, examples: examples)
        }
    }
}
