internal import HeadraceCore

// Members become samples, or are passed over.
extension TarWalk {
    /// What the 32-bit places of ``SampleRecord`` can hold, less one sample.
    static let tableCapacity = 1 << 30

    /// A regular file.
    @inline(__always)
    mutating func regular(
        _ name: RawSpan, _ type: UInt8, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        guard let payloadStart = sparsePayloadStart(type, bytes, &table) else { return }
        guard name.byteCount <= limits.nameBytes else {
            return oversizedName(name, type, payloadStart, size, bytes, &table)
        }
        let isSparse = type == TarType.gnuSparse || attributes.isSparse || globals.last?.isSparse ?? false
        attributes.isSparse = isSparse
        switch WebDatasetName(name) {
        case .field(let keyLength):
            field(name, keyLength, type, isSparse, payloadStart, size, bytes, &table)
        case .meta: ignore(.metaMembers, name, type, payloadStart, size, bytes, &table)
        case .hidden: ignore(.hiddenMembers, name, type, payloadStart, size, bytes, &table)
        case .unmatched: ignore(.unmatchedNames, name, type, payloadStart, size, bytes, &table)
        }
    }

    @inline(__always)
    private mutating func field(
        _ name: RawSpan, _ keyLength: Int, _ type: UInt8, _ isSparse: Bool, _ payloadStart: Int, _ size: Int,
        _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        if let open, open.keyLength == keyLength,
            name.matches(table.keys, from: open.keyOffset, count: keyLength, at: 0)
        {
            // Goes on.
        } else {
            flush(before: memberStart, &table)
            if passesPayloads, let global = globals.last, global.decidesMembers {
                return endNotIndexable(bytes, &table)
            }
            guard table.keys.count < Self.tableCapacity, table.fields.count < Self.tableCapacity else {
                return endLimited(
                    "tableCapacity", Self.tableCapacity, "key bytes or fields in one slab", bytes, &table)
            }
            beginSample(key: name.extracting(0..<keyLength), &table)
        }
        isMemberOfOpen = true
        guard let payload = locatePayload(payloadStart, size, bytes, &table),
            !exceedsSample(payload.end, bytes, &table)
        else { return }
        let fieldName = name.extracting(keyLength + 1..<name.byteCount)
        if isSparse {
            markOpen(
                HeadraceError(
                    .sparseMember,
                    "a sparse tar member has no meaning in a data set; pack the shard again without --sparse"),
                fieldName)
        } else if openDefect == nil {
            append(fieldName, payload, &table)
        }
        open!.memberCount += 1
        open!.end = payload.end
        if onMember != nil { report(name, type, payload, isSparse) }
        advance(behind: payload, bytes, &table)
    }

    private mutating func beginSample(key: RawSpan, _ table: inout SampleTable) {
        open = OpenSample(
            start: memberStart, keyOffset: table.keys.count, keyLength: key.byteCount,
            firstField: table.fields.count, globalCount: globalsAtMember)
        key.append(to: &table.keys)
    }

    @inline(__always)
    private mutating func append(_ fieldName: RawSpan, _ payload: Payload, _ table: inout SampleTable) {
        let position = open!.fieldCount
        guard position < limits.fieldsPerSample else {
            return markOpen(
                Self.exceeded("fieldsPerSample", limits.fieldsPerSample, "fields of one sample"), fieldName)
        }
        guard let number = names.number(of: fieldName, .extensionOfMember, at: position) else {
            return markOpen(
                HeadraceError(
                    .limitExceeded,
                    "more than \(FieldNames.limit) different field names in one data set: names must not carry data"
                ),
                fieldName)
        }
        var isDuplicate = fieldName.byteCount == 7 && WebDatasetName.isReserved(fieldName)
        for index in table.fields.count - position..<table.fields.count
        where table.fields[index].name == number {
            isDuplicate = true
        }
        guard !isDuplicate else {
            return markOpen(
                HeadraceError(
                    .duplicateField,
                    "two members of the sample have this field name (case aside), or it is a reserved one"),
                fieldName)
        }
        table.fields.append(FieldRecord(offset: payload.start, length: payload.size, name: number))
        open!.fieldCount += 1
    }

    /// Makes the open sample undeliverable; the first reason stays.
    private mutating func markOpen(_ error: HeadraceError, _ fieldName: RawSpan) {
        guard openDefect == nil else { return }
        openDefect = error.placed(offset: base + memberStart, field: fieldName.text)
    }

