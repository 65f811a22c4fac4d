internal import HeadraceCore
internal import HeadraceFormats

/// Payloads that can say where they lie, for messages.
protocol PlacedItems: PackItems {
    /// The file.
    var path: String { get }
    /// Offset, in the uncompressed file, of the first byte that reading `item` needs.
    func start(of item: Int) -> Int
}

extension PackPayload {
    /// The file that the payload is read from, and where in it; empty for bytes that are in memory.
    var place: HeadraceError.Place {
        switch self {
        case .file(let path, _, _): .init(shard: path)
        case .item(let items, let index, _):
            (items as? any PlacedItems).map { .init(shard: $0.path, offset: $0.start(of: index)) } ?? .init()
        case .bytes: .init()
        }
    }
}

/// Payloads that lie in a source file as they are: the item's number is the offset of its first byte in the
/// uncompressed file.
// Sendable: `lock` of `bytes` guards them; subclasses own only what never changes once listed.
class SourceItems: PlacedItems, @unchecked Sendable {
    let bytes: SourceBytes

    init(_ bytes: SourceBytes) { self.bytes = bytes }

    var path: String { bytes.file.path }

    var version: String { bytes.file.version }

    func start(of item: Int) -> Int { item }

    func read(
        item: Int, offset: Int, into destination: UnsafeMutableRawBufferPointer
    ) throws(HeadraceError) {
        try unsafe bytes.read(item + offset, into: destination)
    }
}

/// Which compressed sources the sample being rendered needs, and from where on.
// Sendable: used by the worker whose turn it is to render, one at a time.
final class SourceTurn: @unchecked Sendable {
    private var active: [SourceBytes] = []
    private var needed: [(bytes: SourceBytes, start: Int)] = []

    /// Called before a sample is rendered: what no sample from here on needs can be let go.
    func begin(_ fields: ArraySlice<PackInventory.Field>) {
        needed.removeAll(keepingCapacity: true)
        for field in fields {
            guard case .item(let items, let index, _) = field.payload, let items = items as? SourceItems,
                items.bytes.codec != .none
            else { continue }
            let start = items.start(of: index)
            if let known = needed.firstIndex(where: { $0.bytes === items.bytes }) {
                needed[known].start = min(needed[known].start, start)
            } else {
                needed.append((items.bytes, start))
            }
        }
        for bytes in active where !needed.contains(where: { $0.bytes === bytes }) { bytes.release() }
        active.removeAll(keepingCapacity: true)
        for (bytes, start) in needed {
            bytes.hold(from: start)
            active.append(bytes)
        }
    }
}
