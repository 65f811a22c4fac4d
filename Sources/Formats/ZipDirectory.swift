package import HeadraceCore

/// One member of a zip archive, found through the central directory; places are counted from the archive's first
/// byte.
package struct ZipMember: Sendable, Equatable {
    /// How its bytes are stored.
    package enum Method: Sendable { case stored, deflated }

    package var name: Range<Int>
    package var method: Method
    package var checksum: UInt32
    /// The bytes as they are stored.
    package var data: Range<Int>
    /// Bytes once decompressed.
    package var byteCount: Int
}

/// Reads the central directory of a zip archive that lies in memory, such as an .npz: nothing is copied or
/// allocated, and every claim is checked against the bytes that are there.
///
/// Stored and deflated members, zip64, and members whose sizes follow their data (the directory has them). Refused:
/// encryption, other methods, several disks, members that overlap, and anything behind the archive's end.
@safe package struct ZipDirectory {
    private let bytes: RawSpanReader
    private let limits: FormatLimits
    /// The central directory.
    private let directory: Range<Int>
    package let memberCount: Int

    /// Signatures of a zip archive's records.
    private enum Signature {
        static let member: UInt32 = 0x0403_4b50
        static let entry: UInt32 = 0x0201_4b50
        static let end: UInt32 = 0x0605_4b50
        static let end64: UInt32 = 0x0606_4b50
        static let locator64: UInt32 = 0x0706_4b50
    }

    private static let endBytes = 22
    private static let end64Bytes = 56
    private static let locatorBytes = 20
    private static let entryBytes = 46
    private static let memberBytes = 30
    /// What stands in a field of 32 bits whose value is in the zip64 record.
    private static let elsewhere = 0xffff_ffff

    /// Finds the directory at the end of `archive`.
    package init(
        _ archive: UnsafeRawBufferPointer, limits: FormatLimits = FormatLimits()
    ) throws(HeadraceError) {
        let bytes = unsafe RawSpanReader(archive)
        self.bytes = bytes
        self.limits = limits
        guard let end = Self.findEnd(bytes) else {
            let isZip = bytes.number32(0) == Signature.member
            throw HeadraceError(
                isZip ? .truncated : .badValue,
                isZip ? "the zip archive is cut: its directory is missing" : "no zip archive")
        }
        var count = bytes.number16(end + 10) ?? 0
        var size = Int(bytes.number32(end + 12) ?? 0)
        var start = Int(bytes.number32(end + 16) ?? 0)
        var isOneDisk =
            bytes.number16(end + 4) == 0 && bytes.number16(end + 6) == 0 && bytes.number16(end + 8) == count
        var directoryEnd = end
        let locator = end - Self.locatorBytes
        if locator >= 0, bytes.number32(locator) == Signature.locator64 {
            guard let record = bytes.number64(locator + 8), record <= locator - Self.end64Bytes,
                bytes.number32(record) == Signature.end64, let length = bytes.number64(record + 4),
                length == locator - record - 12, let entries = bytes.number64(record + 32),
                let bytesOfEntries = bytes.number64(record + 40), let first = bytes.number64(record + 48)
            else { throw Self.malformed("its zip64 end record is not where it is said to be") }
            isOneDisk =
                bytes.number32(locator + 4) == 0 && bytes.number32(locator + 16) ?? 0 <= 1
                && bytes.number32(record + 16) == 0 && bytes.number32(record + 20) == 0
                && bytes.number64(record + 24) == entries
            (count, size, start) = (entries, bytesOfEntries, first)
            directoryEnd = record
        }
        guard isOneDisk else {
            throw HeadraceError(.unsupported, "the zip archive is spread over several disks")
        }
        guard count <= limits.zipMembers else {
            throw HeadraceError(
                .limitExceeded,
                "the zip archive claims \(count) members, more than \(limits.zipMembers) (limit zipMembers)")
        }
        guard size <= directoryEnd, start == directoryEnd - size else {
            throw Self.malformed("its directory is not where it is said to be")
        }
        directory = start..<directoryEnd
        memberCount = count
        try checkLayout()
    }

    private static func malformed(_ what: String) -> HeadraceError {
        HeadraceError(.badValue, "malformed zip archive: \(what)")
    }

    /// The end record: the last thing but a comment, whose length must fit exactly.
    private static func findEnd(_ bytes: RawSpanReader) -> Int? {
        var at = bytes.count - endBytes
        let last = max(0, at - 0xffff)
        while at >= last {
            if bytes.number32(at) == Signature.end, bytes.number16(at + 20) == bytes.count - at - endBytes {
                return at
            }
            at -= 1
        }
        return nil
    }

    /// Checks every entry, and that the members follow one another without sharing a byte.
    private func checkLayout() throws(HeadraceError) {
        var last = 0
        var isInOrder = true
        var at = directory.lowerBound
        for _ in 0..<memberCount {
            let (member, header, next) = try entry(at)
            isInOrder = isInOrder && header >= last
            last = member.data.upperBound
            at = next
        }
        guard at == directory.upperBound else { throw Self.malformed("its directory has bytes to spare") }
        guard !isInOrder else { return }
        // No writer does this; sorting allocates, and is bounded by the limit of members.
        var places: [Range<Int>] = []
        at = directory.lowerBound
        for _ in 0..<memberCount {
            let (member, header, next) = try entry(at)
            places.append(header..<member.data.upperBound)
            at = next
        }
        places.sort { $0.lowerBound < $1.lowerBound }
        for index in places.indices.dropFirst()
        where places[index].lowerBound < places[index - 1].upperBound {
            throw Self.malformed("members overlap")
        }
    }

    /// Calls `body` with each member in the order of the directory, until it returns false.
    package func forEachMember(_ body: (ZipMember) -> Bool) throws(HeadraceError) {
        var at = directory.lowerBound
        for _ in 0..<memberCount {
            let (member, _, next) = try entry(at)
            guard body(member) else { return }
            at = next
        }
    }

    /// The member called `name` or `name` with that suffix; of two with one name the last, as other readers have it.
    package func member(named name: [UInt8], orWith suffix: StaticString) throws(HeadraceError) -> ZipMember?
    {
        var found: ZipMember?
        var isExact = false
        try forEachMember { member in
            let isWhole = bytes.isEqual(member.name, name)
            if isWhole || !isExact && bytes.isEqual(member.name, name, suffix) {
                found = member
                isExact = isExact || isWhole
            }
            return true
        }
        return found
    }

    /// Reads the entry at `at` and the header of its member.
    private func entry(_ at: Int) throws(HeadraceError) -> (member: ZipMember, header: Int, next: Int) {
        guard at + Self.entryBytes <= directory.upperBound, bytes.number32(at) == Signature.entry,
            let flags = bytes.number16(at + 8), let method = bytes.number16(at + 10),
            let checksum = bytes.number32(at + 16), let nameLength = bytes.number16(at + 28),
            let extraLength = bytes.number16(at + 30), let commentLength = bytes.number16(at + 32)
        else { throw Self.malformed("an entry of its directory is cut") }
        let name = at + Self.entryBytes..<at + Self.entryBytes + nameLength
        let next = name.upperBound + extraLength + commentLength
        guard next <= directory.upperBound else {
            throw Self.malformed("an entry of its directory is cut")
        }
        let sizes = try sizes(at, extra: name.upperBound..<name.upperBound + extraLength)
        guard nameLength <= limits.nameBytes else {
            throw HeadraceError(
                .limitExceeded,
                "the name of a zip member has \(nameLength) bytes, more than \(limits.nameBytes) (limit nameBytes)"
            )
        }
        // Bits 0 and 6: encryption; 13: an encrypted directory; 5: patches.
        guard flags & 0x2061 == 0 else {
            throw HeadraceError(.unsupported, "member '\(text(name))' of the zip archive is encrypted")
        }
        let way = try self.method(method, name)
        guard let data = dataPlace(header: sizes.header, name, sizes.compressed) else {
            throw Self.malformed("member '\(text(name))' is not where the directory says")
        }
        guard way == .deflated || sizes.compressed == sizes.plain else {
            throw Self.malformed("member '\(text(name))' is stored with two sizes")
        }
        guard sizes.plain <= 64 || sizes.plain / limits.zipRatio <= sizes.compressed else {
            throw HeadraceError(
                .limitExceeded,
                "member '\(text(name))' of the zip archive claims \(sizes.plain) bytes from \(sizes.compressed), "
                    + "more than \(limits.zipRatio) to one (limit zipRatio)")
        }
        let member = ZipMember(
            name: name, method: way, checksum: checksum, data: data, byteCount: sizes.plain)
        return (member, sizes.header, next)
    }

    private func text(_ name: Range<Int>) -> String { bytes.text(name) }

    private func method(_ number: Int, _ name: Range<Int>) throws(HeadraceError) -> ZipMember.Method {
        switch number {
        case 0: return .stored
        case 8: return .deflated
        default:
            let others = [
                9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd", 99: "AES",
            ]
            throw HeadraceError(
                .unsupported,
                "member '\(text(name))' of the zip archive is compressed by \(others[number] ?? "method \(number)"); "
                    + "write it stored or deflated")
        }
    }

    /// Sizes and place of a member, from the zip64 field where they do not fit 32 bits.
    private func sizes(
        _ at: Int, extra: Range<Int>
    ) throws(HeadraceError) -> (compressed: Int, plain: Int, header: Int) {
        var compressed = Int(bytes.number32(at + 20) ?? 0)
        var plain = Int(bytes.number32(at + 24) ?? 0)
        var header = Int(bytes.number32(at + 42) ?? 0)
        guard compressed == Self.elsewhere || plain == Self.elsewhere || header == Self.elsewhere else {
            return (compressed, plain, header)
        }
        var field = extra.lowerBound
        while field + 4 <= extra.upperBound, let identifier = bytes.number16(field),
            let length = bytes.number16(field + 2), field + 4 + length <= extra.upperBound
        {
            defer { field += 4 + length }
            guard identifier == 1 else { continue }
            var place = field + 4
            func take(_ value: inout Int) throws(HeadraceError) {
                guard value == Self.elsewhere else { return }
                guard place + 8 <= field + 4 + length, let number = bytes.number64(place) else {
                    throw Self.malformed("a zip64 field is too short, or beyond any memory")
                }
                value = number
                place += 8
            }
            try take(&plain)
            try take(&compressed)
            try take(&header)
            return (compressed, plain, header)
        }
        return (compressed, plain, header)
    }

    /// Where a member's data lie, from its own header, which must bear the same name.
    private func dataPlace(header: Int, _ name: Range<Int>, _ byteCount: Int) -> Range<Int>? {
        guard header <= directory.lowerBound - Self.memberBytes,
            bytes.number32(header) == Signature.member, let nameLength = bytes.number16(header + 26),
            let extraLength = bytes.number16(header + 28), nameLength == name.count
        else { return nil }
        let start = header + Self.memberBytes + nameLength + extraLength
        guard start <= directory.lowerBound, byteCount <= directory.lowerBound - start else { return nil }
        guard bytes.isEqual(header + Self.memberBytes, name) else { return nil }
        return start..<start + byteCount
    }
}