    /// Closes the open sample, whose bytes end before `end`.
    @inline(__always)
    mutating func flush(before end: Int, _ table: inout SampleTable) {
        guard let sample = open else { return }
        tally.members += sample.memberCount
        tally.samples += 1
        let ownBytes = end - sample.start - sample.ignored.bytes
        if openDefect != nil {
            tally.bytesLost += ownBytes
            flushDefective(sample, &table)
        } else {
            tally.bytesParsed += ownBytes
            lastFieldCount = sample.fieldCount
            if passesPayloads {
                spans.append(ByteSpan(offset: base + sample.start, length: sample.end - sample.start))
            }
            table.samples.append(
                SampleRecord(
                    offset: base + sample.start, keyOffset: Int32(truncatingIfNeeded: sample.keyOffset),
                    keyLength: Int32(truncatingIfNeeded: sample.keyLength),
                    firstField: Int32(truncatingIfNeeded: sample.firstField),
                    fieldCount: Int32(truncatingIfNeeded: sample.fieldCount)))
        }
        tally.add(sample.ignored)
        open = nil
    }

    /// The row of a sample that is known but must not be delivered.
    private mutating func flushDefective(_ sample: OpenSample, _ table: inout SampleTable) {
        guard let error = openDefect else { return }
        let key = takeOpenKey(sample, &table)
        table.appendDefect(error, offset: base + sample.start, key: key)
        openDefect = nil
    }

    /// Takes the open sample's fields and key back out of the table.
    func takeOpenKey(_ sample: OpenSample, _ table: inout SampleTable) -> [UInt8] {
        let key = Array(table.keys[sample.keyOffset..<sample.keyOffset + sample.keyLength])
        table.fields.removeLast(table.fields.count - sample.firstField)
        table.keys.removeLast(table.keys.count - sample.keyOffset)
        return key
    }

    /// Passes over a member; its bytes count as ignored.
    mutating func ignore(
        _ reason: TarTally.Reason, _ name: RawSpan, _ type: UInt8, _ payloadStart: Int, _ size: Int,
        _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        if open == nil, !isTruncated(payloadStart, size, bytes), size <= limits.memberBytes {
            let end = payloadStart + TarHeader.padded(size)
            if onMember != nil {
                report(name, type, Payload(start: payloadStart, size: size, end: end), attributes.isSparse)
            }
            if end > bytes.byteCount {
                skip = Skip(
                    start: base + memberStart, header: base + position, payloadStart: base + payloadStart,
                    size: size, end: base + end, reason: reason)
                outcome = ScanOutcome(consumed: end)
                if globals.count > 1 { globals.removeFirst(globals.count - 1) }
                return
            }
            var ignored = TarTally.Ignored()
            ignored.add(reason, bytes: end - memberStart)
            tally.add(ignored)
            tally.members += 1
            return beginMember(at: end)
        }
        guard let payload = locatePayload(payloadStart, size, bytes, &table),
            !exceedsSample(payload.end, bytes, &table)
        else { return }
        if onMember != nil { report(name, type, payload, attributes.isSparse) }
        open?.ignored.add(reason, bytes: payload.end - memberStart)
        open?.memberCount += 1
        advance(behind: payload, bytes, &table)
    }

    /// A name too long to be a key: an undeliverable sample of its own, and the shard goes on behind it.
    private mutating func oversizedName(
        _ name: RawSpan, _ type: UInt8, _ payloadStart: Int, _ size: Int, _ bytes: RawSpan,
        _ table: inout SampleTable
    ) {
        flush(before: memberStart, &table)
        guard let payload = locatePayload(payloadStart, size, bytes, &table) else { return }
        table.appendDefect(
            Self.exceeded("nameBytes", limits.nameBytes, "bytes of a member's name"),
            offset: base + memberStart)
        tally.samples += 1
        tally.members += 1
        tally.bytesLost += payload.end - memberStart
        if onMember != nil { report(name, type, payload, attributes.isSparse) }
        advance(behind: payload, bytes, &table)
    }

    private mutating func report(_ name: RawSpan, _ type: UInt8, _ payload: Payload, _ isSparse: Bool) {
        // Members of the open sample are read again with the next slab.
        guard base + position >= reportedThrough else { return }
        reportedThrough = base + payload.end
        onMember?(
            TarMember(
                name: name.copy(from: 0, to: name.byteCount), type: type, size: payload.size,
                offset: base + memberStart, payloadOffset: base + payload.start, isSparse: isSparse))
    }

    /// Where the payload of a regular file starts: behind the header, and behind the further blocks of an old GNU
    /// sparse map. nil when those are not there.
    private mutating func sparsePayloadStart(
        _ type: UInt8, _ bytes: RawSpan, _ table: inout SampleTable
    ) -> Int? {
        var start = position + TarHeader.blockBytes
        guard type == TarType.gnuSparse,
            TarHeader.hasSparseContinuation(bytes.extracting(position..<start))
        else { return start }
        while true {
            guard let block = locate(start, TarHeader.blockBytes, bytes, &table) else { return nil }
            start = block.end
            guard start - position <= limits.extendedHeaderBytes else {
                endLimited(
                    "extendedHeaderBytes", limits.extendedHeaderBytes, "bytes of one sparse map", bytes,
                    &table)
                return nil
            }
            if bytes.byte(block.start + TarHeader.sparseContinuationOffset) == 0 { return start }
        }
    }
}
