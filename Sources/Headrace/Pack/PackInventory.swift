public import HeadraceCore
internal import HeadraceFormats

/// Why a source leaves something of what it found out of the shards. Nothing is left out uncounted.
public enum IgnoredReason: String, Sendable, CaseIterable {
    /// A name that begins with a dot: readers skip such members.
    case dotfile
    /// A name without an extension: it would be no field of any sample.
    case noExtension
    /// A directory that was entered already on the way down.
    case symlinkLoop
    /// A pipe, socket or device.
    case notRegular
    /// A file beside IDX files that is none itself.
    case noIDX
    /// A member `__name__` of a tar, which tells of the shard.
    case metaMember
    /// A directory that is a member of a tar.
    case directoryMember
    /// A link, pipe or device that is a member of a tar.
    case notRegularMember
    /// A tar with bytes behind its end marker.
    case dataAfterEnd
    /// A tar without an end marker.
    case missingEndOfArchive
    /// A feature of a `tf.Example` without a value of any kind.
    case unsetFeature
    /// A line without anything on it.
    case blankLine
    /// A sample that is damaged, left out because that was asked for.
    case defect
}

/// All samples to be packed: keys, fields and sizes, gathered from the sources before anything is written.
public struct PackInventory: Sendable {
    /// Names told in one error, and examples kept of what was ignored.
    static let namesInMessages = 5

    struct Sample: Sendable {
        var key: String
        var firstField: Int
        var fieldCount: Int
        /// The one field is a TFRecord record that is written as it is.
        var isRecord = false
        /// Its fields stay in the order of the source.
        var keepsOrder = false
        /// Its fields were features of an Example, whose names say nothing of their content.
        var isOfExample = false
    }

    struct Field: Sendable {
        /// Index in ``fieldNames``.
        var name: Int
        var payload: PackPayload
    }

    private(set) var samples: [Sample] = []
    private(set) var fields: [Field] = []
    private(set) var fieldNames: [String] = []
    private(set) var ignored: [IgnoredReason: Int] = [:]
    private(set) var ignoredExamples: [IgnoredReason: [String]] = [:]
    private(set) var sourceBytes = PackSourceBytes()
    private(set) var unreadableRests: [PackUnreadableRest] = []
    private var fieldIndex: [ByteName: Int] = [:]
    private var problems: [HeadraceError] = []
    private var problemCount = 0
    /// What is the key of the samples of a file, where that was chosen.
    private(set) var keyFields: [String: String] = [:]
    let limits = FormatLimits()
    /// Fields whose names had to be changed: old names to new.
    private(set) var renamedFields: [String: String] = [:]

    /// What the samples will be written as.
    let format: ShardFormatKind
    let onDefect: DefectPolicy
    /// Files that are read again when they are packed.
    let opened = OpenedFiles()
    /// Their paths, and those of other files that a source has read.
    private(set) var readPaths: Set<String> = []
    /// The compressed ones among them.
    private(set) var compressedSources: [SourceBytes] = []
    /// Arrays whose rows lie in columns: reading one row reads all over the file.
    private(set) var columnArrays: [ArrayRows] = []
    /// Bytes of memory that the list of samples may take.
    private let byteLimit: Int
    /// What it takes so far, and the refusal to take more.
    private var byteCount = 0
    private var overflow: HeadraceError?
    private let isCancelled: @Sendable () -> Bool

    init(
        format: ShardFormatKind = .tar, onDefect: DefectPolicy = .fail,
        byteLimit: Int = PackOptions.defaultInventoryByteCount,
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) {
        self.format = format
        self.onDefect = onDefect
        self.byteLimit = byteLimit
        self.isCancelled = isCancelled
    }

    /// Adds one sample; the order of its fields does not matter.
    ///
    /// A sample that cannot be written so that every reader gets it back as it is becomes a problem, which
    /// ``Packer`` raises before it writes anything.
    public mutating func add(key: String, fields: [(name: String, payload: PackPayload)]) {
        add(key: key, fields: fields, keepsOrder: false)
    }

