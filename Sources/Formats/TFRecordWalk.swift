internal import HeadraceCore

/// The walk over the records of one TFRecord shard. A value inside the scanner, so that each call checks once, not
/// with every record, that nobody else is at it.
struct TFRecordWalk {
    static let headerBytes = 12
    private static let footerBytes = 4

    private let limits: FormatLimits
    private let examples: Bool
    private var names: FieldNameCache
    private let recordName: Int32?
    private var parser: ExampleParser
    /// For every field name the Example it was last seen in: a name that comes twice is found without a search.
    private var lastExample: [Int]
    private var exampleCount = 0
    private(set) var account = ShardAccount()
    private var isDamaged = false
    private var accountedThrough = 0

    /// Records are found by their lengths alone; their data are passed over unread.
    var passesPayloads = false
    /// The records found since they were last asked for. Places in the shard.
    var spans: [ByteSpan] = []
    /// A record that may end behind the shard's end, which is not known yet.
    private var pending: ByteSpan?

    init(names: FieldNames, limits: FormatLimits, examples: Bool) {
        self.limits = limits
        self.examples = examples
        self.names = FieldNameCache(names)
        recordName = names.number(of: Array("record".utf8))
        parser = ExampleParser(featureLimit: limits.fieldsPerSample)
        lastExample = [Int](repeating: 0, count: examples ? FieldNames.limit : 0)
    }

