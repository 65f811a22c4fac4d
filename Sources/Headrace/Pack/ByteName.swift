internal import Glibc

/// A name that is compared byte by byte: Swift's strings hold composed and decomposed letters for equal, while
/// file systems and tar members do not.
struct ByteName: Hashable, Comparable {
    let text: String

    static func == (a: ByteName, b: ByteName) -> Bool { byteOrder(a.text, b.text) == 0 }

    static func < (a: ByteName, b: ByteName) -> Bool { byteOrder(a.text, b.text) < 0 }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

/// Negative, 0 or positive as the bytes of `a` come before, with or after those of `b`. One `memcmp`: going through
/// the UTF-8 views byte by byte is what sorting a million names would spend its time on.
func byteOrder(_ a: String, _ b: String) -> Int {
    let order = unsafe a.utf8.withContiguousStorageIfAvailable { a in
        unsafe b.utf8.withContiguousStorageIfAvailable { b in
            let common = min(a.count, b.count)
            let order = common == 0 ? 0 : unsafe memcmp(a.baseAddress!, b.baseAddress!, common)
            return order != 0 ? Int(order) : a.count - b.count
        }
    }
    if let order, let order { return order }
    // No string of this platform comes here: all are contiguous.
    return a.utf8.elementsEqual(b.utf8) ? 0 : a.utf8.lexicographicallyPrecedes(b.utf8) ? -1 : 1
}