    /// With `keepsOrder`, members of a tar come in the order given; features of an Example are sorted always.
    mutating func add(
        key: String, fields: [(name: String, payload: PackPayload)], keepsOrder: Bool,
        isOfExample: Bool = false
    ) {
        guard overflow == nil else { return }
        guard !fields.isEmpty else { return refuse(.badName, "the sample has no field", key: key) }
        if fields.count > limits.fieldsPerSample {
            return refuse(
                .limitExceeded,
                "the sample has \(fields.count) fields, readers accept \(limits.fieldsPerSample)",
                at: Self.place(fields[0].payload, key: key))
        }
        let first = self.fields.count
        for (name, payload) in fields {
            if let problem = Self.problem(key: key, field: name, byteCount: payload.byteCount, limits) {
                self.fields.removeSubrange(first...)
                return refuse(
                    problem.code, problem.message + keyAdvice(key, name, payload),
                    at: Self.place(payload, key: key, field: name))
            }
            self.fields.append(Field(name: intern(name), payload: payload))
        }
        if self.fields.count - first > 1 {
            let names = fieldNames
            var sorted = self.fields[first...]
            sorted.sort { byteOrder(names[$0.name], names[$1.name]) < 0 }
            for index in first + 1..<self.fields.count where sorted[index - 1].name == sorted[index].name {
                self.fields.removeSubrange(first...)
                let other = Self.words(sorted[index - 1].payload.place)
                return refuse(
                    .duplicateField,
                    "two files make the same field: names are compared in lower case; the other is \(other)",
                    at: Self.place(sorted[index].payload, key: key, field: names[sorted[index].name]))
            }
            if !keepsOrder || format == .tfrecord { self.fields.replaceSubrange(first..., with: sorted) }
        }
        guard takeRoom(key: key, firstField: first) else { return self.fields.removeSubrange(first...) }
        samples.append(
            Sample(
                key: key, firstField: first, fieldCount: self.fields.count - first, keepsOrder: keepsOrder,
                isOfExample: isOfExample))
    }

    /// Adds a TFRecord record that is written byte for byte; `key` tells it in messages and when sorting.
    mutating func addRecord(key: String, payload: PackPayload) {
        guard overflow == nil else { return }
        fields.append(Field(name: intern("record"), payload: payload))
        guard takeRoom(key: key, firstField: fields.count - 1) else { return fields.removeLast(1) }
        samples.append(Sample(key: key, firstField: fields.count - 1, fieldCount: 1, isRecord: true))
    }

    /// A file of a source, to be read again when its samples are packed.
    mutating func bytes(of file: SourceFile, codec: CodecKind, part: SourcePart? = nil) -> SourceBytes {
        let bytes = SourceBytes(file, codec: codec, part: part, opened: opened)
        if codec != .none { compressedSources.append(bytes) }
        noteRead(file.path)
        return bytes
    }

    /// Notes an array whose rows lie in columns.
    mutating func note(columnArray rows: ArrayRows) { columnArrays.append(rows) }

    /// Notes a file that samples come from.
    mutating func noteRead(_ path: String) { readPaths.insert(path) }

    /// Paths of the files that were listed, each once or more often; those that gave no sample too.
    var sourcePaths: [String] {
        fields.compactMap { if case .file(let path, _, _) = $0.payload { path } else { nil } }
            + readPaths.sorted()
    }

    /// Notes that the keys of the samples of a file come from its member or column `name`.
    mutating func noteKeyField(_ name: String, of path: String) { keyFields[path] = name }

    /// Tells that a field got another name, because readers would not have taken its own.
    mutating func noteRenamed(_ old: String, to new: String) {
        if renamedFields.count < FieldNames.limit { renamedFields[old] = new }
    }

