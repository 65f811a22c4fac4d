internal import HeadraceCore
internal import HeadraceFormats

/// Lays out the uncompressed bytes of one frame after the other. One a worker.
final class FrameRenderer {
    /// What is known of a frame when it is laid out.
    struct Rendered {
        /// Of the samples that end in it.
        var sampleByteCounts: [Int] = []
        var jpegs = PackJPEGCounts()
    }

    private var bytes = OutputBuffer()
    private let plan: PackPlan
    private let head = OutputBuffer()
    private let tar = TarWriter()
    /// Where in the samples' bytes the next ones belong, and which of them the frame holds.
    private var position = 0
    private var window = 0..<0
    /// The fields of each sample, in memory, of a frame whose JPEGs are written anew.
    private var gathered: [ArraySlice<PackInventory.Field>]?
    private var rewriter: FieldRewriter?

    init(_ plan: PackPlan) { self.plan = plan }

    /// Reads all of a frame, whose sources may have to be read in its turn.
    func gather(_ frame: PackPlan.Frame) throws(HeadraceError) {
        gathered = nil
        var all: [ArraySlice<PackInventory.Field>] = []
        for index in frame.samples {
            let sample = plan.inventory.samples[index]
            if plan.rendersInOrder { plan.turn.begin(plan.inventory.fields(of: sample)) }
            do throws(HeadraceError) {
                var fields: [PackInventory.Field] = []
                for field in plan.inventory.fields(of: sample) { fields.append(try read(field)) }
                all.append(fields[...])
            } catch {
                throw error.placed(key: sample.key)
            }
        }
        gathered = all
    }

    private func read(_ field: PackInventory.Field) throws(HeadraceError) -> PackInventory.Field {
        let buffer = OutputBuffer(capacity: max(1, field.payload.byteCount))
        do throws(HeadraceError) {
            try field.payload.append(0..<field.payload.byteCount, to: buffer)
        } catch {
            throw error.placed(field: plan.inventory.fieldNames[field.name])
        }
        return PackInventory.Field(name: field.name, payload: .bytes(buffer.copy()))
    }

    /// Fills `bytes`, which must be empty, with the frame. `checksum` joins the pieces of a record that spans
    /// frames.
    func render(
        _ frame: PackPlan.Frame, checksum: PiecewiseChecksum?, into bytes: OutputBuffer
    ) throws(HeadraceError) -> Rendered {
        let rewrites = plan.rewritesJPEGs(of: frame)
        if rewrites, gathered == nil { try gather(frame) }
        defer { gathered = nil }
        var rendered = Rendered()
        self.bytes = bytes
        bytes.reserve(frame.window.count + TarWriter.endByteCount)
        position = 0
        // All of whole samples, whatever they take when it is done.
        window = frame.pieceCount == 1 ? 0..<Int.max : frame.window
        for index in frame.samples {
            let sample = plan.inventory.samples[index]
            do throws(HeadraceError) {
                var fields = plan.inventory.fields(of: sample)
                var byteCount = plan.sampleByteCounts[index]
                if rewrites {
                    fields = gathered![index - frame.samples.lowerBound]
                    fields = try rewritten(fields, of: sample, &rendered.jpegs)
                    byteCount = try plan.byteCount(of: sample, fields, tar)
                } else {
                    if plan.rendersInOrder { plan.turn.begin(fields) }
                    if frame.piece == 0 { plan.countUnwritten(index, &rendered.jpegs) }
                }
                switch plan.settings.format {
                case .tar: try renderMembers(sample, fields)
                case .tfrecord: try renderRecord(sample, fields, byteCount, frame, checksum)
                }
                if frame.piece == frame.pieceCount - 1 { rendered.sampleByteCounts.append(byteCount) }
            } catch {
                throw error.placed(key: sample.key)
            }
        }
        let expected =
            frame.pieceCount == 1 ? rendered.sampleByteCounts.reduce(0, +) : frame.window.count
        precondition(bytes.count == expected, "a frame does not have the size that was planned for it")
        if frame.closesShard, plan.settings.format == .tar { tar.appendEnd(to: bytes) }
        return rendered
    }

    private func rewritten(
        _ fields: ArraySlice<PackInventory.Field>, of sample: PackInventory.Sample,
        _ counts: inout PackJPEGCounts
    ) throws(HeadraceError) -> ArraySlice<PackInventory.Field> {
        let rewriter = if let rewriter { rewriter } else { try FieldRewriter(plan) }
        self.rewriter = rewriter
        return try rewriter.rewritten(fields, of: sample, &counts)
    }

    private func renderMembers(
        _ sample: PackInventory.Sample, _ fields: ArraySlice<PackInventory.Field>
    ) throws(HeadraceError) {
        for field in fields {
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
        _ sample: PackInventory.Sample, _ fields: ArraySlice<PackInventory.Field>, _ byteCount: Int,
        _ frame: PackPlan.Frame, _ checksum: PiecewiseChecksum?
    ) throws(HeadraceError) {
        let start = position
        let data = start + TFRecordWriter.headByteCount..<start + byteCount - TFRecordWriter.footByteCount
        // Where the record's data begin in `bytes`, were they all there.
        let dataStart = bytes.count + TFRecordWriter.headByteCount
        head.removeAll()
        TFRecordWriter.appendHead(dataByteCount: data.count, to: head)
        if sample.isRecord {
            emitHead()
            for field in fields { try emit(field.payload, "record") }
        } else {
            try emitExample(sample, fields)
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
    private func emitExample(
        _ sample: PackInventory.Sample, _ fields: ArraySlice<PackInventory.Field>
    ) throws(HeadraceError) {
        let inventory = plan.inventory
        let keyName = ExampleWriter.keyName
        var features = ExampleWriter.featureByteCount(
            nameByteCount: keyName.utf8.count, payloadByteCount: sample.key.utf8.count)
        for field in fields {
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
        for field in fields {
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
