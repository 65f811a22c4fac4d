public import HeadraceCore
internal import HeadraceDecode
internal import HeadraceFormats

/// Files with a JSON object on each line (JSON Lines, NDJSON), plain or compressed: each is a sample with the
/// field
/// `json`, the bytes of its line.
///
/// Every line is parsed, so that nothing is packed that a reader chokes on. Blank lines are passed over and
/// counted.
public struct JSONLinesSource: PackSource {
    /// The files, in order.
    public let paths: [String]
    /// Name of the member that is the sample's key: a string or an integer. Nil: keys are the file's name and
    /// a number.
    public let keyField: String?

    /// The objects of these files.
    public init(_ paths: [String], keyField: String? = nil) {
        self.paths = paths
        self.keyField = keyField
    }

    /// Reads the files once.
    public func addSamples(to inventory: inout PackInventory) throws(HeadraceError) {
        for path in paths {
            let file = try SourceFile(path)
            let codec = try file.codec()
            let items = SourceItems(inventory.bytes(of: file, codec: codec))
            let lines = try LineReader(file, codec: codec)
            if let keyField { inventory.noteKeyField(keyField, of: path) }
            let keys = GeneratedKeys(path)
            var keyMember = KeyMember(name: keyField)
            while try lines.next() {
                let line = lines.current
                if line.number & 0xFFF == 0 { try inventory.checkGoesOn() }
                do throws(HeadraceError) {
                    guard let object = try object(lines) else {
                        inventory.ignore(.blankLine, path: "\(path):\(line.number)")
                        inventory.count(ignored: lines.wholeByteCount)
                        continue
                    }
                    let key = try key(object, lines) ?? keys.key(line.number - 1)
                    keyMember.isFound = true
                    let payload = PackPayload.item(
                        items, index: line.offset + object.lowerBound, byteCount: object.count)
                    inventory.add(key: key, fields: [(name: "json", payload: payload)])
                    let mark = lines.markByteCount
                    inventory.count(parsed: lines.wholeByteCount - mark, ignored: mark)
                } catch {
                    try keyMember.leaveOut(error, &inventory)
                    inventory.count(lost: lines.wholeByteCount)
                }
            }
            try keyMember.checkFound(path)
        }
    }

    /// Tells a name that no object has for a member from objects that lack it.
    private struct KeyMember {
        let name: String?
        var isFound = false
        private var missing = 0

        init(name: String?) { self.name = name }

        /// Leaves a line out as damaged where the policy allows it, and the name is not the likelier mistake.
        mutating func leaveOut(
            _ defect: HeadraceError, _ inventory: inout PackInventory
        ) throws(HeadraceError) {
            guard !isFound, defect.code == .missingField else { return try inventory.leaveOut(defect) }
            missing += 1
            if missing == TextLimits.keylessObjects { try checkFound(defect.place.shard) }
            do throws(HeadraceError) {
                try inventory.leaveOut(defect)
            } catch {
                if error.code == .tooManyDefects { try checkFound(defect.place.shard) }
                throw error
            }
        }

        func checkFound(_ path: String?) throws(HeadraceError) {
            guard !isFound, missing > 0, let name else { return }
            throw HeadraceError(
                .missingField,
                "there is no member '\(name)' to be the key: \(missing) objects lack it, and none has it; name another "
                    + "one (--key-field)", at: .init(shard: path))
        }
    }

    /// Where the object of the current line stands in it; nil for a blank line.
    private func object(_ lines: LineReader) throws(HeadraceError) -> Range<Int>? {
        let bytes = unsafe lines.bytes
        func isSpace(_ index: Int) -> Bool {
            let byte = unsafe bytes[index]
            return byte == 0x20 || byte == 0x09 || byte == 0x0D
        }
        // A byte order mark is no part of the text.
        var start = lines.markByteCount
        var end = bytes.count
        while start < end, isSpace(start) { start += 1 }
        while start < end, isSpace(end - 1) { end -= 1 }
        guard start < end else { return nil }
        do throws(HeadraceError) {
            try unsafe JSONScanner.validate(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
        } catch {
            throw lines.error(error.code, error.message, at: start)
        }
        guard unsafe bytes[start] == UInt8(ascii: "{") else {
            throw lines.error(.badValue, "this is no JSON object")
        }
        return start..<end
    }

    private func key(_ object: Range<Int>, _ lines: LineReader) throws(HeadraceError) -> String? {
        guard let keyField else { return nil }
        let value: JSONValue
        do throws(HeadraceError) {
            value = try JSONValue(parsing: unsafe Array(lines.bytes[object]))
        } catch {
            throw lines.error(error.code, error.message, at: object.lowerBound + (error.place.offset ?? 0))
        }
        switch value[keyField] {
        case .string(let key): return key
        case .int(let key): return String(key)
        case nil: throw lines.error(.missingField, "the object has no member '\(keyField)' to be its key")
        default: throw lines.error(.badValue, "the member '\(keyField)' is neither a string nor an integer")
        }
    }
}