    /// Asked by long listings now and then: whether the caller wants them still, and the list has room for
    /// more.
    func checkGoesOn() throws(HeadraceError) {
        if isCancelled() { throw HeadraceError.packCancelled }
        if let overflow { throw overflow }
    }

    /// Counts in a sample whose fields, from `firstField` on, are listed already; false where the list may
    /// not grow.
    private mutating func takeRoom(key: String, firstField: Int) -> Bool {
        var cost = Self.cost(fieldCount: fields.count - firstField, keyByteCount: key.utf8.count)
        for field in fields[firstField...] {
            if case .bytes(let bytes) = field.payload { cost += Self.allocation(bytes.count) }
        }
        if byteCount + cost <= byteLimit {
            byteCount += cost
            return true
        }
        overflow = HeadraceError(
            .limitExceeded,
            "the list of samples would take more than \(ByteCount(byteLimit)) of memory from its sample number "
                + "\(samples.count) on (limit inventoryByteCount); \(Self.advice)",
            at: .init(shard: fields[firstField].payload.place.shard, key: key))
        return false
    }

    /// Refuses a source that claims more samples than can be listed, before any of them is.
    ///
    /// - Parameters:
    ///   - numberCount: fields of each sample that are numbers in digits, and kept in memory.
    ///   - claim: what says that there are so many, as the beginning of a sentence.
    func checkRoom(
        sampleCount: Int, fieldCount: Int, keyByteCount: Int, numberCount: Int = 0, claim: String,
        path: String
    ) throws(HeadraceError) {
        let cost =
            Self.cost(fieldCount: fieldCount, keyByteCount: keyByteCount) + numberCount * Self.allocation(1)
        let (all, overflows) = sampleCount.multipliedReportingOverflow(by: cost)
        if !overflows, all <= byteLimit - byteCount { return }
        throw HeadraceError(
            .limitExceeded,
            "\(claim) makes \(sampleCount) samples, whose list would take \(cost) bytes of memory each; it may "
                + "take \(ByteCount(byteLimit)) (limit inventoryByteCount)"
                + (byteCount > 0 ? ", of which \(ByteCount(byteCount)) are taken" : "") + "; \(Self.advice)",
            at: .init(shard: path))
    }

    private static let advice =
        "if there are meant to be so many, pack them in several runs or raise the limit (--inventory-limit)"

    /// Bytes of memory that a sample takes in the lists.
    private static func cost(fieldCount: Int, keyByteCount: Int) -> Int {
        // Strings of up to 15 bytes lie in the sample itself.
        MemoryLayout<Sample>.stride + fieldCount * MemoryLayout<Field>.stride
            + (keyByteCount > 15 ? allocation(keyByteCount + 1) : 0)
    }

    /// Bytes of an allocation of Swift's for so many: with a header of 32, in steps of 16.
    private static func allocation(_ byteCount: Int) -> Int { (32 + byteCount + 15) & ~15 }

    /// Throws the defect, or leaves the sample out where the policy allows it: as `count` samples, where it may
    /// be as many.
    mutating func leaveOut(_ defect: HeadraceError, count: Int = 1) throws(HeadraceError) {
        guard defect.code.category == .data else { throw defect }
        switch onDefect {
        case .fail: throw defect
        case .skip(let limit):
            ignore(.defect, count, path: defect.description)
            guard ignored[.defect]! <= limit else {
                throw Self.tooMany(ignored[.defect]!, "\(limit)", defect)
            }
        case .skipShare(let share):
            ignore(.defect, count, path: defect.description)
            // A share says nothing of the first few.
            if ignored[.defect]! + samples.count >= Self.shareJudgedFrom { try checkShare(share, defect) }
        }
    }

    /// Counts the bytes of a source shard.
    mutating func count(_ account: ShardAccount) {
        count(parsed: account.bytesParsed, ignored: account.bytesIgnored, lost: account.bytesLost)
    }

    /// Counts uncompressed bytes of a source: what became of them.
    public mutating func count(parsed: Int = 0, ignored: Int = 0, lost: Int = 0) {
        sourceBytes.parsed += parsed
        sourceBytes.ignored += ignored
        sourceBytes.lost += lost
    }

