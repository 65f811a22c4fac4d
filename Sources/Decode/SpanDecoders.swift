public import HeadraceCore

/// Leaves a field's bytes as they are, where they were read.
public struct RawDecoder: Decoder {
    /// A decoder; it has no options.
    public init() {}

    /// Spans of bytes.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        .spans(.bytes)
    }

    /// Nothing is left to do: the rows are views of the payloads.
    public func decode(_ run: inout DecodeRun) {}
}

/// Leaves a field's text where it was read, after making sure that it is UTF-8.
public struct TextDecoder: Decoder {
    /// A decoder; it has no options.
    public init() {}

    /// Spans of text; throws `badValue` when `payload` is no UTF-8.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        try unsafe Self.validate(payload)
        return .spans(.text)
    }

    /// Marks every payload that is no UTF-8.
    public func decode(_ run: inout DecodeRun) {
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            do throws(HeadraceError) {
                try unsafe Self.validate(run.payloads[row])
            } catch {
                run.fail(row, error)
            }
        }
    }

    private static func validate(_ payload: UnsafeRawBufferPointer) throws(HeadraceError) {
        do throws(UTF8.ValidationError) {
            _ = try unsafe UTF8Span(validating: payload.assumingMemoryBound(to: UInt8.self).span)
        } catch {
            throw HeadraceError(
                .badValue,
                "no valid UTF-8 at byte \(error.byteOffsets.lowerBound) of the field; decode it as raw")
        }
    }
}
