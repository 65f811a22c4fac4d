internal import HeadraceCompute
internal import HeadraceCore
internal import HeadraceDecode

/// A run of rows of one batch.
struct DecodeJob {
    /// Rows of one run at most.
    static let longestRun = 1024
    /// Bytes from which a decoded row is large.
    private static let largeRow = 64 << 10

    let slot: BatchSlot
    let rows: Range<Int>

    /// Rows of one run: large enough that a hand-over costs little beside the run, small enough that a batch of images
    /// uses all workers.
    static func rowsPerRun(of columns: [Column], hashing: Bool) -> Int {
        // An image takes a millisecond: two workers share a batch of them, and it is done sooner.
        if columns.contains(where: { !$0.isRaw && $0.layout.rowBytes >= largeRow }) { return 8 }
        return hashing || columns.contains { !$0.isRaw } ? 64 : longestRun
    }
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
    private let encodings: UnsafeMutablePointer<FieldEncoding>
    private let seeds: UnsafeMutablePointer<UInt64>
    /// Numbers of the columns' names, once some sample has shown them.
    private var numbers: [Int32?]
    private let failed: UnsafeMutablePointer<Bool>
    private let rowBytes: UnsafeMutablePointer<Int>
    private var hasher: RowHasher

    init(engine: Engine) {
        columns = engine.columns
        names = engine.names
        catalog = engine.catalog
        seed = engine.options.seed
        numbers = engine.columns.map { _ in nil }
        hasher = RowHasher(names: engine.names, catalog: engine.catalog)
        unsafe failed = .allocate(capacity: DecodeJob.longestRun)
        unsafe rowBytes = .allocate(capacity: DecodeJob.longestRun)
        unsafe payloads = .allocate(capacity: DecodeJob.longestRun)
        unsafe encodings = .allocate(capacity: DecodeJob.longestRun)
        unsafe seeds = .allocate(capacity: DecodeJob.longestRun)
    }

    deinit {
        unsafe failed.deallocate()
        unsafe rowBytes.deallocate()
        unsafe payloads.deallocate()
        unsafe encodings.deallocate()
        unsafe seeds.deallocate()
    }

    func run(_ job: DecodeJob) -> DecodeOutcome {
        var outcome = DecodeOutcome()
        unsafe failed.update(repeating: false, count: job.rows.count)
        if job.slot.hasScannerDefects { rejectDefective(job, &outcome) }
        if columns.isEmpty {
            outcome.payloadBytes += allFieldBytes(job)
        } else {
            unsafe rowBytes.update(repeating: 0, count: job.rows.count)
            for (index, column) in columns.enumerated() { decode(index, column, job, &outcome) }
            for index in 0..<job.rows.count {
                if unsafe !failed[index] { unsafe outcome.payloadBytes += rowBytes[index] }
            }
        }
        if let hashes = unsafe job.slot.hashes {
            for row in job.rows {
                if unsafe failed[row - job.rows.lowerBound] { continue }
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
            unsafe failed[row - job.rows.lowerBound] = true
            let error = job.slot.chunks[Int(reference.chunk)].table.defects[Int(sample.defect)]
            let origin = unsafe view.origin(of: Int(reference.sample))
            outcome.defects.append((row, error.placed(shard: catalog.shards[Int(origin.shard)].path)))
        }
    }

    /// Payload bytes of all fields of the rows that did not fail.
    private func allFieldBytes(_ job: DecodeJob) -> Int {
        let rows = unsafe job.slot.rows
        let failed = unsafe failed
        let first = job.rows.lowerBound
        return unsafe job.slot.views.withUnsafeBufferPointer { views in
            var bytes = 0
            for row in job.rows {
                let reference = unsafe rows[row]
                let view = unsafe UnsafePointer(views.baseAddress! + Int(reference.chunk))
                let sample = unsafe view.pointee.samples! + Int(reference.sample)
                guard unsafe !failed[row - first], let fields = unsafe view.pointee.fields else { continue }
                let start = Int(unsafe sample.pointee.firstField)
                for index in start..<start + Int(unsafe sample.pointee.fieldCount) {
                    bytes += unsafe fields[index].length
                }
            }
            return bytes
        }
    }

    private func decode(_ index: Int, _ column: Column, _ job: DecodeJob, _ outcome: inout DecodeOutcome) {
        if numbers[index] == nil { numbers[index] = names.known(column.field) }
        let bytes = column.layout.rowBytes
        let target = unsafe job.slot.staging[index].map { unsafe $0.base + job.rows.lowerBound * bytes }
        for row in job.rows {
            if let error = find(column, numbers[index] ?? -1, row, job) {
                unsafe failed[row - job.rows.lowerBound] = true
                outcome.defects.append((row, placed(error, row, job, field: column.field)))
            } else if unsafe payloads[row - job.rows.lowerBound].baseAddress == nil {
                // The row of an absent field is zero unless the decoder knows better.
                unsafe clear(row - job.rows.lowerBound, target, bytes)
            }
        }
        if column.isRaw { return }
        var run = unsafe DecodeRun(
            payloads: UnsafeBufferPointer(start: payloads, count: job.rows.count), rows: target,
            layout: column.layout, seeds: UnsafeBufferPointer(start: seeds, count: job.rows.count),
            encodings: UnsafeBufferPointer(start: encodings, count: job.rows.count))
        column.decoder.decode(&run)
        for (place, error) in run.failures {
            if unsafe failed[place] { continue }
            // An absent field has nothing to fail on.
            if run.isAbsent(place) { continue }
            unsafe failed[place] = true
            let row = job.rows.lowerBound + place
            outcome.defects.append((row, placed(error, row, job, field: column.field)))
        }
    }

    /// Finds the column's field of one row; returns why it cannot be decoded.
    @inline(__always)
    private func find(_ column: Column, _ number: Int32, _ row: Int, _ job: DecodeJob) -> HeadraceError? {
        let place = row - job.rows.lowerBound
        let reference = unsafe job.slot.rows[row]
        let view = unsafe job.slot.views[Int(reference.chunk)]
        unsafe payloads[place] = UnsafeRawBufferPointer(start: nil, count: 0)
        unsafe encodings[place] = .plain
        let origin = unsafe view.origin(of: Int(reference.sample))
        // A second look at a sample, in a mixture that repeats, is another one.
        let seed = origin.pass == 0 ? seed : mixed(seed, UInt64(origin.pass))
        unsafe seeds[place] = mixed(
            seed, UInt64(job.slot.epoch), UInt64(origin.shard), UInt64(origin.ordinal))
        if unsafe failed[place] { return nil }
        let sample = unsafe view.samples![Int(reference.sample)]
        guard let field = unsafe Self.field(number, of: sample, in: view) else {
            if sample.isUnparsed {
                return HeadraceError(
                    .badValue,
                    "the record is no tf.Example, so nothing is known of its field '\(column.field)'")
            }
            if column.isOptional { return nil }
            return HeadraceError(
                .missingField,
                "the sample has no field '\(column.field)'; declare it optional if samples may lack it")
        }
        let payload = unsafe UnsafeRawBufferPointer(start: view.base! + field.offset, count: field.length)
        if field.encoding != .plain, !column.readsFeatures {
            return unsafe featureRefusal(payload, field.encoding)
        }
        unsafe payloads[place] = payload
        unsafe encodings[place] = field.encoding
        if !column.isRepeated { unsafe rowBytes[place] += field.length }
        return nil
    }

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
            shard: catalog.shards[Int(unsafe view.origin(of: Int(reference.sample)).shard)].path,
            offset: sample.offset,
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