    /// Notes that a shard cannot be read to its end. Nobody knows how many samples that are unless it is
    /// counted: a limit on damaged samples cannot be said to be kept then.
    mutating func note(_ rest: PackUnreadableRest) throws(HeadraceError) {
        unreadableRests.append(rest)
        if rest.isCounted || onDefect == .skip(limit: .max) { return }
        throw HeadraceError(
            .tooManyDefects,
            "the rest of the shard, \(rest.sizeInWords), cannot be read, and no manifest tells how many "
                + "samples it holds: no limit on damaged samples can be held against it; skip without a limit "
                + "to leave it out", at: .init(shard: rest.path), cause: ignoredExamples[.defect]?.last)
    }

    private static let shareJudgedFrom = 1000

    private func checkShare(_ share: Double, _ last: HeadraceError?) throws(HeadraceError) {
        let defects = ignored[.defect] ?? 0
        guard Double(defects) > share * Double(defects + samples.count) else { return }
        throw Self.tooMany(defects, "\(share * 100) % of \(defects + samples.count) samples", last)
    }

    private static func tooMany(_ count: Int, _ limit: String, _ last: HeadraceError?) -> HeadraceError {
        HeadraceError(
            .tooManyDefects, "\(count) samples are damaged, more than the limit of \(limit)",
            at: last?.place ?? .init(), cause: last?.description)
    }

    /// Puts the samples in the order of `permutation`.
    mutating func permute(_ permutation: [Int]) { samples = permutation.map { samples[$0] } }

    /// Counts something that the source found and leaves out.
    public mutating func ignore(_ reason: IgnoredReason, path: String) { ignore(reason, 1, path: path) }

    mutating func ignore(_ reason: IgnoredReason, _ count: Int, path: String) {
        ignored[reason, default: 0] += count
        if ignoredExamples[reason, default: []].count < Self.namesInMessages {
            ignoredExamples[reason, default: []].append(path)
        }
    }

    /// Reports something that cannot be packed and must not be left out either.
    public mutating func refuse(
        _ code: HeadraceError.Code, _ message: String, path: String? = nil, key: String? = nil,
        field: String? = nil
    ) {
        refuse(code, message, at: .init(shard: path, key: key, field: field))
    }

    mutating func refuse(_ code: HeadraceError.Code, _ message: String, at place: HeadraceError.Place) {
        problemCount += 1
        guard problems.count < Self.namesInMessages else { return }
        problems.append(HeadraceError(code, message, at: place))
    }

    /// Where a sample with this payload is.
    static func place(_ payload: PackPayload, key: String, field: String? = nil) -> HeadraceError.Place {
        var place = payload.place
        place.key = key
        place.field = field
        return place
    }

    /// Throws the first problem, with the others named in it.
    func check() throws(HeadraceError) {
        if let overflow { throw overflow }
        if case .skipShare(let share) = onDefect { try checkShare(share, nil) }
        guard var error = problems.first else { return }
        if problemCount > 1 {
            let others = problems.dropFirst().map(\.description).joined(separator: "; ")
            error.message += " (and \(problemCount - 1) more: \(others)"
            error.message += problemCount > problems.count ? "; ...)" : ")"
        }
        throw error
    }

