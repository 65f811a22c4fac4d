internal import ArgumentParser
package import HeadraceCore

/// The flags that every command has.
package struct OutputFlags: ParsableArguments {
    @Flag(name: .shortAndLong, help: "One JSON object a line on standard output.")
    package var json = false

    @Flag(name: .shortAndLong, help: "No words and no progress bar on standard error, but for errors.")
    package var quiet = false

    package init() {}
}

extension ByteCount {
    /// For `@Option(transform:)`: unlike a failed conversion, the error says what would be accepted.
    package static func argument(_ text: String) throws -> ByteCount {
        do {
            return try ByteCount(parsing: text)
        } catch {
            throw ValidationError(error.message)
        }
    }
}

extension TimeSpan {
    /// For `@Option(transform:)`: unlike a failed conversion, the error says what would be accepted.
    package static func argument(_ text: String) throws -> TimeSpan {
        do {
            return try TimeSpan(parsing: text)
        } catch {
            throw ValidationError(error.message)
        }
    }
}
