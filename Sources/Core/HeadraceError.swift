/// The one error type of Headrace: what went wrong, where, and what to do about it.
///
/// ```swift
/// do { try loader.next() } catch { print(error.code, error.place.shard ?? "", error.message) }
/// ```
public struct HeadraceError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure this is; open-ended, so that new kinds break no caller.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        /// The name that reports and scripts see, such as `truncated`.
        public let name: String
        /// Whom the failure concerns; decides a tool's exit status.
        public let category: Category

        /// A code of a caller's own, for decoders and back ends outside this package.
        public init(_ name: String, _ category: Category) {
            self.name = name
            self.category = category
        }

        /// The name.
        public var description: String { name }
    }

    /// Whom a failure concerns.
    public enum Category: Sendable {
        /// The bytes of a data set are not what their format demands (exit status 1).
        case data
        /// Storage, memory or the machine refused (exit status 2).
        case environment
        /// The caller asked for something that cannot be (exit status 64).
        case usage

        /// The exit status of the command-line tools.
        public var exitStatus: Int32 {
            switch self {
            case .data: 1
            case .environment: 2
            case .usage: 64
            }
        }
    }

    /// Where it happened, as far as that is known.
    public struct Place: Hashable, Sendable {
        /// Path or URL of the shard or file.
        public var shard: String?
        /// Byte offset in the uncompressed shard.
        public var offset: Int?
        /// Key of the sample.
        public var key: String?
        /// Name of the field.
        public var field: String?

        /// A place; leave out what is not known.
        public init(shard: String? = nil, offset: Int? = nil, key: String? = nil, field: String? = nil) {
            self.shard = shard
            self.offset = offset
            self.key = key
            self.field = field
        }
    }

    /// What kind of failure.
    public var code: Code
    /// Where it happened.
    public var place: Place
    /// A sentence that says what is wrong and, where there is one, what to do.
    public var message: String
    /// What a library or the system said, if the failure began there.
    public var cause: String?

    /// An error with its code, sentence, place and cause.
    public init(_ code: Code, _ message: String, at place: Place = Place(), cause: String? = nil) {
        self.code = code
        self.message = message
        self.place = place
        self.cause = cause
    }

    /// The same error with the parts of the place that were not known yet filled in.
    package func placed(
        shard: String? = nil, offset: Int? = nil, key: String? = nil, field: String? = nil
    ) -> HeadraceError {
        var copy = self
        copy.place.shard = place.shard ?? shard
        copy.place.offset = place.offset ?? offset
        copy.place.key = place.key ?? key
        copy.place.field = place.field ?? field
        return copy
    }

    /// Place, sentence, code and cause in one line.
    public var description: String {
        var text = ""
        if let shard = place.shard { text += "\(shard): " }
        var parts: [String] = []
        if let offset = place.offset { parts.append("byte \(offset)") }
        if let key = place.key { parts.append("sample '\(key)'") }
        if let field = place.field { parts.append("field '\(field)'") }
        if !parts.isEmpty { text += parts.joined(separator: ", ") + ": " }
        text += "\(message) [\(code.name)]"
        if let cause { text += " (\(cause))" }
        return text
    }
}

extension HeadraceError.Code {
    /// A tar header whose checksum or numbers are wrong; what follows cannot be found.
    public static let badHeader = Self("badHeader", .data)
    /// The shard ends inside a header, payload or frame.
    public static let truncated = Self("truncated", .data)
    /// A checksum that the format carries does not match its bytes.
    public static let checksumMismatch = Self("checksumMismatch", .data)
    /// A compressed stream that its library refuses.
    public static let corruptStream = Self("corruptStream", .data)
    /// A PAX extended header that cannot be parsed.
    public static let malformedPax = Self("malformedPax", .data)
    /// A sparse tar member: WebDataset gives it no meaning, and expanding it could fill any memory.
    public static let sparseMember = Self("sparseMember", .data)
    /// Two members of one sample with the same field name.
    public static let duplicateField = Self("duplicateField", .data)
    /// Two samples of one data set with the same key, where keys must be unique.
    public static let duplicateKey = Self("duplicateKey", .data)
    /// A name that cannot be a key or a field.
    public static let badName = Self("badName", .data)
    /// A named limit was exceeded; the message gives its name and value.
    public static let limitExceeded = Self("limitExceeded", .data)
    /// A field that was asked for is absent from a sample.
    public static let missingField = Self("missingField", .data)
    /// A field's bytes are not what its decoder expects.
    public static let badValue = Self("badValue", .data)
    /// A field's array has another shape or element type than the batch.
    public static let shapeMismatch = Self("shapeMismatch", .data)
    /// The content is of no format or codec that Headrace reads.
    public static let unknownFormat = Self("unknownFormat", .data)
    /// The content is recognised, but this feature of it is refused by name.
    public static let unsupported = Self("unsupported", .data)
    /// An index, manifest or seek table that does not match its shard.
    public static let indexMismatch = Self("indexMismatch", .data)
    /// A shard whose samples cannot be read alone, so that no index can say where they are.
    public static let notIndexable = Self("notIndexable", .data)
    /// More defects than the limit of `--on-defect` allows.
    public static let tooManyDefects = Self("tooManyDefects", .data)
    /// The system refused a read, write or open; the cause has errno.
    public static let io = Self("io", .environment)
    /// A file or directory does not exist.
    public static let notFound = Self("notFound", .environment)
    /// A file's size or modification time changed while it was being read.
    public static let fileChanged = Self("fileChanged", .environment)
    /// The file system refuses O_DIRECT.
    public static let directRefused = Self("directRefused", .environment)
    /// io_uring was asked for by name and cannot be had.
    public static let ringRefused = Self("ringRefused", .environment)
    /// The memory budget cannot hold what the options ask for; the message has the figure.
    public static let budget = Self("budget", .environment)
    /// The consumer holds more batches than the loader budgeted for.
    public static let heldBatches = Self("heldBatches", .environment)
    /// The machine lacks something: threads, memory, a program.
    public static let environment = Self("environment", .environment)
    /// A device's driver is missing, or refused or failed; the message has its words.
    public static let device = Self("device", .environment)
    /// The output exists and neither `--overwrite` nor `--resume` was given.
    public static let exists = Self("exists", .environment)
    /// Options that contradict each other or make no sense.
    public static let usage = Self("usage", .usage)
}
