internal import ArgumentParser
internal import Headrace
internal import HeadraceCore

// Values of the pipeline flags, each with a sentence about what would have been accepted.

extension Shuffle {
    static func argument(_ text: String) throws -> Shuffle {
        if text == "none" { return .none }
        if let size = suffix(of: text, after: "buffer:"), let count = Int(size), count >= 1 {
            return .buffer(count)
        }
        if text == "global" { return .global }
        if let size = suffix(of: text, after: "block:"), let count = Int(size), count >= 1 {
            return .block(count)
        }
        throw ValidationError(
            "'\(text)' is no shuffle; write none, global, buffer:N or block:N with N of at least 1")
    }
}

extension LastBatch {
    static func argument(_ text: String) throws -> LastBatch { try choice(text, LastBatch.self) }
}

extension Walk {
    static func argument(_ text: String) throws -> Walk { try choice(text, Walk.self) }
}

extension UnevenRanks {
    static func argument(_ text: String) throws -> UnevenRanks { try choice(text, UnevenRanks.self) }
}

extension Affinity {
    static func argument(_ text: String) throws -> Affinity { try choice(text, Affinity.self) }
}

extension MixtureEnd {
    static func argument(_ text: String) throws -> MixtureEnd { try choice(text, MixtureEnd.self) }
}

extension Mixing {
    static func argument(_ text: String) throws -> Mixing {
        do throws(HeadraceError) { return try Mixing(words: text) } catch {
            throw ValidationError(error.message)
        }
    }
}

extension EngineRequest {
    static func argument(_ text: String) throws -> EngineRequest { try choice(text, EngineRequest.self) }
}

extension PageCacheState {
    static func argument(_ text: String) throws -> PageCacheState { try choice(text, PageCacheState.self) }
}

/// The fields that one `--decode` asks for.
struct DecodeArgument {
    var fields: [FieldRequest]

    static func argument(_ text: String) throws -> DecodeArgument {
        do throws(HeadraceError) {
            return DecodeArgument(fields: try FieldRequest.requests(text))
        } catch {
            throw ValidationError(error.message)
        }
    }
}

/// One `--pad`: a column and the length that its rows are filled up to.
struct PadArgument {
    var column: String
    var length: Int
    var fill: Double

    static func argument(_ text: String) throws -> PadArgument {
        if let equals = text.lastIndex(of: "="), equals > text.startIndex {
            let parts = text[text.index(after: equals)...].split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let fill = parts.count > 1 ? Double(parts[1]) : 0
            if let length = Int(parts[0]), let fill, length >= 1 {
                return PadArgument(column: String(text[..<equals]), length: length, fill: fill)
            }
        }
        throw ValidationError(
            "'\(text)' does not say how to pad; write COLUMN=LENGTH or COLUMN=LENGTH:FILL, such as tokens=512"
        )
    }
}

extension DefectPolicy {
    static func argument(_ text: String) throws -> DefectPolicy {
        do throws(HeadraceError) { return try DefectPolicy(words: text) } catch {
            throw ValidationError(error.message)
        }
    }
}

private func suffix(of text: String, after prefix: String) -> Substring? {
    text.hasPrefix(prefix) ? text.dropFirst(prefix.count) : nil
}

private func choice<Value: RawRepresentable & CaseIterable>(_ text: String, _ type: Value.Type) throws
    -> Value
where Value.RawValue == String {
    if let value = Value(rawValue: text) { return value }
    let names = Value.allCases.map(\.rawValue).joined(separator: ", ")
    throw ValidationError("'\(text)' is none of \(names)")
}
