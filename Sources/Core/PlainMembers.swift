internal import CHeadraceCore

/// A plain member of a tar, by its header: places only. The layout of `headrace_member`.
package struct PlainMember: Sendable {
    /// Of its header, in the bytes that were given. The payload begins 512 bytes behind it.
    package var offset = 0
    /// Payload bytes.
    package var length = 0
    /// The header begins with the name, the name with the key and a dot.
    package var nameLength: Int16 = 0
    package var keyLength: Int16 = 0
    private var isContinuation: Int16 = 0
    /// Number of the field's name: for who found the member to write down.
    package var field: Int16 = 0

    package init() {}

    /// It has the key of the member before it.
    package var continues: Bool { isContinuation != 0 }
}

/// Finds whole samples of plain members at the front of `bytes`, as many as `members` has room for.
///
/// Plain are intact headers of regular files that need no second header, whose names are a key and a field, and whose
/// payloads are within the bytes; a sample is whole where a plain member of another key follows, or, with `isWhole`,
/// where it ends with the bytes. Whatever else there is, the caller judges.
///
/// In C for the sum over the header, which takes SIMD, and because it reads untrusted numbers in a tight loop: small
/// samples come five times as fast as through checked spans.
///
/// - Returns: the number of members in whole samples, and the offset of the first header that was not examined or is
///   not plain.
package func plainMembers(
    in bytes: UnsafeRawBufferPointer, longest: Int, isWhole: Bool,
    into members: UnsafeMutableBufferPointer<PlainMember>
) -> (count: Int, examined: Int) {
    precondition(
        MemoryLayout<PlainMember>.stride == MemoryLayout<headrace_member>.stride
            && MemoryLayout<PlainMember>.offset(of: \.field)
                == MemoryLayout<headrace_member>.offset(of: \.field)
            && MemoryLayout<PlainMember>.offset(of: \.length)
                == MemoryLayout<headrace_member>.offset(of: \.length)
            && MemoryLayout<PlainMember>.offset(of: \.keyLength)
                == MemoryLayout<headrace_member>.offset(of: \.key_length),
        "both sides must see the same places")
    return unsafe members.withMemoryRebound(to: headrace_member.self) { members in
        var examined = 0
        let count = unsafe headrace_plain_members(
            bytes.baseAddress, bytes.count, UInt64(longest), isWhole ? 1 : 0, members.baseAddress,
            members.count, &examined)
        return (count, examined)
    }
}
