internal import HeadraceCore

// The way of nearly all samples: plain members, many at a time. What is found here is what `step` would have found.
extension TarWalk {
    /// Members looked at in one go: what is known of them fits the kilobyte that temporary memory may have on the stack.
    private static let membersAtOnce = 42

    /// Takes whole samples of plain members from `position` on; false when there is none and `step` has to look.
    mutating func takePlainMembers(_ bytes: RawSpan, _ table: inout SampleTable) -> Bool {
        guard position >= nextRun, position == memberStart, attributes.headerCount == 0, globals.isEmpty,
            onMember == nil, !passesPayloads, limits.fieldsPerSample >= Self.membersAtOnce,
            limits.nameBytes >= TarHeader.nameBytes, limits.sampleBytes >= bytes.byteCount
        else { return false }
        return unsafe bytes.withUnsafeBytes { bytes in
            unsafe withUnsafeTemporaryAllocation(of: PlainMember.self, capacity: Self.membersAtOnce) { room in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[position...])
                let (found, examined) = unsafe plainMembers(
                    in: rest, longest: limits.memberBytes, isWhole: false, into: room)
                let members = unsafe UnsafeMutableBufferPointer(rebasing: room[..<found])
                let taken = unsafe isOpenContinued(by: members, rest, table) ? 0 : number(members, rest)
                guard taken > 0, table.keys.count < Self.tableCapacity,
                    table.fields.count < Self.tableCapacity
                else {
                    nextRun = position + examined
                    return false
                }
                flush(before: memberStart, &table)
                unsafe append(UnsafeBufferPointer(rebasing: members[..<taken]), rest, &table)
                return true
            }
        }
    }

    /// Whether the first of the members belongs to the open sample, which only `step` goes on with.
    private func isOpenContinued(
        by members: UnsafeMutableBufferPointer<PlainMember>, _ bytes: UnsafeRawBufferPointer,
        _ table: SampleTable
    ) -> Bool {
        guard let open, let first = unsafe members.first, open.keyLength == Int(first.keyLength) else {
            return false
        }
        return unsafe bytes.bytes.matches(
            table.keys, from: open.keyOffset, count: open.keyLength, at: first.offset)
    }

    /// Writes down the number of each member's field; returns how many members are in samples that have nothing odd
    /// about their fields.
    private mutating func number(
        _ members: UnsafeMutableBufferPointer<PlainMember>, _ bytes: UnsafeRawBufferPointer
    ) -> Int {
        let span = unsafe bytes.bytes
        var first = 0
        for index in members.indices {
            let member = unsafe members[index]
            if !member.continues { first = index }
            let start = member.offset + Int(member.keyLength) + 1
            let name = span.extracting(start..<member.offset + Int(member.nameLength))
            guard !(name.byteCount == 7 && WebDatasetName.isReserved(name)),
                let number = names.number(of: name, .extensionOfMember, at: index - first)
            else { return first }
            for earlier in first..<index where unsafe Int32(members[earlier].field) == number { return first }
            unsafe members[index].field = Int16(number)
        }
        return members.count
    }

    /// Adds whole samples to the table.
    private mutating func append(
        _ members: UnsafeBufferPointer<PlainMember>, _ bytes: UnsafeRawBufferPointer,
        _ table: inout SampleTable
    ) {
        let start = position
        let counts = unsafe table.appendMembers(members, of: bytes, behind: start, shardOffset: base)
        guard let last = unsafe members.last else { return }
        let end = start + last.offset + TarHeader.blockBytes + TarHeader.padded(last.length)
        tally.members += members.count
        tally.samples += counts.samples
        tally.bytesParsed += end - start
        lastFieldCount = counts.fieldsOfLast
        beginMember(at: end)
    }

    /// Finds the one sample in `bytes`, which lie at `offset` in the shard and hold nothing else; its fields count from
    /// `shift` before them.
    mutating func scanAlone(
        _ bytes: RawSpan, at offset: Int, shift: Int, into table: inout SampleTable
    ) {
        phase = .members
        globals.removeAll(keepingCapacity: true)
        skip = nil
        open = nil
        openDefect = nil
        accountedThrough = 0
        lastFieldCount = 0
        let isPlain = unsafe bytes.withUnsafeBytes { bytes in
            unsafe takeAlone(bytes, at: offset, shift: shift, into: &table)
        }
        if isPlain { return }
        let firstField = table.fields.count
        _ = scan(bytes, at: offset, isLast: true, total: nil, into: &table)
        for field in firstField..<table.fields.count { table.fields[field].offset += shift }
    }

    private mutating func takeAlone(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, shift: Int, into table: inout SampleTable
    ) -> Bool {
        guard limits.fieldsPerSample >= Self.membersAtOnce, limits.nameBytes >= TarHeader.nameBytes,
            limits.sampleBytes >= bytes.count
        else { return false }
        return unsafe withUnsafeTemporaryAllocation(of: PlainMember.self, capacity: Self.membersAtOnce) {
            room in
            let (found, examined) = unsafe plainMembers(
                in: bytes, longest: limits.memberBytes, isWhole: true, into: room)
            let members = unsafe UnsafeMutableBufferPointer(rebasing: room[..<found])
            guard found > 0, examined == bytes.count,
                unsafe members.dropFirst().allSatisfy({ $0.continues }),
                unsafe number(members, bytes) == found
            else { return false }
            _ = unsafe table.appendMembers(
                UnsafeBufferPointer(members), of: bytes, behind: shift, shardOffset: offset - shift)
            return true
        }
    }
}
