package import ArgumentParser
internal import Glibc
internal import HeadraceCore

/// How the tools end, as scripts may rely on.
package enum ExitStatus {
    /// All was done.
    package static let done: Int32 = 0
    /// The data are bad.
    package static let badData: Int32 = 1
    /// Storage, memory or the machine refused.
    package static let environment: Int32 = 2
    /// A limit that was asked for was missed.
    package static let limitMissed: Int32 = 3
    /// The command line makes no sense.
    package static let usage: Int32 = 64
    /// Interrupted by the user, after the report.
    package static let interrupted: Int32 = 130
}

/// Ends a command with a status after it has said all there is to say.
package struct Exit: Error {
    package let status: Int32

    package init(_ status: Int32) { self.status = status }
}

/// Version of the tools, which are released together.
package let toolVersion = "0.1.0"

/// Parses the command line as `root`'s, runs the command and ends the process with its status.
///
/// A reader that has gone (`| head`) must not kill a command in the middle of a shard, so SIGPIPE is ignored
/// and
/// ``StandardOutput`` learns of it by itself.
package func runTool(_ root: any ParsableCommand.Type, named name: String) -> Never {
    signal(SIGPIPE, SIG_IGN)
    // A write beyond the limit of file sizes then fails with EFBIG, which says what is wrong.
    signal(SIGXFSZ, SIG_IGN)
    Interrupt.watch()
    let status: Int32
    do {
        var command = try root.parseAsRoot(LongWordLists.folded(Array(processArguments().dropFirst())))
        try command.run()
        status = finish(name, ExitStatus.done)
    } catch let error as Exit {
        status = finish(name, error.status)
    } catch let error as HeadraceError {
        StandardError.say("\(name): \(error)")
        status = finish(name, error.code.category.exitStatus)
    } catch {
        _ = finish(name, ExitStatus.done)
        root.exit(withError: error)
    }
    exit(Interrupt.status ?? status)
}

/// Writes what is left of the output; data that could not be written are an error whatever went before.
private func finish(_ name: String, _ status: Int32) -> Int32 {
    StandardError.clearProgress()
    do throws(HeadraceError) {
        try StandardOutput.flush()
    } catch {
        StandardError.say("\(name): \(error)")
        return status == ExitStatus.done ? error.code.category.exitStatus : status
    }
    return status
}
