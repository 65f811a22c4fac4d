internal import HeadraceCore

/// The walk over the blocks of one tar shard: headers are read here, samples are put together in
/// `TarWalk+Samples.swift`, and damage is judged in `TarWalk+Defects.swift`.
struct TarWalk {
    /// Where the walk stands in the shard.
    enum Phase { case members, afterEnd, damaged }

    /// The sample whose last member has not been seen yet. Its fields and key stand at the end of the table.
    struct OpenSample {
        /// First byte, in the slab.
        var start = 0
        /// End of its last own member.
        var end = 0
        var keyOffset = 0
        var keyLength = 0
        var firstField = 0
        var fieldCount = 0
        var memberCount = 0
        /// Members in between that belong to no sample.
        var ignored = TarTally.Ignored()
        /// Global records in force at `start`.
        var globalCount = 0
    }

    /// One member's payload, as its header claims it.
    struct Payload {
        var start: Int
        var size: Int
        /// First byte behind payload and padding.
        var end: Int
    }

    /// A member whose payload is being passed over unread. Places in the shard.
    struct Skip {
        var start: Int
        var header: Int
        var payloadStart: Int
        var size: Int
        var end: Int
        /// Why it belongs to no sample; nil for one that was counted already.
        var reason: TarTally.Reason?
    }

    let limits: FormatLimits
    var names: FieldNameCache
    var onMember: ((TarMember) -> Void)?
    var reportedThrough = 0

    // What precedes the open sample, and so stays from call to call.
    var phase = Phase.members
    var tally = TarTally()
    var globals: [TarGlobalAttributes] = []
    var skip: Skip?
    /// Fields of the last delivered sample: what tells a whole sample from half a one before a damaged header.
    var lastFieldCount = 0
    /// Bytes of the shard that the account covers, once the walk is damaged.
    var accountedThrough = 0

    // This call.
    var base = 0
    var isLast = false
    var total: Int?
    /// The block to look at next, and the first extended header (else the header) of the member it is part of.
    var position = 0
    var memberStart = 0
    var globalsAtMember = 0
    var attributes = TarAttributes()
    var open: OpenSample?
    /// The member being read is known to belong to the open sample.
    var isMemberOfOpen = false
    var openDefect: HeadraceError?
    var outcome: ScanOutcome?
    var joinedName: [UInt8] = []
    /// Before this place no run of plain members begins.
    var nextRun = 0

    /// Samples are found by their headers alone: see `TarWalk+Spans.swift`.
    var passesPayloads = false
    /// The samples found since they were last asked for, and the open one's key and fields between two calls.
    var spans: [ByteSpan] = []
    var heldKey: [UInt8] = []
    var heldFields: [FieldRecord] = []

    init(names: FieldNames, limits: FormatLimits) {
        self.names = FieldNameCache(names)
        self.limits = limits
    }

    mutating func scan(
        _ bytes: RawSpan, at offset: Int, isLast: Bool, total: Int?, into table: inout SampleTable
    ) -> ScanOutcome {
        if open != nil { takeUpSample(at: offset, &table) }
        base = offset
        self.isLast = isLast
        self.total = total
        position = 0
        outcome = nil
        nextRun = 0
        if skip != nil, !finishSkip(bytes, &table) { return outcome! }
        beginMember(at: position)
        while outcome == nil {
            switch phase {
            case .members: if !takePlainMembers(bytes, &table) { step(bytes, &table) }
            case .afterEnd: passEnd(bytes)
            case .damaged: passDamaged(bytes)
            }
        }
        return outcome!
    }

    /// Goes on behind an ignored payload; false when this call cannot get past it.
    private mutating func finishSkip(_ bytes: RawSpan, _ table: inout SampleTable) -> Bool {
        guard let skip else { return true }
        let available = base + bytes.byteCount
        if available >= skip.end {
            if let reason = skip.reason {
                var ignored = TarTally.Ignored()
                ignored.add(reason, bytes: skip.end - skip.start)
                tally.add(ignored)
                tally.members += 1
            }
            position = skip.end - base
            self.skip = nil
            return true
        }
        guard isLast else {
            outcome = ScanOutcome(consumed: skip.end - base)
            putDownSample(&table)
            return false
        }
        self.skip = nil
        memberStart = skip.start - base
        position = skip.header - base
        endTruncated(skip.payloadStart - base, skip.size, bytes, &table)
        return false
    }

