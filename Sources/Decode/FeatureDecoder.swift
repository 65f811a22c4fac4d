public import HeadraceCore

/// Reads the numbers of a feature of a tf.Example into a tensor of a declared shape.
///
/// The list must have exactly the elements of the shape, in C order. A feature list of a tf.SequenceExample fills
/// shape `[n, rest...]` when it has `n` steps of the elements of `rest` each.
public struct FeatureDecoder: Decoder {
    /// Which numbers a feature holds, and with them the elements of its tensor.
    public enum Numbers: Hashable, Sendable {
        /// An int64 list, whose elements are `int64`.
        case int64
        /// A float list, whose elements are `float32`.
        case float
    }

    /// The kind of list.
    public let numbers: Numbers
    /// Shape of a row; empty: a scalar.
    public let shape: [Int]
    /// What a sample that lacks the feature gets, as the elements' bytes: one element for all, or all of them.
    /// Empty: a sample without the feature is a defect (or zero, where the field is optional).
    private let defaultElements: [UInt8]

    /// The int64 lists of features as rows of `shape`.
    ///
    /// - Parameter default: what a sample without the feature gets: nothing (it is a defect), one number for every
    ///   element, or all elements of a row.
    public init(int64 shape: [Int], default elements: [Int64] = []) {
        self.init(.int64, shape, unsafe elements.withUnsafeBytes { unsafe Array($0) })
    }

    /// The float lists of features as rows of `shape`.
    ///
    /// - Parameter default: what a sample without the feature gets: nothing (it is a defect), one number for every
    ///   element, or all elements of a row.
    public init(float shape: [Int], default elements: [Float] = []) {
        self.init(.float, shape, unsafe elements.withUnsafeBytes { unsafe Array($0) })
    }

    private init(_ numbers: Numbers, _ shape: [Int], _ defaultElements: [UInt8]) {
        self.numbers = numbers
        self.shape = shape
        self.defaultElements = defaultElements
    }

    /// It reads int64 and float lists.
    public var readsFeatures: Bool { true }
    /// It fills them where it has a default.
    public var fillsAbsentRows: Bool { !defaultElements.isEmpty }

    /// The declared shape; no payload changes it. Throws `usage` for a shape that cannot be, or a default that does
    /// not fill it.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        let type = numbers.elementType
        let count = try FeatureShape.elementCount(shape, type)
        let given = defaultElements.count / type.byteCount
        guard given <= 1 || given == count else {
            throw HeadraceError(
                .usage,
                "the default has \(given) elements; shape \(NpyHeader.tuple(shape)) takes one or \(count)")
        }
        return .fixed(type, shape: shape)
    }

    /// Fills one tensor a payload.
    public func decode(_ run: inout DecodeRun) {
        let rowBytes = run.layout.rowBytes
        let count = rowBytes / numbers.elementType.byteCount
        for row in unsafe run.payloads.indices {
            let target = unsafe run.rows.map { unsafe $0 + row * rowBytes }
            if run.isAbsent(row) {
                unsafe fillDefault(target, rowBytes)
                continue
            }
            do throws(HeadraceError) {
                try unsafe decode(run.payloads[row], run.encoding(row), count, to: target)
            } catch {
                run.fail(row, error)
            }
        }
    }

    private func fillDefault(_ target: UnsafeMutableRawPointer?, _ rowBytes: Int) {
        guard let target = unsafe target, !defaultElements.isEmpty else { return }
        unsafe defaultElements.withUnsafeBytes { source in
            for offset in stride(from: 0, to: rowBytes, by: source.count) {
                unsafe (target + offset).copyMemory(from: source.baseAddress!, byteCount: source.count)
            }
        }
    }

    private func decode(
        _ payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding, _ count: Int,
        to target: UnsafeMutableRawPointer?
    ) throws(HeadraceError) {
        let bytes = unsafe payload.bytes
        switch encoding {
        case .plain: throw FeatureShape.wrongKind(.bytes, numbers.kind)
        case .feature:
            let feature = try FeatureShape.feature(bytes, numbers.kind)
            guard feature.count == count else {
                throw FeatureShape.wrongCount(feature.count, count, NpyHeader.tuple(shape))
            }
            if let target = unsafe target { unsafe feature.copyNumbers(bytes, to: target) }
        case .featureList:
            let list = try FeatureShape.list(bytes, numbers.kind)
            guard let steps = shape.first else {
                throw HeadraceError(
                    .shapeMismatch, "a feature list of \(list.steps) steps is no scalar; declare a shape")
            }
            let perStep = steps == 0 ? 0 : count / steps
            guard list.steps == steps, steps == 0 || list.countPerStep == perStep else {
                throw FeatureShape.wrongSteps(list, "shape \(NpyHeader.tuple(shape))")
            }
            if let target = unsafe target { unsafe FeatureShape.copyNumbers(bytes, to: target, numbers) }
        }
    }
}

extension FeatureDecoder.Numbers {
    var kind: FeatureMessage.Kind { self == .int64 ? .int64 : .float }
    var elementType: ElementType { self == .int64 ? .int64 : .float32 }
}

