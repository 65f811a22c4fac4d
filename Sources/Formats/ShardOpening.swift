package import HeadraceCore

extension CodecKind {
    /// A decompressor for a whole shard; throws `unsupported` for a codec that is known but not read.
    package func makeStreamDecompressor(
        limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) -> any StreamDecompressor {
        switch self {
        case .zstd: return try ZstdStreamDecompressor(limits: limits)
        case .gzip: return try DeflateStreamDecompressor(.gzip, limits: limits)
        case .zlib: return try DeflateStreamDecompressor(.zlib, limits: limits)
        case .none, .lz4:
            throw HeadraceError(.unsupported, "codec \(rawValue) cannot be decompressed here")
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
