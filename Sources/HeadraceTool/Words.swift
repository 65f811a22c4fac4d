internal import HeadraceCommandLine
internal import HeadraceCore

/// Defects of one shard that are shown to people one by one.
let shownDefects = 20

/// "1 shard", "3 shards".
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

/// A name from a data set as it may stand on a person's terminal: control characters could move the cursor,
/// or make one line look like two.
func printable(_ name: String) -> String {
    var text = ""
    for scalar in name.unicodeScalars {
        if scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value) {
            text += "\\u{\(String(scalar.value, radix: 16))}"
        } else {
            text.unicodeScalars.append(scalar)
        }
    }
    return text
}

/// Says an error on standard error.
func say(_ error: HeadraceError) { StandardError.say("headrace: \(printable(error.description))") }

/// The exit status for defects of shards. Storage that failed may have hidden anything, so it comes first.
func exitStatus(environment: Int, defects: Int) -> Int32 {
    if environment > 0 { return ExitStatus.environment }
    return defects > 0 ? ExitStatus.badData : ExitStatus.done
}

extension HeadraceError {
    /// Without the shard where that is said already.
    func placed(in shard: String) -> HeadraceError {
        var copy = self
        if copy.place.shard == shard { copy.place.shard = nil }
        return copy
    }

    /// As a line about `shard` carries it.
    func json(inShard shard: String) -> JSONValue { placed(in: shard).json }
}

/// Says the errors of one shard as they come, but not a million of them.
struct DefectReport {
    private(set) var count = 0
    private(set) var environmentCount = 0
    private var countInShard = 0

    mutating func beginShard() {
        endShard()
        countInShard = 0
    }

    mutating func add(_ error: HeadraceError) {
        count += 1
        countInShard += 1
        if error.code.category == .environment { environmentCount += 1 }
        if countInShard <= shownDefects { say(error) }
    }

    func endShard() {
        guard countInShard > shownDefects else { return }
        StandardError.say(
            "headrace: and \(counted(countInShard - shownDefects, "more defect")) in this shard")
    }

    /// Throws the exit status where there were any.
    func check() throws {
        let status = exitStatus(environment: environmentCount, defects: count)
        if status != ExitStatus.done { throw Exit(status) }
    }
}