/// Little-endian numbers at places of a buffer; nil beyond its end, and where a number of 64 bits is no `Int`.
@safe private struct RawSpanReader {
    private let bytes: UnsafeRawBufferPointer
    let count: Int

    init(_ bytes: UnsafeRawBufferPointer) {
        unsafe self.bytes = bytes
        count = bytes.count
    }

    private func number<Number: FixedWidthInteger & BitwiseCopyable>(_ at: Int, _: Number.Type) -> Number? {
        guard at >= 0, count - at >= MemoryLayout<Number>.size else { return nil }
        return unsafe Number(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: Number.self))
    }

    func number16(_ at: Int) -> Int? { number(at, UInt16.self).map(Int.init) }
    func number32(_ at: Int) -> UInt32? { number(at, UInt32.self) }
    func number64(_ at: Int) -> Int? { number(at, UInt64.self).flatMap { Int(exactly: $0) } }

    func isEqual(_ start: Int, _ other: Range<Int>) -> Bool {
        for index in 0..<other.count
        where unsafe bytes[start + index] != bytes[other.lowerBound + index] {
            return false
        }
        return true
    }

    func isEqual(_ place: Range<Int>, _ name: [UInt8], _ suffix: StaticString = "") -> Bool {
        guard place.count == name.count + suffix.utf8CodeUnitCount else { return false }
        for index in name.indices where unsafe bytes[place.lowerBound + index] != name[index] { return false }
        for index in 0..<suffix.utf8CodeUnitCount
        where unsafe bytes[place.lowerBound + name.count + index] != suffix.utf8Start[index] {
            return false
        }
        return true
    }

    /// The start of the bytes as text for a message.
    func text(_ place: Range<Int>) -> String {
        unsafe String(decoding: UnsafeRawBufferPointer(rebasing: bytes[place]).prefix(80), as: UTF8.self)
    }
}