    /// Gives each sample the field `cls`: the rank of its top directory. Returns the directories in that
    /// order.
    mutating func addClasses() -> [String] {
        func top(_ sample: Sample) -> Substring? {
            guard let slash = sample.key.utf8.firstIndex(of: UInt8(ascii: "/")) else { return nil }
            return sample.key[..<slash]
        }
        var classes: [ByteName: Int] = [:]
        for sample in samples {
            if let name = top(sample) { classes[ByteName(text: String(name))] = 0 }
        }
        let names = classes.keys.sorted().map(\.text)
        for (rank, name) in names.enumerated() { classes[ByteName(text: name)] = rank }
        let old = (samples, fields)
        samples.removeAll(keepingCapacity: true)
        byteCount = 0
        fields = []
        fields.reserveCapacity(old.1.count + old.0.count)
        for sample in old.0 {
            guard !sample.isRecord else {
                refuse(
                    .usage, "a record that is kept as it is cannot get a class; pack it as tar",
                    key: sample.key)
                continue
            }
            guard let name = top(sample), let rank = classes[ByteName(text: String(name))] else {
                refuse(.badName, "the sample lies in no directory that could be its class", key: sample.key)
                continue
            }
            let own = old.1[sample.firstField..<sample.firstField + sample.fieldCount]
            var all = own.map { (name: fieldNames[$0.name], payload: $0.payload) }
            all.append((name: "cls", payload: .bytes(Array(String(rank).utf8))))
            add(
                key: sample.key, fields: all, keepsOrder: sample.keepsOrder, isOfExample: sample.isOfExample)
        }
        return names
    }

    private mutating func intern(_ name: String) -> Int {
        let key = ByteName(text: name)
        if let index = fieldIndex[key] { return index }
        fieldIndex[key] = fieldNames.count
        fieldNames.append(name)
        return fieldNames.count - 1
    }

    /// Why member `key`.`field` would not come back as field `field` of sample `key`; nil when it would.
    static func problem(
        key: String, field: String, byteCount: Int, _ limits: FormatLimits
    ) -> (code: HeadraceError.Code, message: String)? {
        let nameByteCount = key.utf8.count + 1 + field.utf8.count
        if nameByteCount > limits.nameBytes {
            return (.limitExceeded, "the name has \(nameByteCount) bytes, readers accept \(limits.nameBytes)")
        }
        if byteCount > limits.memberBytes {
            return (.limitExceeded, "the field has \(byteCount) bytes, readers accept \(limits.memberBytes)")
        }
        if key.utf8.contains(0) || field.utf8.contains(0) { return (.badName, "the name has a zero byte") }
        if key.utf8.split(separator: UInt8(ascii: "/")).contains(where: { $0.elementsEqual("..".utf8) }) {
            return (
                .badName, "the key leads out of its folder by '..': unpacked, the file would lie anywhere"
            )
        }
        if field.isEmpty { return (.badName, "the name ends in a dot: a field needs a name") }
        if field.utf8.contains(UInt8(ascii: "/")) { return (.badName, "a field's name cannot have a '/'") }
        if unsafe WebDatasetName.isReserved(field.utf8Span.span.bytes) {
            return (.badName, "readers keep the field name '\(field)' for themselves")
        }
        if !WebDatasetName.lowercased(Array(field.utf8)).elementsEqual(field.utf8) {
            return (.badName, "readers turn field names to lower case")
        }
        if isLostAtNewline(key) {
            return (
                .badName, "webdataset skips names with a dot in a directory behind a line break; rename it"
            )
        }
        let name = "\(key).\(field)"
        switch unsafe WebDatasetName(name.utf8Span.span.bytes) {
        case .field(let keyLength) where keyLength == key.utf8.count: return nil
        case .field:
            return (.badName, "the key has a dot: readers end the key at the first dot of the file's name")
        case .meta:
            return (.badName, "readers skip names of the form __name__, so the file would be lost; rename it")
        case .hidden, .unmatched: return (.badName, "the key ends in no name that readers would take for one")
        }
    }
}

/// webdataset's rule for keys is a regular expression whose `.*/` stops at a line break: whatever directories
/// follow must do without dots, or the member is skipped without a word.
private func isLostAtNewline(_ key: String) -> Bool {
    guard let newline = key.utf8.firstIndex(of: UInt8(ascii: "\n")) else { return false }
    let start = key.utf8[..<newline].lastIndex(of: UInt8(ascii: "/")) ?? key.utf8.startIndex
    return key.utf8[start...].contains(UInt8(ascii: "."))
}
