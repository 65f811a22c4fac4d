import Glibc
import Headrace
import HeadraceCore

/// Everything a run needs to go on as if it had never stopped: the network, and where the loader was. One file, replaced
/// as a whole, so that it is always one of a moment.
struct Checkpoint {
    /// What must be the same for the numbers to go on.
    var options: String
    var step: Int
    var epoch: Int
    /// Losses since the last line.
    var lossSum: Double
    var lossCount: Int
    var state: LoaderState
    var weights: [Float]
    var velocities: [Float]

    private static let magic = "fashion-train/1"

    /// The file's bytes: lines of text, the loader's state, the numbers, and a checksum of all that.
    private var encoded: [UInt8] {
        let state = state.encoded()
        let lines = [
            Self.magic, options, "\(step) \(epoch) \(lossSum.bitPattern) \(lossCount)",
            "\(state.count) \(weights.count)",
        ]
        var bytes = Array((lines.joined(separator: "\n") + "\n").utf8) + state
        for numbers in [weights, velocities] { numbers.withUnsafeBytes { bytes += $0 } }
        withUnsafeBytes(of: Self.checksum(bytes[...])) { bytes += $0 }
        return bytes
    }

    /// Reads the file; nil where there is none.
    init?(path: String) throws(HeadraceError) {
        guard let file = fopen(path, "rb") else {
            if errno == ENOENT { return nil }
            throw HeadraceError(
                .io, "cannot open the checkpoint: \(String(cString: strerror(errno)))", at: .init(shard: path)
            )
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&part, 1, part.count, file)
            if count == 0 { break }
            bytes += part[..<count]
        }
        guard let read = try Self(bytes) else {
            throw HeadraceError(
                .badValue, "no checkpoint of this program, or a damaged one; remove it to start anew",
                at: .init(shard: path))
        }
        self = read
    }

    private init?(_ bytes: [UInt8]) throws(HeadraceError) {
        guard bytes.count > 8 else { return nil }
        var rest = bytes.dropLast(8)
        let sum = bytes.suffix(8).withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        guard sum == Self.checksum(rest) else { return nil }
        var lines: [String] = []
        for _ in 0..<4 {
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            lines.append(String(decoding: rest[..<end], as: UTF8.self))
            rest = rest[(end + 1)...]
        }
        let places = lines[2].split(separator: " ").map(String.init)
        let sizes = lines[3].split(separator: " ").compactMap { Int($0) }
        guard lines[0] == Self.magic, places.count == 4, sizes.count == 2, let step = Int(places[0]),
            let epoch = Int(places[1]), let lossBits = UInt64(places[2]), let lossCount = Int(places[3]),
            sizes[0] >= 0, sizes[1] >= 0, rest.count == sizes[0] + 8 * sizes[1]
        else { return nil }
        options = lines[1]
        self.step = step
        self.epoch = epoch
        lossSum = Double(bitPattern: lossBits)
        self.lossCount = lossCount
        state = try LoaderState(parsing: Array(rest.prefix(sizes[0])))
        let numbers = rest.dropFirst(sizes[0]).withUnsafeBytes { bytes in
            (0..<2 * sizes[1]).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
        weights = Array(numbers[..<sizes[1]])
        velocities = Array(numbers[sizes[1]...])
    }

    init(
        options: String, step: Int, epoch: Int, lossSum: Double, lossCount: Int, state: LoaderState,
        network: Network
    ) {
        self.options = options
        self.step = step
        self.epoch = epoch
        self.lossSum = lossSum
        self.lossCount = lossCount
        self.state = state
        weights = network.weights
        velocities = network.velocities
    }

    /// Writes beside the file, makes sure that it is on the disk, and puts it in its place.
    func write(to path: String) throws(HeadraceError) {
        func refuse(_ what: String) -> HeadraceError {
            HeadraceError(
                .io, "cannot \(what) the checkpoint: \(String(cString: strerror(errno)))",
                at: .init(shard: path))
        }
        let temporary = path + ".new"
        guard let file = fopen(temporary, "wb") else { throw refuse("create") }
        let bytes = encoded
        let written =
            fwrite(bytes, 1, bytes.count, file) == bytes.count && fflush(file) == 0
            && fsync(fileno(file)) == 0
        guard fclose(file) == 0, written else { throw refuse("write") }
        guard rename(temporary, path) == 0 else { throw refuse("replace") }
    }

    /// FNV-1a: enough to tell a damaged file.
    private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.withUnsafeBufferPointer { bytes in
            bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        }
    }
}

/// Of Glibc, named here because both modules that a network needs have others of that name.
func exponential(_ value: Float) -> Float { expf(value) }
func logarithm(_ value: Float) -> Float { logf(value) }
