internal import HeadraceCore
internal import HeadraceFormats

/// Lays out the uncompressed bytes of one frame after the other. One a worker.
final class FrameRenderer {
    private var bytes = OutputBuffer()
    private let plan: PackPlan
    private let head = OutputBuffer()
    private let tar = TarWriter()
    /// Where in the samples' bytes the next ones belong, and which of them the frame holds.
    private var position = 0
    private var window = 0..<0

    init(_ plan: PackPlan) { self.plan = plan }

    /// Fills `bytes`, which must be empty, with the frame. `checksum` joins the pieces of a record that spans
    /// frames.
    func render(
        _ frame: PackPlan.Frame, checksum: PiecewiseChecksum?, into bytes: OutputBuffer
    ) throws(HeadraceError) {
        self.bytes = bytes
        bytes.reserve(frame.window.count + TarWriter.endByteCount)
        position = 0
        window = frame.window
        for index in frame.samples {
            let sample = plan.inventory.samples[index]
            if plan.rendersInOrder { plan.turn.begin(plan.inventory.fields(of: sample)) }
            do throws(HeadraceError) {
                switch plan.settings.format {
                case .tar: try renderMembers(sample)
                case .tfrecord: try renderRecord(sample, plan.sampleByteCounts[index], frame, checksum)
                }
            } catch {
                throw error.placed(key: sample.key)
            }
        }
        precondition(bytes.count == window.count, "a frame does not have the size that was planned for it")
        if frame.closesShard, plan.settings.format == .tar { tar.appendEnd(to: bytes) }
    }

    private func renderMembers(_ sample: PackInventory.Sample) throws(HeadraceError) {
        for field in plan.inventory.fields(of: sample) {
            let name = plan.inventory.fieldNames[field.name]
            head.removeAll()
            tar.appendHeader(
                key: sample.key, field: name, payloadByteCount: field.payload.byteCount, to: head)
            emitHead()
            try emit(field.payload, name)
            head.removeAll()
            tar.appendPadding(payloadByteCount: field.payload.byteCount, to: head)
            emitHead()
        }
    }

    private func renderRecord(
        _ sample: PackInventory.Sample, _ byteCount: Int, _ frame: PackPlan.Frame,
        _ checksum: PiecewiseChecksum?
    ) throws(HeadraceError) {
        let start = position
        let data = start + TFRecordWriter.headByteCount..<start + byteCount - TFRecordWriter.footByteCount
        // Where the record's data begin in `bytes`, were they all there.
        let dataStart = bytes.count + TFRecordWriter.headByteCount
        head.removeAll()
        TFRecordWriter.appendHead(dataByteCount: data.count, to: head)
        if sample.isRecord {
            emitHead()
            for field in plan.inventory.fields(of: sample) { try emit(field.payload, "record") }
        } else {
            try emitExample(sample)
        }
        let held = data.clamped(to: window)
        let first = window.lowerBound > start ? 0 : dataStart
        let crc = unsafe crc32c(UnsafeRawBufferPointer(rebasing: bytes.bytes[first..<first + held.count]))
        var whole = crc
        if let checksum {
            checksum.post(crc, byteCount: held.count, piece: frame.piece)
            guard frame.piece == frame.pieceCount - 1 else { return }
            guard let joined = checksum.wait() else { throw HeadraceError.packCancelled }
            whole = joined
        }
        head.removeAll()
        TFRecordWriter.appendFoot(dataCRC32C: whole, to: head)
        emitHead()
    }

    /// Emits the record's head, which is in `head`, and the example.
    private func emitExample(_ sample: PackInventory.Sample) throws(HeadraceError) {
        let inventory = plan.inventory
        let keyName = ExampleWriter.keyName
        var features = ExampleWriter.featureByteCount(
            nameByteCount: keyName.utf8.count, payloadByteCount: sample.key.utf8.count)
        for field in inventory.fields(of: sample) {
            features += ExampleWriter.featureByteCount(
                nameByteCount: inventory.fieldNames[field.name].utf8.count,
                payloadByteCount: field.payload.byteCount)
        }
        ExampleWriter.appendHead(featuresByteCount: features, to: head)
        var isKeyDue = true
        func appendKey() {
            ExampleWriter.appendFeatureHead(name: keyName, payloadByteCount: sample.key.utf8.count, to: head)
            head.append(sample.key)
            isKeyDue = false
        }
        for field in inventory.fields(of: sample) {
            let name = inventory.fieldNames[field.name]
            if isKeyDue, keyName.utf8.lexicographicallyPrecedes(name.utf8) { appendKey() }
            ExampleWriter.appendFeatureHead(name: name, payloadByteCount: field.payload.byteCount, to: head)
            emitHead()
            head.removeAll()
            try emit(field.payload, name)
        }
        if isKeyDue { appendKey() }
        emitHead()
    }

    /// Takes what the window holds of `head`.
    private func emitHead() {
        let part = (position..<position + head.count).clamped(to: window)
        if !part.isEmpty {
            let own = part.lowerBound - position..<part.upperBound - position
            unsafe bytes.append(UnsafeRawBufferPointer(rebasing: head.bytes[own]))
        }
        position += head.count
    }

    /// Takes what the window holds of a payload. An empty one is looked at too: it must still be empty.
    private func emit(_ payload: PackPayload, _ name: String) throws(HeadraceError) {
        let byteCount = payload.byteCount
        let part = (position..<position + byteCount).clamped(to: window)
        if !part.isEmpty || byteCount == 0 && window.contains(position) {
            do throws(HeadraceError) {
                try payload.append(part.lowerBound - position..<part.upperBound - position, to: bytes)
            } catch {
                throw error.placed(field: name)
            }
        }
        position += byteCount
    }
}

/// Joins the checksums of a record's pieces, which several workers compute at once.
// Sendable: `lock` guards everything.
final class PiecewiseChecksum: @unchecked Sendable {
    private let lock = Lock()
    private let changed: Condition
    private var pieces: [(crc: UInt32, byteCount: Int)?]
    private var missing: Int
    private var isAbandoned = false

    init(pieceCount: Int) {
        changed = Condition(lock)
        pieces = Array(repeating: nil, count: pieceCount)
        missing = pieceCount
    }

    func post(_ crc: UInt32, byteCount: Int, piece: Int) {
        lock.lock()
        pieces[piece] = (crc, byteCount)
        missing -= 1
        changed.broadcast()
        lock.unlock()
    }

    /// Waits for all pieces; nil when one will never come. Pieces are begun in order and post before they wait for
    /// anything, so those that are waited for here are all under way.
    func wait() -> UInt32? {
        lock.lock()
        defer { lock.unlock() }
        while missing > 0, !isAbandoned { changed.wait() }
        guard missing == 0 else { return nil }
        return pieces.reduce(0) { combinedCRC32C($0, $1!.crc, secondByteCount: $1!.byteCount) }
    }

    /// Tells whoever waits that a piece failed.
    func abandon() {
        lock.lock()
        isAbandoned = true
        changed.broadcast()
        lock.unlock()
    }
}