/// Reads the numbers of a feature of a tf.Example into rows that differ in length.
///
/// A row is a tensor of shape `[n, rest...]`: an int64 or float list whose count is a multiple of the elements of
/// `rest`, or a feature list of `n` steps with the elements of `rest` each. The numbers stay where they were read
/// until somebody asks for them.
public struct FeatureListDecoder: ListDecoder {
    /// The kind of list.
    public let numbers: FeatureDecoder.Numbers
    /// What one step holds: the shape of a row without its first extent. Empty: one number.
    public let stepShape: [Int]

    /// The lists of features as rows of `[n] + stepShape` with any `n`.
    public init(_ numbers: FeatureDecoder.Numbers, stepShape: [Int] = []) {
        self.numbers = numbers
        self.stepShape = stepShape
    }

    /// It reads int64 and float lists.
    public var readsFeatures: Bool { true }

    /// Rows of any length. Throws `usage` for a step shape that cannot be.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        guard try FeatureShape.elementCount(stepShape, numbers.elementType) > 0 else {
            throw HeadraceError(.usage, "a list cannot be divided into steps of no elements")
        }
        return .spans(.list(numbers.elementType, shape: stepShape))
    }

    /// Makes sure that the rows can be read.
    public func decode(_ run: inout DecodeRun) {
        let perStep = stepShape.reduce(1, *)
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            do throws(HeadraceError) {
                let bytes = unsafe run.payloads[row].bytes
                switch run.encoding(row) {
                case .plain: throw FeatureShape.wrongKind(.bytes, numbers.kind)
                case .feature:
                    let feature = try FeatureShape.feature(bytes, numbers.kind)
                    guard feature.count % perStep == 0 else {
                        throw HeadraceError(
                            .shapeMismatch,
                            "the list has \(feature.count) values, which is no multiple of \(perStep)")
                    }
                case .featureList:
                    let list = try FeatureShape.list(bytes, numbers.kind)
                    guard list.steps == 0 || list.countPerStep == perStep else {
                        throw FeatureShape.wrongSteps(list, "steps of \(perStep)")
                    }
                }
            } catch {
                run.fail(row, error)
            }
        }
    }

    /// Numbers of a row.
    public func elementCount(of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding) -> Int {
        let bytes = unsafe payload.bytes
        let all = 0..<bytes.byteCount
        return encoding == .featureList
            ? FeatureListMessage(bytes, all)?.count ?? 0 : FeatureMessage(bytes, all)?.count ?? 0
    }

    /// Writes the numbers of a row.
    public func copyElements(
        of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding, to elements: UnsafeMutableRawPointer
    ) {
        let bytes = unsafe payload.bytes
        if encoding == .featureList {
            unsafe FeatureShape.copyNumbers(bytes, to: elements, numbers)
        } else {
            unsafe FeatureMessage(bytes, 0..<bytes.byteCount)?.copyNumbers(bytes, to: elements)
        }
    }
}

/// Reads a bytes feature of a tf.Example as rows of any number of byte strings, or exactly so many; a feature list as
/// one byte string a step.
public struct FeatureStringsDecoder: StringsDecoder {
    /// How many a row must have; nil: any number.
    public let count: Int?

    /// Rows of `count` byte strings; nil: of any number.
    public init(count: Int? = nil) { self.count = count }

    /// It reads bytes lists.
    public var readsFeatures: Bool { true }

    /// Rows of byte strings. Throws `usage` for a negative count.
    public func column(for payload: UnsafeRawBufferPointer) throws(HeadraceError) -> ColumnLayout {
        guard count ?? 0 >= 0 else { throw HeadraceError(.usage, "a row cannot have \(count ?? 0) strings") }
        return .spans(.strings)
    }

    /// Makes sure that the rows can be read.
    public func decode(_ run: inout DecodeRun) {
        for row in unsafe run.payloads.indices where !run.isAbsent(row) {
            do throws(HeadraceError) {
                let bytes = unsafe run.payloads[row].bytes
                let found: Int
                switch run.encoding(row) {
                case .plain: found = 1
                case .feature: found = try FeatureShape.feature(bytes, .bytes).count
                case .featureList:
                    let list = try FeatureShape.list(bytes, .bytes)
                    guard list.steps == 0 || list.countPerStep == 1 else {
                        throw FeatureShape.wrongSteps(list, "steps of one byte string")
                    }
                    found = list.steps
                }
                guard count == nil || found == count else {
                    throw FeatureShape.wrongCount(found, count ?? 0, "[\(count ?? 0)]")
                }
            } catch {
                run.fail(row, error)
            }
        }
    }

    /// The byte strings of a row.
    public func forEachString(
        of payload: UnsafeRawBufferPointer, _ encoding: FieldEncoding,
        _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        let bytes = unsafe payload.bytes
        let all = 0..<bytes.byteCount
        func give(_ place: Range<Int>) { unsafe body(UnsafeRawBufferPointer(rebasing: payload[place])) }
        switch encoding {
        case .plain: unsafe body(payload)
        case .feature: FeatureMessage(bytes, all)?.forEachString(bytes, give)
        case .featureList:
            FeatureListMessage.forEachStep(bytes, all) { $0.forEachString(bytes, give) }
        }
    }
}