    mutating func beginMember(at offset: Int) {
        position = offset
        memberStart = offset
        globalsAtMember = globals.count
        attributes = TarAttributes()
        isMemberOfOpen = false
    }

    /// Reads one header block.
    private mutating func step(_ bytes: RawSpan, _ table: inout SampleTable) {
        let end = position + TarHeader.blockBytes
        guard end <= bytes.byteCount else { return shortHeader(bytes, &table) }
        let block = bytes.extracting(position..<end)
        let sum = TarHeader.sum(block)
        if sum == 0 { return zeroBlock(bytes, &table) }
        guard TarHeader.isIntact(block, sum: sum) else {
            return endDamaged(
                HeadraceError(
                    .badHeader, "the tar header's checksum does not match; what follows cannot be found"),
                at: position, bytes, &table)
        }
        let size = TarHeader.size(block)
        guard size >= 0 else {
            return endDamaged(
                HeadraceError(.badHeader, "the tar header's size is no number from 0 to 2^63 - 1"),
                at: position, bytes, &table)
        }
        let type = TarHeader.type(block)
        switch type {
        case TarType.paxLocal, TarType.paxLocalSolaris, TarType.paxGlobal, TarType.gnuLongName,
            TarType.gnuLongLink:
            extendedHeader(type, size, bytes, &table)
        default:
            member(type, headerSize: size, block, bytes, &table)
        }
    }

    private mutating func extendedHeader(
        _ type: UInt8, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        let payloadStart = position + TarHeader.blockBytes
        attributes.headerCount += 1
        guard attributes.headerCount <= limits.extendedHeaders else {
            return endLimited(
                "extendedHeaders", limits.extendedHeaders, "extended headers in a row", bytes, &table)
        }
        guard size <= limits.extendedHeaderBytes else {
            return endLimited(
                "extendedHeaderBytes", limits.extendedHeaderBytes, "bytes of one extended header", bytes,
                &table)
        }
        guard let payload = locate(payloadStart, size, bytes, &table) else { return }
        var range = payload.start..<payload.start + size
        switch type {
        case TarType.gnuLongName:
            // The name ends at its NUL; the size counts it.
            var end = range.lowerBound
            while end < range.upperBound, bytes.byte(end) != 0 { end += 1 }
            range = range.lowerBound..<end
            attributes.longName = range
        case TarType.paxGlobal:
            var global = TarAttributes()
            if let (offset, problem) = PaxHeader.parse(bytes, range, into: &global) {
                return endMalformed(problem, at: offset, bytes, &table)
            }
            addGlobal(global, bytes)
            if attributes.headerCount == 1 { return endGlobal(payload) }
        case TarType.paxLocal, TarType.paxLocalSolaris:
            if let (offset, problem) = PaxHeader.parse(bytes, range, into: &attributes) {
                return endMalformed(problem, at: offset, bytes, &table)
            }
        default:
            break  // A link's long target: links carry no field.
        }
        position = payload.end
    }

    /// A global header that stands alone is no part of the member after it.
    private mutating func endGlobal(_ payload: Payload) {
        if open == nil { tally.bytesParsed += payload.end - memberStart }
        beginMember(at: payload.end)
    }

    private mutating func endMalformed(
        _ problem: String, at offset: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        endDamaged(
            HeadraceError(
                .malformedPax, "the PAX extended header at byte \(base + position) is malformed: \(problem)"),
            at: offset, bytes, &table)
    }

    private mutating func addGlobal(_ found: TarAttributes, _ bytes: RawSpan) {
        var global = globals.last ?? TarGlobalAttributes()
        if !found.path.isEmpty {
            global.path = bytes.copy(from: found.path.lowerBound, to: found.path.upperBound)
        }
        if found.size >= 0 { global.size = found.size }
        if found.isSparse { global.isSparse = true }
        globals.append(global)
    }

