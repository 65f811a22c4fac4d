package import HeadraceCore
internal import HeadraceDecode

// The words of `--decode FIELD=KIND`.

extension FieldRequest {
    private static let kinds =
        "raw, int, text, tokens:u16, tokens:u32 (or tokens:u16[N]), json, json:PATH, npy, npz, npz:NAME, int64, float or bytes (with a shape: int64[3], float[])"

    /// The columns that `FIELD=KIND` asks for. Throws `usage` for anything else.
    package static func requests(_ text: String) throws(HeadraceError) -> [FieldRequest] {
        // A field's name may hold equals signs, and so may the path of `json:PATH` and the name of
        // `npz:NAME`. The first one that a kind follows parts them: names that read like a kind are rarer
        // than paths that do.
        let signs = text.indices.filter { text[$0] == "=" && $0 > text.startIndex }
        var failure: HeadraceError?
        for equals in signs {
            let kind = String(text[text.index(after: equals)...])
            do throws(HeadraceError) {
                guard let decoders = try decoders(kind) else { continue }
                let field = String(text[..<equals])
                return decoders.map { FieldRequest(field, $0) }
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        guard let last = signs.last else {
            throw HeadraceError(.usage, "'\(text)' names no field and kind; write FIELD=KIND: \(kinds)")
        }
        throw HeadraceError(
            .usage, "'\(text[text.index(after: last)...])' is no kind of field; write \(kinds)")
    }

    /// What a kind stands for; several decoders where it names several parts, nil where it is none.
    private static func decoders(_ kind: String) throws(HeadraceError) -> [any Decoder]? {
        switch kind {
        case "raw", "bytes": return [RawDecoder()]
        case "int": return [IntegerDecoder()]
        case "text": return [TextDecoder()]
        case "npy": return [NpyDecoder()]
        default: break
        }
        if kind == "npz" { return [NpzDecoder()] }
        if kind.hasPrefix("npz:") {
            let arrays = kind.dropFirst(4).split(separator: ",", omittingEmptySubsequences: false)
            guard !arrays.contains("") else {
                throw HeadraceError(.usage, "'\(kind)' names no array; write npz:NAME or npz:NAME,NAME")
            }
            return arrays.map { NpzDecoder(array: String($0)) }
        }
        if kind.hasPrefix("tokens:") { return [try tokenDecoder(kind)] }
        if kind == "json" { return [JSONTextDecoder()] }
        if kind.hasPrefix("json:") { return [try jsonDecoder(kind.dropFirst(5))] }
        return try featureDecoder(kind).map { [$0] }
    }

    /// `tokens:WIDTH`, and `[N]` for rows of that many.
    private static func tokenDecoder(_ kind: String) throws(HeadraceError) -> TokenDecoder {
        let parts = kind.dropFirst(7).split(separator: "[", maxSplits: 1, omittingEmptySubsequences: false)
        guard let width = TokenWidth(rawValue: String(parts[0])) else {
            throw HeadraceError(
                .usage,
                "'\(kind)': tokens are \(TokenWidth.allCases.map(\.rawValue).joined(separator: " or "))")
        }
        guard parts.count == 2 else { return TokenDecoder(width) }
        guard parts[1].last == "]", let count = Int(parts[1].dropLast()), parts[1].first != "+",
            (1...TokenDecoder.countLimit).contains(count)
        else {
            throw HeadraceError(
                .usage,
                "'\(kind)': a row has 1 to \(TokenDecoder.countLimit) tokens, as in tokens:\(width.rawValue)[1024]"
            )
        }
        return TokenDecoder(width, count: count)
    }

    /// `PATH[:TYPE]`
    private static func jsonDecoder(_ text: Substring) throws(HeadraceError) -> any Decoder {
        var path = text
        var type = ElementType.int64
        // A name may hold a colon; what is behind the last one is a type only where it is the name of one.
        if let colon = text.lastIndex(of: ":"),
            let named = ElementType(rawValue: String(text[text.index(after: colon)...]))
        {
            path = text[..<colon]
            type = named
        }
        guard JSONValueDecoder.elementTypes.contains(type) else {
            throw HeadraceError(
                .usage,
                "a JSON value is read as \(JSONValueDecoder.elementTypes.map(\.rawValue).joined(separator: ", "))"
            )
        }
        return JSONValueDecoder(String(path), as: type)
    }

    // MARK: Images

    /// Fields that are images, as `--image FIELD --transform STEPS --dtype TYPE --layout LAYOUT` asks for them.
    package static func images(
        _ fields: [String], transform: String, dtype: String?, layout: String?
    ) throws(HeadraceError) -> [FieldRequest] {
        guard !fields.isEmpty else {
            guard transform.isEmpty, dtype == nil, layout == nil else {
                throw HeadraceError(
                    .usage, "--transform, --dtype and --layout are for images: name their field with --image")
            }
            return []
        }
        let types = "uint8, float32, float16 or bfloat16"
        let elementType = dtype.map { ElementType(rawValue: $0) }
        if let dtype, elementType == .some(nil) {
            throw HeadraceError(.usage, "'\(dtype)' is no type of images' elements; write \(types)")
        }
        guard let order = ImageLayout(rawValue: layout ?? "chw") else {
            throw HeadraceError(.usage, "'\(layout ?? "")' is no layout of images; write chw or hwc")
        }
        let decoder = try ImageDecoder(
            try ImageTransform.list(transform), as: elementType ?? nil, layout: order)
        return fields.map { FieldRequest($0, decoder) }
    }

    // MARK: Features

    /// `int64`, `float` or `bytes`, a shape in brackets whose first extent may be left out, and `:DEFAULT`.
    private static func featureDecoder(_ kind: String) throws(HeadraceError) -> (any Decoder)? {
        guard let numbers = ["int64", "float", "bytes"].first(where: { kind.hasPrefix($0) }) else {
            return nil
        }
        var rest = kind.dropFirst(numbers.count)
        var isVariable = false
        var shape: [Int] = []
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { throw badShape(kind) }
            let extents = rest[rest.index(after: rest.startIndex)..<end]
            (isVariable, shape) = try Self.shape(extents, of: kind)
            rest = rest[rest.index(after: end)...]
        }
        var defaultValue: Substring?
        if rest.first == ":" {
            defaultValue = rest.dropFirst()
            rest = ""
        }
        guard rest.isEmpty else { return nil }
        if defaultValue != nil, isVariable || numbers == "bytes" {
            throw HeadraceError(
                .usage, "'\(kind)': only numbers of a fixed shape have a default")
        }
        switch numbers {
        case "int64":
            if isVariable { return FeatureListDecoder(.int64, stepShape: shape) }
            return FeatureDecoder(int64: shape, default: try number(defaultValue, of: kind) { Int64($0) })
        case "float":
            if isVariable { return FeatureListDecoder(.float, stepShape: shape) }
            return FeatureDecoder(float: shape, default: try number(defaultValue, of: kind) { Float($0) })
        default:
            guard isVariable ? shape.isEmpty : shape.count == 1 else {
                throw HeadraceError(.usage, "'\(kind)': byte strings come as bytes, bytes[N] or bytes[]")
            }
            return FeatureStringsDecoder(count: shape.first)
        }
    }

    private static func shape(
        _ text: Substring, of kind: String
    ) throws(HeadraceError) -> (isVariable: Bool, shape: [Int]) {
        var extents: [Int] = []
        var isVariable = false
        for (place, part) in text.split(separator: ",", omittingEmptySubsequences: false).enumerated() {
            if part.isEmpty, place == 0 {
                isVariable = true
            } else if let extent = Int(part), extent >= 0, part.first != "+" {
                extents.append(extent)
            } else {
                throw badShape(kind)
            }
        }
        return (isVariable, extents)
    }

    private static func badShape(_ kind: String) -> HeadraceError {
        HeadraceError(
            .usage,
            "'\(kind)' has no shape such as [3], [28,28], [] (any length) or [,3] (any number of threes)")
    }

    private static func number<Number>(
        _ text: Substring?, of kind: String, _ parse: (Substring) -> Number?
    ) throws(HeadraceError) -> [Number] {
        guard let text else { return [] }
        guard let number = parse(text) else {
            throw HeadraceError(.usage, "'\(kind)': the default '\(text)' is no such number")
        }
        return [number]
    }
}
