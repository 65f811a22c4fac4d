/// Who gives every sample its number and every number its row: the streamed walk's ``Sequencer``, or an
/// ``IndexedOrder``. Used by one worker at a time, the one that has claimed it.
protocol RowOrder: AnyObject {
    /// Goes as far as samples and slots allow; true when the epoch is over.
    func run() -> Bool
    /// Batches handed to the decoders so far.
    var batchCount: Int { get }
    /// Those of the epoch.
    var batchesOfEpoch: Int { get }
}

extension Sequencer: RowOrder {}