    /// Anything that is no extended header.
    @inline(__always)
    private mutating func member(
        _ type: UInt8, headerSize: Int, _ block: RawSpan, _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        var size = headerSize
        if attributes.size >= 0 {
            size = attributes.size
        } else if let global = globals.last, global.size >= 0 {
            size = global.size
        }
        let nameLength = TarHeader.nameLength(block)
        let prefixLength = TarHeader.prefixLength(block)
        let name: Range<Int>
        if !attributes.sparseName.isEmpty {
            name = attributes.sparseName
        } else if !attributes.path.isEmpty {
            name = attributes.path
        } else if !attributes.longName.isEmpty {
            name = attributes.longName
        } else if prefixLength == 0, globals.last?.path.isEmpty ?? true {
            name = position..<position + nameLength
        } else {
            return gatheredMember(type, size, block, prefixLength, nameLength, bytes, &table)
        }
        named(bytes.extracting(name), type, size, bytes, &table)
    }

    /// A member whose name lies in two places (ustar prefix) or outside the slab (a global path).
    private mutating func gatheredMember(
        _ type: UInt8, _ size: Int, _ block: RawSpan, _ prefixLength: Int, _ nameLength: Int,
        _ bytes: RawSpan,
        _ table: inout SampleTable
    ) {
        var name: [UInt8] = []
        swap(&name, &joinedName)
        if let path = globals.last?.path, !path.isEmpty {
            name.removeAll(keepingCapacity: true)
            name.append(contentsOf: path)
        } else {
            TarHeader.joinedName(block, prefixLength: prefixLength, nameLength: nameLength, into: &name)
        }
        do {
            let span = name.span
            unsafe named(span.bytes, type, size, bytes, &table)
        }
        swap(&name, &joinedName)
    }

    /// A member with its full name: a sample's, or one to pass over.
    private mutating func named(
        _ name: RawSpan, _ type: UInt8, _ size: Int, _ bytes: RawSpan, _ table: inout SampleTable
    ) {
        let payloadStart = position + TarHeader.blockBytes
        switch type {
        case TarType.regular, TarType.contiguous, TarType.gnuSparse:
            regular(name, type, size, bytes, &table)
        case TarType.regularOld:
            // Before POSIX a directory was a file with a slash at its end; its size means nothing.
            if name.byteCount > 0, name.byte(name.byteCount - 1) == UInt8(ascii: "/") {
                ignore(.directories, name, type, payloadStart, 0, bytes, &table)
            } else {
                regular(name, type, size, bytes, &table)
            }
        case TarType.directory:
            ignore(.directories, name, type, payloadStart, 0, bytes, &table)
        case TarType.gnuDumpDirectory:
            ignore(.directories, name, type, payloadStart, size, bytes, &table)
        case TarType.hardLink, TarType.symbolicLink:
            ignore(.links, name, type, payloadStart, 0, bytes, &table)
        case TarType.characterDevice, TarType.blockDevice, TarType.fifo:
            // Readers disagree whether blocks follow. Guessing wrong would swallow members, so nobody guesses.
            guard size == 0 else {
                return endDamaged(
                    HeadraceError(
                        .badHeader, "a device or FIFO claims \(size) bytes; where the next header is, is open"
                    ),
                    at: position, bytes, &table)
            }
            ignore(.specialFiles, name, type, payloadStart, 0, bytes, &table)
        case TarType.gnuMultiVolume:
            endDamaged(
                HeadraceError(
                    .unsupported, "the archive continues a file of another volume; join the volumes first"),
                at: position, bytes, &table)
        default:
            ignore(.specialFiles, name, type, payloadStart, size, bytes, &table)
        }
    }

    /// Ends this call before the sample or member that is not there whole, asking for bytes up to `end`.
    mutating func stop(upTo end: Int, _ table: inout SampleTable) {
        if passesPayloads { return stopBeforeMember(upTo: end, &table) }
        let carry = open?.start ?? memberStart
        if let open {
            table.fields.removeLast(table.fields.count - open.firstField)
            table.keys.removeLast(table.keys.count - open.keyOffset)
            globals.removeLast(globals.count - open.globalCount)
        } else {
            globals.removeLast(globals.count - globalsAtMember)
        }
        if globals.count > 1 { globals.removeFirst(globals.count - 1) }
        open = nil
        openDefect = nil
        outcome = ScanOutcome(consumed: carry, needed: max(0, end - carry))
    }
}
