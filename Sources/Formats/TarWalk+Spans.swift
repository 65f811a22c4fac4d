internal import HeadraceCore

// Finding samples by their headers alone, for an index. A member's payload is passed over unread wherever it ends, so
// the open sample must outlive the call: its bytes are not presented again, its key and fields are held here.
extension TarWalk {
    /// The payload at `start`: its bytes, or, where payloads are passed over, its place.
    @inline(__always)
    mutating func locatePayload(
        _ start: Int, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) -> Payload? {
        passesPayloads ? locateUnread(start, size, bytes, &table) : locate(start, size, bytes, &table)
    }

    private mutating func locateUnread(
        _ start: Int, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) -> Payload? {
        if size > limits.memberBytes {
            endLimited("memberBytes", limits.memberBytes, "bytes of one member", bytes, &table)
            return nil
        }
        if isTruncated(start, size, bytes) {
            endTruncated(start, size, bytes, &table)
            return nil
        }
        return Payload(start: start, size: size, end: start + TarHeader.padded(size))
    }

    /// Goes on behind a member that has been counted.
    @inline(__always)
    mutating func advance(behind payload: Payload, _ bytes: RawSpan, _ table: inout SampleTable) {
        if payload.end <= bytes.byteCount { return beginMember(at: payload.end) }
        skip = Skip(
            start: base + memberStart, header: base + position, payloadStart: base + payload.start,
            size: payload.size, end: base + payload.end)
        outcome = ScanOutcome(consumed: payload.end)
        if globals.count > 1 { globals.removeFirst(globals.count - 1) }
        putDownSample(&table)
    }

    /// Ends this call before the member whose headers are not there whole; the sample that it may belong to stays open.
    mutating func stopBeforeMember(upTo end: Int, _ table: inout SampleTable) {
        globals.removeLast(globals.count - globalsAtMember)
        if globals.count > 1 { globals.removeFirst(globals.count - 1) }
        outcome = ScanOutcome(consumed: memberStart, needed: max(0, end - memberStart))
        putDownSample(&table)
    }

    /// Takes the open sample out of the table, which is the caller's between two calls.
    mutating func putDownSample(_ table: inout SampleTable) {
        guard let sample = open else { return }
        heldKey.removeAll(keepingCapacity: true)
        heldKey += table.keys[sample.keyOffset..<sample.keyOffset + sample.keyLength]
        heldFields.removeAll(keepingCapacity: true)
        heldFields += table.fields[sample.firstField...]
        table.fields.removeLast(heldFields.count)
        table.keys.removeLast(table.keys.count - sample.keyOffset)
    }

    /// Puts it back; places count from `offset` now.
    mutating func takeUpSample(at offset: Int, _ table: inout SampleTable) {
        open!.start += base - offset
        open!.end += base - offset
        open!.keyOffset = table.keys.count
        open!.firstField = table.fields.count
        table.keys += heldKey
        table.fields += heldFields
    }

    /// Ends the shard at a sample that its own bytes do not describe.
    mutating func endNotIndexable(_ bytes: RawSpan, _ table: inout SampleTable) {
        endDamaged(
            HeadraceError(
                .notIndexable,
                "a global PAX header gives this member its name or size, so its sample cannot be read alone and no "
                    + "index can be made; 'headrace pack' writes the shard anew without one"),
            at: memberStart, bytes, &table)
    }
}
