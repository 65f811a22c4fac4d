internal import Glibc
internal import HeadraceCore
internal import HeadraceFormats

/// The arrays of a .npz file: a zip archive of .npy files, stored or deflated.
struct ArrayArchive {
    private let file: SourceFile

    init(_ file: SourceFile) { self.file = file }

    func arrays(_ inventory: inout PackInventory) throws(HeadraceError) -> [SourceArray] {
        var arrays: [SourceArray] = []
        for (name, member) in try members() {
            guard name.utf8.count > 4, name.hasSuffix(".npy") else {
                throw HeadraceError(.badValue, "the archive holds '\(name)', which is no .npy array")
            }
            let array = String(name.dropLast(4))
            var part = SourcePart(range: member.data)
            switch member.method {
            case .stored:
                let checksum = ZipChecksum()
                let stored = try SourceArray(
                    file, name: array, codec: .none, part: part, &inventory, checksum: checksum)
                guard checksum.value == member.checksum else {
                    throw HeadraceError(.checksumMismatch, "the CRC-32 of array '\(array)' does not match")
                }
                arrays.append(stored)
            case .deflated:
                // What gzip writes around the same bytes, with nothing in the header but the method.
                part.head = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF]
                part.tail = Self.littleEndian(member.checksum)
                part.tail += Self.littleEndian(UInt32(truncatingIfNeeded: member.byteCount))
                arrays.append(try SourceArray(file, name: array, codec: .gzip, part: part, &inventory))
            }
        }
        guard !arrays.isEmpty else { throw HeadraceError(.notFound, "the archive holds no array") }
        return arrays
    }

    private static func littleEndian(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    /// Names and places. The directory's reader wants the archive in memory: a mapping gives it that, of which only
    /// the pages with headers are ever read.
    private func members() throws(HeadraceError) -> [(name: String, member: ZipMember)] {
        let descriptor = OpenedFile(try file.reopen())
        try file.check(descriptor.number)
        guard file.byteCount > 0,
            let memory = unsafe mmap(nil, file.byteCount, PROT_READ, MAP_PRIVATE, descriptor.number, 0),
            unsafe memory != MAP_FAILED
        else {
            throw HeadraceError(.io, "the archive cannot be mapped", cause: errorDescription(errno))
        }
        defer { unsafe munmap(memory, file.byteCount) }
        let archive = unsafe UnsafeRawBufferPointer(start: memory, count: file.byteCount)
        var members: [(name: String, member: ZipMember)] = []
        try unsafe ZipDirectory(archive).forEachMember { member in
            let name = unsafe String(decoding: archive[member.name], as: UTF8.self)
            members.append((name, member))
            return true
        }
        return members
    }
}
