import Testing

/// Runs a program in the part of PTX that our normalisation is written in, one thread after the other, over the host's
/// memory: what each instruction does is as NVIDIA's "PTX ISA" says. It shows what a kernel computes where there is no
/// device; an instruction that it does not know fails the test.
struct PTXInterpreter {
    struct Unknown: Error, CustomStringConvertible {
        let description: String
    }

    private let lines: [String]
    private let labels: [String: Int]
    private let parameters: [String]

    /// The function `name` of the module `text`.
    init(_ text: String, function name: String) throws {
        guard let start = text.range(of: ".entry \(name)(") else { throw Unknown(description: "no \(name)") }
        let function = text[start.upperBound...]
        let head = function.prefix { $0 != ")" }
        parameters = head.split(separator: ",").compactMap { $0.split(separator: " ").last.map(String.init) }
        let body = function.drop { $0 != "{" }.dropFirst().prefix { $0 != "}" }
        var lines: [String] = []
        var labels: [String: Int] = [:]
        for line in body.split(separator: "\n") {
            let code =
                line.split(separator: "/", omittingEmptySubsequences: false).first.map(String.init) ?? ""
            let words = code.drop { $0 == " " }.prefix { $0 != ";" }
            if words.last == ":" {
                labels[String(words.dropLast())] = lines.count
            } else if !words.isEmpty, !words.hasPrefix(".reg") {
                lines.append(String(words))
            }
        }
        self.lines = lines
        self.labels = labels
    }

    /// Runs all threads of a grid of one dimension.
    func run(blocks: Int, threads: Int, _ values: [UInt64]) throws {
        precondition(values.count == parameters.count)
        for block in 0..<blocks {
            for thread in 0..<threads { try run(UInt64(block), UInt64(thread), values) }
        }
    }

    private func run(_ block: UInt64, _ thread: UInt64, _ values: [UInt64]) throws {
        // Registers hold bits; an instruction's type says which of them count.
        var registers: [Substring: UInt64] = ["%ctaid.x": block, "%tid.x": thread]
        var at = 0
        while at < lines.count {
            var words = lines[at].split { $0 == " " || $0 == "," }
            at += 1
            if words[0].hasPrefix("@") {
                guard registers[words[0].dropFirst()] == 1 else { continue }
                words.removeFirst()
            }
            let operation = words[0]
            if operation == "ret" { return }
            if operation == "bra" {
                guard let target = labels[String(words[1])] else {
                    throw Unknown(description: "label \(words[1])")
                }
                at = target
                continue
            }
            if operation.hasPrefix("st.global") {
                try store(operation, address(words[1], registers), registers[words[2]] ?? 0)
            } else if operation.hasPrefix("ld.") {
                registers[words[1]] = try load(operation, words[2], registers, values)
            } else {
                let operands = words.dropFirst(2).map { word in registers[word] ?? UInt64(word) ?? UInt64.max
                }
                registers[words[1]] = try result(
                    operation, operands, predicate: words.last.flatMap { registers[$0] })
            }
        }
    }

    private func address(_ word: Substring, _ registers: [Substring: UInt64]) throws -> UInt {
        let parts = word.dropFirst().dropLast().split(separator: "+")
        guard let base = registers[parts[0]] else { throw Unknown(description: "address \(word)") }
        return UInt(base) + (parts.count > 1 ? UInt(parts[1]) ?? 0 : 0)
    }

    private func load(
        _ operation: Substring, _ word: Substring, _ registers: [Substring: UInt64], _ values: [UInt64]
    ) throws -> UInt64 {
        if operation == "ld.param.u64" {
            guard let place = parameters.firstIndex(of: String(word.dropFirst().dropLast())) else {
                throw Unknown(description: "parameter \(word)")
            }
            return values[place]
        }
        guard let pointer = UnsafeRawPointer(bitPattern: try address(word, registers)) else {
            throw Unknown(description: "address 0")
        }
        switch operation {
        case "ld.global.u8": return UInt64(pointer.load(as: UInt8.self))
        case "ld.global.f32": return UInt64(pointer.load(as: UInt32.self))
        default: throw Unknown(description: String(operation))
        }
    }

    private func store(_ operation: Substring, _ address: UInt, _ value: UInt64) throws {
        guard let pointer = UnsafeMutableRawPointer(bitPattern: address) else {
            throw Unknown(description: "address 0")
        }
        switch operation {
        case "st.global.f32": pointer.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
        case "st.global.b16": pointer.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        default: throw Unknown(description: String(operation))
        }
    }

    private func result(_ operation: Substring, _ a: [UInt64], predicate: UInt64?) throws -> UInt64 {
        func low(_ value: UInt64) -> UInt64 { value & 0xffff_ffff }
        func float(_ bits: UInt64) -> Float { Float(bitPattern: UInt32(truncatingIfNeeded: bits)) }
        switch operation {
        case "cvta.to.global.u64", "mov.u64", "mov.u32", "mov.b32": return a[0]
        case "cvt.u64.u32": return low(a[0])
        case "cvt.u16.u32": return a[0] & 0xffff
        case "cvt.rn.f32.u32": return UInt64(Float(UInt32(truncatingIfNeeded: a[0])).bitPattern)
        case "cvt.rn.f16.f32": return UInt64(Float16(float(a[0])).bitPattern)
        case "add.u64": return a[0] &+ a[1]
        case "sub.u64": return a[0] &- a[1]
        case "mul.lo.u64": return a[0] &* a[1]
        case "mul.wide.u32": return low(a[0]) * low(a[1])
        case "div.u64": return a[0] / a[1]
        case "add.u32": return low(a[0] &+ a[1])
        case "and.b32": return low(a[0] & a[1])
        case "shr.u32": return low(a[0]) >> a[1]
        case "setp.ge.u64": return a[0] >= a[1] ? 1 : 0
        case "setp.ne.u64": return a[0] != a[1] ? 1 : 0
        case "setp.lt.u64": return a[0] < a[1] ? 1 : 0
        case "selp.b64": return predicate == 1 ? a[0] : a[1]
        case "fma.rn.f32": return UInt64(float(a[2]).addingProduct(float(a[0]), float(a[1])).bitPattern)
        default: throw Unknown(description: String(operation))
        }
    }
}
