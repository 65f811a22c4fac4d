internal import HeadraceCompute
internal import HeadraceCore
internal import HeadraceDecode

/// A run of rows of one batch.
struct DecodeJob {
    /// Rows of one run: large enough that a hand-over costs little, small enough that a batch of images uses all
    /// workers.
    static let rowsPerRun = 64

    let slot: BatchSlot
    let rows: Range<Int>
}

/// What a run of rows came to.
struct DecodeOutcome {
    var payloadBytes = 0
    var defects: [(row: Int, error: HeadraceError)] = []
}

/// Rooms 6 and 7 of one worker: finds each row's fields and has the decoders put them into the batch's memory.
/// Keeps its scratch memory, so that a warm loader allocates nothing for a row.
@safe final class DecodeWorker {
    private let columns: [Column]
    private let names: FieldNames
    private let catalog: Catalog
    private let seed: UInt64
    private let payloads: UnsafeMutablePointer<UnsafeRawBufferPointer>
    private let seeds: UnsafeMutablePointer<UInt64>
    /// Numbers of the columns' names, once some sample has shown them.
    private var numbers: [Int32?]
    private var failed = [Bool](repeating: false, count: DecodeJob.rowsPerRun)
    private var rowBytes = [Int](repeating: 0, count: DecodeJob.rowsPerRun)
    private var hasher: RowHasher

    init(engine: Engine) {
        columns = engine.columns
        names = engine.names
        catalog = engine.catalog
        seed = engine.options.seed
        numbers = engine.columns.map { _ in nil }
        hasher = RowHasher(names: engine.names, catalog: engine.catalog)
        unsafe payloads = .allocate(capacity: DecodeJob.rowsPerRun)
        unsafe seeds = .allocate(capacity: DecodeJob.rowsPerRun)
    }

    deinit {
        unsafe payloads.deallocate()
        unsafe seeds.deallocate()
    }

    func run(_ job: DecodeJob) -> DecodeOutcome {
        var outcome = DecodeOutcome()
        for index in 0..<job.rows.count {
            failed[index] = false
            rowBytes[index] = 0
        }
        rejectDefective(job, &outcome)
        if columns.isEmpty {
            countAllFields(job, &outcome)
        } else {
            for (index, column) in columns.enumerated() { decode(index, column, job, &outcome) }
            for index in 0..<job.rows.count where !failed[index] { outcome.payloadBytes += rowBytes[index] }
        }
        if let hashes = unsafe job.slot.hashes {
            for row in job.rows where !failed[row - job.rows.lowerBound] {
                unsafe hashes[row] = hasher.hash(
                    row, of: job.slot, columns: numbers, columnCount: columns.count)
            }
        }
        return outcome
    }

    /// Rows that a scanner has found damaged.
    private func rejectDefective(_ job: DecodeJob, _ outcome: inout DecodeOutcome) {
        for row in job.rows {
            let reference = unsafe job.slot.rows[row]
            let view = unsafe job.slot.views[Int(reference.chunk)]
            let sample = unsafe view.samples![Int(reference.sample)]
            guard sample.defect >= 0 else { continue }
            failed[row - job.rows.lowerBound] = true
            let error = job.slot.chunks[Int(reference.chunk)].table.defects[Int(sample.defect)]
            unsafe outcome.defects.append((row, error.placed(shard: catalog.shards[Int(view.shard)].path)))
        }
    }

    private func countAllFields(_ job: DecodeJob, _ outcome: inout DecodeOutcome) {
        var bytes = 0
        for row in job.rows where !failed[row - job.rows.lowerBound] {
            let reference = unsafe job.slot.rows[row]
            let view = unsafe job.slot.views[Int(reference.chunk)]
            let sample = unsafe view.samples![Int(reference.sample)]
            for index in Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount) {
                bytes += unsafe view.fields![index].length
            }
        }
        outcome.payloadBytes += bytes
    }

    private func decode(_ index: Int, _ column: Column, _ job: DecodeJob, _ outcome: inout DecodeOutcome) {
        if numbers[index] == nil { numbers[index] = names.known(column.name) }
        let number = numbers[index] ?? -1
        for row in job.rows {
            let place = row - job.rows.lowerBound
            let reference = unsafe job.slot.rows[row]
            let view = unsafe job.slot.views[Int(reference.chunk)]
            unsafe payloads[place] = UnsafeRawBufferPointer(start: nil, count: 0)
            unsafe seeds[place] = mixed(
                seed, UInt64(job.slot.epoch), UInt64(view.shard),
                UInt64(view.firstOrdinal + Int(reference.sample)))
            guard !failed[place] else { continue }
            let sample = unsafe view.samples![Int(reference.sample)]
            if let field = unsafe Self.field(number, of: sample, in: view) {
                unsafe payloads[place] = UnsafeRawBufferPointer(
                    start: view.base! + field.offset, count: field.length)
                rowBytes[place] += field.length
            } else if !column.isOptional {
                failed[place] = true
                let missing = HeadraceError(
                    .missingField,
                    "the sample has no field '\(column.name)'; declare it optional if samples may lack it")
                outcome.defects.append((row, placed(missing, row, job, field: column.name)))
            }
        }
        if case .spans(.bytes) = column.layout { return }
        let bytes = column.layout.rowBytes
        let target = unsafe job.slot.staging[index].map { unsafe $0.base + job.rows.lowerBound * bytes }
        var run = unsafe DecodeRun(
            payloads: UnsafeBufferPointer(start: payloads, count: job.rows.count), rows: target,
            layout: column.layout, seeds: UnsafeBufferPointer(start: seeds, count: job.rows.count))
        column.decoder.decode(&run)
        for (place, error) in run.failures where !failed[place] {
            // An absent optional field has no payload to fail on; a row that failed before has its reason already.
            if unsafe payloads[place].baseAddress == nil {
                unsafe clear(place, target, bytes)
                continue
            }
            failed[place] = true
            let row = job.rows.lowerBound + place
            outcome.defects.append((row, placed(error, row, job, field: column.name)))
        }
    }

    /// The row of an absent optional field is zero.
    private func clear(_ place: Int, _ target: UnsafeMutableRawPointer?, _ bytes: Int) {
        guard let target = unsafe target else { return }
        unsafe (target + place * bytes).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    }

    private func placed(_ error: HeadraceError, _ row: Int, _ job: DecodeJob, field: String) -> HeadraceError
    {
        let reference = unsafe job.slot.rows[row]
        let view = unsafe job.slot.views[Int(reference.chunk)]
        let sample = unsafe view.samples![Int(reference.sample)]
        return error.placed(
            shard: catalog.shards[Int(unsafe view.shard)].path, offset: sample.offset,
            key: unsafe SampleKey(view: view, sample: sample, index: Int(reference.sample)).text(in: catalog),
            field: field)
    }

    /// The field with that name number; most samples have few fields, so it looks at each.
    static func field(_ number: Int32, of sample: SampleRecord, in view: ChunkView) -> FieldRecord? {
        guard let fields = unsafe view.fields else { return nil }
        for index in Int(sample.firstField)..<Int(sample.firstField + sample.fieldCount) {
            let field = unsafe fields[index]
            if field.name == number { return field }
        }
        return nil
    }
}
