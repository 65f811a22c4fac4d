internal import HeadraceCore

// Where the archive ends, as it should or not, and what is then told of it.
extension TarWalk {
    /// Whether a payload of `size` at `start` (in the slab) is known to reach beyond the shard's end.
    func isTruncated(_ start: Int, _ size: Int, _ bytes: RawSpan) -> Bool {
        let (padded, overflow) = size.addingReportingOverflow(TarHeader.blockBytes - 1)
        guard !overflow else { return true }
        let (end, beyond) = (padded & ~(TarHeader.blockBytes - 1)).addingReportingOverflow(start)
        guard !beyond, end <= Int.max - base else { return true }
        if let total, base + end > total { return true }
        return isLast && end > bytes.byteCount
    }

    /// The payload that starts at `start`, if it is in the slab with its padding. Otherwise the call is over:
    /// the shard is damaged, or more bytes are needed.
    @inline(__always)
    mutating func locate(
        _ start: Int, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) -> Payload? {
        if size <= bytes.byteCount {
            let end = start + TarHeader.padded(size)
            if end <= bytes.byteCount, size <= limits.memberBytes {
                return Payload(start: start, size: size, end: end)
            }
        }
        return locateBeyond(start, size, bytes, &table)
    }

    @inline(never)
    private mutating func locateBeyond(
        _ start: Int, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) -> Payload? {
        // The limit comes first, so that the answer does not depend on whether the shard's size is known.
        if size > limits.memberBytes {
            endLimited("memberBytes", limits.memberBytes, "bytes of one member", bytes, &table)
        } else if isTruncated(start, size, bytes) {
            endTruncated(start, size, bytes, &table)
        } else if !exceedsSample(start + TarHeader.padded(size), bytes, &table) {
            // One header more than the member itself: it tells whether the sample goes on.
            let end = start + TarHeader.padded(size)
            let header = end + TarHeader.blockBytes
            stop(upTo: total.map { max(end, min(header, $0 - base)) } ?? header, &table)
        }
        return nil
    }

    /// Ends the shard when the open sample, which would reach to `end`, is larger than one may be.
    mutating func exceedsSample(_ end: Int, _ bytes: RawSpan, _ table: inout SampleTable) -> Bool {
        guard let open, end - open.start > limits.sampleBytes else { return false }
        endLimited("sampleBytes", limits.sampleBytes, "bytes of one sample", bytes, &table)
        return true
    }

    mutating func endTruncated(_ start: Int, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable) {
        let end = total ?? base + bytes.byteCount
        endDamaged(
            HeadraceError(
                .truncated,
                "the archive ends inside a member: \(size) bytes of it should start at byte \(base + start), "
                    + "the archive ends at byte \(end)"),
            at: position, bytes, &table)
    }

    /// Fewer bytes than a header: the end of the archive, a cut, or the end of the slab.
    mutating func shortHeader(_ bytes: RawSpan, _ table: inout SampleTable) {
        guard isLast else { return stop(upTo: position + TarHeader.blockBytes, &table) }
        let rest = bytes.byteCount - position
        if rest > 0 {
            return endDamaged(
                HeadraceError(
                    .truncated,
                    "the archive ends inside a tar header: \(rest) of \(TarHeader.blockBytes) bytes"),
                at: position, bytes, &table)
        }
        guard !isDangling else { return endDangling(bytes, &table) }
        if base + position == 0 {
            return endDamaged(
                HeadraceError(.truncated, "the archive is empty: a tar has at least its end marker"),
                at: 0, bytes, &table)
        }
        flush(before: memberStart, &table)
        tally.isEndMarkerMissing = true
        phase = .afterEnd
        beginMember(at: position)
    }

    /// Extended headers were read, but no member followed.
    private var isDangling: Bool { attributes.headerCount > 0 }

    private mutating func endDangling(_ bytes: RawSpan, _ table: inout SampleTable) {
        endDamaged(
            HeadraceError(
                .truncated, "an extended header is the last thing in the archive: its member is missing"),
            at: memberStart, bytes, &table)
    }

    /// Two zero blocks end the archive. One alone is what is left of a header that was wiped out, unless nothing
    /// follows it.
    mutating func zeroBlock(_ bytes: RawSpan, _ table: inout SampleTable) {
        let next = position + TarHeader.blockBytes
        let end = next + TarHeader.blockBytes
        if end > bytes.byteCount, !isLast { return stop(upTo: end, &table) }
        guard bytes.isZero(from: next, to: min(end, bytes.byteCount)) else {
            return endDamaged(
                HeadraceError(
                    .badHeader,
                    "a lone zero block stands where a tar header should be, and data follows it"),
                at: position, bytes, &table)
        }
        guard !isDangling else { return endDangling(bytes, &table) }
        flush(before: memberStart, &table)
        let consumed = min(end, bytes.byteCount)
        tally.bytesParsed += consumed - memberStart
        phase = .afterEnd
        beginMember(at: consumed)
    }

    /// Behind the end marker: zeros are the padding of tape records, anything else is counted.
    mutating func passEnd(_ bytes: RawSpan) {
        var start = position
        let end = bytes.byteCount
        if tally.dataAfterEnd == 0 {
            let data = bytes.firstNonZero(from: start, to: end) ?? end
            tally.bytesParsed += data - start
            start = data
        }
        tally.dataAfterEnd += end - start
        outcome = ScanOutcome(consumed: end)
    }

    /// Behind damage: nothing is looked at.
    mutating func passDamaged(_ bytes: RawSpan) {
        let end = base + bytes.byteCount
        tally.bytesLost += max(0, end - accountedThrough)
        accountedThrough = max(accountedThrough, end)
        outcome = ScanOutcome(consumed: bytes.byteCount, isEnded: true)
    }

    /// Ends the shard with a defective row at `offset` (in the slab).
    mutating func endDamaged(
        _ error: HeadraceError, at offset: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        var error = error.placed(offset: base + offset)
        var lostFrom = memberStart
        var row = base + memberStart
        var key: [UInt8] = []
        if let sample = open {
            // A sample with fewer fields than the last may have its next member behind the damage.
            let isWhole = lastFieldCount > 0 && sample.fieldCount >= lastFieldCount
            if !isMemberOfOpen, openDefect != nil || isWhole {
                flush(before: memberStart, &table)
            } else {
                if let openDefect { error.cause = openDefect.description }
                key = takeOpenKey(sample, &table)
                lostFrom = sample.start
                row = base + sample.start
                tally.members += sample.memberCount
                open = nil
                openDefect = nil
            }
        }
        table.appendDefect(error, offset: row, key: key)
        tally.samples += 1
        let end = max(total ?? 0, base + bytes.byteCount)
        tally.bytesLost += end - (base + lostFrom)
        accountedThrough = end
        phase = .damaged
        outcome = ScanOutcome(consumed: bytes.byteCount, isEnded: true)
    }

    /// A claim beyond a limit, which ends the shard: honouring it is refused, and so is guessing what follows.
    mutating func endLimited(
        _ limit: String, _ value: Int, _ what: String, _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        endDamaged(Self.exceeded(limit, value, what), at: memberStart, bytes, &table)
    }

    static func exceeded(_ limit: String, _ value: Int, _ what: String) -> HeadraceError {
        HeadraceError(.limitExceeded, "more than \(value) \(what) (limit \(limit))")
    }
}