    mutating func scan(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, isLast: Bool, total: Int?,
        into table: inout SampleTable
    ) -> ScanOutcome {
        if isDamaged {
            let end = offset + bytes.count
            account.bytesLost += max(0, end - accountedThrough)
            accountedThrough = max(accountedThrough, end)
            return ScanOutcome(consumed: bytes.count, isEnded: true)
        }
        if passesPayloads {
            return unsafe hop(bytes, at: offset, isLast: isLast, total: total, into: &table)
        }
        var position = 0
        var outcome: ScanOutcome?
        unsafe withUnsafeTemporaryAllocation(of: ByteSpan.self, capacity: Self.spansAtOnce) { spans in
            while outcome == nil, position < bytes.count {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[position...])
                let found = unsafe intactRecords(in: rest, longest: limits.memberBytes, into: spans)
                let intact = unsafe UnsafeBufferPointer(rebasing: spans[..<found])
                unsafe position += append(intact, of: bytes, behind: position, at: offset, &table)
                guard found < Self.spansAtOnce, position < bytes.count else { continue }
                outcome = unsafe stumble(bytes, &position, at: offset, isLast: isLast, total: total, &table)
            }
        }
        return outcome ?? ScanOutcome(consumed: bytes.count)
    }

    /// Finds the one record in `bytes`; its fields count from `shift` before them.
    mutating func scanAlone(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, shift: Int, into table: inout SampleTable
    ) {
        isDamaged = false
        let firstField = table.fields.count
        _ = unsafe scan(bytes, at: offset, isLast: true, total: nil, into: &table)
        guard shift != 0 else { return }
        for field in firstField..<table.fields.count { table.fields[field].offset += shift }
    }

    /// Records looked for at once: few enough that what is known of them stays in the nearest cache.
    private static let spansAtOnce = 64

    /// Adds intact records, the first of which begins at `position`; returns how many bytes they take.
    private mutating func append(
        _ spans: UnsafeBufferPointer<ByteSpan>, of bytes: UnsafeRawBufferPointer, behind position: Int,
        at offset: Int, _ table: inout SampleTable
    ) -> Int {
        guard let last = unsafe spans.last else { return 0 }
        let taken = last.offset + last.length + Self.footerBytes
        account.members += spans.count
        account.samples += spans.count
        account.bytesParsed += taken
        if !examples, let recordName {
            unsafe table.appendRecords(spans, behind: position, shardOffset: offset, name: recordName)
            return taken
        }
        for index in spans.indices {
            let span = unsafe spans[index]
            let start = position + span.offset
            let data = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<start + span.length])
            let defects = table.defects.count
            unsafe append(data, at: start, sample: offset + start - Self.headerBytes, &table)
            if table.defects.count > defects {
                account.bytesParsed -= span.length + Self.headerBytes + Self.footerBytes
                account.bytesLost += span.length + Self.headerBytes + Self.footerBytes
            }
        }
        return taken
    }

    /// Judges what stands at `position`, which is no intact record; nil when the walk can go on behind it.
    private mutating func stumble(
        _ bytes: UnsafeRawBufferPointer, _ position: inout Int, at offset: Int, isLast: Bool, total: Int?,
        _ table: inout SampleTable
    ) -> ScanOutcome? {
        switch unsafe frame(bytes, position, at: offset, isLast: isLast, total: total) {
        case .data(let length):
            table.appendDefect(
                HeadraceError(.checksumMismatch, "the CRC of the record's \(length) bytes does not match"),
                offset: offset + position)
            account.members += 1
            account.samples += 1
            let end = length + Self.headerBytes + Self.footerBytes
            account.bytesLost += end
            position += end
            return nil
        case .more(let needed):
            return ScanOutcome(consumed: position, needed: needed)
        case .damaged(let error):
            table.appendDefect(error, offset: offset + position)
            account.samples += 1
            return end(position, at: offset, bytes.count, total)
        }
    }

    /// Goes from length to length. The CRC of each length is checked, that of the data is not.
    private mutating func hop(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, isLast: Bool, total: Int?,
        into table: inout SampleTable
    ) -> ScanOutcome {
        var position = 0
        if let record = pending {
            let end = record.offset + record.length - offset
            guard end <= bytes.count else {
                guard isLast else { return ScanOutcome(consumed: end) }
                pending = nil
                table.appendDefect(
                    Self.truncated(
                        record.length - Self.framingBytes, left: offset + bytes.count - record.offset),
                    offset: record.offset)
                account.samples += 1
                return self.end(record.offset - offset, at: offset, bytes.count, total)
            }
            pending = nil
            take(record)
            position = max(0, end)
        }
        while position < bytes.count {
            let start = offset + position
            switch unsafe frame(bytes, position, at: offset, isLast: isLast, total: total) {
            case .data(let length):
                take(ByteSpan(offset: start, length: length + Self.framingBytes))
                position += length + Self.framingBytes
            case .more(let needed):
                guard bytes.count - position >= Self.headerBytes else {
                    return ScanOutcome(consumed: position, needed: needed)
                }
                let record = ByteSpan(offset: start, length: needed)
                if total == nil { pending = record } else { take(record) }
                return ScanOutcome(consumed: position + needed)
            case .damaged(let error):
                table.appendDefect(error, offset: start)
                account.samples += 1
                return end(position, at: offset, bytes.count, total)
            }
        }
        return ScanOutcome(consumed: position)
    }

    private mutating func take(_ record: ByteSpan) {
        spans.append(record)
        account.members += 1
        account.samples += 1
        account.bytesParsed += record.length
    }

    static let framingBytes = headerBytes + footerBytes

    /// What stands at a record's place.
    private enum FrameState {
        case data(length: Int)
        case more(needed: Int)
        case damaged(HeadraceError)
    }

    private func frame(
        _ bytes: UnsafeRawBufferPointer, _ position: Int, at offset: Int, isLast: Bool, total: Int?
    ) -> FrameState {
        let available = bytes.count - position
        guard available >= Self.headerBytes else {
            guard isLast else { return .more(needed: Self.headerBytes) }
            return .damaged(
                HeadraceError(
                    .truncated,
                    "the shard ends inside a record's header: \(available) of \(Self.headerBytes) bytes"))
        }
        let header = unsafe UnsafeRawBufferPointer(rebasing: bytes[position..<position + Self.headerBytes])
        let length = unsafe header.bytes.littleEndian64(0)
        guard unsafe TFRecordScanner.hasValidLength(header) else {
            return .damaged(
                HeadraceError(
                    .badHeader,
                    "the CRC of the record's length (\(length)) does not match; what follows cannot be found")
            )
        }
        // The limit comes first, so that the answer does not depend on whether the shard's size is known.
        guard length <= UInt64(limits.memberBytes) else {
            return .damaged(
                HeadraceError(
                    .limitExceeded,
                    "the record claims \(length) bytes, more than \(limits.memberBytes) (limit memberBytes)"))
        }
        let framing = Self.headerBytes + Self.footerBytes
        let left = total.map { $0 - offset - position } ?? (isLast ? available : nil)
        if let left, Int(length) > left - framing {
            return .damaged(Self.truncated(Int(length), left: left))
        }
        let needed = Int(length) + framing
        if needed > available {
            // With `isLast` and a total beyond these bytes, the total is what is wrong.
            guard isLast else { return .more(needed: needed) }
            return .damaged(HeadraceError(.truncated, "the shard ends inside a record of \(length) bytes"))
        }
        return .data(length: Int(length))
    }

    /// Of a record of `length` bytes, and of the shard `left` from its first byte on.
    private static func truncated(_ length: Int, left: Int) -> HeadraceError {
        HeadraceError(
            .truncated,
            "the shard ends inside a record of \(length) bytes: \(left - headerBytes) are left for it and its CRC"
        )
    }

    private mutating func end(_ position: Int, at offset: Int, _ count: Int, _ total: Int?) -> ScanOutcome {
        isDamaged = true
        accountedThrough = max(total ?? 0, offset + count)
        account.bytesLost += accountedThrough - (offset + position)
        return ScanOutcome(consumed: count, isEnded: true)
    }

    /// Adds one good record.
    @inline(__always)
    private mutating func append(
        _ data: UnsafeRawBufferPointer, at start: Int, sample offset: Int, _ table: inout SampleTable
    ) {
        if examples {
            switch unsafe parser.parse(data.bytes) {
            case .example:
                return unsafe appendExample(data.bytes, at: start, sample: offset, &table)
            case .tooManyFeatures:
                return reject(
                    TarWalk.exceeded("fieldsPerSample", limits.fieldsPerSample, "features"), offset, &table)
            case .other:
                break
            }
        }
        guard let recordName else { return reject(Self.tooManyNames, offset, &table) }
        var sample = SampleRecord(
            offset: offset, keyOffset: Int32(truncatingIfNeeded: table.keys.count), keyLength: 0,
            firstField: Int32(truncatingIfNeeded: table.fields.count), fieldCount: 1)
        // No bytes are an Example without features.
        sample.isUnparsed = examples && data.count > 0
        table.samples.append(sample)
        table.fields.append(FieldRecord(offset: start, length: data.count, name: recordName))
    }

    private mutating func appendExample(
        _ data: RawSpan, at start: Int, sample offset: Int, _ table: inout SampleTable
    ) {
        let firstField = table.fields.count
        let keyOffset = table.keys.count
        exampleCount += 1
        for feature in parser.features {
            // A feature of no kind is absent; a list of no steps is there.
            guard feature.kind != nil || feature.steps != nil else { continue }
            let name = data.extracting(feature.name)
            let isString = feature.kind == .bytes && feature.steps == nil && feature.count == 1
            if isString, name.byteCount == 7, name.hasText("__key__") {
                guard feature.first.count <= limits.nameBytes else {
                    let problem = TarWalk.exceeded("nameBytes", limits.nameBytes, "bytes of a key")
                    return undo(problem, name, firstField, keyOffset, offset, &table)
                }
                data.extracting(feature.first).append(to: &table.keys)
                continue
            }
            let problem = append(feature, isString: isString, name, at: start, firstField, &table)
            if let problem { return undo(problem, name, firstField, keyOffset, offset, &table) }
        }
        table.samples.append(
            SampleRecord(
                offset: offset, keyOffset: Int32(truncatingIfNeeded: keyOffset),
                keyLength: Int32(truncatingIfNeeded: table.keys.count - keyOffset),
                firstField: Int32(truncatingIfNeeded: firstField),
                fieldCount: Int32(truncatingIfNeeded: table.fields.count - firstField)))
    }

    /// One feature as a field; returns what is wrong with it.
    @inline(__always)
    private mutating func append(
        _ feature: ExampleParser.Feature, isString: Bool, _ name: RawSpan, at start: Int,
        _ firstField: Int, _ table: inout SampleTable
    ) -> HeadraceError? {
        let isList = feature.steps != nil
        guard name.byteCount <= limits.nameBytes,
            let number = names.number(
                of: name, isList ? .featureList : .feature, at: table.fields.count - firstField)
        else { return Self.tooManyNames }
        guard lastExample[Int(number)] != exampleCount else {
            return HeadraceError(.duplicateField, "two features of the record lead to this field name")
        }
        lastExample[Int(number)] = exampleCount
        let span = isString ? feature.first : feature.message
        table.fields.append(
            FieldRecord(
                offset: start + span.lowerBound, length: span.count, name: number,
                encoding: isString ? .plain : isList ? .featureList : .feature))
        return nil
    }

    private func undo(
        _ error: HeadraceError, _ feature: RawSpan, _ firstField: Int, _ keyOffset: Int, _ offset: Int,
        _ table: inout SampleTable
    ) {
        let key = Array(table.keys[keyOffset...])
        table.keys.removeLast(key.count)
        table.fields.removeLast(table.fields.count - firstField)
        table.appendDefect(error.placed(field: feature.text), offset: offset, key: key)
    }

    private func reject(_ error: HeadraceError, _ offset: Int, _ table: inout SampleTable) {
        table.appendDefect(error, offset: offset)
    }

    private static let tooManyNames = HeadraceError(
        .limitExceeded,
        "a field name is too long (limit nameBytes), or there are more than \(FieldNames.limit) of them in one data "
            + "set: names must not carry data")
}
