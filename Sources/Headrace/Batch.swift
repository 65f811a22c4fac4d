public import HeadraceCompute
internal import HeadraceCore
internal import HeadraceDecode

/// A batch's slot, on loan to the consumer. The last reference gives it back.
///
/// Sendable: nobody writes to the slot while it is on loan.
final class SlotLease: @unchecked Sendable {
    let engine: Engine
    let slot: BatchSlot

    init(engine: Engine, slot: BatchSlot) {
        self.engine = engine
        self.slot = slot
    }

    deinit { engine.takeBack(slot) }
}

/// Consecutive samples, decoded: what a training step takes.
///
/// A batch and the tensors taken from it keep its memory; let go of them soon, or the loader has to wait. At most
/// `heldBatches` can be held at once.
public final class Batch: Sendable {
    let lease: SlotLease
    /// Epoch of its samples, from 0.
    public let epoch: Int
    /// Place in its epoch, from 0; where an epoch goes on with another world or batch size, counted from there.
    public let index: Int
    /// Rows: the batch size, less in the last batch of an epoch and where defective samples were left out.
    public let count: Int
    /// Rows that this rank lacks to have as many as the others (`uneven: pad`): they have no sample and are in no tensor;
    /// a training step masks them.
    public let padding: Int

    init(_ lease: SlotLease) {
        self.lease = lease
        epoch = lease.slot.epoch
        index = lease.slot.indexInEpoch
        count = lease.slot.count
        padding = lease.slot.padding
    }

    /// Where a loader goes on that has delivered this batch and those before it, and no other.
    public var state: LoaderState? { lease.engine.state(behind: lease.slot) }

    /// The column of a field.
    ///
    /// For a decoded field the layout that its decoder chose; for a batch without decoders the rows' bytes as they
    /// were read. Throws `missingField` where no row has it.
    public subscript(field: String) -> Tensor {
        get throws(HeadraceError) {
            let engine = lease.engine
            if let place = engine.columns.firstIndex(where: { $0.name == field }) {
                return Tensor(lease, engine.columns[place], lease.slot.placements[place])
            }
            guard engine.columns.isEmpty, engine.names.known(field) != nil else {
                let known = engine.columns.isEmpty ? engine.names.all : engine.columns.map(\.name)
                throw HeadraceError(
                    .missingField,
                    "the batch has no field '\(field)'; it has: \(known.sorted().joined(separator: ", "))")
            }
            return Tensor(lease, rawField: field)
        }
    }

    /// Names of the fields that row `row` delivers, in the order of its shard.
    public func fieldNames(ofRow row: Int) -> [String] {
        let (view, sample, _) = unsafe lease.slot.sample(row)
        let range = Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount)
        var names: [String] = []
        for place in range { names.append(lease.engine.names.name(of: unsafe view.fields![place].name)) }
        let columns = lease.engine.columns
        return columns.isEmpty ? names : names.filter { name in columns.contains { $0.field == name } }
    }

    /// Where the columns of fixed shape are.
    public var device: ComputeDevice { lease.engine.backend.device }

    /// Says that work given to a device's stream reads the batch; see ``Tensor/noteUse(on:)``.
    public func noteUse(on stream: DeviceStream) {
        for placement in lease.slot.placements {
            if let placement { lease.engine.backend.noteUse(of: placement, on: stream) }
        }
    }

    /// Keys of the rows.
    public var keys: [String] {
        (0..<count).map { row in
            let (view, sample, index) = unsafe lease.slot.sample(row)
            return unsafe SampleKey(view: view, sample: sample, index: index).text(in: lease.engine.catalog)
        }
    }

    /// Bytes of the rows' delivered fields before decoding.
    public var payloadByteCount: Int { lease.slot.payloadBytes }
}

extension BatchSlot {
    func sample(_ row: Int) -> (view: ChunkView, sample: SampleRecord, index: Int) {
        let reference = unsafe rows[row]
        let view = unsafe views[Int(reference.chunk)]
        let sample = unsafe view.samples![Int(reference.sample)]
        return unsafe (view, sample, Int(reference.sample))
    }
}
