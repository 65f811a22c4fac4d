package import HeadraceCore

/// One JSON object a line on standard output, each with the schema it follows.
package struct JSONLines: Sendable {
    /// Name and version of what the lines say, such as `headrace.ls/1`.
    package let schema: String

    package init(schema: String) { self.schema = schema }

    /// Writes one line; `schema` comes first.
    package func write(_ members: [JSONMember]) throws(HeadraceError) {
        try StandardOutput.writeLine(
            JSONValue.object([JSONMember("schema", .string(schema))] + members).line())
    }
}

extension HeadraceError {
    /// The error as reports carry it: code, message, and the parts of the place that are known.
    package var json: JSONValue {
        var members = [JSONMember("code", .string(code.name))]
        if let shard = place.shard { members.append(JSONMember("shard", .string(shard))) }
        members.append(JSONMember("offset", place.offset.map { .int($0) } ?? .null))
        members.append(JSONMember("key", place.key.map { .string($0) } ?? .null))
        if let field = place.field { members.append(JSONMember("field", .string(field))) }
        members.append(JSONMember("message", .string(message)))
        if let cause { members.append(JSONMember("cause", .string(cause))) }
        return .object(members)
    }
}
