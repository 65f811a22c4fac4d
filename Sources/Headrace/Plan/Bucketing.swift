internal import HeadraceCore

/// Batches of samples of like length, so that padding to the longest costs little.
///
/// A window of consecutive steps (100 by default) is sorted by length and cut into steps again, and the steps come in
/// random order. A sample moves within its window only, so the mixing of the epoch stays what it is, and the window
/// that a place belongs to is known from the place. The steps of a window that is not full at the epoch's end are
/// arranged in the same way; a last step that is smaller than the others keeps its samples and its place.
///
/// Where a step is all ranks' (`rowsPerStep` = W × B over the places of all), ranks get like lengths in one step, too,
/// and wait less for each other; that takes the lengths of all ranks' rows. With B it takes the own ones.
package enum Bucketing {
    /// Steps of a window.
    package static let windowSteps = 100

    /// The key of a window's order of steps.
    package static func key(seed: UInt64, epoch: Int, window: Int) -> UInt64 {
        mixed(seed, UInt64(bitPattern: Int64(epoch)), 0x6275_636b_6574, UInt64(bitPattern: Int64(window)))
    }

    /// Fills `order` with the window's places in their new order: `order[i]` is the place, before, of what comes i-th.
    ///
    /// Equal lengths keep their order, so the result is a function of the lengths and the key.
    package static func arrange(lengths: [Int], rowsPerStep: Int, key: UInt64, into order: inout [Int]) {
        precondition(rowsPerStep >= 1, "a step has a row or more")
        let steps = lengths.count / rowsPerStep
        let sorted = (0..<steps * rowsPerStep).sorted {
            lengths[$0] == lengths[$1] ? $0 < $1 : lengths[$0] < lengths[$1]
        }
        let turns = Permutation(count: steps, key: key)
        order.removeAll(keepingCapacity: true)
        order.reserveCapacity(lengths.count)
        for turn in 0..<steps {
            let start = turns(turn) * rowsPerStep
            order.append(contentsOf: sorted[start..<start + rowsPerStep])
        }
        order.append(contentsOf: steps * rowsPerStep..<lengths.count)
    }
}
